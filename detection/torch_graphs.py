"""How is a network asked with one word to the device instead of several for each of its layers?

Its work on batches of one shape is recorded the first time, as a CUDA graph, and replayed from then on: to ask for the
layers one by one keeps the host busy for longer than the device needs to compute them.
"""

from threading import Lock
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from detection.errors import DeviceRefused
from detection.torch_networks import answer_of

if TYPE_CHECKING:
    from torch.cuda import _POOL_HANDLE

WARM_UPS = 3
MOST_SHAPES = 4


class Asked:
    """A network that says what it sees in batches, which are brought to the precision of its weights.

    All that is asked of it is asked on one stream: what comes in, is computed and is copied out follow each other
    there, so that a batch's numbers are never overwritten before they are read, however many batches are under way.

    Args:
        network: one that only looks and already lies on its device.
        replayed: whether its work is recorded and replayed, which CUDA alone can; else it is asked layer by layer.
    """

    def __init__(self, network: nn.Module, replayed: bool) -> None:
        self._network, self._number = network, next(network.parameters()).dtype
        self._pool = torch.cuda.graph_pool_handle() if replayed else None
        self._recorded: dict[torch.Size, Recording] = {}
        self._one_by_one = Lock()

    def __call__(self, given: Tensor) -> Tensor:
        """Its float32 answer to a batch, in memory of its own.

        Raises:
            DeviceRefused: where the device cannot record its work.
        """
        if self._pool is None:
            return answer_of(self._network, given.to(self._number))
        with self._one_by_one, torch.inference_mode():
            return self._recording(given, self._pool).answer(given)

    def _recording(self, given: Tensor, pool: "_POOL_HANDLE") -> "Recording":
        """That of the batch's shape; those of the latest few shapes are kept, since each holds memory."""
        found = self._recorded.pop(given.shape, None)
        if found is None:
            found = Recording(self._network, torch.zeros_like(given, dtype=self._number), pool)
        self._recorded[given.shape] = found
        if len(self._recorded) > MOST_SHAPES:
            del self._recorded[next(iter(self._recorded))]
        return found


class Recording:
    """What a network does with batches of one shape: where they are put, the work, and where the answer then lies.

    Recordings share a pool of memory: what one leaves there besides its answer nobody reads.
    """

    def __init__(self, network: nn.Module, given: Tensor, pool: "_POOL_HANDLE") -> None:
        self._given, self._work = given, torch.cuda.CUDAGraph()
        here = torch.cuda.current_stream(given.device)
        aside = torch.cuda.Stream(given.device)  # type: ignore[no-untyped-call]  # torch's own
        aside.wait_stream(here)
        with torch.cuda.stream(aside):  # what libraries set up at first use must not be recorded
            for _ in range(WARM_UPS):
                answer_of(network, given)
        here.wait_stream(aside)
        try:
            with torch.cuda.graph(self._work, pool, aside, capture_error_mode="thread_local"):
                self._said = answer_of(network, given)
        except RuntimeError as error:
            raise DeviceRefused(
                f"{torch.cuda.get_device_name(given.device)} cannot record a network's work on "
                f"{tuple(given.shape)} as a CUDA graph ({error}); nothing was found. Restart, and open the detector "
                "with the provider 'onnx', on the CPU"
            ) from error

    def answer(self, given: Tensor) -> Tensor:
        """What the network says of a batch."""
        self._given.copy_(given)
        self._work.replay()
        return self._said.clone()
