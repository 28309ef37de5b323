"""Frames in which nobody is found, although the film shows them: no animator can draw a person out of no pose.

What gaps the rules of quality let through get the nearest pose found: held before the first and after the last one,
bridged between two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from manifests.errors import Rejected
from stages.poses.keypoints import Keypoints
from stages.poses.motion.leaps_and_gaps import cross_gaps
from stages.poses.motion.left_right import runs

_COMPRESSION = 24  # levels by which a film of one colour may differ from it

Spans = list[list[int]]  # first and last frame of each


def fill_absence(person: Keypoints, shown: range) -> tuple[Keypoints, np.ndarray, np.ndarray]:
    """One-slot keypoints with somebody in every frame of `shown`, and which were held and bridged: bool (frames,) each.

    Beyond `shown` nothing is filled or looked at. A sequence that shows nobody there at all is returned as it is.
    """
    held, bridged = np.zeros(len(person), bool), np.zeros(len(person), bool)
    part = person.part(shown)
    present = part.present[:, 0]
    found = np.flatnonzero(present)
    if present.all() or not len(found):
        return person, held, bridged
    absent = ~present
    held[shown.start : shown.stop] = absent
    bridged[shown.start : shown.stop][found[0] : found[-1]] = absent[found[0] : found[-1]]
    held &= ~bridged

    nearest = np.clip(np.arange(len(part)), found[0], found[-1])
    points, scores, boxes = part.points[nearest, 0], part.scores[nearest, 0], part.boxes[nearest]
    there = np.repeat(~np.isnan(points[:, :1, 0]), points.shape[1], axis=1)
    points, scores, _ = cross_gaps(points, scores, there, len(part))
    filled = tuple(array.copy() for array in (person.points, person.scores, person.boxes))
    for array, new in zip(filled, (points[:, None], scores[:, None], boxes), strict=True):
        array[shown.start : shown.stop] = new
    return replace(person, points=filled[0], scores=filled[1], boxes=filled[2]), held, bridged


def spans(marked: np.ndarray, shown: Sequence[int]) -> Spans:
    """Stretches of the film's frames that show a `marked` frame of the sequence: bool (frames,)."""
    return [[start, end - 1] for start, end in runs(marked[list(shown)])]


def shows_somebody(picture: np.ndarray) -> bool:
    """Whether a stored pose is of anybody: uint8 (height, width, 3) of more than one colour, U and V not all zero."""
    if picture.dtype != np.uint8:
        return bool(picture.any())
    low, high = picture.min(axis=(0, 1)).astype(int), picture.max(axis=(0, 1)).astype(int)
    return bool((high - low > _COMPRESSION).any())


def empty_stretches(poses: Iterable[np.ndarray]) -> Spans:
    """First and last frames of a film's stretches whose stored poses are of nobody. Raises `Rejected` where all are."""
    empty = np.array([not shows_somebody(pose) for pose in poses])
    if empty.all():
        raise Rejected(
            f"the driving file shows nobody's pose in any of the {len(empty)} frames of the film",
            "choose another range of it, or another file",
        )
    return spans(empty, range(len(empty)))


def left_empty(report: Mapping[str, Any]) -> bool:
    """Whether a report is of a film made before absence was filled, with frames that show nobody's pose."""
    if "held" in report or "frames" not in report:
        return False
    return report["frames"] - report["present"] - report.get("repairs", {}).get("filled_frames", 0) > 0
