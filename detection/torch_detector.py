"""How does a package look at images through torch: on CUDA where there is one, else on the CPU?"""

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from detection.architectures import ARCHITECTURES, build, device_here
from detection.detections import Detections, Floats, Image
from detection.detector import find
from detection.errors import PackageError
from detection.package import (
    CROP_PREFIX,
    SECOND_PREFIX,
    WEIGHTS,
    DetectorPackage,
    first_weights,
    weights_of,
)
from detection.second_look import batches
from detection.second_networks import second_network

BATCH = 4


class TorchDetector:
    """A :class:`detection.detector.Detector` in torch; batches have a fixed size and are filled with empty glass."""

    def __init__(self, package: DetectorPackage, device: torch.device | None = None) -> None:
        self._package = package
        self._device = device or device_here()
        self._network = _network(package).to(self._device).eval()
        extension = package.config.rackscan
        looks = {SECOND_PREFIX: extension.second_look, CROP_PREFIX: extension.crop_look}
        self._looks = {
            prefix: _filled(package, second_network(look), weights_of(package.weights, prefix))
            .to(self._device)
            .eval()
            for prefix, look in looks.items()
            if look is not None
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
        size = BATCH if self._device.type == "cuda" else 1
        answers: list[Floats] = []
        for _, alike in itertools.groupby(densities, lambda density: density.shape):
            own = list(alike)
            for start in range(0, len(own), size):
                answers += self._batch(own[start : start + size], size)
        return answers

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

    def _batch(self, densities: Sequence[Floats], size: int) -> list[Floats]:
        batch = np.zeros((size, *densities[0].shape), np.float32)
        batch[: len(densities)] = densities
        return list(self._run(self._network, batch)[: len(densities)])

    def _run(self, network: torch.nn.Module, batch: Floats) -> Floats:
        given = torch.from_numpy(batch).to(self._device, memory_format=torch.channels_last)
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
        ):
            return np.asarray(network(given).float().cpu().numpy(), dtype=np.float32)


def _network(package: DetectorPackage) -> torch.nn.Module:
    config = package.config
    if config.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise PackageError(str(package.path), [f"architecture {config.architecture} is not one of {known}"])
    network = build(config.architecture, config.rackscan.network, config.num_classes)
    return _filled(package, network, first_weights(package.weights))


def _filled(
    package: DetectorPackage, network: torch.nn.Module, weights: dict[str, Floats]
) -> torch.nn.Module:
    try:
        network.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in weights.items()})
    except RuntimeError as error:
        architecture = package.config.architecture
        raise PackageError(str(package.path), [f"{WEIGHTS} does not fit {architecture}: {error}"]) from error
    return network
