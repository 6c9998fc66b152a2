"""How was the shipped detector made? From nothing but simulated slides, while they were being made.

    python -m scripts.default_package WORK --minutes 10
    python -m scripts.default_package WORK --start detection/packages/default

All cores but two make fields without end; the first look learns from them, then the second from what the first
suspects, in two goes. Both are weighed on fields that neither saw. WORK/simulated-cells is the package to ship. On one
GPU of a data centre ten minutes do; on a few cores alone it takes days. Other machines give other bits.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from detection.architectures import device_here
from detection.package import DetectorPackage, weights_of
from scripts.default_package.bank import Bank
from scripts.default_package.descent import Weights
from scripts.default_package.first_look import learn_first
from scripts.default_package.packed import NAME, make_held, packed, say
from scripts.default_package.second_look import learn_second

SHARES = {"first": 0.25, "second": 0.5, "again": 0.25}
RATES = {"second": 2e-3, "again": 1e-3}
SEED = 61
LEAST_FIELDS = 3000
CAPACITY = {"cuda": 40_000, "cpu": 8_000}


def main() -> int:
    """Learn, weigh, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=10, help="how long to learn")
    parser.add_argument(
        "--start", type=Path, help="a package whose second look to go on from, as far as it fits"
    )
    parser.add_argument("--least", type=int, default=LEAST_FIELDS, help="fields to wait for before learning")
    given = parser.parse_args()
    device = device_here()
    torch.manual_seed(SEED)
    torch.backends.cudnn.benchmark = True
    bank, shards = Bank(CAPACITY[device.type], device), given.work / "shards"
    makers = [_maker(shards, worker, given.minutes) for worker in range(_workers())]
    try:
        while bank.count < given.least:
            bank.take(shards)
            time.sleep(0.5)
        first, second = _learnt(bank, shards, given.minutes * 60, given.start)
    finally:
        for maker in makers:
            maker.terminate()
    make_held(given.work / "held")
    how = f"{bank.count:,} fields, {given.minutes:g} minutes on {device.type}, seed {SEED}"
    packed(first, second, given.work / "held", given.work / NAME, how)
    return 0


def _workers() -> int:
    return max(1, (os.cpu_count() or 1) - 2)


def _maker(shards: Path, worker: int, minutes: float) -> subprocess.Popen[bytes]:
    """A process that makes fields for as long as anybody could want them."""
    words = [sys.executable, "-m", "scripts.default_package.stream", str(shards)]
    numbers = {"--worker": worker, "--of": _workers(), "--seed": SEED, "--seconds": 3600 + 120 * minutes}
    more = [str(word) for pair in numbers.items() for word in pair]
    return subprocess.Popen([*words, *more], env=os.environ | {"OMP_NUM_THREADS": "1"})


def _learnt(bank: Bank, shards: Path, seconds: float, start: Path | None) -> tuple[Weights, Weights]:
    """The weights of both looks."""
    first = learn_first(bank, shards, SHARES["first"] * seconds, say)
    second = weights_of(DetectorPackage.load(start).weights) if start else {}
    for part, rate in RATES.items():
        second = learn_second(bank, shards, (first, second), SHARES[part] * seconds, rate, say)
    return first, second


if __name__ == "__main__":
    sys.exit(main())
