"""Procedurally drawn people: who they are, how they move, and pictures of them with keypoints; no photographs."""

from manifests.sample.people.body_parts import densepose
from manifests.sample.people.character import Character, random_character
from manifests.sample.people.drawing import Drawing, draw
from manifests.sample.people.motions import MOTIONS, Motion, random_motion, standing
from manifests.sample.people.pose import Pose

__all__ = [
    "MOTIONS",
    "Character",
    "Drawing",
    "Motion",
    "Pose",
    "densepose",
    "draw",
    "random_character",
    "random_motion",
    "standing",
]
