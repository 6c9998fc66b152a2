"""How do a package's weights become networks in torch that only look, and look quickly?"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from detection.architectures import ARCHITECTURES, ConvNorm, build
from detection.detections import Floats
from detection.errors import PackageError
from detection.package import (
    CROP_PREFIX,
    SECOND_PREFIX,
    WEIGHTS,
    DetectorPackage,
    first_weights,
    weights_of,
)
from detection.second_networks import second_network


def first_network(package: DetectorPackage) -> nn.Module:
    """The network of the first look.

    Raises:
        PackageError: for an unknown architecture, or weights that do not fit it.
    """
    config = package.config
    if config.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise PackageError(str(package.path), [f"architecture {config.architecture} is not one of {known}"])
    network = build(config.architecture, config.rackscan.network, config.num_classes)
    return _filled(package, network, first_weights(package.weights))


def later_networks(package: DetectorPackage) -> dict[str, nn.Module]:
    """Those of the second and of the crop look, as far as the package has them, by their prefixes.

    Raises:
        PackageError: for weights that do not fit.
    """
    extension = package.config.rackscan
    looks = {SECOND_PREFIX: extension.second_look, CROP_PREFIX: extension.crop_look}
    return {
        prefix: _filled(package, second_network(look), weights_of(package.weights, prefix))
        for prefix, look in looks.items()
        if look is not None
    }


def _filled(package: DetectorPackage, network: nn.Module, weights: dict[str, Floats]) -> nn.Module:
    try:
        network.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in weights.items()})
    except RuntimeError as error:
        architecture = package.config.architecture
        raise PackageError(str(package.path), [f"{WEIGHTS} does not fit {architecture}: {error}"]) from error
    return network.eval()


def folded(network: nn.Module, without_groups: bool = False) -> nn.Module:
    """The same function of an image with batch norms taken into the convolutions before them.

    ``without_groups`` writes convolutions over single channels as ones over all channels, with weights mostly 0:
    tensor cores run these sooner than cuDNN runs dilated convolutions over single channels.
    """
    faster = copy.deepcopy(network).eval()
    for layer in [layer for layer in faster.modules() if isinstance(layer, ConvNorm)]:
        convolution, norm = layer[0], layer[1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        fused = fuse_conv_bn_eval(convolution, norm)
        if without_groups and fused.groups > 1:
            _without_groups(fused)
        layer[0], layer[1] = fused, nn.Identity()
    return faster


def _without_groups(convolution: nn.Conv2d) -> None:
    weight = convolution.weight.detach()
    groups, outputs, own = convolution.groups, convolution.out_channels, weight.shape[1]
    whole = weight.new_zeros(outputs, convolution.in_channels, *weight.shape[2:])
    for output in range(outputs):
        start = output // (outputs // groups) * own
        whole[output, start : start + own] = weight[output]
    convolution.groups, convolution.weight = 1, nn.Parameter(whole)


def channels_last(network: nn.Module) -> nn.Module:
    """The network itself, its weights now laid out for images of which a px's channels lie side by side."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch forgot it


def halved(network: nn.Module) -> nn.Module:
    """A first look in half precision but for its head: peaks are told apart by more digits than half precision has."""
    half = copy.deepcopy(network).half()
    head = half.get_submodule("head").float()
    head.register_forward_pre_hook(_in_full)
    return half


def _in_full(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.float() for tensor in given)


def answer_of(network: nn.Module, given: Tensor) -> Tensor:
    """What a network says of a batch: full precision stays full (no TF32), and the same batch gets the same answer."""
    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
    ):
        answer: Tensor = network(given)
        return answer.float()
