"""The 134 points of a whole-body pose in OpenPose's order, and the way there from COCO-WholeBody's 133."""

from __future__ import annotations

import numpy as np

POINTS = 134
BODY = slice(0, 18)
FEET = slice(18, 24)  # left big toe, small toe, heel; then the right foot
FACE = slice(24, 92)  # 68 points in iBUG order
LEFT_HAND = slice(92, 113)  # wrist first, then thumb … little finger
RIGHT_HAND = slice(113, 134)

JOINTS = (
    "nose",
    "neck",
    "right shoulder",
    "right elbow",
    "right wrist",
    "left shoulder",
    "left elbow",
    "left wrist",
    "right hip",
    "right knee",
    "right ankle",
    "left hip",
    "left knee",
    "left ankle",
    "right eye",
    "left eye",
    "right ear",
    "left ear",
)

# Body and feet in COCO-WholeBody's order, with left and right exchanged.
MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 20, 21, 22, 17, 18, 19]

VISIBLE = 0.3  # a score above it counts as seen

WHOLE_IMAGE = "whole_image"  # in a detector's place: the whole picture is the one person's box

_COCO_POINTS = 133
_COCO_SHOULDERS = [5, 6]
_NECK = 17  # where the neck is inserted behind COCO's body points
# OpenPose's body joints, as indices into COCO's 17 body points with the neck behind them.
_BODY_FROM_COCO = [0, 17, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]


def outlined(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Boxes around people's seen points: (n, points, 2), bool (n, points) → float64 (n, 4); NaN where none is seen."""
    boxes = np.full((len(points), 4), np.nan)
    some = seen.any(axis=1)
    shown = np.where(seen[..., None], points, np.nan)[some]
    boxes[some] = np.concatenate([np.nanmin(shown, axis=1), np.nanmax(shown, axis=1)], axis=1)
    return boxes


def openpose_order(points: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COCO-WholeBody (n, 133, 2) and scores (n, 133) → float64 (n, 134, 2) and (n, 134) in OpenPose's order.

    The neck is the middle of the shoulders, always; its score is 1 if both are visible, else 0. Scores are widened
    before they are compared, as published: a float32 score of 0.3 counts as above 0.3.
    """
    if points.shape[1:] != (_COCO_POINTS, 2) or scores.shape != points.shape[:2]:
        raise ValueError(f"expected points (n, 133, 2) and scores (n, 133), not {points.shape} and {scores.shape}")
    points, scores = points.astype(np.float64), scores.astype(np.float64)
    shoulders = scores[:, _COCO_SHOULDERS]
    neck = points[:, _COCO_SHOULDERS].mean(axis=1, keepdims=True)
    neck_score = (shoulders > VISIBLE).all(axis=1, keepdims=True).astype(np.float64)
    points = np.concatenate([points[:, :_NECK], neck, points[:, _NECK:]], axis=1)
    scores = np.concatenate([scores[:, :_NECK], neck_score, scores[:, _NECK:]], axis=1)
    points[:, BODY] = points[:, _BODY_FROM_COCO]
    scores[:, BODY] = scores[:, _BODY_FROM_COCO]
    return points, scores
