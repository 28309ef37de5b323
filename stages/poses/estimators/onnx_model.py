"""User-supplied ONNX files: opened on the CPU with a fixed number of threads, wrong ones told apart at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from manifests.errors import Problem

Shape = list[int | str | None]  # a name or None: the axis is free


@dataclass(frozen=True)
class Contract:
    """What a network must take and give; inputs and outputs are found by position, as the published code does."""

    what: str  # for messages: "the person detector (YOLOX, published as yolox_l.onnx)"
    expected: str  # for messages: inputs and outputs in words
    fits: Callable[[Shape, list[Shape]], bool]  # (shape of the input, shapes of the outputs)


class OnnxModel:
    """One network with one image input. Raises `Problem` for a file that is missing, damaged or another network."""

    def __init__(self, path: Path, contract: Contract, threads: int = 1, batch: int = 1) -> None:
        """`batch`: images per run at most, where the network's batch axis is free; else its own number counts."""
        self.path, self._contract = path, contract
        self._session = _open(path, contract, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [output.shape for output in outputs]
        fits = len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].type == "tensor(float)"
        if not fits or not contract.fits(inputs[0].shape, shapes):
            found = ", ".join(f"{one.name} {one.shape}" for one in inputs)
            raise self._wrong(f"it takes {found} and gives {', '.join(f'{one.name} {one.shape}' for one in outputs)}")
        self._input = inputs[0].name
        self._fixed = isinstance(inputs[0].shape[0], int)
        self.batch: int = inputs[0].shape[0] if self._fixed else batch
        self.height, self.width = (int(side) for side in inputs[0].shape[2:])

    @property
    def threads(self) -> tuple[int, int]:
        """(intra-op, inter-op) threads of the session."""
        options = self._session.get_session_options()
        return options.intra_op_num_threads, options.inter_op_num_threads

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """float32 (n, 3, height, width) → all outputs in order, each (n, …)."""
        chunks = [self._run(images[start : start + self.batch]) for start in range(0, len(images), self.batch)]
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]

    def _run(self, images: np.ndarray) -> list[np.ndarray]:
        n = len(images)
        if self._fixed and n < self.batch:  # such an axis wants to be full
            images = np.concatenate([images, np.zeros((self.batch - n, *images.shape[1:]), images.dtype)])
        outputs = [output[:n] for output in self._session.run(None, {self._input: images})]
        # Free axes hide a foreign network until it has answered.
        if not self._contract.fits(list(images.shape), [list(output.shape) for output in outputs]):
            raise self._wrong(f"it answered {', '.join(str(list(output.shape)) for output in outputs)}")
        return outputs

    def _wrong(self, found: str) -> Problem:
        return _wrong_file(self.path, self._contract, found)


def _open(path: Path, contract: Contract, threads: int) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise Problem(f"{contract.what} is missing: there is no file {path}", "download it and name its path")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # warnings about the published graphs help nobody
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as broken:  # onnxruntime's errors share no base class below Exception
        reason = str(broken).splitlines()[0] if str(broken) else type(broken).__name__
        raise _wrong_file(path, contract, f"it cannot be opened as an ONNX network ({reason})") from None


def _wrong_file(path: Path, contract: Contract, found: str) -> Problem:
    return Problem(
        f"{path} is not {contract.what}: {found}; expected {contract.expected}",
        "name the published file, or an export of it with the same inputs and outputs",
    )


def agrees(shape: Shape, *wanted: int | None) -> bool:
    """Whether a declared shape can be the wanted one; free axes agree with anything, as None in `wanted` does."""
    return len(shape) == len(wanted) and all(
        side == want or want is None or not isinstance(side, int) for side, want in zip(shape, wanted, strict=True)
    )
