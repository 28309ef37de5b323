"""Where a person's torso is: where metrics look for the garment's colour."""

from __future__ import annotations

import numpy as np

from stages.poses.keypoints import People
from stages.poses.wholebody import JOINTS, VISIBLE

_CORNERS = [JOINTS.index(joint) for joint in ("left shoulder", "right shoulder", "right hip", "left hip")]


def torso(people: People) -> np.ndarray | None:
    """Corners (4, 2) of the first person's torso, x and y in pixels, in order; None where one of them is not seen."""
    if not len(people) or not (people.scores[0, _CORNERS] > VISIBLE).all():
        return None
    return people.points[0, _CORNERS]
