"""MediaPipe's nets that find people: their names, as published in its wheel, and the bytes that they must be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

WHEEL = "mediapipe==0.10.21"  # the last release that carries the nets
LICENCE = "Apache-2.0, MediaPipe by Google"
INSTALLED = "installed:people"  # where `make setup` and `catwalk models fetch people` put them
FULL = "full"  # the word for the body net that is one of them
HEAVY = "pose_landmark_heavy.tflite"  # of the same interface: not in the wheel, a user may name it instead


class Net(NamedTuple):
    """One file of the wheel, below `mediapipe/modules/`."""

    module: str  # its folder there
    size: int  # bytes
    digest: str  # SHA-256


NETS = {
    "pose_detection.tflite": Net(
        "pose_detection", 2_959_046, "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c"
    ),
    "pose_landmark_full.tflite": Net(
        "pose_landmark", 6_440_512, "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
    ),
    "hand_landmark_full.tflite": Net(
        "hand_landmark", 5_478_917, "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3"
    ),
    "hand_recrop.tflite": Net(
        "holistic_landmark", 123_792, "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d"
    ),
    "face_detection_short_range.tflite": Net(
        "face_detection", 229_714, "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
    ),
    "face_landmark.tflite": Net(
        "face_landmark", 1_242_398, "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"
    ),
}
BODY = "pose_landmark_full.tflite"


def installed(folder: str) -> str:
    """`INSTALLED` as the path that it is in the environment of this Python; any other folder as it is."""
    return str(Path(sys.prefix, "share", "catwalk", "people")) if folder == INSTALLED else folder
