"""Forward kinematics: where a pose puts the joints of a body.

Space: x to the picture's right, y up, z toward the camera, in heights of the tallest person, origin on the floor.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pipelines.training.people.pose import Arm, Leg, Pose


@dataclass(frozen=True)
class Proportions:
    """Lengths and half widths of a body, in its own heights."""

    height: float = 1.0  # of the tallest person's
    head: float = 0.178  # chin to crown
    shoulders: float = 0.098  # middle to joint
    hips: float = 0.046
    trunk: float = 0.32  # hips to the base of the neck
    neck: float = 0.026
    upper_arm: float = 0.155
    forearm: float = 0.132
    hand: float = 0.058
    thigh: float = 0.235
    shin: float = 0.22
    ankle: float = 0.022  # above the foot's bones
    foot: float = 0.094
    chest: float = 0.074  # half widths
    waist: float = 0.062
    pelvis: float = 0.082
    build: float = 1.0  # thickness of limbs


class Skeleton(NamedTuple):
    """Joints, points (3,), of one posture; `(left, right)` pairs; frames (3, 3) with columns left, up, front."""

    pelvis: np.ndarray
    neck: np.ndarray
    skull: np.ndarray  # middle of the head
    pelvis_frame: np.ndarray
    chest_frame: np.ndarray
    head_frame: np.ndarray
    shoulders: tuple[np.ndarray, np.ndarray]
    elbows: tuple[np.ndarray, np.ndarray]
    wrists: tuple[np.ndarray, np.ndarray]
    knuckles: tuple[np.ndarray, np.ndarray]
    hips: tuple[np.ndarray, np.ndarray]
    knees: tuple[np.ndarray, np.ndarray]
    ankles: tuple[np.ndarray, np.ndarray]
    heels: tuple[np.ndarray, np.ndarray]
    toes: tuple[np.ndarray, np.ndarray]

    def moved(self, change: "Change") -> "Skeleton":
        """The same posture with every point and every frame passed through `change`."""
        values: list[Any] = []
        for name, value in self._asdict().items():
            if isinstance(value, tuple):
                values.append(tuple(change.point(v) for v in value))
            else:
                values.append(change.frame(value) if name.endswith("frame") else change.point(value))
        return Skeleton(*values)


@dataclass(frozen=True)
class Change:
    """A linear map and a shift: points p → linear · p + shift; frames keep unit length by dividing by `scale`."""

    linear: np.ndarray
    shift: np.ndarray
    scale: float = 1.0

    def point(self, point: np.ndarray) -> np.ndarray:
        """The changed point (3,)."""
        return self.linear @ point + self.shift

    def frame(self, frame: np.ndarray) -> np.ndarray:
        """The changed frame (3, 3)."""
        return self.linear @ frame / self.scale


SOLE = 0.019  # bones of the foot above the floor, in heights of the tallest person


def pose_skeleton(body: Proportions, pose: Pose) -> Skeleton:
    """The joints of a body in this pose, standing on the floor."""
    size = body.height
    pelvis_frame = turning(pose.yaw) @ rolling(pose.hips)
    chest = turning(pose.yaw + pose.twist) @ nodding(pose.lean) @ rolling(-pose.tilt)
    head = turning(pose.yaw + pose.twist + pose.look) @ nodding(0.4 * pose.lean + pose.nod) @ rolling(-pose.roll)
    pelvis = np.zeros(3)
    waist = 0.34 * body.trunk * size * pelvis_frame[:, 1]
    neck = waist + 0.66 * body.trunk * size * chest[:, 1]
    skull = neck + (body.neck * (0.5 * chest[:, 1] + 0.5 * head[:, 1]) + body.head * 0.5 * head[:, 1]) * size
    skull = skull + 0.006 * size * head[:, 2]
    arms = [_arm(body, chest, neck, side, arm) for side, arm in ((1, pose.left_arm), (-1, pose.right_arm))]
    legs = [_leg(body, pelvis_frame, side, leg) for side, leg in ((1, pose.left_leg), (-1, pose.right_leg))]
    shoulders, elbows, wrists, knuckles = (tuple(pair) for pair in zip(*arms, strict=True))
    hips, knees, ankles, heels, toes = (tuple(pair) for pair in zip(*legs, strict=True))
    lowest = min(float(point[1]) for point in (*heels, *toes))
    feet = (ankles[0] + ankles[1]) * (pose.planted / 2)
    shift = np.array([pose.x - feet[0], SOLE - lowest + pose.lift, -feet[2]])
    frames = (pelvis_frame, chest, head)
    limbs = (shoulders, elbows, wrists, knuckles, hips, knees, ankles, heels, toes)
    return Skeleton(pelvis, neck, skull, *frames, *limbs).moved(Change(np.eye(3), shift))


def _arm(body: Proportions, chest: np.ndarray, neck: np.ndarray, side: int, arm: Arm) -> tuple[np.ndarray, ...]:
    """Shoulder, elbow, wrist and knuckles; a raised arm lifts its shoulder."""
    size = body.height
    raised = np.clip((arm.out - 40) / 120, 0, 1) * max(np.cos(np.radians(arm.forward)), 0.0)
    at = np.array([side * (body.shoulders - 0.012 * raised), -0.046 + 0.026 * raised, 0.0])
    shoulder = neck + chest @ at * size
    elbow = shoulder + chest @ pointing(side, arm.out, arm.forward) * (body.upper_arm * size)
    fore = chest @ pointing(side, arm.fore_out, arm.fore_forward)
    wrist = elbow + fore * (body.forearm * size)
    return shoulder, elbow, wrist, wrist + fore * (body.hand * size)


def _leg(body: Proportions, pelvis: np.ndarray, side: int, leg: Leg) -> tuple[np.ndarray, ...]:
    """Hip, knee, ankle, heel and toes."""
    size = body.height
    hip = pelvis @ np.array([side * body.hips, 0.0, 0.0]) * size
    knee = hip + pelvis @ pointing(side, leg.out, leg.forward) * (body.thigh * size)
    ankle = knee + pelvis @ pointing(side, leg.out, leg.forward - leg.knee) * (body.shin * size)
    level = pelvis @ turning(side * leg.turnout) @ nodding(leg.toes)
    heel = ankle - level @ np.array([0.0, body.ankle, 0.022]) * size
    return hip, knee, ankle, heel, heel + level[:, 2] * (body.foot * size)


def pointing(side: int, out: float, forward: float) -> np.ndarray:
    """The unit vector `out` and `forward` degrees away from hanging; side 1 is the person's left."""
    out, forward = np.radians(out), np.radians(forward)
    return np.array([side * np.sin(out) * np.cos(forward), -np.cos(out) * np.cos(forward), np.sin(forward)])


def turning(degrees: float) -> np.ndarray:
    """Rotation about the vertical; positive turns the front to the picture's right, as the person's left hand lies."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def nodding(degrees: float) -> np.ndarray:
    """Rotation that brings the head forward and the front down."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rolling(degrees: float) -> np.ndarray:
    """Rotation about the front that brings the left side up."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
