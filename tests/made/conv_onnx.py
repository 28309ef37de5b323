"""ONNX files of plain convolution nets with a given number of floating point operations.

Stand-ins for networks whose files we do not have: the same input, the same outputs, the same work.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.training.onnx_graph import Graph


class Layer(NamedTuple):
    """A convolution followed by a ReLU: 3 × 3 at stride 1, else as large as its stride."""

    channels: int
    stride: int


def write_conv_net(
    path: Path,
    height: int,
    width: int,
    layers: list[Layer],
    gflop: float,
    outputs: tuple[tuple[str, tuple[int, int, int]], ...],
    name: str,
) -> tuple[Path, float]:
    """A net with input [1, 3, height, width] whose layers are cut off, or repeated, at about `gflop` (2 per MAC).

    The outputs are made from the mean of the last layer, so that they depend on the picture. Returns the path and the
    GFLOP that the convolutions really have.
    """
    random = np.random.default_rng(0)
    graph = Graph("stand-in")
    done, channels, rows, columns = 0.0, 3, height, width
    last = graph.input(name, [1, 3, height, width])
    remaining = list(layers)
    while done < gflop:
        layer = remaining.pop(0) if remaining else Layer(channels, 1)
        kernel = 3 if layer.stride == 1 else layer.stride
        rows, columns = rows // layer.stride, columns // layer.stride
        cost = 2e-9 * rows * columns * layer.channels * channels * kernel**2
        if done + cost / 2 > gflop:
            break
        weights = random.normal(0, (2 / (channels * kernel**2)) ** 0.5, (layer.channels, channels, kernel, kernel))
        sizes = {"kernel_shape": [kernel] * 2, "strides": [layer.stride] * 2, "pads": [int(layer.stride == 1)] * 4}
        last = graph.node("Relu", graph.node("Conv", last, graph.constant(weights.astype(np.float32)), **sizes))
        done, channels = done + cost, layer.channels
    squashed = graph.node("Sigmoid", graph.node("ReduceMean", last, axes=[0, 1, 2, 3]))
    flat = graph.node("Reshape", squashed, graph.constant(np.array([1], np.int64)))
    for output, shape in outputs:
        pattern = graph.constant(random.uniform(0, 0.5, shape).astype(np.float32))
        graph.output(graph.node("Mul", pattern, flat), output, shape)
    graph.write(path)
    return path, done
