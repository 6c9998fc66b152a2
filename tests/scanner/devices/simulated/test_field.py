"""Does the main camera obey optics and photon statistics?"""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scanner.devices.simulated.field import FULL_WELL_E, READ_NOISE_E, SIDE_PX, FieldCamera
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import BareGlass, CameraGrid

GRID = CameraGrid()


@pytest.fixture(scope="module")
def camera() -> FieldCamera:
    return FieldCamera(1, GRID)


class Spot:
    """Small dark squares at known places of the slide."""

    def __init__(self, *places_um: tuple[float, float]) -> None:
        self._places = places_um

    def absorb(self, od: NDArray[np.float32], corner: tuple[int, int], z_um: float) -> None:
        for x, y in self._places:
            u, v = (round(value) for value in GRID.from_slide(x, y))
            od[:, v - corner[1] - 3 : v - corner[1] + 4, u - corner[0] - 3 : u - corner[0] + 4] = 2.0

    def overview_od(self) -> NDArray[np.float32]:
        return BareGlass().overview_od()

    def truth(self) -> tuple[()]:
        return ()

    def close(self) -> None:
        pass


def _middle_of_dark(picture: NDArray[np.uint8]) -> tuple[float, float]:
    dark = np.clip(200.0 - picture[..., 1].astype(float), 0, None)
    dark[dark < 40] = 0
    v, u = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return float((u * dark).sum() / dark.sum()), float((v * dark).sum() / dark.sum())


@pytest.mark.parametrize("offset_um", [(0.0, 0.0), (100.3, -47.9), (-150.1, 120.6)])
def test_a_place_is_seen_where_the_rotated_scaled_camera_puts_it(
    camera: FieldCamera, offset_um: tuple[float, float]
) -> None:
    u, v = GRID.from_slide(45_000, 12_000)
    place = GRID.to_slide(round(u), round(v))
    centre = (place[0] - offset_um[0], place[1] - offset_um[1])
    picture = camera.expose(Spot(place), centre, 0.0, 5.0, 3)
    du, dv = GRID.from_slide(*offset_um)
    assert _middle_of_dark(picture) == pytest.approx(
        (SIDE_PX / 2 - 0.5 + du, SIDE_PX / 2 - 0.5 + dv), abs=0.06
    )


def test_noise_is_that_of_ten_thousand_electrons(camera: FieldCamera) -> None:
    a, b = (camera.expose(BareGlass(), (0, 0), 0.0, 5.0, n)[300:700, 300:700].astype(float) for n in (1, 2))
    variance = ((a / a.mean() - b / b.mean()) ** 2).mean() / 2 * a.mean() ** 2
    dn_per_e = 255 / FULL_WELL_E
    expected = a.mean() * dn_per_e + (READ_NOISE_E * dn_per_e) ** 2 + 1 / 12
    assert variance == pytest.approx(expected, rel=0.04)


def test_no_two_frames_share_their_noise(camera: FieldCamera) -> None:
    a, b = (camera.expose(BareGlass(), (0, 0), 0.0, 5.0, n)[..., 1].astype(np.float32) for n in (1, 2))
    high = [picture - cv2.GaussianBlur(picture, (0, 0), 3) for picture in (a, b)]
    _, response = cv2.phaseCorrelate(high[0], high[1])
    assert response < 0.02


def test_frame_flickers_by_a_percent_and_darkens_to_the_corners(camera: FieldCamera) -> None:
    frames = [camera.expose(BareGlass(), (0, 0), 0.0, 5.0, n) for n in range(12)]
    levels = np.array([frame.mean() for frame in frames])
    assert 0.003 < levels.std() / levels.mean() < 0.03
    mean = np.mean(frames, axis=0)[..., 1]
    corner = mean[[0, 0, -1, -1], [0, -1, 0, -1]].mean() / mean[500:524, 500:524].mean()
    assert corner == pytest.approx(0.85, abs=0.02)


def test_a_frame_depends_on_the_exposure_index_alone(camera: FieldCamera, slide: ProceduralSlide) -> None:
    again = FieldCamera(1, GRID)
    first, second = (c.expose(slide, (46_500, 8_000), 1.0, 5.0, 77) for c in (camera, again))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, camera.expose(slide, (46_500, 8_000), 1.0, 5.0, 78))


def test_without_light_there_is_only_read_noise(camera: FieldCamera) -> None:
    assert camera.dark(1).max() <= 2


def test_a_longer_exposure_is_brighter_until_it_saturates(camera: FieldCamera) -> None:
    levels = [float(camera.expose(BareGlass(), (0, 0), 0.0, ms, 1).mean()) for ms in (2.5, 5.0, 20.0)]
    assert levels[0] == pytest.approx(levels[1] / 2, rel=0.03)
    assert levels[2] > 254


def _sharpness(picture: NDArray[np.uint8]) -> float:
    smooth = cv2.GaussianBlur(picture[..., 1].astype(np.float32), (0, 0), 1.0)
    return float(((smooth[:, 2:] - smooth[:, :-2]) ** 2).mean())


def test_sharpness_stays_within_the_depth_of_field_and_falls_outside(
    camera: FieldCamera, slide: ProceduralSlide
) -> None:
    at = (46_500.0, 8_000.0)
    noise = _sharpness(camera.expose(BareGlass(), at, 0.0, 5.0, 5))
    surface = slide.surface.height(*at)
    defocus_um = np.array([-25, -12, -7, -4, -2, -0.49, 0, 0.49, 2, 4, 7, 12, 25])
    curve = np.array(
        [_sharpness(camera.expose(slide, at, surface + dz, 5.0, 5)) - noise for dz in defocus_um]
    )
    peak = curve.max()
    assert (curve[[5, 6, 7]] > 0.9 * peak).all()
    assert (np.diff(curve[:5]) > 0).all()
    assert (np.diff(curve[8:]) < 0).all()
    assert max(curve[0], curve[-1]) < 0.05 * peak
