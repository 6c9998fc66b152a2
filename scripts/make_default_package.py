"""How was the shipped detector made? From nothing but simulated slides.

    python scripts/make_default_package.py WORK

WORK/set holds fields of widely varied looks, crowded ones with many look-alikes of abnormal cells, and the rig's own
slides; WORK/simulated-cells is the package to ship. An hour on one core, with the extra ``torch``. Other machines and
library versions give other bits.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from detection.model_card import Statement
from scanner.offline.train import How, train

PARTS = {
    "varied": ("--scenes", "1400", "--crowded", "0", "--slides", "0", "--seed", "5"),
    "crowded": ("--scenes", "0", "--crowded", "2000", "--slides", "0", "--seed", "7"),
    "slides": ("--scenes", "0", "--crowded", "0", "--slides", "24", "--seed", "6"),
}
STEPS = 2400
SEED = 1
STATEMENT = Statement(
    name="simulated-cells",
    training_data=(
        "1,400 simulated liquid-based fields of 512 x 512 px in varied stain, light, blur and scale, 2,000 crowded "
        "ones with many look-alikes of abnormal cells, and 768 fields of 24 simulated slides as the shipped rig sees "
        "them; no real image"
    ),
    intended_use=(
        "Trained on simulated cells, not for diagnosis. It shows that the road works from glass to verdict; "
        "a laboratory trains its own on its own labels."
    ),
    command="python scripts/make_default_package.py WORK",
)


def main() -> int:
    """Make the set, train; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    work: Path = parser.parse_args().work
    maker = Path(__file__).with_name("make_training_set.py")
    images = work / "set"
    for part, options in PARTS.items():
        if not (images / f"{part}.json").exists():
            subprocess.run([sys.executable, str(maker), str(images), *options, "--part", part], check=True)
    train(images, work / STATEMENT.name, How(SEED, STEPS, stops_early=False), say, STATEMENT)
    return 0


def say(done: int, of: int, what: str) -> None:
    """One line every hundred steps."""
    if done % 100 == 0 or done == of:
        print(f"{done} of {of}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
