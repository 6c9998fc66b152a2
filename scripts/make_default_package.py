"""How was the shipped detector made? From nothing but simulated slides.

    python -m scripts.make_default_package WORK

Both looks learn from the same fields: in varied looks, crowded ones, those of what looks alike, and the rig's own
slides; the second from what the first one suspects there. Then the second learns on with the places of normal slides
that both took most for abnormal. WORK/simulated-cells is the package to ship; it takes hours, with the extra ``torch``.
Other machines and library versions give other bits. The one that ships learnt so in several goes, its first look
without the fields of what looks alike, and was weighed on further fields that neither look saw.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from detection.model_card import Statement
from scanner.offline.train import How, train

PARTS: dict[str, tuple[str, ...]] = {
    "varied": ("--scenes", "1400", "--seed", "5"),
    "slides": ("--slides", "24", "--seed", "6"),
    "crowded": ("--crowded", "2000", "--seed", "7"),
    "alike": ("--alike", "3000", "--seed", "31"),
}
SUSPICIOUS = ("--suspicious", "60", "--seed", "41")
STEPS = 4000
SECOND_STEPS = 9000
MORE_STEPS, KEPT = 7000, 0.6
"""What the second look learns from its own errors is averaged into what it knew, else it forgets other stains."""
SEED = 4
STATEMENT = Statement(
    name="simulated-cells",
    training_data=(
        "1,400 simulated liquid-based fields of 512 x 512 px in varied stain, light, blur and scale, 2,000 crowded "
        "ones and, for the second look, 3,000 more with many look-alikes of abnormal cells, and 768 fields of 24 "
        "simulated slides as the shipped rig sees them; then 12,000 suspicious places of 60 normal simulated slides; "
        "no real image"
    ),
    intended_use=(
        "Trained on simulated cells, not for diagnosis. It shows that the road works from glass to verdict; "
        "a laboratory trains its own on its own labels."
    ),
    command="python -m scripts.make_default_package WORK",
)


def main() -> int:
    """Make the sets, train; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    work: Path = parser.parse_args().work
    images, first = work / "set", work / "first" / STATEMENT.name
    for part, options in PARTS.items():
        make(images, part, options)
    if not first.exists():
        how = How(SEED, STEPS, stops_early=False, second_steps=SECOND_STEPS)
        train(images, first, how, say, STATEMENT)
    make(images, "suspicious", (*SUSPICIOUS, "--package", str(first)))
    again = How(SEED, 0, first, stops_early=False, second_steps=MORE_STEPS, second_kept=KEPT)
    train(images, work / STATEMENT.name, again, say, STATEMENT)
    return 0


def make(images: Path, part: str, options: tuple[str, ...]) -> None:
    """A part of the training set, unless it is there."""
    if not (images / f"{part}.json").exists():
        maker = [sys.executable, "-m", "scripts.make_training_set", str(images)]
        subprocess.run([*maker, *options, "--part", part], check=True)


def say(done: int, of: int, what: str) -> None:
    """One line every hundred steps."""
    if done % 100 == 0 or done == of:
        print(f"{done} of {of}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
