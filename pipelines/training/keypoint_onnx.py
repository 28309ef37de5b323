"""The keypoint net as an ONNX file with RTMPose's inputs and outputs."""

from __future__ import annotations

import copy
import operator
from pathlib import Path
from typing import Any

import numpy as np
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipelines.training.keypoint_net import (
    CAUTION,
    FLOOR,
    HEIGHT,
    PEAK,
    POINTS,
    STRIDE,
    WIDTH,
    KeypointNet,
    interpolation,
)
from pipelines.training.onnx_graph import Graph
from stages.poses.estimators.rtmpose import KEYPOINTS, SPLIT_RATIO


def write_onnx(network: KeypointNet, path: Path) -> None:
    """Write a trained network: input [batch, 3, 256, 192], outputs [batch, 133, 384] (x) and [batch, 133, 512] (y).

    Weights are stored in half precision; batch normalisation is folded into the convolutions.
    """
    graph = Graph("keypoints")
    crops = graph.input("input", ["batch", 3, HEIGHT, WIDTH])
    logits = _Walk(_folded(network), graph).run(crops)
    along_x, along_y = _curves(graph, logits)
    graph.output(along_x, "simcc_x", ["batch", KEYPOINTS, int(WIDTH * SPLIT_RATIO)])
    graph.output(along_y, "simcc_y", ["batch", KEYPOINTS, int(HEIGHT * SPLIT_RATIO)])
    graph.write(path)


def _folded(network: KeypointNet) -> fx.GraphModule:
    """A traced copy on the CPU in which no batch normalisation is left."""
    network = copy.deepcopy(network).cpu().float().eval()
    for block in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for place in range(len(block) - 1):
            if isinstance(block[place], nn.Conv2d) and isinstance(block[place + 1], nn.BatchNorm2d):
                block[place] = fuse_conv_bn_eval(block[place], block[place + 1])
                block[place + 1] = nn.Identity()
    return fx.symbolic_trace(network)


class _Walk(fx.Interpreter):
    """Runs a traced network on the names of values, adding the node of each operation to an ONNX graph."""

    def __init__(self, network: fx.GraphModule, graph: Graph) -> None:
        super().__init__(network)
        self._onnx = graph

    def call_module(self, target: str, args: tuple[str, ...], kwargs: dict[str, Any]) -> str:
        module, graph = self.fetch_attr(target), self._onnx
        if isinstance(module, nn.Conv2d):
            sizes = {"kernel_shape": module.kernel_size, "strides": module.stride, "pads": module.padding * 2}
            bias = graph.constant(module.bias.detach().numpy())
            return graph.node("Conv", *args, graph.weight(module.weight.detach().numpy()), bias, **sizes)
        if isinstance(module, nn.ReLU):
            return graph.node("Relu", *args)
        if isinstance(module, nn.Upsample):
            scales = graph.constant(np.array([1, 1, module.scale_factor, module.scale_factor], np.float32))
            modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return graph.node("Resize", *args, "", scales, **modes)
        if isinstance(module, nn.Identity):
            return args[0]
        raise TypeError(f"{target}: {type(module).__name__} has no counterpart here")

    def call_function(self, target: Any, args: tuple[str, ...], kwargs: dict[str, Any]) -> str:
        if target is not operator.add:
            raise TypeError(f"{target} has no counterpart here")
        return self._onnx.node("Add", *args)


def _curves(graph: Graph, logits: str) -> list[str]:
    """What `keypoint_net.responses` computes."""
    rows, columns = HEIGHT // STRIDE, WIDTH // STRIDE

    def number(value: float) -> str:
        return graph.constant(np.array(value, np.float32))

    def integers(*values: int) -> str:
        return graph.constant(np.array(values, np.int64))

    flat = graph.node("Reshape", logits, integers(0, 0, rows * columns))
    heat, presence = graph.nodes("Split", flat, integers(POINTS, POINTS), outputs=2, axis=1)
    weights = graph.node("Softmax", heat, axis=2)
    logit = graph.node("ReduceSum", graph.node("Mul", weights, presence), integers(2), keepdims=1)
    seen = graph.node("Pow", graph.node("Sigmoid", logit), number(CAUTION))
    maps = graph.node("Reshape", weights, integers(0, 0, rows, columns))
    curves = []
    for axis, cells in ((2, columns), (3, rows)):
        marginal = graph.node("ReduceSum", maps, integers(axis), keepdims=0)
        scaled = graph.node("Add", graph.node("Div", marginal, number(PEAK)), number(FLOOR))
        bins = graph.node("MatMul", graph.node("Log", scaled), graph.weight(interpolation(cells)))
        curve = graph.node("Mul", graph.node("Exp", bins), seen)
        rest = integers(0, 0, 0, 0, KEYPOINTS - POINTS, 0)
        curves.append(graph.node("Pad", curve, rest, mode="constant"))
    return curves
