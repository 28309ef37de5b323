"""The part of a reference that a film of another shape shows: around its person, where the middle would cut them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifests.work import HARDLY, left_out
from stages.poses.anatomy import extent
from stages.poses.keypoints import Keypoints, People
from stages.poses.wholebody import VISIBLE

FRAMED_BY = 2  # raised when a person's film comes to show another part of the picture: it is in no key
_BEYOND = 0.08  # of the body's extent: fingers and soles lie beyond the points
_ABOVE = 0.16  # the same of hair and hats, which lie above the eyes


class Window(NamedTuple):
    """A part of a picture, in whole pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, picture: np.ndarray) -> np.ndarray:
        """That part of a picture (height, width, …)."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]


class Framing(NamedTuple):
    """Where a film's shape cuts a picture, and its person."""

    window: Window | None  # None: the middle
    cut: float  # share of the person's height or width that is outside
    framed_by: int = FRAMED_BY  # the rule


def frame_person(person: People, picture: tuple[int, int], film: tuple[int, int]) -> Framing:
    """The largest part of a `picture` in the shape of a `film`, (width, height) each, that holds its person.

    It is the middle where that does, or hardly anything is cropped, else as near to it as may be. A person who is too
    tall for it keeps the head, one who is too wide the middle.
    """
    if left_out(picture, film) <= HARDLY:
        return Framing(None, 0.0)
    size = _largest(picture, film)
    low, high = _reach(person, picture)
    places = [_place(*one) for one in zip(low, high, size, picture, (True, False), strict=True)]
    start = np.array(places)
    outside = np.maximum(start - low, 0) + np.maximum(high - start - size, 0)
    cut = float((outside / np.maximum(high - low, 1e-9)).max())
    left, top = (int(np.floor(place + 0.5)) for place in places)
    moved = (left, top) != tuple(int(np.floor(place + 0.5)) for place in _middle(picture, size))
    return Framing(Window(left, top, *size) if moved else None, cut)


def cut_to(keypoints: Keypoints, window: Window) -> Keypoints:
    """Keypoints of a picture as those of a part of it."""
    corner = np.array([window.left, window.top], float)
    points, boxes = keypoints.points - corner, keypoints.boxes - np.tile(corner, 2)
    return Keypoints(points, keypoints.scores, boxes, window.width, window.height)


def _largest(picture: tuple[int, int], film: tuple[int, int]) -> tuple[int, int]:
    (width, height), (across, down) = picture, film
    return min(width, max(1, round(height * across / down))), min(height, max(1, round(width * down / across)))


def _middle(picture: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    return (picture[0] - size[0]) / 2, (picture[1] - size[1]) / 2


def _reach(person: People, picture: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of the first and last pixel border of one person, within the picture."""
    seen = person.points[0][person.scores[0] > VISIBLE]
    if not len(seen):
        return np.array(picture) / 2, np.array(picture) / 2
    body = np.nan_to_num(extent(person.points, person.scores)[0])
    low = seen.min(axis=0) + 0.5 - body * np.array([_BEYOND, _ABOVE])
    high = seen.max(axis=0) + 0.5 + body * _BEYOND
    return np.clip(low, 0, picture), np.clip(high, 0, picture)


def _place(low: float, high: float, size: int, whole: int, is_across: bool) -> float:
    """Where the window begins, on one axis."""
    if high - low <= size:
        place = float(np.clip((whole - size) / 2, high - size, low))
    else:
        place = (low + high - size) / 2 if is_across else low
    return float(np.clip(place, 0, whole - size))
