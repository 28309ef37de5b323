"""ONNX files of a small whole-body pose net, written byte by byte: tests need too little of the format for a package.

The net answers with each keypoint's own mixture of the crop's brightness along x and along y: sharp enough to have one
clear maximum, different for every picture, and of no meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

FLOAT, INT64 = 1, 7
INTEGER_LIST, INTEGER = 7, 2  # kinds of attribute
Dimension = int | str


def write_pose_net(
    path: Path,
    batch: Dimension = "batch",
    keypoints: int = 133,
    width: int = 288,
    height: int = 384,
    outputs: Sequence[str] = ("simcc_x", "simcc_y"),
) -> Path:
    """A network with input [batch, 3, height, width] and outputs [batch, keypoints, 2 · side]."""
    random = np.random.default_rng(0)
    graph = b""
    described = b""
    for name, side, axes in zip(outputs, (width, height), ([1, 2], [1, 3]), strict=False):
        mixture = random.normal(size=(side, 2 * side)).astype(np.float32)
        weights = random.normal(size=(keypoints, 2 * side)).astype(np.float32)
        graph += _field(1, _node("ReduceMean", ["input"], f"{name}_profile", axes))
        graph += _field(1, _node("Unsqueeze", [f"{name}_profile", "one"], f"{name}_row"))
        graph += _field(1, _node("MatMul", [f"{name}_row", f"{name}_mixture"], f"{name}_mixed"))
        graph += _field(1, _node("Mul", [f"{name}_mixed", f"{name}_weights"], name))
        graph += _field(5, _tensor(f"{name}_mixture", mixture)) + _field(5, _tensor(f"{name}_weights", weights))
        described += _field(12, _value(name, [batch, keypoints, 2 * side]))
    graph += _field(5, _tensor("one", np.array([1], np.int64))) + _field(2, b"tiny")
    graph += _field(11, _value("input", [batch, 3, height, width])) + described
    opset = _field(8, _field(1, b"") + _number(2, 13))
    path.write_bytes(_number(1, 8) + opset + _field(7, graph))
    return path


def _node(operator: str, inputs: list[str], output: str, axes: list[int] | None = None) -> bytes:
    node = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode())
    node += _field(4, operator.encode())
    if axes is None:
        return node
    values = _field(1, b"axes") + b"".join(_number(8, axis) for axis in axes) + _number(20, INTEGER_LIST)
    keep = _field(1, b"keepdims") + _number(3, 0) + _number(20, INTEGER)
    return node + _field(5, values) + _field(5, keep)


def _tensor(name: str, array: np.ndarray) -> bytes:
    kind = FLOAT if array.dtype == np.float32 else INT64
    sides = b"".join(_number(1, side) for side in array.shape)
    return sides + _number(2, kind) + _field(8, name.encode()) + _field(9, array.tobytes())


def _value(name: str, shape: list[Dimension]) -> bytes:
    sides = (_number(1, side) if isinstance(side, int) else _field(2, side.encode()) for side in shape)
    dimensions = b"".join(_field(1, side) for side in sides)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, FLOAT) + _field(2, dimensions)))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])
