"""Does a network whose work is recorded and replayed say what it says layer by layer?"""

import pytest

pytest.importorskip("torch", reason="the extra 'torch' is not installed")

import torch
from torch import Tensor, nn

from detection.architectures import build
from detection.package import Network
from detection.torch_graphs import MOST_SHAPES, Asked
from detection.torch_networks import answer_of, folded, halved

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


def _network() -> nn.Module:
    torch.manual_seed(1)
    return folded(build("cellnet-s8", Network(channels=(8, 8, 16), dilations=(1, 2), separable=False), 3))


def _batch(seed: int, side_px: int = 64) -> Tensor:
    return torch.rand(2, 3, side_px, side_px, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("half", [False, True])
def test_batches_are_brought_to_the_precision_of_the_weights(half: bool) -> None:
    network = halved(_network()) if half else _network()
    answer = Asked(network, replayed=False)(_batch(1))
    assert answer.dtype == torch.float32
    assert answer.equal(answer_of(network, _batch(1).half() if half else _batch(1)))


@on_cuda
@pytest.mark.parametrize("half", [False, True])
def test_what_is_replayed_is_what_is_said_layer_by_layer(half: bool) -> None:
    network = (halved(_network()) if half else _network()).cuda()
    replayed, by_layers = Asked(network, replayed=True), Asked(network, replayed=False)
    for seed in range(3):
        given = _batch(seed).cuda()
        assert replayed(given).equal(by_layers(given))


@on_cuda
def test_an_answer_outlives_those_that_follow_it() -> None:
    network = _network().cuda()
    given = [_batch(seed).cuda() for seed in range(8)]
    replayed = Asked(network, replayed=True)
    answers = [replayed(batch) for batch in given]
    assert all(answer.equal(answer_of(network, batch)) for answer, batch in zip(answers, given, strict=True))


@on_cuda
def test_more_shapes_than_are_kept_are_answered_in_any_order() -> None:
    network = _network().cuda()
    replayed = Asked(network, replayed=True)
    for side in [*range(MOST_SHAPES + 2), 0, MOST_SHAPES, 1, 1]:
        given = _batch(side, 32 + 8 * side).cuda()
        assert replayed(given).equal(answer_of(network, given))
