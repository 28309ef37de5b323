"""Procedurally drawn people: who they are, how they move, and pictures of them with keypoints; no photographs."""

from pipelines.training.people.body_parts import densepose
from pipelines.training.people.character import Character, random_character
from pipelines.training.people.drawing import Drawing, draw
from pipelines.training.people.motions import MOTIONS, Motion, random_motion, standing
from pipelines.training.people.pose import Pose

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
