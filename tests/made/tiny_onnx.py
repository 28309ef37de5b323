"""ONNX files of a small whole-body pose net.

The net answers with each keypoint's own mixture of the crop's brightness along x and along y: sharp enough to have one
clear maximum, different for every picture, and of no meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.training.onnx_graph import Graph


def write_pose_net(
    path: Path,
    batch: int | str = "batch",
    keypoints: int = 133,
    width: int = 288,
    height: int = 384,
    outputs: Sequence[str] = ("simcc_x", "simcc_y"),
) -> Path:
    """A network with input [batch, 3, height, width] and outputs [batch, keypoints, 2 · side]."""
    random = np.random.default_rng(0)
    graph = Graph("tiny")
    crops = graph.input("input", [batch, 3, height, width])
    one = graph.constant(np.array([1], np.int64))
    for name, side, axes in zip(outputs, (width, height), ([1, 2], [1, 3]), strict=False):
        mixture = graph.constant(random.normal(size=(side, 2 * side)).astype(np.float32))
        weights = graph.constant(random.normal(size=(keypoints, 2 * side)).astype(np.float32))
        profile = graph.node("ReduceMean", crops, axes=axes, keepdims=0)
        mixed = graph.node("MatMul", graph.node("Unsqueeze", profile, one), mixture)
        graph.output(graph.node("Mul", mixed, weights), name, [batch, keypoints, 2 * side])
    graph.write(path)
    return path
