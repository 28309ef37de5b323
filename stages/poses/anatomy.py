"""The body as a tree of bones over OpenPose's joints: what belongs together, what mirrors what, how large it is."""

from __future__ import annotations

import numpy as np

from stages.poses.wholebody import BODY, FACE, LEFT_HAND, RIGHT_HAND, VISIBLE

NOSE, NECK = 0, 1
RIGHT_WRIST, LEFT_WRIST = 4, 7
HIPS = (8, 11)
ANKLES = (10, 13)
RIGHT_FOOT, LEFT_FOOT = slice(21, 24), slice(18, 21)

# Parent and child, from the neck outwards; legs start at the hips, which hang from the neck.
BONES = (
    *((1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7)),
    *((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (0, 15), (14, 16), (15, 17)),
)
# Its lengths tell people apart whatever their arms do.
FRAME_BONES = ((1, 8), (1, 11), (8, 9), (9, 10), (11, 12), (12, 13), (2, 5), (8, 11))

# Parts that hang on a joint of the body, and move with it.
ATTACHED = ((NOSE, FACE), (LEFT_WRIST, LEFT_HAND), (RIGHT_WRIST, RIGHT_HAND), (13, LEFT_FOOT), (10, RIGHT_FOOT))


def extent(points: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Diagonal in pixels of the box around the visible body joints: (…, 134, 2), (…, 134) → (…); NaN below three."""
    seen = (scores[..., BODY] > VISIBLE) & np.isfinite(points[..., BODY, 0])
    body = points[..., BODY, :]
    low = np.where(seen[..., None], body, np.inf).min(axis=-2)
    high = np.where(seen[..., None], body, -np.inf).max(axis=-2)
    enough = seen.sum(axis=-1) >= 3
    return np.hypot(
        *np.moveaxis(np.where(enough[..., None], high, np.nan) - np.where(enough[..., None], low, 0), -1, 0)
    )


def clip_extent(points: np.ndarray, scores: np.ndarray) -> float:
    """The typical extent over a sequence (frames, 134, 2), (frames, 134) in pixels; NaN where nobody is visible."""
    extents = extent(points, scores)
    extents = extents[np.isfinite(extents)]
    return float(np.median(extents)) if len(extents) else float("nan")
