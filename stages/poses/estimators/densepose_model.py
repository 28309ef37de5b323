"""The DensePose network: a user-supplied TorchScript file with the inputs and outputs of the public exports.

Those (`densepose_r50_fpn_dl.torchscript`, `densepose_r101_fpn_dl.torchscript`) take one picture (3, height, width) and
give, in this order, boxes (n, 4), coarse (n, 2, h, w), fine (n, 25, h, w), U and V (n, 25, h, w). They call operators
of torchvision, which must be installed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from manifests.errors import Problem
from stages.poses.estimators.densepose import PARTS, Instance, instance

_EXPECTED = "boxes [n, 4], coarse [n, 2, h, w], fine [n, 25, h, w], u [n, 25, h, w] and v [n, 25, h, w], in this order"


class DensePose:
    """The network, loaded. Raises `Problem` for a file that is missing, no TorchScript, or another network."""

    def __init__(self, path: Path, channels: Literal["rgb", "bgr"] = "bgr") -> None:
        """`channels`: the order the network is shown; detectron2's models were trained on BGR."""
        self._path, self._channels = path, channels
        self._network = _load(path)

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> list[Instance]:
        """uint8 RGB (height, width, 3) → the people found, in the detector's order; none: an empty list."""
        ordered = image if self._channels == "rgb" else image[..., ::-1]
        pixels = torch.from_numpy(np.ascontiguousarray(ordered.transpose(2, 0, 1)))
        try:
            answer = self._network(pixels)
        except RuntimeError as failed:
            reason = str(failed).strip().splitlines()[-1] if str(failed) else type(failed).__name__
            raise self._wrong(f"it fails on a picture [3, height, width] ({reason})") from None
        boxes, coarse, fine, u, v = self._checked(answer)
        return [instance(*one) for one in zip(boxes, coarse, fine, u, v, strict=True)]

    def _checked(self, answer: object) -> list[np.ndarray]:
        if not isinstance(answer, tuple | list) or not all(isinstance(one, torch.Tensor) for one in answer):
            raise self._wrong(f"it answers {type(answer).__name__} instead of a tuple of tensors")
        shapes = [tuple(one.shape) for one in answer]
        people = shapes[0][0] if shapes and shapes[0] else 0
        channels = (2, PARTS + 1, PARTS + 1, PARTS + 1)
        fits = len(shapes) == 5 and shapes[0] == (people, 4)
        if not fits or any(
            len(shape) != 4 or shape[:2] != (people, count) for shape, count in zip(shapes[1:], channels, strict=True)
        ):
            raise self._wrong(f"it answers {', '.join(str(list(shape)) for shape in shapes)}")
        return [one.float().numpy() for one in answer]

    def _wrong(self, found: str) -> Problem:
        return _wrong_file(self._path, found)


def _load(path: Path) -> torch.jit.ScriptModule:
    if not path.is_file():
        raise Problem(f"the DensePose network is missing: there is no file {path}", "download it and name its path")
    # Its import registers the operators that the exported graphs call.
    has_torchvision = importlib.util.find_spec("torchvision") is not None
    if has_torchvision:
        importlib.import_module("torchvision")
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as broken:
        reason = str(broken).strip()
        if "torchvision" in reason and not has_torchvision:
            raise Problem(
                f"the DensePose network {path} calls operators of torchvision, which is not installed",
                f"install the torchvision that belongs to torch {torch.__version__}",
            ) from None
        first = reason.splitlines()[0] if reason else type(broken).__name__
        raise _wrong_file(path, f"it cannot be opened as TorchScript ({first})") from None


def _wrong_file(path: Path, found: str) -> Problem:
    return Problem(
        f"{path} is not a DensePose export: {found}; expected one picture [3, height, width] in, and out {_EXPECTED}",
        "name densepose_r50_fpn_dl.torchscript as published, or an export with the same inputs and outputs",
    )
