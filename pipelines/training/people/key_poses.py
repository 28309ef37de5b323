"""Catalogue poses; the first five are for standing still in front of the camera."""

import numpy as np

from pipelines.training.people.pose import Arm, Leg, Pose, mirrored

_ON_HIP = Arm(44, -10, -48, 18)
_HANGING = Arm(12, -2, 8, 14)
_STRAIGHT = Leg(4, 0, 2)

KEY_POSES = (
    Pose(left_arm=_HANGING, right_arm=_HANGING, left_leg=_STRAIGHT, right_leg=_STRAIGHT),
    Pose(hips=3, tilt=-3, roll=3, left_arm=_ON_HIP, left_leg=Leg(6, 0, 1), right_leg=Leg(3, 6, 12, 2, 18)),
    Pose(hips=-4, tilt=3, left_arm=Arm(16, -4, 12, 10), right_leg=Leg(8, 0, 1), left_leg=Leg(3, 8, 15, 3, 18)),
    Pose(left_arm=_ON_HIP, right_arm=_ON_HIP, left_leg=Leg(7), right_leg=Leg(7)),
    Pose(yaw=18, look=-12, left_arm=Arm(14, 8, 8, 22), right_arm=Arm(14, -8, 8, 8), right_leg=Leg(3, -5, 5)),
    Pose(yaw=-28, twist=18, look=14, left_arm=_ON_HIP, left_leg=Leg(8, 4, 6), right_leg=Leg(8, -4, 4)),
    Pose(yaw=60, look=-35, nod=-3, left_arm=Arm(12, 14, 8, 30), right_arm=_ON_HIP, left_leg=Leg(2, 10, 12)),
    Pose(yaw=150, look=40, left_arm=_ON_HIP, right_arm=_HANGING, right_leg=Leg(4, 10, 16, 4)),
    Pose(tilt=-6, left_arm=Arm(120, 10, 205, 14), right_arm=_ON_HIP, roll=-5, left_leg=Leg(6), right_leg=Leg(6, 5, 8)),
    Pose(left_arm=Arm(78, 10, 84, 16), right_arm=Arm(78, 10, 84, 16), left_leg=Leg(9), right_leg=Leg(9)),
    Pose(left_arm=Arm(24, 18, -42, 48), right_arm=Arm(24, 12, -38, 40), nod=4, left_leg=_STRAIGHT, right_leg=_STRAIGHT),
    Pose(yaw=10, lean=8, left_arm=Arm(20, 40, 14, 84), right_arm=Arm(24, -20, 12, 4), left_leg=Leg(3, 28, 26, 2)),
    Pose(yaw=-15, tilt=5, left_arm=Arm(132, 6, 150, 10), right_arm=Arm(132, 6, 150, 10), left_leg=Leg(6)),
    Pose(yaw=-60, look=30, left_arm=Arm(14, 30, -8, 70), right_arm=Arm(16, -14, 10, 6), right_leg=Leg(3, 16, 18)),
    Pose(hips=-3, tilt=4, right_leg=Leg(3, 44, 70, 30, 6), right_arm=Arm(46, 10, 50, 30), left_arm=Arm(46, 10, 50, 30)),
    Pose(lean=22, nod=-12, left_arm=Arm(20, 34, 8, 30), right_arm=Arm(60, -10, 110, 6), left_leg=Leg(8, 14, 22)),
)


def step_poses(rng: np.random.Generator) -> tuple[Pose, ...]:
    """Six of the poses in random order, some mirrored."""
    chosen = rng.choice(len(KEY_POSES), 6, replace=False)
    return tuple(mirrored(KEY_POSES[i]) if rng.random() < 0.5 else KEY_POSES[i] for i in chosen)
