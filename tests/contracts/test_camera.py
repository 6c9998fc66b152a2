import numpy as np

from scanner.devices.frame_checks import FrameForm
from scanner.devices.rig import Rig


def test_every_frame_has_the_form_the_profile_promises(rig: Rig) -> None:
    form = FrameForm.of(rig.profile.camera)
    for _ in range(3):
        exposure = rig.camera.start_exposure()
        exposure.exposed()
        pixels = exposure.read().pixels
        assert pixels.shape == form.shape
        assert pixels.dtype == form.dtype


def test_two_exposures_give_two_different_frames(rig: Rig) -> None:
    first, second = (rig.camera.start_exposure().read().pixels for _ in range(2))
    assert not np.array_equal(first, second)


def test_a_frame_is_read_after_its_exposure_ended(rig: Rig) -> None:
    picture = rig.camera.start_exposure().read()
    assert picture.read_s - picture.triggered_s >= rig.profile.camera.exposure_ms / 1000


def test_an_exposure_nobody_read_does_not_become_the_next_frame(rig: Rig) -> None:
    forgotten = rig.camera.start_exposure()
    forgotten.exposed()
    exposure = rig.camera.start_exposure()
    exposure.exposed()
    picture = exposure.read()
    assert picture.read_s - picture.triggered_s >= rig.profile.camera.exposure_ms / 1000


def test_the_overview_is_8_bit_rgb_at_the_scale_of_the_profile(rig: Rig) -> None:
    if rig.overview is None:
        assert rig.profile.devices.overview is None
        return
    picture = rig.overview.picture()
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert rig.profile.devices.overview is not None
    width_um = picture.shape[1] * rig.profile.devices.overview.um_per_px
    assert abs(width_um - 75_000.0) < 2_000.0


def test_the_main_camera_goes_on_after_an_overview(rig: Rig) -> None:
    if rig.overview is not None:
        rig.overview.picture()
    assert rig.camera.start_exposure().read().pixels.shape[0] == rig.profile.camera.height_px


def test_an_overview_may_follow_an_exposure_nobody_read(rig: Rig) -> None:
    rig.camera.start_exposure()
    if rig.overview is not None:
        assert rig.overview.picture().any()
    assert rig.camera.start_exposure().read().pixels.shape[0] == rig.profile.camera.height_px
