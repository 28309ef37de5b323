"""Two driving motions of a small articulated body: a walk with turns, and a wave with a dance step.

Space as in `densepose`: x right, y down, z toward the viewer, in picture pixels, origin on the floor below the
person. Sides are the picture's: −1 is the person's right, drawn at the picture's left.
"""

from typing import NamedTuple

import numpy as np

from manifests.sample.densepose import Part

FRAMES = 24
FPS = 12
BEAT = 2 * np.pi / 12  # per frame: two strides, or two dance steps, in 24 frames, so that the film loops
THIGH, SHIN, FOOT, UPPER_ARM, FOREARM, HAND = 50.0, 49.0, 13.0, 32.0, 28.0, 9.0
HIP, SHOULDER, NECK, HEAD = (
    9.5,
    18.0,
    68.0,
    29.0,
)  # half widths of hips and shoulders; neck above hips; bone of the head
CAMERA_TILT = 6.0  # degrees that the camera looks down: what steps forward stands lower
UP, FRONT = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])


class Arm(NamedTuple):
    """Where an arm points above and below the elbow: degrees away from hanging, outward (90 is level) and forward."""

    out: float
    forward: float
    fore_out: float
    fore_forward: float


class Pose(NamedTuple):
    """One posture: angles in degrees to the picture's right, places in pixels in the frame of the unturned body."""

    turn: float  # of the whole body
    look: float  # of the head, beyond the body's turn
    lean: float  # of the spine
    hips: tuple[float, float]  # their middle, x and y
    arms: tuple[Arm, Arm]
    ankles: tuple[tuple[float, float, float], tuple[float, float, float]]


def walk(frame: int) -> Pose:
    """A walk on the spot that turns to one side and then to the other."""
    stride, turn = BEAT * frame, 50 * np.sin(BEAT / 2 * frame)
    arms, ankles = [], []
    for side in (-1, 1):
        step, lift = side * np.sin(stride), max(0.0, side * np.cos(stride))
        ankles.append((side * 7.5, -9.0 - 11.0 * lift, 16.0 * step))
        arms.append(Arm(14.0, -26.0 * step, 9.0, 18.0 - 32.0 * step))
    hips = (-1.8 * np.cos(stride), -105.5 + 1.5 * np.sin(stride) ** 2)
    return Pose(turn, 0.2 * turn, 1.5 * np.cos(stride), hips, tuple(arms), tuple(ankles))


def wave(frame: int) -> Pose:
    """A dance step from side to side, one hand on the hip and the other waving overhead."""
    sway, bounce = np.sin(BEAT * frame), np.cos(2 * BEAT * frame)
    waving = Arm(118 + 8 * sway, 6, 168 + 26 * np.sin(2 * BEAT * frame), 10)
    on_hip = Arm(44 + 3 * sway, -4, -50 + 3 * sway, 16)
    ankles = tuple((side * 14.0, -9.0 - 5.0 * max(0.0, -side * sway), 2.0) for side in (-1, 1))
    return Pose(10 * sway, 12 * sway, -5 * sway, (8 * sway, -100.0 + 2.5 * bounce), (waving, on_hip), ankles)


MOTIONS = {"walk": walk, "wave": wave}


def body(pose: Pose, middle: float, floor: float) -> list[Part]:
    """The labelled parts of a body in this pose, standing at (middle, floor) of the picture."""
    lean = np.radians(pose.lean)
    right, up = np.array([np.cos(lean), np.sin(lean), 0.0]), np.array([np.sin(lean), -np.cos(lean), 0.0])
    hips = np.array([*pose.hips, 0.0])
    neck = hips + NECK * up
    faces = _turning(pose.look) @ right
    parts = [
        Part(hips - 8 * up, neck, FRONT, (3, 11, 18, 18.5, 16.5, 14.5, 15, 16.5, 18, 18, 15, 6), (1, 2), depth=0.62),
        Part(neck - 2 * up, neck + HEAD * up, faces, (6, 5.6, 6, 8.6, 10.6, 11.5, 11.6, 11), (23, 24)),
    ]
    for side, arm, ankle in zip((-1, 1), pose.arms, pose.ankles, strict=True):
        parts += _arm(side, neck - 7 * up + side * SHOULDER * right, arm)
        parts += _leg(side, hips + np.array([side * HIP, 2.0, 0.0]), np.array(ankle))
    view, origin = _tilted(CAMERA_TILT) @ _turning(pose.turn), np.array([middle, floor, 0.0])
    return [part.moved(view, origin) for part in parts]


def _arm(side: int, shoulder: np.ndarray, arm: Arm) -> list[Part]:
    """Upper arm, forearm and hand; labels differ between their inner and outer side."""
    right = side < 0
    upper, fore = _pointing(side, arm.out, arm.forward), _pointing(side, arm.fore_out, arm.fore_forward)
    elbow = shoulder + UPPER_ARM * upper
    wrist = elbow + FOREARM * fore
    knuckles = wrist + HAND * fore
    return [
        Part(shoulder, elbow, _outer(side, upper), (6, 6, 5.4, 4.6), (16, 18) if right else (15, 17)),
        Part(elbow, wrist, _outer(side, fore), (4.6, 4.6, 3.8, 2.9), (20, 22) if right else (19, 21)),
        Part(wrist + 2 * fore, knuckles, _outer(side, fore), (2.8, 4, 2.8), (3, 3) if right else (4, 4)),
    ]


def _leg(side: int, hip: np.ndarray, ankle: np.ndarray) -> list[Part]:
    """Thigh, shin and foot, the knee bent forward as far as the ankle asks; labels differ between back and front."""
    right = side < 0
    reach = ankle - hip
    length = min(float(np.linalg.norm(reach)), THIGH + SHIN - 0.1)
    along = reach / np.linalg.norm(reach)
    share = (length**2 + THIGH**2 - SHIN**2) / (2 * length)
    bend = _across(np.array([0.25 * side, 0.0, 1.0]), along)
    knee = hip + share * along + np.sqrt(max(0.0, THIGH**2 - share**2)) * bend
    ankle = knee + SHIN * (ankle - knee) / np.linalg.norm(ankle - knee)
    thigh, shin = _across(FRONT, knee - hip), _across(FRONT, ankle - knee)
    raised = max(0.0, -9.0 - ankle[1]) / 11.0  # a lifted foot hangs from its ankle
    toes = ankle + FOOT * np.array([0.22 * side, 0.35 + 0.5 * raised, 0.9 - 0.3 * raised])
    return [
        Part(hip, knee, thigh, (9.6, 9.4, 8.4, 7), (7, 9) if right else (8, 10)),
        Part(knee, ankle, shin, (6.2, 6.9, 6.4, 4.8, 3.9), (11, 13) if right else (12, 14)),
        Part(ankle - 2 * UP, toes, _across(UP, toes - ankle), (4, 4.4, 4.2, 3), (6, 6) if right else (5, 5)),
    ]


def _pointing(side: int, out: float, forward: float) -> np.ndarray:
    """The direction `out` and `forward` degrees away from hanging."""
    out, forward = np.radians(out), np.radians(forward)
    return np.array([side * np.sin(out) * np.cos(forward), np.cos(out) * np.cos(forward), np.sin(forward)])


def _across(vector: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """The unit vector nearest to `vector` that is perpendicular to the bone."""
    across = vector - bone * (vector @ bone) / (bone @ bone)
    return across / np.linalg.norm(across)


def _outer(side: int, bone: np.ndarray) -> np.ndarray:
    """The outer side of an arm: away from the body when it hangs, up when it is level."""
    return -side * np.cross(_across(FRONT, bone), bone)


def _turning(degrees: float) -> np.ndarray:
    """Rotation about the vertical; positive degrees turn the front to the picture's right."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _tilted(degrees: float) -> np.ndarray:
    """The view of a camera that looks down by so many degrees."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
