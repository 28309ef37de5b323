"""Keypoints of a posture: the first 23 of COCO-WholeBody."""

import numpy as np

from pipelines.training.people.skeleton import Skeleton

FACE = np.array([(0, -0.2, 1.0), (0.36, 0.02, 0.9), (-0.36, 0.02, 0.9), (0.98, -0.08, -0.05), (-0.98, -0.08, -0.05)])
"""Nose, left and right eye, left and right ear on the head's unit sphere: left, up, front."""
UP = np.array([0.0, -1.0, 0.0])
HIDDEN = np.array([-0.02, -0.02, -0.02, -0.5, -0.5])  # how far a point may turn away before the head hides it


def keypoints(joints: Skeleton, head: tuple[float, float, float], scale: float) -> np.ndarray:
    """float32 (23, 3): x, y, visible 0 or 1; joints in picture space, `head` its half widths left, up, front, pixels.

    Order: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles, each left before right, then big toe,
    small toe and heel of the left and of the right foot.
    """
    face = joints.skull + (FACE * head) @ joints.head_frame.T
    seen = FACE @ joints.head_frame[2] > HIDDEN
    pairs = (joints.shoulders, joints.elbows, joints.wrists, joints.hips, joints.knees, joints.ankles)
    points = [*face, *(point for pair in pairs for point in pair)]
    for side, heel, toe in zip((1, -1), joints.heels, joints.toes, strict=True):
        outward = np.cross(toe - heel, UP)
        small = toe + 0.3 * (heel - toe) + side * 0.012 * scale * outward / max(float(np.linalg.norm(outward)), 1e-6)
        points += [toe, small, heel]
    result = np.ones((23, 3), np.float32)
    result[:, :2] = np.array(points)[:, :2]
    result[:5, 2] = seen
    return result
