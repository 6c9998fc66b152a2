"""Which flat field does a slide get, and is it the same after a stop and in a replay?"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from scanner.errors import DamagedRun
from scanner.model.events import Kind
from scanner.model.plan import PlannedTile
from scanner.model.profile import FlatField, Measured, Profile
from scanner.model.tile import EndOfPlan, FocusState, Frame, Pixels, Tile, TileFocus
from scanner.pipeline.flat_field import illumination
from scanner.session.flat_choice import MOST_TILES, FlatChoice
from scanner.storage.ledger import Ledger
from scanner.storage.light_facts import FlatFieldFact, Source
from scanner.storage.profiles import read_profile
from tests.scanner.pipeline.lit_fields import SIDE, Field, true_light

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
NAME = "1-test"
NOW = datetime.now(UTC)
EVEN = FlatField(coefficients=((1.0, 0, 0, 0, 0, 0, 0, 0, 0),) * 3)


def profile(until: datetime | None, known: bool = True, stain: str = "papanicolaou") -> Profile:
    whole = read_profile(PROFILES / "simulated.yaml")
    old = Measured[FlatField](value=EVEN, when=NOW, how="a test", valid_until=until)
    field = old if known else None
    camera = whole.camera.model_copy(update={"width_px": SIDE, "height_px": SIDE})
    focus = whole.focus.model_copy(update={"stain": type(whole.focus.stain)(stain)})
    measured = whole.measured.model_copy(update={"flat_field": field})
    return whole.model_copy(update={"camera": camera, "measured": measured, "focus": focus})


def tile(number: int, pixels: Pixels | None) -> Tile:
    planned = PlannedTile(tile=number, row=0, col=number, x_um=0.0, y_um=0.0)
    frame = None if pixels is None else Frame(pixels, 0.0, 0.0, 0.0, 0.0, 0.0)
    return Tile(planned, 1, 1, frame, "", 0.0, 0.0, TileFocus(FocusState.SHARP, 0.0, 0.1), 1)


def shown(count: int, cover: float = 0.2) -> list[Tile | EndOfPlan]:
    field, rng = Field.of(1, cover), np.random.default_rng(1)
    places = rng.integers(0, 2200 - SIDE, (count, 2))
    frames = [field.frame(x, y, true_light(), 1.0, rng) for x, y in places]
    return [*(tile(n, frame) for n, frame in enumerate(frames)), EndOfPlan(1, None)]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    with Ledger.open(tmp_path / "run.sqlite", create=True):
        return tmp_path / "run.sqlite"


def fact(ledger: Path) -> FlatFieldFact:
    with Ledger.read(ledger) as facts:
        event = facts.latest(Kind.FLAT_FIELD, NAME)
    assert event is not None
    return FlatFieldFact.from_body(event.body)


def left(choice: FlatChoice) -> float:
    """The shading that a choice leaves, 95th percentile, %."""
    gain = choice().gain
    assert gain is not None
    flat = gain * true_light()
    return 100 * float(np.quantile(np.abs(flat / flat.mean(axis=(0, 1)) - 1), 0.95))


def test_a_field_in_date_is_used_and_no_tile_waits(ledger: Path) -> None:
    choice = FlatChoice(profile(NOW + timedelta(days=9)), ledger, NAME)
    items = shown(3)
    passed = choice.settled(iter(items))
    assert next(passed) is items[0]
    assert list(passed) == items[1:]
    assert fact(ledger).source is Source.PROFILE
    assert fact(ledger).doubt == ""


def test_without_a_field_the_first_tiles_tell_it(ledger: Path) -> None:
    choice = FlatChoice(profile(None, known=False), ledger, NAME)
    items = shown(MOST_TILES + 3)
    assert list(choice.settled(iter(items))) == items
    assert fact(ledger).source is Source.SCAN
    assert fact(ledger).tiles == MOST_TILES
    assert left(choice) < 0.5


def test_an_old_field_gives_way_to_what_the_scan_tells_and_is_named(ledger: Path) -> None:
    choice = FlatChoice(profile(datetime(2020, 1, 31, tzinfo=UTC)), ledger, NAME)
    list(choice.settled(iter(shown(16))))
    assert fact(ledger).source is Source.SCAN
    assert "2020-01-31" in fact(ledger).doubt
    assert left(choice) < 0.5


def test_an_old_field_stays_in_use_with_a_doubt_where_the_scan_tells_none(ledger: Path) -> None:
    choice = FlatChoice(profile(datetime(2020, 1, 31, tzinfo=UTC)), ledger, NAME)
    list(choice.settled(iter(shown(2))))
    assert fact(ledger).source is Source.PROFILE
    assert "used all the same" in fact(ledger).doubt


def test_what_glows_is_corrected_by_the_profile_alone(ledger: Path) -> None:
    choice = FlatChoice(profile(None, known=False, stain="fluorescence-red"), ledger, NAME)
    items = shown(6)
    passed = choice.settled(iter(items))
    assert next(passed) is items[0]
    assert fact(ledger).source is Source.NONE
    assert choice().gain is None


def test_a_resumed_slide_is_corrected_as_it_was_begun(ledger: Path) -> None:
    """Also where its first tiles are gone, or the profile's field has run out meanwhile."""
    first = FlatChoice(profile(None, known=False), ledger, NAME)
    list(first.settled(iter(shown(16))))
    again = FlatChoice(profile(None, known=False), ledger, NAME)
    assert list(again.settled(iter([tile(0, None)])))
    one, other = first().gain, again().gain
    assert one is not None
    assert other is not None
    assert np.array_equal(one, other)


def test_a_slide_that_ends_early_is_corrected_too(ledger: Path) -> None:
    choice = FlatChoice(profile(None, known=False), ledger, NAME)
    items = shown(6)[:-1]
    assert list(choice.settled(iter(items))) == items
    assert choice().gain is not None


def test_nothing_is_corrected_before_it_is_decided(ledger: Path) -> None:
    with pytest.raises(DamagedRun):
        FlatChoice(profile(None, known=False), ledger, NAME)()


def test_a_field_as_the_scan_tells_it_is_one(ledger: Path) -> None:
    list(FlatChoice(profile(None, known=False), ledger, NAME).settled(iter(shown(12))))
    field = fact(ledger).field
    assert field is not None
    assert np.allclose(illumination(field, (SIDE, SIDE)).mean(axis=(0, 1)), 1, atol=0.01)
