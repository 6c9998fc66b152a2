"""Does an answer of the detector count once, for its own question alone, and also where an older rackscan gave it?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from detection.detections import Detections
from detection.opening import open_detector, provider_here
from detection.package import default_package
from scanner.answering import Here
from scanner.model.events import Kind
from scanner.model.plan import PlannedTile
from scanner.model.tile import FocusState, Judged, Pixels, Tile, TileFocus
from scanner.pipeline.cell_branch import CellWork, look_for_cells, searched
from scanner.pipeline.flat_field import Correction
from scanner.pipeline.search_keys import SearchConfig, SearchKeys, correction_hash
from scanner.pipeline.searching import CellSearch, Job, PixelJob, as_rgb8
from scanner.storage.ledger import Ledger
from scanner.storage.light_facts import FlatFieldFact, Source
from scanner.storage.profiles import read_profile
from scanner.stream import Road

PROFILE = Path(__file__).parents[3] / "hardware_profiles" / "simulated.yaml"
CONFIG = SearchConfig(um_per_px=0.5, provider="test 1 on CPU", libraries="numpy 2", correction="0" * 64)
SLIDE = "1-r"


def keys(**changes: object) -> SearchKeys:
    return SearchKeys("p" * 64, lambda: CONFIG.model_copy(update=changes))


def tile(number: int) -> Tile:
    planned = PlannedTile(tile=number, row=0, col=number, x_um=0.0, y_um=0.0)
    focus = TileFocus(FocusState.SHARP, 0.0, 0.1)
    return Tile(planned, 1, 1, None, f"{number:064d}", 0.0, 0.0, focus, 1)


def shown(number: int, gone: bool = False) -> Judged:
    pixels: Pixels = np.full((8, 8, 3), number, np.uint8)
    return Judged(tile(number), None if gone else pixels, 1.0, 1.0, (False,) * 4)


class Counting:
    """Finds one cell a tile, and remembers how often it was asked."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, job: Job) -> Detections:
        self.seen.append(int(job.image()[0, 0, 0]))
        one = np.ones(1)
        return Detections.rounded(np.array([[1.0, 2, 3, 4]]), np.zeros(1), one, one * 0.5, np.zeros(1))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "run.sqlite", create=True) as opened:
        yield opened


def show(judged: Judged, name: str) -> Job:
    assert judged.pixels is not None
    return PixelJob(name, as_rgb8(judged.pixels), 0.5)


def search(ledger: Path, items: list[Judged], names: SearchKeys) -> tuple[list[int], set[str]]:
    """Which tiles were looked at, and the tiles that have an answer then."""
    counting = Counting()
    who = CellSearch(Here(lambda: counting, "counting"), "test 1 on CPU")
    with Road() as road:
        found = look_for_cells(items, CellWork(SLIDE, show, who, names, ledger), road)
    return counting.seen, set(found)


def test_a_tile_is_searched_once_and_its_answer_counts_again(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    assert search(path, [shown(1), shown(2)], keys()) == ([1, 2], {"1.1", "2.1"})
    assert search(path, [shown(1), shown(2, gone=True), shown(3)], keys()) == ([3], {"1.1", "2.1", "3.1"})
    assert len(list(ledger.events(Kind.DETECTED, SLIDE))) == 3
    assert searched(ledger, SLIDE, keys(), tile(3))
    assert not searched(ledger, SLIDE, keys(), tile(4))


@pytest.mark.parametrize(
    "change",
    [
        {"um_per_px": 0.25},
        {"provider": "torch"},
        {"libraries": "numpy 3"},
        {"correction": "1"},
        {"reading": 9},
    ],
)
def test_an_answer_under_another_configuration_counts_only_where_the_pixels_are_gone(
    ledger: Ledger, tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "run.sqlite"
    search(path, [shown(1), shown(2)], keys())
    assert not searched(ledger, SLIDE, keys(**change), tile(1))
    seen, answered = search(path, [shown(1), shown(2, gone=True)], keys(**change))
    assert (seen, answered) == ([1], {"1.1", "2.1"})
    names = [event.key for event in ledger.events(Kind.DETECTED, SLIDE)]
    assert len(set(names)) == len(names) == 3


def test_an_answer_of_before_configurations_had_names_counts(ledger: Ledger, tmp_path: Path) -> None:
    body = {
        "tile": 1,
        "plan": 1,
        "cells": {
            k: list(v)
            for k, v in Counting()(PixelJob("", np.zeros((1, 1, 3), np.uint8), 1.0)).to_json().items()
        },
    }
    ledger.append(Kind.DETECTED, SLIDE, f"1.{tile(1).content[:32]}.{'p' * 32}", body)  # type: ignore[arg-type]  # JSON
    assert searched(ledger, SLIDE, keys(), tile(1))
    assert search(tmp_path / "run.sqlite", [shown(1), shown(2)], keys()) == ([2], {"1.1", "2.1"})


def test_a_tile_of_other_content_or_of_another_detector_is_another_question() -> None:
    other = SearchKeys("q" * 64, lambda: CONFIG)
    assert len({keys().of(tile(1)), keys().of(tile(2)), other.of(tile(1))}) == 3
    assert keys().of(tile(1)).startswith(keys().without_config(tile(1)) + ".")


def test_two_sessions_that_searched_one_tile_leave_one_answer(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    found, _ = (
        search(path, [shown(1)], keys()),
        ledger.append(Kind.DETECTED, SLIDE, keys().of(tile(1)), {"late": 1}),
    )
    assert found == ([1], {"1.1"})
    assert [event.body.get("late") for event in ledger.events(Kind.DETECTED, SLIDE)] == [None]


def test_what_was_decided_about_the_light_is_part_of_the_question() -> None:
    profile = read_profile(PROFILE)
    none, own = FlatFieldFact(source=Source.NONE), FlatFieldFact(source=Source.PROFILE)
    assert correction_hash(profile, none) != correction_hash(profile, own)
    turned = profile.model_copy(update={"name": "another"})
    assert correction_hash(profile, own) != correction_hash(turned, own)
    raw = np.full((profile.camera.height_px, profile.camera.width_px, 3), 100, np.uint8)
    again = type(profile).model_validate_json(profile.model_dump_json())
    assert correction_hash(again, own) == correction_hash(profile, own)
    assert np.array_equal(Correction.decided(again, own)(raw), Correction.decided(profile, own)(raw))
    assert not np.array_equal(Correction.decided(profile, none)(raw), Correction.decided(profile, own)(raw))


def test_the_provider_named_ahead_is_the_one_that_searches() -> None:
    assert open_detector(default_package()).provider == provider_here()
