"""DensePose of a posture: which part of the bare body every pixel shows, and where on that part.

Parts are numbered as in `stages.poses.estimators.densepose`: 1 back, 2 front of the trunk, 3 right, 4 left hand,
5 left, 6 right foot, 7/9 right and 8/10 left thigh (back/front), 11/13 right and 12/14 left lower leg, 15/17 left and
16/18 right upper arm (inner/outer), 19/21 left and 20/22 right forearm, 23 right, 24 left half of the head.
"""

from typing import NamedTuple

import numpy as np

from pipelines.training.people import arms, legs
from pipelines.training.people.camera import camera
from pipelines.training.people.character import Character
from pipelines.training.people.ellipsoid import Ellipsoid
from pipelines.training.people.head import half_widths
from pipelines.training.people.layer import Layer
from pipelines.training.people.pose import Pose
from pipelines.training.people.shading import column
from pipelines.training.people.skeleton import Skeleton, pose_skeleton
from pipelines.training.people.trunk import neck, trunk_shape
from pipelines.training.people.tube import Section, Seen, Tube

BLANK = column((0, 0, 0))
HEAD = 1.06  # the skull's half widths with hair, in skulls
LEFT, RIGHT = 0, 1


class Part(NamedTuple):
    """A solid and its numbers: on the side away from angle 0 and on the side around it; a head's right and left."""

    solid: Tube | Ellipsoid
    numbers: tuple[int, int]
    halves: bool = False  # split into left and right instead of front and back


def densepose(character: Character, pose: Pose, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Parts uint8 (height, width), 0 where there is no body, and U and V float32 (2, height, width) in 0…1.

    U runs around a part and V along it, from the trunk outward and from the chin or the trunk's lower end up; both are
    0 beside the body. Clothes and hair are left out. The camera is that of `draw`.
    """
    view = camera(width, height)
    joints = pose_skeleton(character.proportions, pose).moved(view)
    layer = Layer(width, height)
    parts = np.zeros((height, width), np.uint8)
    uv = np.zeros((2, height, width), np.float32)
    for part in _parts(character, joints, view.scale):
        seen = part.solid.seen(layer)
        if seen is None:
            continue
        numbers, u, v = _tube_chart(part, seen) if isinstance(seen, Seen) else _head_chart(part, *seen.local)
        nearest = layer.depth[seen.window]
        shown = (seen.coverage > 0.5) & (seen.depth > nearest)
        nearest[shown] = seen.depth[shown]
        parts[seen.window][shown] = numbers[shown]
        uv[0][seen.window][shown] = u[shown]
        uv[1][seen.window][shown] = v[shown]
    return parts, uv


def _tube_chart(part: Part, seen: Seen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Part number, U and V on the visible side of a tube."""
    angle = np.arctan2(np.sin(seen.surface.angle), np.cos(seen.surface.angle))
    other, ahead = part.numbers
    if part.halves:
        first = angle < 0
        u = np.abs(angle) / np.pi
    elif other == ahead:
        first = np.zeros(angle.shape, bool)
        u = angle / (2 * np.pi) + 0.5
    else:
        first = np.abs(angle) > np.pi / 2
        u = np.where(first, (angle / np.pi) % 2 - 0.5, angle / np.pi + 0.5)
    return np.where(first, other, ahead), np.clip(u, 0, 1), seen.share


def _head_chart(part: Part, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Part number, U and V at points X left, Y up, Z front of the head: U from the face to the back of the head."""
    right, left = part.numbers
    return np.where(x < 0, right, left), np.arctan2(np.abs(x), z) / np.pi, np.clip((y + 1) / 2, 0, 1)


def _parts(character: Character, joints: Skeleton, scale: float) -> list[Part]:
    """The solids of the bare body."""
    size = character.proportions.height * scale
    unit = size * character.proportions.build
    across, up, front = half_widths(character, scale)
    radii = across * HEAD, up * HEAD, front * HEAD
    skull = Ellipsoid(joints.skull, joints.head_frame, radii, BLANK, jaw=0.32)
    throat = neck(character, joints, scale)
    around = Section.round(throat.end, throat.start, joints.chest_frame[:, 2])
    throat = Tube(throat.end, throat.start, throat.radii[::-1], BLANK, around, raised=-1.0)
    parts = [Part(trunk_shape(character, joints, scale), (1, 2)), Part(throat, (23, 24), halves=True)]
    parts.append(Part(skull, (23, 24)))
    for side in (LEFT, RIGHT):
        parts += _arm(joints, side, unit)
        parts += _leg(joints, side, unit, size)
    return parts


def _arm(joints: Skeleton, side: int, unit: float) -> list[Part]:
    """Upper arm, forearm and hand; angle 0 is the outer side, which is the upper one of a level arm."""
    shoulder, elbow, wrist, knuckles = (
        pair[side] for pair in (joints.shoulders, joints.elbows, joints.wrists, joints.knuckles)
    )
    front = joints.chest_frame[:, 2]

    def tube(start: np.ndarray, end: np.ndarray, radii: tuple[float, ...]) -> Tube:
        outer = np.cross(front, end - start) * (-1 if side == LEFT else 1)
        if np.linalg.norm(outer) < 1e-3:
            outer = joints.chest_frame[:, 0] * (1 if side == LEFT else -1)
        around = Section.round(start, end, outer / np.linalg.norm(outer))
        return Tube(start, end, tuple(r * unit for r in radii), BLANK, around)

    return [
        Part(tube(shoulder, elbow, arms.UPPER), (15 + side, 17 + side)),
        Part(tube(elbow, wrist, arms.FOREARM), (19 + side, 21 + side)),
        Part(tube(wrist, knuckles, arms.HAND), (4 - side, 4 - side)),
    ]


def _leg(joints: Skeleton, side: int, unit: float, size: float) -> list[Part]:
    """Thigh, lower leg and foot; angle 0 is the front."""
    hip, knee, ankle, heel, toe = (
        pair[side] for pair in (joints.hips, joints.knees, joints.ankles, joints.heels, joints.toes)
    )
    front = joints.pelvis_frame[:, 2]

    def tube(start: np.ndarray, end: np.ndarray, radii: tuple[float, ...], raised: float = 0.0) -> Tube:
        around = Section.round(start, end, front)
        return Tube(start, end, radii, BLANK, around, raised=raised)

    thigh, shin = (tuple(r * unit for r in radii) for radii in (legs.THIGH, legs.SHIN))
    foot = 5 + side
    instep = heel + (toe - heel) * 0.2
    return [
        Part(tube(hip, knee, thigh, raised=-2.0), (8 - side, 10 - side)),
        Part(tube(knee, ankle, shin), (12 - side, 14 - side)),
        Part(tube(heel, toe, tuple(r * size for r in legs.SHOE)), (foot, foot)),
        Part(tube(ankle, instep, (0.021 * size, 0.02 * size)), (foot, foot)),
    ]
