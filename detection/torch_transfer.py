"""How do frames reach the device and answers come back while it is busy with others?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detection.detections import Floats, Image

EMPTY_GLASS = 255


class Lift:
    """Takes frames up to a device; on CUDA on a stream of its own, beside what the device computes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if cuda else None  # type: ignore[no-untyped-call]  # torch's own

    def frames(self, frames: Sequence[Image], places: int) -> Tensor:
        """(places, h, w, 3) uint8: the (h, w, 3) frames, the places left over filled with empty glass.

        Frames in pinned memory are taken from where they lie, which must stay as it is until the answer is there.
        """
        shape = (places, *frames[0].shape)
        given = [torch.from_numpy(np.require(frame, requirements=["C", "W"])) for frame in frames]
        with torch.cuda.stream(self._stream):
            batch = torch.empty(shape, dtype=torch.uint8, device=self._device)
            for place, frame in zip(batch, given, strict=False):
                place.copy_(frame, non_blocking=True)
            batch[len(frames) :] = EMPTY_GLASS
        if self._stream is not None:
            here = torch.cuda.current_stream(self._device)
            here.wait_stream(self._stream)
            batch.record_stream(here)
        return batch

    def numbers(self, values: NDArray[np.generic]) -> Tensor:
        """A small array, without waiting for the device."""
        given = torch.from_numpy(np.ascontiguousarray(values))
        return given if self._stream is None else given.pin_memory().to(self._device, non_blocking=True)


class Coming:
    """Tensors on their way back; what was asked of the device before them may still be under way."""

    def __init__(self, *tensors: Tensor) -> None:
        on_cuda = tensors[0].is_cuda
        self._here = [torch.empty(t.shape, dtype=t.dtype, pin_memory=on_cuda) for t in tensors]
        for here, there in zip(self._here, tensors, strict=True):
            here.copy_(there, non_blocking=True)
        self._arrived = torch.cuda.Event() if on_cuda else None  # type: ignore[no-untyped-call]  # torch's own
        if self._arrived is not None:
            self._arrived.record(torch.cuda.current_stream(tensors[0].device))

    def arrays(self) -> list[NDArray[Any]]:
        """The arrays, once they are here."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [tensor.numpy() for tensor in self._here]

    def floats(self) -> Floats:
        """The only one, once it is here, as float32."""
        (values,) = self.arrays()
        return np.asarray(values, dtype=np.float32)
