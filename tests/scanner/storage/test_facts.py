"""Does what happened come back from the ledger's text without losing a bit?"""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.errors import DamagedRun
from scanner.model.geometry import Rect
from scanner.model.plan import PlannedTile, grid_over, scan_plan
from scanner.model.tile import FocusState, Frame, Judged, Layer, Tile, TileFocus
from scanner.storage.facts import (
    BlockFact,
    Fact,
    PlacedFact,
    TileFailedFact,
    TileFinishedFact,
    finished_to_body,
    frame_from_body,
    plan_from_body,
    plan_to_body,
    tile_from_body,
    tile_to_body,
)
from scanner.storage.ledger import canonical

numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(1, 99)
PIXELS = np.zeros((2, 2, 3), np.uint8)

frames = st.builds(
    Frame,
    pixels=st.just(PIXELS),
    x_um=numbers,
    y_um=numbers,
    z_um=numbers,
    t_trigger_s=numbers,
    t_read_s=numbers,
)
focuses = st.builds(
    TileFocus,
    state=st.sampled_from(FocusState),
    z_um=numbers,
    sigma_um=numbers | st.just(math.inf),
    best_z_um=st.none() | numbers,
    reason=st.text(),
)
planned_tiles = st.builds(
    PlannedTile,
    tile=st.integers(0, 99_999),
    row=st.integers(-99, 99),
    col=st.integers(-99, 99),
    x_um=numbers,
    y_um=numbers,
    z_um=st.none() | numbers,
)
layers = st.builds(Layer, z_um=numbers, t_trigger_s=numbers, t_read_s=numbers, content=st.text(min_size=1))
tiles = st.builds(
    Tile,
    planned=planned_tiles,
    plan=counts,
    attempt=counts,
    frame=frames,
    content=st.text("0123456789abcdef", min_size=64, max_size=64),
    reported_x_um=numbers,
    reported_y_um=numbers,
    focus=focuses,
    frames=counts,
    layers=st.lists(layers, max_size=3).map(tuple),
)


@given(tile=tiles)
def test_a_tile_comes_back_bit_for_bit(tile: Tile) -> None:
    body = json.loads(canonical(tile_to_body(tile)))
    assert repr(tile_from_body(body, frame_from_body(body, PIXELS))) == repr(tile)


@given(tile=tiles)
def test_a_tile_without_its_pixels_is_a_tile_all_the_same(tile: Tile) -> None:
    bare = tile_from_body(tile_to_body(tile))
    assert bare.frame is None
    assert (bare.key, bare.focus, bare.content) == (tile.key, tile.focus, tile.content)
    assert frame_from_body(tile_to_body(bare), PIXELS) is None


@given(tile=tiles)
def test_a_tile_of_one_plane_says_nothing_of_layers(tile: Tile) -> None:
    assert ("layers" in tile_to_body(tile)) == bool(tile.layers)


def test_a_block_of_the_slides_own_image_is_told_as_ever_and_others_say_whose_they_are() -> None:
    plain = BlockFact(level=1, row=2, col=3, sha256="ab")
    assert (plain.key, plain.body()) == ("1.2.3", {"level": 1, "row": 2, "col": 3, "sha256": "ab"})
    assert plain.model_copy(update={"z": 4}).key == "1.2.3.z4"
    assert plain.model_copy(update={"image": "edf"}).key == "edf.1.2.3"


@given(tile=tiles, quality=st.floats(0, 1), share=st.floats(0, 1), edges=st.tuples(*[st.booleans()] * 4))
def test_what_was_judged_comes_back(
    tile: Tile, quality: float, share: float, edges: tuple[bool, bool, bool, bool]
) -> None:
    fact = TileFinishedFact.from_body(finished_to_body(Judged(tile, None, quality, share, edges)))
    assert (fact.tile, fact.plan) == tile.key
    assert (fact.quality, fact.sample_share, fact.sample_edges) == (quality, share, edges)


@given(x=numbers, y=numbers, sigma=st.floats(0, allow_nan=False))
def test_a_placed_tile_comes_back_also_with_an_unknown_sigma(x: float, y: float, sigma: float) -> None:
    fact = PlacedFact(tile=1, plan=1, x_px=x, y_px=y, held=False, sigma_px=sigma)
    assert PlacedFact.from_body(json.loads(canonical(fact.body()))) == fact


def test_a_plan_comes_back() -> None:
    grid, rows, cols = grid_over(Rect(43_000, 11_000, 3_000, 2_000), (512.0, 511.3), 0.1)
    cells = [(row, col) for row in range(rows) for col in range(cols)]
    plan = scan_plan("1-a", grid, cells[2:], cells[:2], growable=True)
    assert plan_from_body(json.loads(canonical(plan_to_body(plan)))) == plan


@pytest.mark.parametrize("sigma", [math.nan, -math.inf])
def test_a_number_that_is_none_does_not_become_a_fact(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma_px"):
        PlacedFact(tile=1, plan=1, x_px=0, y_px=0, held=False, sigma_px=sigma).body()


@pytest.mark.parametrize("fact", [PlacedFact, BlockFact, TileFailedFact, TileFinishedFact])
def test_a_body_of_another_kind_is_refused_in_words(fact: type[Fact]) -> None:
    with pytest.raises(DamagedRun, match=fact.__name__):
        fact.from_body({"something": "else"})


@pytest.mark.parametrize("reader", [tile_from_body, plan_from_body])
def test_a_tile_or_plan_that_is_none_is_refused_in_words(reader: "type[object]") -> None:
    with pytest.raises(DamagedRun, match="ledger holds"):
        reader({"something": "else"})  # type: ignore[call-arg]  # both take a body
