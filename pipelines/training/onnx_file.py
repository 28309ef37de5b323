"""ONNX graphs, written byte by byte: the few kinds of message that the format needs, without its package.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; IR version 8, operator set 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

_KINDS = {np.dtype(np.float32): 1, np.dtype(np.int64): 7, np.dtype(np.float16): 10}
_FLOAT, _INTEGER, _TEXT, _FLOATS, _INTEGERS = 1, 2, 3, 6, 7  # kinds of attribute
Attribute = int | float | str | Sequence[int]


class Graph:
    """A network under construction. Values have the names of their nodes, `kind_number`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._initialisers: list[bytes] = []
        self._described: dict[int, list[bytes]] = {_INPUTS: [], _OUTPUTS: []}

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """A float32 input; a name in its shape is a free axis."""
        self._described[_INPUTS].append(_value(name, shape))
        return name

    def output(self, value: str, name: str, shape: Sequence[int | str]) -> None:
        """Give a value the name by which the network's user knows it."""
        self._nodes.append(_node("Identity", [value], [name], {}))
        self._described[_OUTPUTS].append(_value(name, shape))

    def constant(self, array: np.ndarray) -> str:
        """A tensor of float32, float16 or int64 as it is."""
        name = f"constant_{len(self._initialisers)}"
        self._initialisers.append(_tensor(name, array))
        return name

    def weight(self, array: np.ndarray) -> str:
        """A tensor that is stored in float16 and computed with in float32."""
        return self.node("Cast", self.constant(array.astype(np.float16)), to=_KINDS[np.dtype(np.float32)])

    def node(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """One operation; returns its first output's name."""
        return self.nodes(operator, *inputs, outputs=1, **attributes)[0]

    def nodes(self, operator: str, *inputs: str, outputs: int, **attributes: Attribute) -> list[str]:
        """One operation with several outputs."""
        names = [f"{operator}_{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(_node(operator, inputs, names, attributes))
        return names

    def write(self, path: Path) -> None:
        """Write the ONNX file."""
        graph = b"".join(_field(1, node) for node in self._nodes) + _field(2, self._name.encode())
        graph += b"".join(_field(5, tensor) for tensor in self._initialisers)
        graph += b"".join(_field(number, value) for number, values in self._described.items() for value in values)
        opset = _field(8, _field(1, b"") + _number(2, 13))
        path.write_bytes(_number(1, 8) + opset + _field(7, graph))


_INPUTS, _OUTPUTS = 11, 12  # of a graph message


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Attribute]) -> bytes:
    node = b"".join(_field(1, name.encode()) for name in inputs)
    node += b"".join(_field(2, name.encode()) for name in outputs)
    node += _field(3, outputs[0].encode()) + _field(4, operator.encode())
    return node + b"".join(_field(5, _attribute(name, value)) for name, value in attributes.items())


def _attribute(name: str, value: Attribute) -> bytes:
    start = _field(1, name.encode())
    if isinstance(value, str):
        return start + _field(4, value.encode()) + _number(20, _TEXT)
    if isinstance(value, float):
        return start + _varint(2 << 3 | 5) + np.float32(value).tobytes() + _number(20, _FLOAT)
    if isinstance(value, int):
        return start + _number(3, value) + _number(20, _INTEGER)
    return start + b"".join(_number(8, one) for one in value) + _number(20, _INTEGERS)


def _tensor(name: str, array: np.ndarray) -> bytes:
    sides = b"".join(_number(1, side) for side in array.shape)
    return sides + _number(2, _KINDS[array.dtype]) + _field(8, name.encode()) + _field(9, array.tobytes())


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sides = (_number(1, side) if isinstance(side, int) else _field(2, side.encode()) for side in shape)
    dimensions = b"".join(_field(1, side) for side in sides)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, 1) + _field(2, dimensions)))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as 64 bits
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])
