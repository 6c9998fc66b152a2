from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scanner.model.profile import FlatField
from scanner.pipeline.flat_field import Correction, illumination, upright
from scanner.pipeline.quality import look
from scanner.storage.profiles import read_profile

PROFILES = Path(__file__).parents[3] / "hardware_profiles"


def glass(seed: int = 1) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(235, 2.3, (512, 512, 3)), 0, 255).astype(np.uint8)


def with_cell(at: tuple[int, int], blur: float = 1.0) -> NDArray[np.uint8]:
    picture = glass()
    cell = np.zeros((512, 512), np.float32)
    cv2.circle(cell, at, 45, 0.25, -1)
    cv2.circle(cell, at, 8, 1.0, -1)
    absorbed = cv2.GaussianBlur(cell, (0, 0), blur)
    return (picture * np.exp(-absorbed)[..., None]).astype(np.uint8)


def test_empty_glass_holds_no_sample() -> None:
    seen = look(glass())
    assert seen.sample_share < 0.002
    assert seen.sample_edges == (False, False, False, False)
    assert seen.quality <= 1.0


def test_a_single_cell_is_sample_and_far_from_every_edge() -> None:
    seen = look(with_cell((256, 256)))
    assert 0.01 < seen.sample_share < 0.05
    assert not any(seen.sample_edges)


@pytest.mark.parametrize(("at", "edge"), [((5, 256), 0), ((256, 5), 1), ((507, 256), 2), ((256, 507), 3)])
def test_a_cell_on_an_edge_is_said_to_reach_it(at: tuple[int, int], edge: int) -> None:
    assert [n for n, reaches in enumerate(look(with_cell(at)).sample_edges) if reaches] == [edge]


def test_a_blurred_cell_shows_less_detail_than_a_crisp_one() -> None:
    assert look(with_cell((256, 256), blur=6)).quality < 0.7 * look(with_cell((256, 256), blur=1)).quality


def test_sixteen_bits_tell_the_same_as_eight() -> None:
    eight = with_cell((256, 256))
    sixteen = eight.astype(np.uint16) * 257
    assert look(sixteen).sample_share == pytest.approx(look(eight).sample_share, abs=1e-3)
    assert look(sixteen[..., 1]).sample_share > 0


@given(
    st.sampled_from(
        [[[1, 0], [0, 1]], [[-1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]]]
    )
)
def test_upright_puts_every_pixel_where_the_matrix_says(turns: list[list[int]]) -> None:
    matrix = np.array(turns)
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    turned = upright(picture, matrix)
    middle = (np.array(picture.shape[::-1]) - 1) / 2
    new_middle = (np.array(turned.shape[::-1]) - 1) / 2
    for y in range(3):
        for x in range(4):
            at = matrix @ (np.array([x, y]) - middle) + new_middle
            assert turned[round(at[1]), round(at[0])] == picture[y, x]


def test_a_flat_field_makes_an_unevenly_lit_glass_even() -> None:
    field = FlatField(coefficients=((1, 0.02, 0, -0.08, 0, -0.08, 0, 0, 0),) * 3)
    light = illumination(field, (256, 256))
    raw = np.clip(230 * light, 0, 255).astype(np.uint8)
    flat = Correction(np.eye(2, dtype=np.int64), np.float32(1) / light)(raw)
    assert flat.dtype == np.uint8
    assert int(flat.max()) - int(flat.min()) <= 2


def test_a_rig_without_a_flat_field_keeps_its_pixels() -> None:
    profile = read_profile(PROFILES / "simulated.yaml")
    bare = profile.model_copy(update={"measured": profile.measured.model_copy(update={"flat_field": None})})
    picture = glass()
    assert Correction.of(bare)(picture) is picture
