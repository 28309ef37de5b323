"""Readers that answer what no decoder would, as whoever took one over might."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stages.sandbox.child import Answer, Answers, Reader

FACTS: dict[str, Any] = {
    "frames": 2,
    "fps": [25, 1],
    "seconds": [2, 25],
    "width": 4,
    "height": 2,
    "stored": [4, 2],
    "rotation": 0,
    "mirrored": False,
    "codec": "h264",
    "audio": False,
    "variable": False,
    "start": [0, 1],
    "corrected": "",
}


def _told(path: Path) -> Any:
    """The lie that the file asks for."""
    return eval(path.read_text(), {"np": np})  # noqa: S307 (the test's own words)


def _video(path: Path, limits: Any) -> Answer:
    lie = _told(path)
    return Answer({**FACTS, **lie.get("facts", {})}, (np.array(lie.get("seconds", [[0, 1], [1, 25]])),))


def _frames(path: Path, indices: np.ndarray, limits: Any, facts: Any) -> Answers:
    for picture in _told(path)["pictures"]:
        yield Answer(None, (picture,))
    return None


def _image(path: Path, limits: Any) -> Answer:
    return Answer(False, tuple(_told(path)))


def _keypoints(path: Path, limits: Any, whole: bool) -> Answer:
    sizes, *arrays = _told(path)
    return Answer(sizes, tuple(arrays))


def _uv_facts(path: Path, limits: Any) -> Answer:
    return Answer(_told(path))


def _credentials(path: Path, roots: Any) -> Answer:
    return Answer(_told(path))


def _carried(path: Path, digest: Any) -> Answer:
    return Answer(None, tuple(_told(path)))


_ALL = (_video, _frames, _image, _keypoints, _uv_facts, _credentials, _carried)
READERS = {call.__name__.strip("_").replace("_", " "): Reader(call) for call in _ALL}
