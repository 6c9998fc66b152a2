"""How do a package's weights become an ONNX file that needs neither torch nor this package?

Batch norms are folded into their convolutions; the graph is written node by node, so that the same weights always
give the same bytes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from detection.detections import Floats
from detection.package import AROUND, Network, SecondLook

OPSET = 17
IR_VERSION = 9
NORM_EPSILON = 1e-5
SPREAD_FLOOR = 1e-4
HALVINGS = 3


class _Graph:
    """Collects nodes and weights; every value is named after the layer that makes it."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def conv(
        self,
        layer: str,
        source: str,
        weight: Floats,
        bias: Floats,
        stride: int,
        dilation: int,
        groups: int = 1,
    ) -> str:
        """A convolution that keeps the size but for its stride."""
        self.initializers.append(numpy_helper.from_array(weight, f"{layer}.weight"))
        self.initializers.append(numpy_helper.from_array(bias, f"{layer}.bias"))
        kernel = weight.shape[2]
        self.nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{layer}.weight", f"{layer}.bias"],
                [layer],
                name=layer,
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                dilations=[dilation, dilation],
                pads=[dilation * (kernel // 2)] * 4,
                group=groups,
            )
        )
        return layer

    def conv_norm(
        self, weights: Mapping[str, Floats], layer: str, source: str, stride: int = 1, dilation: int = 1
    ) -> str:
        """A ``ConvNorm``: what it makes is never negative."""
        weight, bias = _folded(weights, layer)
        groups = weight.shape[0] if weight.shape[1] == 1 else 1
        return self.op(
            "Relu", [self.conv(layer, source, weight, bias, stride, dilation, groups)], f"{layer}.relu"
        )

    def constant(self, name: str, values: "Floats | NDArray[np.int64]") -> str:
        """Some numbers by name."""
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def floor(self) -> str:
        """What keeps a root away from zero."""
        if not any(made.name == "floor" for made in self.initializers):
            self.constant("floor", np.array(SPREAD_FLOOR, np.float32))
        return "floor"

    def op(self, kind: str, sources: list[str], name: str, **attributes: Any) -> str:
        """A node without weights."""
        self.nodes.append(helper.make_node(kind, sources, [name], name=name, **attributes))
        return name


def _folded(weights: Mapping[str, Floats], layer: str) -> tuple[Floats, Floats]:
    """Weight and bias of a convolution and the batch norm behind it."""
    norm = {
        part: weights[f"{layer}.1.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    gain = norm["weight"] / np.sqrt(norm["running_var"] + NORM_EPSILON)
    weight = weights[f"{layer}.0.weight"].astype(np.float64) * gain[:, None, None, None]
    bias = norm["bias"] - norm["running_mean"] * gain
    return weight.astype(np.float32), bias.astype(np.float32)


def cellnet_twin(weights: Mapping[str, Floats], network: Network) -> bytes:
    """The ONNX file of a ``cellnet-s8``; input ``density`` (n, 3, h, w), output ``maps`` (n, 5 + k, h/8, w/8)."""
    graph = _Graph()
    *_, features = _trunk(graph, weights, network, "density")
    graph.conv("maps", features, weights["head.weight"], weights["head.bias"], 1, 1)
    outputs = weights["head.weight"].shape[0]
    return _model(graph, "cellnet-s8", ["n", 3, "h", "w"], ("maps", ["n", outputs, "h8", "w8"]))


def second_twin(weights: Mapping[str, Floats], look: SecondLook) -> bytes:
    """The ONNX file of a second look; input ``density`` (n, 3, p, p), output ``answers`` (n, ``look.outputs``)."""
    graph, found = _Graph(), list[str]()
    if look.around is not None:
        inner = graph.op("Slice", ["density", *_middle(graph, look.seen_px, look.patch_px, "inner")], "inner")
        half = graph.op(
            "AveragePool", ["density"], "half", kernel_shape=[AROUND, AROUND], strides=[AROUND, AROUND]
        )
        found = _view(graph, weights, look.network, inner) + _view(
            graph, weights, look.around, half, "around."
        )
    elif look.places:
        found = _view(graph, weights, look.network, "density")
    else:
        for index, level in enumerate(_trunk(graph, weights, look.network, "density")):
            found += _statistics(
                graph, level, look.patch_px >> min(index + 1, HALVINGS), f"statistics.{index}"
            )
    features = graph.op("Concat", found, "features", axis=1)
    weight, bias = _folded_head(weights)
    graph.constant("head.weight", np.ascontiguousarray(weight.T))
    graph.constant("head.bias", bias)
    graph.op("Add", [graph.op("MatMul", [features, "head.weight"], "head"), "head.bias"], "answers")
    given: list[int | str] = ["n", 3, look.seen_px, look.seen_px]
    return _model(graph, "placenet" if look.places else "cropnet", given, ("answers", ["n", len(bias)]))


def _view(
    graph: _Graph, weights: Mapping[str, Floats], network: Network, given: str, prefix: str = ""
) -> list[str]:
    """See ``second_networks.View``: its features."""
    *_, last = _trunk(graph, weights, network, given, prefix)
    return [
        graph.op("ReduceMean", [last], f"{prefix}mean", axes=[2, 3], keepdims=0),
        graph.op("Flatten", [graph.conv_norm(weights, f"{prefix}places", last)], f"{prefix}flat", axis=1),
    ]


def _trunk(
    graph: _Graph, weights: Mapping[str, Floats], network: Network, given: str, prefix: str = ""
) -> list[str]:
    """See ``architectures.Trunk``: the values of its levels."""
    levels = [given]
    for index in range(len(network.channels)):
        levels.append(graph.conv_norm(weights, f"{prefix}stem.{index}", levels[-1], stride=2))
    for index, dilation in enumerate(network.dilations):
        layer = f"{prefix}blocks.{index}"
        if network.separable:
            branch = graph.conv_norm(weights, f"{layer}.0", levels[-1], dilation=dilation)
            branch = graph.conv_norm(weights, f"{layer}.1", branch)
        else:
            branch = graph.conv_norm(weights, layer, levels[-1], dilation=dilation)
        levels.append(graph.op("Add", [levels[-1], branch], f"{layer}.sum"))
    return levels[1:]


def _middle(graph: _Graph, side: int, kept: int, name: str) -> list[str]:
    """What a slice needs to keep the ``kept`` × ``kept`` places in the middle of ``side`` × ``side``."""
    edge = (side - kept) // 2
    bounds = {"from": [edge, edge], "to": [edge + kept, edge + kept], "axes": [2, 3]}
    return [graph.constant(f"{name}.{key}", np.array(value, np.int64)) for key, value in bounds.items()]


def _statistics(graph: _Graph, maps: str, side: int, name: str) -> list[str]:
    """See ``second_networks.CropNet``: mean, spread and maximum of ``side`` × ``side`` maps, and of their middle."""
    bounds = _middle(graph, side, side - 2 * (side // 4), name)
    middle = graph.op("Slice", [maps, *bounds], f"{name}.middle")
    mean = graph.op("ReduceMean", [maps], f"{name}.mean", axes=[2, 3], keepdims=0)
    squares = graph.op("Mul", [maps, maps], f"{name}.squares")
    power = graph.op("ReduceMean", [squares], f"{name}.power", axes=[2, 3], keepdims=0)
    variance = graph.op("Sub", [power, graph.op("Mul", [mean, mean], f"{name}.mean2")], f"{name}.variance")
    floored = graph.op(
        "Add", [graph.op("Relu", [variance], f"{name}.positive"), graph.floor()], f"{name}.floored"
    )
    return [
        mean,
        graph.op("Sqrt", [floored], f"{name}.spread"),
        graph.op("ReduceMax", [maps], f"{name}.most", axes=[2, 3], keepdims=0),
        graph.op("ReduceMean", [middle], f"{name}.middle_mean", axes=[2, 3], keepdims=0),
        graph.op("ReduceMax", [middle], f"{name}.middle_most", axes=[2, 3], keepdims=0),
    ]


def _folded_head(weights: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """Weight and bias of the linear layer with the batch norm before it."""
    norm = {
        part: weights[f"norm.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    gain = norm["weight"] / np.sqrt(norm["running_var"] + NORM_EPSILON)
    linear = weights["head.weight"].astype(np.float64)
    bias = weights["head.bias"] + linear @ (norm["bias"] - norm["running_mean"] * gain)
    return (linear * gain).astype(np.float32), bias.astype(np.float32)


def _model(graph: _Graph, name: str, given: list[int | str], answer: tuple[str, list[int | str]]) -> bytes:
    inputs = [helper.make_tensor_value_info("density", TensorProto.FLOAT, given)]
    outputs = [helper.make_tensor_value_info(answer[0], TensorProto.FLOAT, answer[1])]
    body = helper.make_graph(graph.nodes, name, inputs, outputs, graph.initializers)
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="rackscan"
    )
    onnx.checker.check_model(model)
    written: bytes = model.SerializeToString(deterministic=True)
    return written
