"""Postures: 3-D joint angles in degrees. Left and right are the person's own."""

from typing import Any, NamedTuple


class Arm(NamedTuple):
    """Where upper arm and forearm point: degrees away from hanging, outward (90 is level, 180 up) and forward."""

    out: float = 11.0
    forward: float = 0.0
    fore_out: float = 7.0
    fore_forward: float = 12.0


class Leg(NamedTuple):
    """A thigh as an arm, the bend of the knee, and how far the toes point down from level."""

    out: float = 3.0
    forward: float = 0.0
    knee: float = 2.0
    toes: float = 0.0
    turnout: float = 14.0


class Pose(NamedTuple):
    """One posture of the whole body; angles in degrees, lengths in heights of the tallest person."""

    yaw: float = 0.0  # 0 faces the camera, 90 the picture's right
    lean: float = 0.0  # of the chest, forward
    tilt: float = 0.0  # of the chest, to the person's left
    twist: float = 0.0  # of the chest beyond the hips, to the person's left
    hips: float = 0.0  # how far the pelvis is higher on the person's left
    look: float = 0.0  # turn of the head beyond the chest's, to the person's left
    nod: float = 0.0  # of the head, down
    roll: float = 0.0  # of the head, to the person's left
    x: float = 0.0  # where the person stands, to the picture's right
    lift: float = 0.0  # of the lowest foot above the floor
    planted: float = 1.0  # 1: x is the middle between the feet; 0: x is the pelvis
    left_arm: Arm = Arm()
    right_arm: Arm = Arm()
    left_leg: Leg = Leg()
    right_leg: Leg = Leg()


def between(one: Pose, other: Pose, share: float) -> Pose:
    """The posture `share` (0…1) of the way from one to the other."""

    def mixed(a: Any, b: Any) -> Any:
        if isinstance(a, tuple):
            return type(a)(*(mixed(x, y) for x, y in zip(a, b, strict=True)))
        return a + (b - a) * share

    return mixed(one, other)


def mirrored(pose: Pose) -> Pose:
    """The posture with left and right exchanged, seen from the same side."""
    flipped: dict[str, Any] = {
        name: -getattr(pose, name) for name in ("yaw", "tilt", "twist", "hips", "look", "roll", "x")
    }
    flipped |= {"left_arm": pose.right_arm, "right_arm": pose.left_arm}
    return pose._replace(**flipped, left_leg=pose.right_leg, right_leg=pose.left_leg)
