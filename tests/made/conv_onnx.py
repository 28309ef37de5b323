"""ONNX files of plain convolution nets with a given number of floating point operations, written byte by byte.

Stand-ins for networks whose files we do not have: the same input, the same outputs, the same work.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.made.tiny_onnx import INTEGER_LIST, _field, _node, _number, _tensor, _value


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
    graph, done, channels, last, index = b"", 0.0, 3, name, 0
    rows, columns = height, width
    remaining = list(layers)
    while done < gflop:
        layer = remaining.pop(0) if remaining else Layer(channels, 1)
        kernel = 3 if layer.stride == 1 else layer.stride
        rows, columns = rows // layer.stride, columns // layer.stride
        cost = 2e-9 * rows * columns * layer.channels * channels * kernel**2
        if done + cost / 2 > gflop:
            break
        weights = random.normal(0, (2 / (channels * kernel**2)) ** 0.5, (layer.channels, channels, kernel, kernel))
        graph += _field(5, _tensor(f"w{index}", weights.astype(np.float32)))
        graph += _field(1, _convolution([last, f"w{index}"], f"c{index}", kernel, layer.stride))
        graph += _field(1, _node("Relu", [f"c{index}"], f"r{index}"))
        done, channels, last, index = done + cost, layer.channels, f"r{index}", index + 1
    described = b""
    graph += _field(1, _node("ReduceMean", [last], "mean", [0, 1, 2, 3]))
    graph += _field(1, _node("Sigmoid", ["mean"], "squashed"))
    graph += _field(5, _tensor("flat", np.array([1], np.int64)))
    graph += _field(1, _node("Reshape", ["squashed", "flat"], "squashed_flat"))
    for output, shape in outputs:
        pattern = random.uniform(0, 0.5, shape).astype(np.float32)
        graph += _field(5, _tensor(f"{output}_pattern", pattern))
        graph += _field(1, _node("Mul", [f"{output}_pattern", "squashed_flat"], output))
        described += _field(12, _value(output, list(shape)))
    graph += _field(2, b"stand-in") + _field(11, _value(name, [1, 3, height, width]))
    opset = _field(8, _field(1, b"") + _number(2, 13))
    path.write_bytes(_number(1, 8) + opset + _field(7, graph + described))
    return path, done


def _convolution(inputs: list[str], output: str, kernel: int, stride: int) -> bytes:
    node = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode()) + _field(4, b"Conv")
    pad = 1 if stride == 1 else 0
    for attribute, values in (("kernel_shape", [kernel] * 2), ("strides", [stride] * 2), ("pads", [pad] * 4)):
        numbers = b"".join(_number(8, value) for value in values)
        node += _field(5, _field(1, attribute.encode()) + numbers + _number(20, INTEGER_LIST))
    return node
