"""How was the shipped detector made? From nothing but simulated slides, in three stages.

    python scripts/make_default_package.py WORK

Each stage goes on from the one before: varied looks, then the rig's own slides, then with the look-alikes of abnormal
cells as classes of their own. WORK/simulated-cells is the package to ship; half an hour on one core, with the extra
``torch``. Other machines and library versions give other bits.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from detection.model_card import Statement
from scanner.offline.train import train


@dataclass(frozen=True, slots=True)
class Stage:
    """A training set and how long to learn from it."""

    name: str
    options: tuple[str, ...]
    steps: int
    set_seed: int


STAGES = (
    Stage("first", ("--scenes", "900", "--slides", "0", "--coarse"), 2400, 1),
    Stage("second", ("--scenes", "600", "--slides", "16", "--coarse"), 1600, 1),
    Stage("simulated-cells", ("--scenes", "300", "--slides", "20"), 2400, 3),
)
STATEMENT = Statement(
    name="simulated-cells",
    training_data=(
        "1,200 simulated liquid-based fields of 512 x 512 px in varied stain, light, blur and scale, and 864 fields of "
        "36 simulated slides as the shipped rig sees them; no real image"
    ),
    intended_use=(
        "Trained on simulated cells, not for diagnosis. It shows that the road works from glass to verdict; "
        "a laboratory trains its own on its own labels."
    ),
    command="python scripts/make_default_package.py WORK",
)


def main() -> int:
    """Make the sets, train twice; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    work: Path = parser.parse_args().work
    maker = Path(__file__).with_name("make_training_set.py")
    start: Path | None = None
    for seed, stage in enumerate(STAGES, 1):
        images, package = work / f"{stage.name}-set", work / stage.name
        if not (images / "scenes.json").exists():
            subprocess.run(
                [sys.executable, str(maker), str(images), *stage.options, "--seed", str(stage.set_seed)],
                check=True,
            )
        if not package.exists():
            train(images, package, seed, say, stage.steps, STATEMENT, start)
        start = package
    return 0


def say(done: int, of: int, what: str) -> None:
    """One line every hundred steps."""
    if done % 100 == 0 or done == of:
        print(f"{done} of {of}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
