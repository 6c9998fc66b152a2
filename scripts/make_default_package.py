"""How was the shipped detector made? From nothing but simulated slides, in two steps; hours on one slow core.

    python scripts/make_default_package.py WORK

WORK/set1 and WORK/set2 are the training sets, WORK/first the detector after the first step, WORK/simulated-cells the
package to ship. Needs the extra ``torch``. Other machines and library versions give other bits, not other figures.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from detection.model_card import Statement
from scanner.offline.train import train

SETS = {"set1": ("--scenes", "900", "--slides", "0"), "set2": ("--scenes", "600", "--slides", "16")}
FIRST_STEPS, SECOND_STEPS = 2400, 1600
STATEMENT = Statement(
    name="simulated-cells",
    training_data=(
        "1,500 simulated liquid-based fields of 512 x 512 px in varied stain, light, blur and scale, and 384 fields of "
        "16 simulated slides as the shipped rig sees them; no real image"
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
    for name, options in SETS.items():
        if not (work / name / "scenes.json").exists():
            subprocess.run(
                [sys.executable, str(maker), str(work / name), *options, "--seed", "1"], check=True
            )
    first, second = work / "first", work / "simulated-cells"
    if not first.exists():
        train(work / "set1", first, 1, say, FIRST_STEPS, STATEMENT)
    train(work / "set2", second, 2, say, SECOND_STEPS, STATEMENT, first)
    return 0


def say(done: int, of: int, what: str) -> None:
    """One line every hundred steps."""
    if done % 100 == 0 or done == of:
        print(f"{done} of {of}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
