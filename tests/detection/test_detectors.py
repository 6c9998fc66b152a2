import numpy as np
import pytest

from detection.detections import Detections
from detection.detector import Detector
from detection.errors import ImageRefused
from detection.onnx_detector import OnnxDetector
from detection.package import DetectorPackage
from tests.detection.untrained import field


@pytest.fixture(params=["onnx", "torch"])
def detector(request: pytest.FixtureRequest, package: DetectorPackage) -> Detector:
    if request.param == "onnx":
        return OnnxDetector(package)
    pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    from detection.torch_detector import TorchDetector

    return TorchDetector(package)


def _same(a: Detections, b: Detections) -> bool:
    return a.to_json() == b.to_json()


def test_every_image_gets_the_answer_it_gets_alone(detector: Detector) -> None:
    images = [field(256, 256, seed) for seed in range(5)]
    together = detector.detect(images, 0.5)
    assert all(
        _same(answer, detector.detect([image], 0.5)[0])
        for image, answer in zip(images, together, strict=True)
    )
    assert sum(len(answer) for answer in together) > 10


def test_images_of_any_size_are_looked_at(detector: Detector) -> None:
    for height, width in ((37, 53), (8, 8), (300, 1111)):
        (found,) = detector.detect([field(height, width)], 0.5)
        centres = found.boxes[:, :2] + found.boxes[:, 2:] / 2
        assert ((centres >= 0) & (centres <= [width, height])).all()


def test_a_large_image_is_cut_without_losing_or_doubling_cells(detector: Detector) -> None:
    wide = field(200, 2600, 3)
    (whole,) = detector.detect([wide], 0.5)
    (left,) = detector.detect([np.ascontiguousarray(wide[:, :1200])], 0.5)
    far_left = (whole.boxes[:, 0] + whole.boxes[:, 2] < 900).sum()
    assert far_left == pytest.approx((left.boxes[:, 0] + left.boxes[:, 2] < 900).sum(), rel=0.1)


def test_another_scale_is_resampled_and_boxes_come_back_in_the_images_own_pixels(detector: Detector) -> None:
    fine = field(512, 512)
    (found,) = detector.detect([fine], 0.25)
    assert found.boxes[:, :2].max() > 300


def test_an_image_twice_too_coarse_is_refused(detector: Detector) -> None:
    with pytest.raises(ImageRefused, match="more than twice as coarse"):
        detector.detect([field(64, 64)], 1.01)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_none_is_refused(detector: Detector, scale: float) -> None:
    with pytest.raises(ImageRefused):
        detector.detect([field(64, 64)], scale)


def test_gray_images_must_be_made_rgb_first(detector: Detector) -> None:
    with pytest.raises(ImageRefused):
        detector.detect([np.zeros((64, 64), np.uint8)], 0.5)


def test_torch_and_onnx_agree(package: DetectorPackage) -> None:
    pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    from detection.torch_detector import TorchDetector

    image = field(512, 512, 9)
    (a,), (b,) = OnnxDetector(package).detect([image], 0.5), TorchDetector(package).detect([image], 0.5)
    assert len(a) == len(b) > 10
    assert np.abs(a.boxes - b.boxes).max() <= 1
    assert np.abs(a.abnormal - b.abnormal).max() <= 1e-3


def test_empty_glass_holds_no_cells_for_the_shipped_detector() -> None:
    from detection.opening import open_detector
    from detection.package import default_package

    glass = np.random.default_rng(0).normal(236, 2, (512, 512, 3)).clip(0, 255).astype(np.uint8)
    (found,) = open_detector(default_package(), "onnx").detect([glass], 0.5)
    assert (found.scores < 0.3).all()
