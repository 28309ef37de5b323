"""Whether a film's person does what the pose asked for: the pose found in the film, beside the one that was wanted."""

from __future__ import annotations

import numpy as np

from stages.video.quality.curve import Curve, Figure

_NEAR = 0.1  # of the torso's diagonal
_FILLED = 0.53  # of a person's box is person, on the average of COCO
# OpenPose's 18 joints. Corners of the torso, and COCO's σ of each joint; the neck has none.
_LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_HIP, _RIGHT_HIP, _NECK = 5, 2, 11, 8, 1
_SPREAD = np.array(
    [0.026, np.nan, 0.079, 0.072, 0.062, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089, 0.107, 0.087, 0.089]
    + [0.025, 0.025, 0.035, 0.035]
)


class PoseFidelity:
    """PCK@0.1 and OKS of each frame: what share of the joints lies where it should, and how near they are.

    PCK counts a joint within a tenth of the torso's diagonal (Yang and Ramanan, 2013); OKS is COCO's, of joints instead
    of whole people. Joints that are not wanted do not count; those that are not found are missed.
    """

    def __init__(self) -> None:
        self._pck, self._oks = Curve(less_is_worse=True), Curve(less_is_worse=True)

    def look(self, frame: int, found: np.ndarray, wanted: np.ndarray) -> None:
        """Take in a frame: points (18, 2) of film and truth in the same pixels, NaN where a joint is hidden."""
        corners = wanted[[_LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_HIP, _RIGHT_HIP]]
        seen = np.isfinite(wanted).all(axis=1)
        if not np.isfinite(corners).all():
            return
        torso = np.hypot(*(corners[[0, 1]] - corners[[3, 2]]).T).mean()
        off = np.where(np.isfinite(found).all(axis=1), np.hypot(*(found - wanted).T), np.inf)
        self._pck.put(frame, float((off[seen] <= _NEAR * torso).mean()))
        area = _FILLED * float(np.ptp(wanted[seen], axis=0).prod())
        judged = seen & np.isfinite(_SPREAD)
        near = np.exp(-(off[judged] ** 2) / (2 * max(area, 1.0) * (2 * _SPREAD[judged]) ** 2))
        self._oks.put(frame, float(near.mean()))

    def figures(self) -> dict[str, Figure]:
        """`pose` (PCK) and `pose_oks`, means over the frames; empty where no frame shows the truth's torso."""
        return {
            name: Figure(curve.mean, curve.worst, curve)
            for name, curve in (("pose", self._pck), ("pose_oks", self._oks))
            if curve.worst is not None
        }
