"""Are training scenes repeatable, truthful, and hard enough?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.devices.simulated.bodies import Palette, draw_cell
from scanner.devices.simulated.litter import draw_litter
from scanner.devices.simulated.recipes import RECIPES
from scanner.devices.simulated.scene import ABNORMAL_MIX, NORMAL_MIX, Look, render_scene
from scanner.devices.simulated.textures import Textures
from scanner.devices.simulated.truth import ABNORMAL, CellClass


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_a_seed_gives_one_scene_whose_boxes_lie_inside(seed: int) -> None:
    look = Look.random(np.random.default_rng(seed))
    one = render_scene((256, 320), seed, look, NORMAL_MIX | ABNORMAL_MIX)
    two = render_scene((256, 320), seed, look, NORMAL_MIX | ABNORMAL_MIX)
    assert np.array_equal(one.rgb, two.rgb)
    assert one.rgb.shape == (256, 320, 3)
    assert len(one.classes) == len(one.truth) == len(one.boxes_px)
    ends = one.boxes_px[:, :2] + one.boxes_px[:, 2:]
    assert (one.boxes_px[:, :2] >= 0).all()
    assert (ends <= (320, 256)).all()


def test_another_seed_gives_another_scene() -> None:
    assert not np.array_equal(render_scene((64, 64), 1).rgb, render_scene((64, 64), 2).rgb)


def test_counts_are_kept_exactly() -> None:
    scene = render_scene((800, 800), 5, Look(clumping=0.0), counts={CellClass.HSIL: 4, CellClass.BUBBLE: 1})
    assert len(scene.classes) <= 5
    assert set(scene.classes) <= {CellClass.HSIL, CellClass.BUBBLE}


def test_what_a_box_marks_is_darker_than_the_glass_round_it() -> None:
    scene = render_scene((700, 700), 3, Look(clumping=0.0), counts={CellClass.LSIL: 6})
    glass = np.median(scene.rgb[..., 0])
    for x, y, w, h in scene.boxes_px.astype(int):
        assert scene.rgb[y : y + h, x : x + w, 0].mean() < glass - 15


@pytest.mark.parametrize("kind", list(CellClass))
def test_every_class_can_be_drawn_at_other_scales(kind: CellClass) -> None:
    rng = np.random.default_rng(4)
    for um_per_px in (0.25, 0.6):
        draw = draw_cell if kind in RECIPES else draw_litter
        body = draw(rng, Textures(1, um_per_px), Palette(), kind, um_per_px)
        x, y, w, h = body.box_px
        assert 0 < w <= body.nucleus.shape[1] - x
        assert 0 < h <= body.nucleus.shape[0] - y
        assert min(body.cytoplasm.min(), body.nucleus.min()) >= 0


def test_no_threshold_on_size_or_darkness_of_the_nucleus_tells_reactive_from_abnormal() -> None:
    """The overlap of two distributions is the area under the lower of their histograms."""
    rng = np.random.default_rng(0)
    textures = Textures(2, 0.5)
    drawn = {
        kind: np.array(
            [_size_and_darkness(draw_cell(rng, textures, Palette(), kind, 0.5).nucleus) for _ in range(60)]
        )
        for kind in (CellClass.REACTIVE, *sorted(ABNORMAL))
    }
    reactive = drawn.pop(CellClass.REACTIVE)
    abnormal = np.concatenate(list(drawn.values()))
    for feature in (0, 1):
        assert _overlap(reactive[:, feature], abnormal[:, feature]) >= 0.2


def _size_and_darkness(nucleus: np.ndarray) -> tuple[float, float]:
    inside = nucleus > 0.3
    return float(np.sqrt(inside.sum())), float(np.median(nucleus[inside]))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    edges = np.histogram_bin_edges(np.concatenate([a, b]), 12)
    shares = [np.histogram(values, edges)[0] / len(values) for values in (a, b)]
    return float(np.minimum(*shares).sum())


def test_the_dangerous_classes_are_the_bethesda_ones() -> None:
    assert {kind.value for kind in ABNORMAL} == {"ASC-US", "LSIL", "ASC-H", "HSIL", "SCC", "AGC"}
