"""ONNX graphs under construction, over the `onnx` package (the extra `train`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Old enough for every ONNX Runtime that Catwalk may be installed with.
_IR_VERSION, _OPERATORS = 8, 13
Attribute = int | float | str | Sequence[int]


class Graph:
    """A network under construction. Values have the names of their nodes, `Kind_number_output`."""

    def __init__(self, name: str) -> None:
        self._graph = onnx.GraphProto(name=name)

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """A float32 input; a name in its shape is a free axis."""
        self._graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def output(self, value: str, name: str, shape: Sequence[int | str]) -> None:
        """Give a float32 value the name by which the network's user knows it."""
        self._graph.node.append(helper.make_node("Identity", [value], [name], name))
        self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, array: np.ndarray) -> str:
        """A tensor as it is."""
        name = f"constant_{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, array: np.ndarray) -> str:
        """A tensor that is stored in float16 and computed with in float32."""
        return self.node("Cast", self.constant(array.astype(np.float16)), to=TensorProto.FLOAT)

    def node(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """One operation; returns its first output's name."""
        return self.nodes(operator, *inputs, outputs=1, **attributes)[0]

    def nodes(self, operator: str, *inputs: str, outputs: int, **attributes: Attribute) -> list[str]:
        """One operation with several outputs."""
        names = [f"{operator}_{len(self._graph.node)}_{number}" for number in range(outputs)]
        self._graph.node.append(helper.make_node(operator, inputs, names, names[0], **attributes))
        return names

    def write(self, path: Path) -> None:
        """Write the ONNX file. Raises `onnx.checker.ValidationError` for a graph that is not valid."""
        operators = [helper.make_opsetid("", _OPERATORS)]
        model = helper.make_model(self._graph, ir_version=_IR_VERSION, opset_imports=operators)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
