"""How was the shipped detector made? From nothing but simulated slides, in four stages.

    python scripts/make_default_package.py WORK

The first look learns in three stages, each from the one before: varied looks, then the rig's own slides, then with the
look-alikes of abnormal cells as classes of their own. The second look learns from what the first one suspects in many
more fields, crowded ones among them. WORK/simulated-cells is the package to ship; two hours on one core, with the extra
``torch``. Other machines and library versions give other bits.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from detection.model_card import Statement
from scanner.offline.train import How, train

SLIDES_WITH_MANY = ("--most-abnormal", "300", "--fields", "24", "--beside", "0")
MANY_COARSE = (*SLIDES_WITH_MANY, "--coarse")
NOTHING_ELSE = ("--scenes", "0", "--crowded", "0", "--slides", "0")


@dataclass(frozen=True, slots=True)
class Stage:
    """A training set of one or more parts, and how long either look learns from it."""

    name: str
    parts: dict[str, tuple[str, ...]]
    steps: int
    second_steps: int = 0


STAGES = (
    Stage(
        "first",
        {"scenes": ("--scenes", "900", "--crowded", "0", "--slides", "0", "--coarse", "--seed", "1")},
        2400,
    ),
    Stage(
        "second",
        {"scenes": ("--scenes", "600", "--crowded", "0", "--slides", "16", *MANY_COARSE, "--seed", "1")},
        1600,
    ),
    Stage(
        "third",
        {"scenes": ("--scenes", "300", "--crowded", "0", "--slides", "20", *SLIDES_WITH_MANY, "--seed", "3")},
        2400,
    ),
    Stage(
        "simulated-cells",
        {
            "varied": (*NOTHING_ELSE, "--scenes", "1400", "--seed", "5"),
            "crowded": (*NOTHING_ELSE, "--crowded", "2000", "--seed", "7"),
            "slides": (*NOTHING_ELSE, "--slides", "24", "--seed", "6"),
            "alike": (*NOTHING_ELSE, "--alike", "3000", "--seed", "31"),
        },
        0,
        9000,
    ),
)
STATEMENT = Statement(
    name="simulated-cells",
    training_data=(
        "first look: 1,200 simulated liquid-based fields of 512 x 512 px in varied stain, light, blur and scale, and "
        "864 fields of 36 simulated slides as the shipped rig sees them; second look: 1,400 such fields, 2,000 crowded "
        "ones and 3,000 more with many look-alikes of abnormal cells, and 768 fields of 24 slides; no real image"
    ),
    intended_use=(
        "Trained on simulated cells, not for diagnosis. It shows that the road works from glass to verdict; "
        "a laboratory trains its own on its own labels."
    ),
    command="python scripts/make_default_package.py WORK",
)


def main() -> int:
    """Make the sets, train stage by stage; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    work: Path = parser.parse_args().work
    maker = Path(__file__).with_name("make_training_set.py")
    start: Path | None = None
    for seed, stage in enumerate(STAGES, 1):
        images, package = work / f"{stage.name}-set", work / stage.name
        for part, options in stage.parts.items():
            if not (images / f"{part}.json").exists():
                subprocess.run(
                    [sys.executable, str(maker), str(images), *options, "--part", part], check=True
                )
        if not package.exists():
            how = How(seed, stage.steps, start, stops_early=False, second_steps=stage.second_steps)
            train(images, package, how, say, STATEMENT)
        start = package
    return 0


def say(done: int, of: int, what: str) -> None:
    """One line every hundred steps."""
    if done % 100 == 0 or done == of:
        print(f"{done} of {of}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
