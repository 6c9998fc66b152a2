"""How do learnt weights become the package that ships? Both looks are weighed on fields that neither saw."""

import subprocess
import sys
import time
from pathlib import Path

from detection.assess import assess
from detection.labelled import read_data
from detection.learn import second_look_of
from detection.learn_twice import weighed
from detection.model_card import Statement, model_card
from detection.package import DetectorPackage
from detection.packing import calibrated, config_of, counting_as_labelled, self_test_image
from detection.training import TrainSettings, read_example
from detection.writing import Trained, write_package
from scripts.default_package.descent import Weights

NAME = "simulated-cells"
HELD = ("--scenes", "160", "--crowded", "200", "--slides", "4", "--seed", "77", "--part", "held")
STATEMENT = Statement(
    name=NAME,
    training_data=(
        "simulated liquid-based fields of 512 x 512 px, three fifths of them, with two fifths of the "
        "abnormal cells, in the shipped rig's look, the rest in varied stain, light, blur and scale, crowded, and with "
        "many look-alikes of abnormal cells; no real image"
    ),
    intended_use=(
        "Trained on simulated cells, not for diagnosis. It shows that the road works from glass to verdict; "
        "a laboratory trains its own on its own labels."
    ),
    command="python -m scripts.default_package WORK",
)


def say(what: str) -> None:
    """One line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def make_held(folder: Path) -> None:
    """The fields that both looks are weighed on, unless they are there."""
    if not (folder / "held.json").exists():
        subprocess.run([sys.executable, "-m", "scripts.make_training_set", str(folder), *HELD], check=True)


def packed(first: Weights, second: Weights, held: Path, out: Path, how: str) -> DetectorPackage:
    """The package of these weights; ``how`` they were learnt is its provenance.

    Its card's figures are of the fields on which it was weighed.
    """
    data, settings = read_data(held), TrainSettings()
    image = self_test_image(data.images, data, settings)
    config = config_of(data, settings, STATEMENT, None)
    said = f"{how}; weighed on the {len(data.images)} fields of which the card has figures"
    extension = config.rackscan.model_copy(update={"provenance": said})
    trained = Trained(config.model_copy(update={"rackscan": extension}), first)
    trained = calibrated(trained, data, data.images, image, None, _progress)
    examples = [read_example(one, data.kind, settings, data.um_per_px) for one in data.images]
    look = second_look_of(config.class_names, settings)
    trained = weighed(trained, look, second, examples, _progress)
    assessment = assess(trained.opened(image), data, data.images, _progress)
    trained, assessment = counting_as_labelled(trained, assessment)
    card = model_card(trained.config, data.counts(), assessment.figures, STATEMENT.command)
    return write_package(trained, image, card, out)


def _progress(done: int, of: int, what: str) -> None:
    if done % 100 == 0 or done == of:
        say(f"{done} of {of}: {what}")
