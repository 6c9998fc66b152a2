"""How does a package look at images through torch: on CUDA where there is one, else on the CPU?"""

from collections.abc import Sequence

import numpy as np
import torch

from detection.architectures import device_here
from detection.detections import Detections, Floats, Image
from detection.detector import at_scale, find, self_test
from detection.errors import PackageError
from detection.package import CROP_PREFIX, SECOND_PREFIX, DetectorPackage
from detection.second_look import batches
from detection.torch_graphs import Asked
from detection.torch_networks import answer_of, channels_last, first_network, folded, halved, later_networks
from detection.torch_road import Road


class TorchDetector:
    """A :class:`detection.detector.Detector` in torch, image by image, as the networks were learnt."""

    def __init__(self, package: DetectorPackage, device: torch.device | None = None) -> None:
        self._package = package
        self._device = device or device_here()
        self._network = first_network(package).to(self._device)
        self._looks = {
            prefix: network.to(self._device) for prefix, network in later_networks(package).items()
        }

    @property
    def package(self) -> DetectorPackage:
        """What it was made from."""
        return self._package

    @property
    def provider(self) -> str:
        """The library and the device."""
        return f"torch {torch.__version__} on {self._device}"

    def detect(self, images: Sequence[Image], um_per_px: float) -> list[Detections]:
        """See :meth:`detection.detector.Detector.detect`."""
        return find(self, self._package, images, um_per_px)

    def maps(self, densities: Sequence[Floats]) -> list[Floats]:
        """See :class:`detection.detector.Networks`."""
        return [self._run(self._network, density[None])[0] for density in densities]

    def second(self, patches: Floats) -> Floats:
        """See :class:`detection.detector.Networks`."""
        return self._looked(SECOND_PREFIX, patches)

    def crop(self, patches: Floats) -> Floats:
        """See :class:`detection.detector.Networks`."""
        return self._looked(CROP_PREFIX, patches)

    def _looked(self, prefix: str, patches: Floats) -> Floats:
        if prefix not in self._looks:
            raise PackageError(str(self._package.path), [f"it has no weights {prefix}*"])
        network = self._looks[prefix]
        return np.concatenate([self._run(network, batch)[:count] for batch, count in batches(patches)])

    def _run(self, network: torch.nn.Module, batch: Floats) -> Floats:
        given = torch.from_numpy(batch).to(self._device, memory_format=torch.channels_last)
        return np.asarray(answer_of(network, given).cpu().numpy(), dtype=np.float32)


class FastTorchDetector:
    """The same in large batches and with all pixels staying on the device, which wants to be a CUDA one.

    In ``half`` precision the first look's convolutions are done with 11 bits a number. The later looks never are: of
    one shipped package's, that changed a probability by up to 0.002, twice what is allowed. Theirs are small batches,
    which cuDNN in full precision looks at sooner with channels first (824 instead of 965 µs for 128 patches, H200).

    On CUDA the networks' work is ``replayed`` unless said otherwise.
    """

    def __init__(
        self, package: DetectorPackage, device: torch.device, half: bool = False, replayed: bool = True
    ) -> None:
        self._package, self._device, self._half = package, device, half
        self._replayed = replayed and device.type == "cuda"
        first = folded(first_network(package), without_groups=True)
        last = channels_last((halved(first) if half else first).to(device))
        later = {
            prefix: Asked(folded(network).to(device), self._replayed)
            for prefix, network in later_networks(package).items()
        }
        self.road = Road(device, package.config.rackscan, Asked(last, self._replayed), later)

    @property
    def package(self) -> DetectorPackage:
        """What it was made from."""
        return self._package

    @property
    def half(self) -> bool:
        """Whether the first look is done in half precision."""
        return self._half

    @property
    def provider(self) -> str:
        """The library, the device, the precision and whether the networks' work is replayed."""
        how = ("half" if self._half else "full") + (", replayed" if self._replayed else "")
        return f"torch {torch.__version__} on {self._device}, {how}"

    def detect(self, images: Sequence[Image], um_per_px: float) -> list[Detections]:
        """See :meth:`detection.detector.Detector.detect`."""
        return at_scale(self._package, images, um_per_px, self.road.look)


def torch_detector(
    package: DetectorPackage, device: torch.device | None = None
) -> TorchDetector | FastTorchDetector:
    """The detector for a device: on CUDA the fast one, in half precision where that passes the package's self-test.

    Raises:
        PackageError: where its network cannot be built from its files.
        DeviceRefused: where the device cannot record the networks' work.
    """
    where = device or device_here()
    if where.type != "cuda":
        return TorchDetector(package, where)
    half = FastTorchDetector(package, where, half=True)
    return half if passes(half) else FastTorchDetector(package, where)


def passes(detector: FastTorchDetector) -> bool:
    """Does it find on its package's own image what it must?"""
    try:
        self_test(detector)
    except PackageError:
        return False
    return True
