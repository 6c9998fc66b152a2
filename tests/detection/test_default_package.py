"""Is what the recipe of the shipped package does on a device the same as what training does image by image?"""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from detection.detections import Detections  # noqa: E402
from detection.package import DetectorPackage  # noqa: E402
from detection.second_training import suspects  # noqa: E402
from detection.targets import NONE, Cells, cut, seen, target  # noqa: E402
from detection.torch_networks import first_network  # noqa: E402
from detection.training import Example  # noqa: E402
from detection.writing import Trained  # noqa: E402
from scripts.default_package.bank import Bank, placed, shown, wanted  # noqa: E402
from scripts.default_package.stream import MOST_CELLS, stream, write_shard  # noqa: E402
from scripts.default_package.suspects import suspected  # noqa: E402
from tests.detection.untrained import untrained  # noqa: E402

FIELDS, PATCH_PX = 3, 256
CENTRES = [[200.3, 250.7], [20.0, 500.0], [256.5, 130.0]]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """A few fields, in two shards."""
    shards = tmp_path_factory.mktemp("shards")
    drawn = list(islice(stream(3, 0, 1), FIELDS))
    write_shard(shards, "000", drawn[:1])
    write_shard(shards, "000", drawn[1:])
    bank = Bank(FIELDS + 1, torch.device("cpu"))
    assert bank.take(shards) == range(FIELDS)
    assert not bank.take(shards)
    return bank


def cells_of(bank: Bank, index: int) -> Cells:
    """The labelled cells of a field."""
    there = bank.labels[index] >= 0
    return Cells(bank.boxes[index][there].numpy(), bank.labels[index][there].numpy())


def test_a_bank_that_is_full_takes_no_more(bank: Bank, tmp_path: Path) -> None:
    drawn = list(islice(stream(4, 0, 1), 2))
    write_shard(tmp_path, "000", drawn)
    full = Bank(1, torch.device("cpu"))
    assert full.take(tmp_path) == range(1)
    assert (full.rgb[0].numpy() == drawn[0].rgb).all()
    assert bank.labels.shape == (FIELDS + 1, MOST_CELLS)


def test_patches_and_what_is_wanted_of_them_are_those_of_training(bank: Bank) -> None:
    index = torch.arange(FIELDS)
    place = placed(torch.tensor(CENTRES), bank.zoom[index], NONE, PATCH_PX)
    maps = wanted(place.boxes(bank.boxes[index]), bank.labels[index], PATCH_PX)
    densities = shown(bank, index, place, NONE, 400)
    for number in range(FIELDS):
        cells, rng = cells_of(bank, number), np.random.default_rng(0)
        rgb, zoom, centre = bank.rgb[number].numpy(), float(bank.zoom[number]), tuple(CENTRES[number])
        patch, moved = cut(rgb, cells, (centre[0], centre[1]), zoom, NONE, PATCH_PX, rng)
        should = target(moved, PATCH_PX)
        assert maps.heat[number].numpy() == pytest.approx(should.heat, abs=1e-4)
        assert maps.regression[number].numpy() == pytest.approx(should.regression, abs=1e-3)
        assert (maps.labels[number].numpy() == should.labels).all()
        density = seen(patch, bank.white[number].numpy(), NONE, rng)
        assert np.abs(densities[number].numpy() - density).mean() < 3e-3


def test_what_is_suspected_is_what_training_suspects(bank: Bank, tmp_path: Path) -> None:
    names = ("ASC-US", "HSIL", "NILM", "leucocyte")
    trained, cut_to_four = untrained(names=names), bank.labels % 4
    bank.labels.copy_(torch.where(bank.labels >= 0, cut_to_four, bank.labels))
    extension = trained.config.rackscan
    network = first_network(
        DetectorPackage(
            tmp_path,
            trained.config,
            trained.weights,
            b"",
            np.zeros((8, 8, 3), np.uint8),
            Detections.none(),
            "",
        )
    )
    floors = (extension.candidate_floor, 0.4)
    found = suspected(network, bank, range(FIELDS), torch.tensor([0, 1]), floors)
    white = [bank.white[n].numpy() for n in range(FIELDS)]
    images = [bank.rgb[n].numpy() for n in range(FIELDS)]
    examples = [Example(images[n], cells_of(bank, n), white[n], 1.0) for n in range(FIELDS)]
    detector = Trained(trained.config, trained.weights).opened(images[0])
    should = suspects([detector.detect([image], 0.5)[0] for image in images], examples, 14, 0.4, (0, 1))
    assert 0 < (found.suspicion > 0).sum() <= 96 * FIELDS
    seen_there = (should.suspicion > 0).sum()
    assert int((found.suspicion > 0).sum()) == pytest.approx(int(seen_there), rel=0.03)
    assert len(found) == pytest.approx(len(should), rel=0.03)
    assert torch.bincount(found.label, minlength=15).numpy() == pytest.approx(
        np.bincount(should.labels, minlength=15), abs=0.04 * len(should) + 1
    )
