import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detection.detections import Detections
from detection.merging import Merged, TileDetections, merge

TILE_PX, STEP_PX = 256, 224


def _detections(boxes: NDArray[np.float64], abnormal: NDArray[np.float64]) -> Detections:
    n = len(boxes)
    return Detections.rounded(boxes.reshape(-1, 4), np.zeros(n), np.full(n, 0.9), abnormal, np.zeros(n))


def _tiles(cells: NDArray[np.float64], abnormal: NDArray[np.float64], jitter: float) -> list[TileDetections]:
    """Square cells of a 2 × 2 scan as each tile would see them, whole if their middle lies in the tile."""
    rng = np.random.default_rng(len(cells))
    tiles = []
    for number in range(4):
        corner = np.array([number % 2, number // 2]) * STEP_PX
        middle = cells[:, :2] + cells[:, 2:] / 2 - corner
        inside = ((middle >= 0) & (middle < TILE_PX)).all(axis=1)
        boxes = (
            cells[inside] - np.concatenate([corner, [0, 0]]) + rng.uniform(-jitter, jitter, (inside.sum(), 4))
        )
        tiles.append(
            TileDetections(
                number,
                float(corner[0]),
                float(corner[1]),
                TILE_PX,
                TILE_PX,
                _detections(boxes, abnormal[inside]),
            )
        )
    return tiles


def _grid_cells(pitch_px: float, size_px: float) -> NDArray[np.float64]:
    places = np.arange(6, 470, pitch_px)
    x, y = np.meshgrid(places, places)
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, size_px), np.full(x.size, size_px)], axis=1)


def _same(a: Merged, b: Merged) -> bool:
    return a.tiles.tolist() == b.tiles.tolist() and a.detections.to_json() == b.detections.to_json()


def test_cells_seen_by_several_tiles_are_counted_once() -> None:
    cells = _grid_cells(pitch_px=29, size_px=20)
    merged = merge(_tiles(cells, np.full(len(cells), 0.5), jitter=1.5))
    assert len(merged.detections) == len(cells)


def test_boxes_of_one_tile_are_never_merged() -> None:
    boxes = np.array([[10.0, 10, 40, 40], [12.0, 12, 30, 30], [10.0, 10, 40, 40]])
    merged = merge([TileDetections(1, 0, 0, 100, 100, _detections(boxes, np.array([0.1, 0.9, 0.5])))])
    assert len(merged.detections) == 3


def test_a_whole_cell_wins_against_the_same_cell_cut_by_a_tile_edge() -> None:
    cut = TileDetections(1, 0, 0, 100, 100, _detections(np.array([[80.0, 40, 20, 30]]), np.array([0.9])))
    whole = TileDetections(2, 70, 0, 100, 100, _detections(np.array([[10.0, 40, 30, 30]]), np.array([0.4])))
    merged = merge([cut, whole])
    assert merged.tiles.tolist() == [2]
    assert merged.detections.abnormal.tolist() == [np.float32(0.4)]


def test_of_two_whole_views_the_more_abnormal_one_is_kept() -> None:
    seen = [
        TileDetections(n, 0, 0, 100, 100, _detections(np.array([[10.0, 40, 30, 30]]), np.array([score])))
        for n, score in ((1, 0.2), (2, 0.8))
    ]
    assert merge(seen).detections.abnormal.tolist() == [np.float32(0.8)]


def test_of_two_whole_views_the_one_that_is_shown_is_kept_but_no_less_suspicious_than_the_other() -> None:
    box, mask = np.array([[10.0, 40, 30, 30]]), np.array([True])
    hidden = TileDetections(1, 0, 0, 100, 100, _detections(box, np.array([0.9])), shown=~mask)
    shown = TileDetections(2, 0, 0, 100, 100, _detections(box, np.array([0.3])), shown=mask)
    cut = TileDetections(3, 10, 0, 100, 100, _detections(box - [10, 0, 0, 0], np.array([0.8])), shown=mask)
    for seen in ([hidden, shown], [shown, hidden]):
        merged = merge(seen)
        assert merged.tiles.tolist() == [2]
        assert merged.detections.abnormal.tolist() == [np.float32(0.9)]
    assert merge([hidden, cut]).tiles.tolist() == [1]
    assert merge([hidden]).tiles.tolist() == [1]


def test_a_nucleus_inside_a_cell_is_not_as_suspicious_as_another_view_of_that_cell() -> None:
    """The other tile shows the whole cell alone: its suspicion is the cell's, not that of the small box within."""
    cell, nucleus = [10.0, 40, 80, 76], [15.0, 52, 21, 37]
    shown = _detections(np.array([cell, nucleus]), np.array([0.6, 0.2]))
    hidden = _detections(np.array([[12.0, 40, 80, 76]]), np.array([0.98]))
    for order in ((0, 1), (1, 0)):
        seen = [
            TileDetections(1, 0, 0, 200, 200, shown.take(np.array(order)), np.array([True, True])),
            TileDetections(2, 0, 0, 200, 200, hidden, np.array([False])),
        ]
        merged = merge(seen).detections
        assert merged.boxes.tolist() == [cell, nucleus]
        assert merged.abnormal.tolist() == [np.float32(0.98), np.float32(0.2)]


def test_no_tiles_and_empty_tiles_merge_to_nothing() -> None:
    assert len(merge([]).detections) == 0
    assert len(merge([TileDetections(1, 0, 0, 10, 10, Detections.none())]).detections) == 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    order=st.permutations(range(4)),
    count=st.integers(0, 60),
)
def test_the_order_of_arrival_plays_no_part(seed: int, order: list[int], count: int) -> None:
    rng = np.random.default_rng(seed)
    cells = np.hstack([rng.uniform(0, 440, (count, 2)), rng.uniform(4, 90, (count, 2))])
    tiles = _tiles(cells, rng.choice([0.1, 0.5, 0.9], count), jitter=3.0)
    assert _same(merge(tiles), merge([tiles[i] for i in order]))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 80))
def test_merging_agrees_with_comparing_every_pair(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.hstack([rng.uniform(20, 200, (count, 2)), rng.uniform(2, 120, (count, 2))]).round(0)
    score = rng.permutation(count) / 100
    owner = rng.integers(0, 3, count)
    tiles = [
        TileDetections(tile, 0, 0, 1000, 1000, _detections(boxes[owner == tile], score[owner == tile]))
        for tile in range(3)
    ]
    kept: list[int] = []
    for index in np.argsort(-score):
        clash = [k for k in kept if owner[k] != owner[index] and _ios(boxes[k], boxes[index]) >= 0.6]
        if not clash:
            kept.append(int(index))
    assert np.allclose(merge(tiles).detections.abnormal, score[kept])


def _ios(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return float(max(w, 0) * max(h, 0) / min(a[2] * a[3], b[2] * b[3]))
