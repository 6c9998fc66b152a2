"""Is blood told from the colours of the stain, whatever the lamp, and from nothing else?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scanner.devices.simulated.bodies import Palette
from scanner.devices.simulated.flaws import BLOOD_OD
from scanner.pipeline.blood import blood_share

PAP = Palette()
UM = 8.0
Od = tuple[float, float, float]


def smear(
    parts: list[tuple[Od, float]], white: tuple[float, float, float] = (240.0, 240.0, 240.0)
) -> NDArray[np.uint8]:
    """(200, 200, 3) uint8: bands of a density and a share of the height each, glass below them."""
    od, row = np.zeros((200, 200, 3)), 0
    for density, share in parts:
        od[row : row + round(200 * share)] = density
        row += round(200 * share)
    return np.asarray(np.rint(np.array(white) * np.exp(-od)), np.uint8)


@pytest.mark.parametrize("stain", [PAP.blue, PAP.pink, PAP.nuclear, PAP.cytoplasm(0.5)])
@pytest.mark.parametrize("strength", [0.3, 1.0, 2.5])
def test_no_stain_of_papanicolaou_is_blood(stain: Od, strength: float) -> None:
    r, g, b = (strength * v for v in stain)
    assert blood_share(smear([((r, g, b), 0.5)]), UM, 240.0) == 0.0


@given(st.floats(0.05, 0.6), st.floats(0.1, 0.35), st.floats(0.3, 2.0))
def test_the_share_is_that_of_the_sample_and_not_of_the_glass(
    bloody: float, clean: float, thick: float
) -> None:
    r, g, b = (thick * v for v in BLOOD_OD)
    found = blood_share(smear([((r, g, b), bloody), (PAP.blue, clean)]), UM, 240.0)
    assert found == pytest.approx(bloody / (bloody + clean), abs=0.05)


@pytest.mark.parametrize("white", [(250.0, 225.0, 170.0), (150.0, 200.0, 235.0)])
def test_a_lamp_of_another_colour_changes_nothing(white: tuple[float, float, float]) -> None:
    assert blood_share(smear([(PAP.pink, 0.4)], white), UM, None) == 0.0
    assert blood_share(smear([(BLOOD_OD, 0.4)], white), UM, None) == 1.0


def test_what_was_not_captured_is_no_sample_and_gray_images_tell_nothing() -> None:
    picture = smear([(BLOOD_OD, 0.2), (PAP.blue, 0.2)])
    picture[160:] = 255
    assert blood_share(picture, UM, 240.0) == pytest.approx(0.5, abs=0.03)
    assert blood_share(np.full((64, 64, 3), 255, np.uint8), UM, None) is None
    assert blood_share(np.full((64, 64), 100, np.uint8), UM, None) is None
    assert blood_share(smear([]), UM, 240.0) is None


def test_sixteen_bits_tell_the_same_as_eight() -> None:
    picture = smear([(BLOOD_OD, 0.3), (PAP.pink, 0.3)])
    deep = picture.astype(np.uint16) * 257
    assert blood_share(deep, UM, 240.0 * 257) == blood_share(picture, UM, 240.0)
