import numpy as np
import pytest

from detection.appearance import Appearance, appearance, thirds_of_hue, thirds_of_white


def test_white_darkness_and_hue_of_a_known_image() -> None:
    image = np.full((80, 100, 3), 200, np.uint8)
    image[:40, :50] = (20, 20, 120)
    look = appearance(image)
    assert look.white == pytest.approx(200, abs=1)
    assert look.dark_share == pytest.approx(0.25)
    density = (2 * np.log10(201 / 21) + np.log10(201 / 121)) / 3
    assert look.density == pytest.approx(0.25 * density, abs=1e-3)
    assert look.hue_deg == pytest.approx(240, abs=1)


def test_bare_glass_has_no_hue() -> None:
    assert appearance(np.full((40, 40, 3), 230, np.uint8)).hue_deg is None


def look(white: float = 230.0, hue: float | None = None) -> Appearance:
    return Appearance(white, 0.1, 0.0, hue)


def test_images_fall_into_thirds_and_equal_ones_into_none() -> None:
    parts = thirds_of_white([look(w) for w in (250, 180, 200, 220, 190, 240)])
    assert [name for name, _ in parts] == ["up to 197", "197 to 227", "over 227"]
    assert parts[0][1].tolist() == [False, True, False, False, True, False]
    assert thirds_of_white([look(200)] * 5) == []


def test_hues_around_red_lie_together_and_images_without_stain_in_no_third() -> None:
    parts = thirds_of_hue([look(hue=h) for h in (350.0, 355.0, 0.0, 5.0, 10.0, 15.0, None)])
    assert [int(mask.sum()) for _, mask in parts] == [2, 2, 2]
    assert parts[0][1].tolist()[:2] == [True, True]
    assert not any(mask[6] for _, mask in parts)
    assert thirds_of_hue([look()]) == []
