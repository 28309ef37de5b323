"""Keypoints of the people in a picture, and of a whole sequence: what tracking, repair, retargeting and drawing share.

Coordinates are pixels of the picture that the estimator saw: x to the right, y down, pixel centres at whole numbers,
float64. Points are 134 in OpenPose's order (`wholebody`). Scores are the network's raw responses: around 0 to 1, but
they may be negative or exceed 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from stages.poses.wholebody import FACE, POINTS


@dataclass(frozen=True)
class People:
    """The people of one picture, best detection first."""

    points: np.ndarray  # float64 (people, 134, 2), pixels
    scores: np.ndarray  # float64 (people, 134)
    boxes: np.ndarray  # float64 (people, 4) as x1 y1 x2 y2, pixels; NaN: not detected, estimated on the whole picture

    def __post_init__(self) -> None:
        n = len(self.points)
        expected = {"points": (n, POINTS, 2), "scores": (n, POINTS), "boxes": (n, 4)}
        for name, shape in expected.items():
            if (found := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} have shape {found}, expected {shape}")

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Keypoints:
    """People over a sequence of equally large pictures.

    A person occupies a slot. As estimated, slots are filled from the front, best detection first, and a slot says
    nothing about identity; after tracking a slot is one person, absent in some frames.
    """

    points: np.ndarray  # float64 (frames, slots, 134, 2), pixels; NaN where the slot is empty
    scores: np.ndarray  # float64 (frames, slots, 134); 0 where the slot is empty
    boxes: np.ndarray  # float64 (frames, slots, 4) as x1 y1 x2 y2, pixels; NaN where empty or not detected
    width: int
    height: int

    def __post_init__(self) -> None:
        frames, slots = self.points.shape[:2]
        expected = {
            "points": (frames, slots, POINTS, 2),
            "scores": (frames, slots, POINTS),
            "boxes": (frames, slots, 4),
        }
        for name, shape in expected.items():
            if (found := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} have shape {found}, expected {shape}")

    def __len__(self) -> int:
        return len(self.points)

    @property
    def present(self) -> np.ndarray:
        """bool (frames, slots): whether the slot holds a person in that frame."""
        return ~np.isnan(self.points[:, :, 0, 0])

    @property
    def detected(self) -> np.ndarray:
        """bool (frames, slots): whether that person was found by the detector.

        False for the pseudo person that the published estimators see in a picture in which they found nobody.
        """
        return ~np.isnan(self.boxes[:, :, 0])

    def people(self, frame: int) -> People:
        """The people present in one frame, in the order of their slots."""
        there = ~np.isnan(self.points[frame, :, 0, 0])
        return People(self.points[frame, there], self.scores[frame, there], self.boxes[frame, there])

    def without_hands_and_face(self) -> Keypoints:
        """The same people, of whom only body and feet are seen."""
        scores = self.scores.copy()
        scores[..., FACE.start :] = 0
        return replace(self, scores=scores)

    def part(self, frames: range) -> Keypoints:
        """The sequence of those frames alone."""
        which = slice(frames.start, frames.stop)
        return replace(self, points=self.points[which], scores=self.scores[which], boxes=self.boxes[which])

    @classmethod
    def from_people(cls, people: Sequence[People], width: int, height: int) -> Self:
        """Stack pictures of `width` × `height` pixels; as many slots as the fullest of them has people."""
        made = cls.empty(len(people), max(map(len, people), default=0), width, height)
        for frame, those in enumerate(people):
            made.points[frame, : len(those)] = those.points
            made.scores[frame, : len(those)] = those.scores
            made.boxes[frame, : len(those)] = those.boxes
        return made

    @classmethod
    def empty(cls, frames: int, slots: int, width: int, height: int) -> Self:
        """Nobody in any of the slots, to be filled in place."""
        points, scores = np.full((frames, slots, POINTS, 2), np.nan), np.zeros((frames, slots, POINTS))
        return cls(points, scores, np.full((frames, slots, 4), np.nan), width, height)
