"""TensorFlow Lite files: opened on the CPU with a fixed number of threads, wrong ones told apart at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from manifests.errors import Problem

Shape = tuple[int, ...]


class LiteModel:
    """One network with one square image input. Raises `Problem` for a missing, damaged or foreign file."""

    def __init__(self, path: Path, side: int, outputs: tuple[Shape, ...], threads: int = 1) -> None:
        """`side` of its input in pixels; `outputs` are its shapes in order, without the batch axis."""
        # imported here: the runtime is an extra that only this estimator needs
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise Problem(
                "the estimator `people` needs the package ai-edge-litert, which is not installed",
                "install the extra `people`: pip install '.[people]'",
            ) from None
        if not path.is_file():
            raise Problem(f"there is no file {path}", "fetch the nets: catwalk models fetch people")
        self.side = side
        try:
            with _unsaid():
                self._net = Interpreter(str(path), num_threads=threads)
                self._net.allocate_tensors()
        except (ValueError, RuntimeError) as broken:
            raise _wrong(path, f"it cannot be opened ({str(broken).splitlines()[0]})") from None
        (image, *others), answers = self._net.get_input_details(), self._net.get_output_details()
        shapes = tuple(tuple(int(n) for n in answer["shape"][1:]) for answer in answers)
        if others or tuple(image["shape"]) != (1, side, side, 3) or shapes != outputs:
            raise _wrong(path, f"it takes {image['shape'].tolist()} and gives {shapes}")
        self._image, self._answers = image["index"], [answer["index"] for answer in answers]

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """float32 (side, side, 3) → its outputs in order, float32, without the batch axis."""
        self._net.set_tensor(self._image, image[None])
        self._net.invoke()
        return [self._net.get_tensor(index)[0] for index in self._answers]


@contextmanager
def _unsaid() -> Iterator[None]:
    """The runtime writes past Python, to stderr, that it has begun: a command that is to be quiet is."""
    said = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(said, 2)
        os.close(said)


def _wrong(path: Path, found: str) -> Problem:
    return Problem(
        f"{path} is not the net that it is named for: {found}", "fetch it again: catwalk models fetch people"
    )


def logistic(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + e^−x), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))
