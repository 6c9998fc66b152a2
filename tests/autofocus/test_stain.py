"""Is focus measured in a colour that shows the stain?"""

import cv2
import numpy as np
import pytest

from autofocus.edf import extended_focus
from autofocus.metrics import ALL_METRICS, SmoothedBrenner
from autofocus.sharpness import measure
from autofocus.stain import BLUE, GREEN, RED, STAIN_CHANNELS, Stain, focus_channel_of

# optical density in red, green and blue; A. C. Ruifrok, D. A. Johnston, Anal. Quant. Cytol. Histol. 23, 2001
DYES = {
    "haematoxylin": (0.65, 0.70, 0.29),
    "eosin": (0.07, 0.99, 0.11),
    "dab": (0.27, 0.57, 0.78),
}
STAINED_WITH = {
    Stain.PAPANICOLAOU: ("haematoxylin", "eosin"),
    Stain.HAEMATOXYLIN_EOSIN: ("haematoxylin", "eosin"),
    Stain.DAB: ("haematoxylin", "dab"),
}


@pytest.mark.parametrize("stain", Stain)
def test_every_stain_has_a_channel_and_a_reason(stain: Stain) -> None:
    assert STAIN_CHANNELS[stain].channel in (RED, GREEN, BLUE)
    assert STAIN_CHANNELS[stain].reason


@pytest.mark.parametrize(("stain", "dyes"), STAINED_WITH.items())
def test_the_channel_of_a_stain_is_the_one_whose_weaker_dye_shows_most(
    stain: Stain, dyes: tuple[str, ...]
) -> None:
    weaker = [min(DYES[dye][channel] for dye in dyes) for channel in (RED, GREEN, BLUE)]
    assert focus_channel_of(stain) == int(np.argmax(weaker))


@pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda m: m.name)
def test_a_metric_looks_at_the_channel_it_is_given(metric: SmoothedBrenner) -> None:
    texture = np.random.default_rng(1).integers(100, 200, (128, 128)).astype(np.uint8)
    flat = np.full_like(texture, 180)
    blue_only = np.dstack([flat, flat, texture])
    assert metric(blue_only) == pytest.approx(0, abs=1e-9)
    assert type(metric)(channel=BLUE)(blue_only) == metric(texture) > 0


def test_a_frame_and_a_stack_are_judged_in_the_channel_asked_for() -> None:
    texture = np.random.default_rng(2).integers(100, 200, (128, 128)).astype(np.uint8)
    soft, flat = np.asarray(cv2.GaussianBlur(texture, (0, 0), 3.0), np.uint8), np.full_like(texture, 180)
    planes = [np.dstack([flat, flat, layer]) for layer in (soft, texture, soft)]
    assert measure(planes[1], channel=BLUE).total > 1e-6
    assert measure(planes[1]).total < 1e-9
    fused = extended_focus(planes, [0.0, 1.0, 2.0], channel=BLUE)
    assert np.median(fused.height_um) == pytest.approx(1.0, abs=0.01)
    np.testing.assert_array_equal(fused.image[..., 2], texture)
