"""How long do metrics and fusing take on fields of 2048²? Rows for ``scripts/bench focus``.

On the CPU it is CPU time of one thread, on a graphics card the time until its answer is back, uploads of pixels
included. Run alone: ``python scripts/focus_speed_rows.py``.
"""

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from autofocus.edf import extended_focus
from autofocus.metrics import BinnedBrenner, SmoothedBrenner

SEED = 700_003
ROBUST_CUDA, FUSED_CUDA = "robust metric on 2048², CUDA ms", "extended focus, 15 planes of 2048², CUDA s"
Row = dict[str, Any]


def at_most(name: str, value: float | None, bar: float) -> Row:
    """One row; without a value the hardware is absent."""
    if value is None:
        return {"name": name, "value": None, "bar": bar, "met": None}
    return {"name": name, "value": round(value, 4), "bar": bar, "met": value <= bar}


def least_ms(work: Callable[[], object], times: int, clock: Callable[[], float]) -> float:
    """Milliseconds of one call: the least of several, the first left out."""
    work()
    taken = []
    for _ in range(times):
        start = clock()
        work()
        taken.append(clock() - start)
    return 1000 * min(taken)


def speed_rows() -> list[Row]:
    """All of them."""
    frame = np.random.default_rng(SEED).integers(150, 250, (2048, 2048, 3)).astype(np.uint8)
    return [
        *metric_rows("colour", frame),
        *metric_rows("gray", frame[..., 1].copy()),
        fused_row(frame),
        *cuda_rows(frame),
    ]


def metric_rows(kind: str, frame: Any) -> list[Row]:
    """The metrics on the CPU."""
    streaming = least_ms(lambda: BinnedBrenner()(frame), 20, time.process_time)
    robust = least_ms(lambda: SmoothedBrenner()(frame), 20, time.process_time)
    return [
        at_most(f"streaming metric on 2048² {kind}, CPU ms", streaming, 1.0),
        at_most(f"robust metric on 2048² {kind}, CPU ms", robust, 12.0),
    ]


def fused_row(frame: Any) -> Row:
    """Fusing on the CPU."""
    planes = [np.roll(frame, n, axis=0) for n in range(15)]
    fused_ms = least_ms(lambda: extended_focus(planes, np.arange(15.0)), 2, time.process_time)
    return at_most("extended focus, 15 planes of 2048² colour, CPU s", fused_ms / 1000, 1.0)


def cuda_rows(frame: Any) -> list[Row]:
    """Both on a graphics card, where there is one and torch to use it."""
    try:
        import torch
    except ModuleNotFoundError:
        return [at_most(ROBUST_CUDA, None, 1.0), at_most(FUSED_CUDA, None, 0.15)]
    if not torch.cuda.is_available():
        return [at_most(ROBUST_CUDA, None, 1.0), at_most(FUSED_CUDA, None, 0.15)]
    from autofocus.torch_edf import TorchFocusStacker
    from autofocus.torch_metrics import TorchMetric

    def fuse() -> None:
        stacker = TorchFocusStacker()
        for n in range(15):
            stacker.add(frame, float(n))
        stacker.result()

    metric, there = TorchMetric("smoothed_brenner"), torch.from_numpy(frame).cuda()
    return [
        at_most(ROBUST_CUDA, least_ms(lambda: metric(there), 50, time.perf_counter), 1.0),
        at_most(
            f"{ROBUST_CUDA}, upload included", least_ms(lambda: metric(frame), 50, time.perf_counter), 1.0
        )
        | {"bar": None, "met": None},
        at_most(FUSED_CUDA, least_ms(fuse, 5, time.perf_counter) / 1000, 0.15),
    ]


def main() -> None:
    """Print the rows."""
    cv2.setNumThreads(1)
    for row in speed_rows():
        print(f"{row['name']}: {row['value']} (bar {row['bar']}) {row['met']}")


if __name__ == "__main__":
    main()
