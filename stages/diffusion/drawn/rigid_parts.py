"""A body as rigid parts in two postures of one person: where each part of the one lies in the other.

Trunk, head and limbs are told from 18 joints in pixels of their pictures. "Here" is the posture that is wanted, "there"
the reference's. All proportions are those of the drawn people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

NOSE, NECK, HIPS, KNEES, ANKLES = 0, 1, (8, 11), (9, 12), (10, 13)
NARROWEST = 0.55  # of its width that a trunk keeps in profile

_FACE = (0, 14, 15, 16, 17)
_SHOULDERS = (2, 5)
_FACE_PAIRS = ((14, 15), (16, 17))  # right and left eye, right and left ear
_SHORTEST_PAIR = 0.04  # of the body's size: a pair less apart says nothing of how a head is held
_UP = np.array([0, -1], np.float32)
_QUARTER = np.array([[0, 1], [-1, 0]], np.float32)  # row vectors @ it: from the person's left to the picture's bottom

# Left, up and front of the points of the face on the head as a ball.
_ON_BALL = {0: (0, -0.2, 1), 14: (-0.36, 0.02, 0.9), 15: (0.36, 0.02, 0.9), 16: (-1, -0.08, 0), 17: (1, -0.08, 0)}
_NECK_WEIGHT, _PRIOR = 0.3, 0.1  # beside 1 of a point of the face
_BALL_RADIUS, _HEAD_RADIUS, _TRUNK_RADIUS = 0.09, 0.15, 0.14  # of the body's size
_SPAN_RADIUS, _NARROWEST_SPAN = 0.13, 0.015  # of the body's size


class Limb(NamedTuple):
    """A bone with the flesh around it; widths and lengths in body sizes."""

    start: int
    end: int
    radius: float
    beyond: float  # how far it goes on behind the end joint: hands and feet
    front: float  # of two limbs at one place the one with more is seen


TRUNK, HEAD = 0, 1  # numbers of the parts without a bone of their own; limbs follow
LIMBS = (
    *(Limb(hip, knee, 0.085, 0.0, 0.1) for hip, knee in ((8, 9), (11, 12))),
    *(Limb(knee, ankle, 0.06, 0.07, 0.1) for knee, ankle in ((9, 10), (12, 13))),
    *(Limb(shoulder, elbow, 0.055, 0.0, 0.5) for shoulder, elbow in ((2, 3), (5, 6))),
    *(Limb(elbow, wrist, 0.05, 0.08, 0.6) for elbow, wrist in ((3, 4), (6, 7))),
)
_TRUNK_LENGTH = 0.41  # in body sizes, as those of the bones on both sides
_LENGTHS = {((8, 9), (11, 12)): 0.3, ((9, 10), (12, 13)): 0.29, ((2, 3), (5, 6)): 0.2, ((3, 4), (6, 7)): 0.17}


@dataclass(frozen=True)
class Posture:
    """Joints of one person in OpenPose's order."""

    points: np.ndarray  # float32 (18, 2), pixels
    seen: np.ndarray  # bool (18,)

    @classmethod
    def of(cls, points: np.ndarray, seen: np.ndarray) -> Posture:
        """From points of any floating dtype."""
        return cls(points.astype(np.float32), seen)

    def middle(self, joints: tuple[int, ...]) -> np.ndarray:
        """The point between some joints."""
        return self.points[list(joints)].mean(axis=0)

    def length(self, bone: tuple[int, int]) -> float:
        """A bone's length in pixels."""
        return float(np.linalg.norm(self.points[bone[1]] - self.points[bone[0]]))


@dataclass(frozen=True)
class Part:
    """One part in both postures: origin, unit axis and length in pixels, and what happens across the axis."""

    number: int  # the same in every posture
    origin: np.ndarray
    axis: np.ndarray
    length: float
    origin_there: np.ndarray
    axis_there: np.ndarray
    length_there: float
    across: float  # pixels there per pixel here, negative where it is mirrored
    radius: float  # pixels here
    beyond: float  # pixels here
    front: float
    trust: float  # 0…1: how much of what it shows here the reference shows
    ball: tuple[float, float] | None = None  # by how much it has turned, radians, and its radius in pixels here


@dataclass(frozen=True)
class Span:
    """What hangs between two legs in both postures, from one pair of joints to the next: a skirt, if there is one."""

    origin: np.ndarray
    axis: np.ndarray
    length: float
    halves: tuple[float, float]  # half of how far the right limb is from the left, pixels; negative from behind
    origin_there: np.ndarray
    axis_there: np.ndarray
    length_there: float
    halves_there: tuple[float, float]
    across: float  # pixels there per pixel here, outside the limbs
    radius: float  # how far it reaches outside the limbs, pixels here
    front: float = 0.2  # before legs, behind arms


def spans_in(posture: Posture, reference: Posture) -> list[Span]:
    """What may hang between the legs that both postures show: above the knees, and below."""
    scale, size = _scale_and_size(posture, reference)
    both = reference.seen & posture.seen
    return [
        _span(posture, reference, scale, size, start, end)
        for start, end in ((HIPS, KNEES), (KNEES, ANKLES))
        if size and both[[*start, *end]].all()
    ]


def _span(
    posture: Posture, reference: Posture, scale: float, size: float, start: tuple[int, int], end: tuple[int, int]
) -> Span:
    least = _NARROWEST_SPAN * size
    (here, there) = (_hanging(posture, start, end, least), _hanging(reference, start, end, least / scale))
    return Span(*here, *there, 1 / scale, _SPAN_RADIUS * size)


def _hanging(
    posture: Posture, start: tuple[int, int], end: tuple[int, int], least: float
) -> tuple[np.ndarray, np.ndarray, float, tuple[float, float]]:
    """Origin, axis, length and halves of what hangs between two pairs of joints."""
    origin = posture.middle(start)
    axis, length = _axis(origin, posture.middle(end))
    across = np.array([-axis[1], axis[0]])
    halves = [float((posture.points[right] - posture.points[left]) @ across) / 2 for right, left in (start, end)]
    first, last = (half if abs(half) > least else np.copysign(least, half) for half in halves)
    return origin, axis, length, (float(first), float(last))


def parts_in(posture: Posture, reference: Posture) -> list[Part]:
    """The parts that both postures show."""
    scale, size = _scale_and_size(posture, reference)
    if not size:
        return []
    both = reference.seen & posture.seen
    parts = []
    if both[[NECK, *_SHOULDERS, *HIPS]].all():
        parts.append(_trunk(posture, reference, scale, size))
    if both[NECK] and both[list(_FACE)].any():
        parts.append(_head(posture, reference, scale, size))
    for number, limb in enumerate(LIMBS, start=HEAD + 1):
        bone = limb.start, limb.end
        if both[list(bone)].all():
            here, there = ([one.points[joint] for joint in bone] for one in (posture, reference))
            parts.append(_part(number, here, there, 1 / scale, size, limb))
    return parts


def _part(
    number: int, here: Sequence[np.ndarray], there: Sequence[np.ndarray], across: float, size: float, limb: Limb
) -> Part:
    """A part between two places: as long as they are apart, as thick as the body's size wants it."""
    axis, length = _axis(*here)
    axis_there, length_there = _axis(*there)
    shortened = length_there / (length * across)
    return Part(
        number,
        here[0],
        axis,
        length,
        there[0],
        axis_there,
        length_there,
        across,
        limb.radius * size,
        limb.beyond * size,
        limb.front,
        min(shortened, 1 / shortened),
    )


def _trunk(posture: Posture, reference: Posture, scale: float, size: float) -> Part:
    """From the neck to the hips, as wide as shoulders and hips are apart; mirrored where it is seen from behind."""
    here, there = ((one.points[NECK], one.middle(HIPS)) for one in (posture, reference))
    width, width_there = _width(posture, *here), _width(reference, *there)
    ratio = width / (width_there * scale) if abs(width_there) > 1e-3 else 1.0
    turned = np.sign(ratio) * np.clip(abs(ratio), NARROWEST, 1 / NARROWEST)
    flesh = Limb(0, 0, _TRUNK_RADIUS * abs(turned), 0.1, 0.0)
    part = _part(TRUNK, here, there, 1 / scale, size, flesh)
    trust = min(abs(ratio), 1.0) if ratio > 0 else 0.0
    return replace(part, across=1 / (scale * turned), trust=trust)


def _width(posture: Posture, neck: np.ndarray, hips: np.ndarray) -> float:
    """How far the right side is from the left, across the trunk, in pixels; negative from behind."""
    axis, _ = _axis(neck, hips)
    spans = [posture.points[right] - posture.points[left] for right, left in (_SHOULDERS, HIPS)]
    return float(np.mean([span @ [-axis[1], axis[0]] for span in spans]))


def _head(posture: Posture, reference: Posture, scale: float, size: float) -> Part:
    """A ball that turns about its axis, which is upright as the line of eyes or ears, or else as the trunk."""
    up, up_there = _upright(posture, reference, size)
    middle, yaw = _ball(posture, up, size)
    middle_there, yaw_there = _ball(reference, up_there, size / scale)
    length, turn = 0.02 * size, yaw - yaw_there
    return Part(
        HEAD,
        middle - up * length / 2,
        up,
        length,
        middle_there - up_there * length / 2 / scale,
        up_there,
        length / scale,
        1 / scale,
        _HEAD_RADIUS * size,
        0.0,
        0.3,
        max(float(np.cos(turn)), 0.0),
        (turn, _BALL_RADIUS * size),
    )


def _ball(posture: Posture, up: np.ndarray, size: float) -> tuple[np.ndarray, float]:
    """Middle of the head and how it is turned, in radians, 0 to the front and positive to the picture's right.

    Least squares over the points of the face on a ball, and that the ball's middle is above the neck.
    """
    radius, across = _BALL_RADIUS * size, np.array([-up[1], up[0]])
    rows, values, heights = [(_NECK_WEIGHT, 0.0, 0.0)], [0.0], []
    for joint, (left, above, front) in _ON_BALL.items():
        if posture.seen[joint]:
            offset = posture.points[joint] - posture.points[NECK]
            rows.append((1.0, left, front))
            values.append(float(offset @ across) / radius)
            heights.append(float(offset @ up) - above * radius)
    # a little of a front view, or of a back, where the points leave the turn open
    rows += [(0.0, _PRIOR, 0.0), (0.0, 0.0, _PRIOR)]
    values += [_PRIOR if posture.seen[NOSE] else -_PRIOR, 0.0]
    (middle, cosine, sine), *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    place = posture.points[NECK] + across * middle * radius + up * np.mean(heights)
    return place.astype(np.float32), float(np.arctan2(sine, cosine))


def _upright(posture: Posture, reference: Posture, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors that point up in the heads of both: the one here, the one there."""
    both = posture.seen & reference.seen
    for right, left in _FACE_PAIRS:
        spans = [one.points[left] - one.points[right] for one in (posture, reference)]
        apart = min(float(np.linalg.norm(span)) for span in spans) > _SHORTEST_PAIR * size
        if both[[right, left]].all() and apart and spans[0] @ spans[1] > 0:
            here, there = (_axis(span @ _QUARTER, np.zeros(2))[0] for span in spans)
            return here, there
    if both[[NECK, *HIPS]].all():
        here, there = (_axis(one.middle(HIPS), one.points[NECK])[0] for one in (posture, reference))
        return here, there
    return _UP, _UP


def _axis(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, float]:
    """Unit vector, and length in pixels, at least one."""
    length = float(np.linalg.norm(end - start))
    return ((end - start) / max(length, 1e-3)).astype(np.float32), max(length, 1.0)


def _scale_and_size(posture: Posture, reference: Posture) -> tuple[float, float]:
    """Pixels here per pixel there, and the body's size here: trunk, a thigh and a shin. Zeros without a common bone.

    Of both sides the longer one counts, which points at the viewer less.
    """
    both = reference.seen & posture.seen
    lengths = []
    if both[[NECK, *HIPS]].all():
        here, there = (float(np.linalg.norm(one.middle(HIPS) - one.points[NECK])) for one in (posture, reference))
        lengths.append((here, there, _TRUNK_LENGTH))
    for pair, typical in _LENGTHS.items():
        if shown := [bone for bone in pair if both[list(bone)].all()]:
            here, there = (max(one.length(bone) for bone in shown) for one in (posture, reference))
            lengths.append((here, there, typical))
    here, there, typical = (sum(of) for of in zip(*lengths, strict=True)) if lengths else (0.0, 0.0, 1.0)
    return (here / there, here / typical) if here > 1 and there > 1 else (0.0, 0.0)
