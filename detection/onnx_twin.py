"""How do a package's weights become an ONNX file that needs neither torch nor this package?

Batch norms are folded into their convolutions; the graph is written node by node, so that the same weights always
give the same bytes.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from detection.detections import Floats
from detection.package import Network

OPSET = 17
IR_VERSION = 9
NORM_EPSILON = 1e-5


class _Graph:
    """Collects nodes and weights; every value is named after the layer that makes it."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def conv(self, layer: str, source: str, weight: Floats, bias: Floats, stride: int, dilation: int) -> str:
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
            )
        )
        return layer

    def op(self, kind: str, sources: list[str], name: str) -> str:
        """A node without weights."""
        self.nodes.append(helper.make_node(kind, sources, [name], name=name))
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
    graph, value = _Graph(), "density"
    for index in range(len(network.channels)):
        layer = f"stem.{index}"
        value = graph.op("Relu", [graph.conv(layer, value, *_folded(weights, layer), 2, 1)], f"{layer}.relu")
    for index, dilation in enumerate(network.dilations):
        layer = f"blocks.{index}"
        branch = graph.op(
            "Relu", [graph.conv(layer, value, *_folded(weights, layer), 1, dilation)], f"{layer}.relu"
        )
        value = graph.op("Add", [value, branch], f"{layer}.sum")
    graph.conv("maps", value, weights["head.weight"], weights["head.bias"], 1, 1)
    return _model(graph, weights["head.weight"].shape[0])


def _model(graph: _Graph, outputs: int) -> bytes:
    given = helper.make_tensor_value_info("density", TensorProto.FLOAT, ["n", 3, "h", "w"])
    answer = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", outputs, "h8", "w8"])
    body = helper.make_graph(graph.nodes, "cellnet-s8", [given], [answer], graph.initializers)
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="rackscan"
    )
    onnx.checker.check_model(model)
    written: bytes = model.SerializeToString(deterministic=True)
    return written
