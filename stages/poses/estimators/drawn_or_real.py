"""Whether a film shows people whom the bundled keypoint net knows, which are drawn, or real ones.

The bundled net says how sure it is: on drawn people of 45 films never trained on at least 0.87, on photographs of
people 0.27 to 0.71, the most before a plain wall. Nets before it were as sure, and right, on people before such walls,
whose hands have fingers: a hand net that is sure of one in half of the frames has seen no drawn person, on whom it was
in a third of them at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Literal

import numpy as np

from stages.poses.estimators.dwpose import DWPose
from stages.poses.estimators.people.estimator import PeopleEstimator

SURE = 0.75  # median over the frames of the mean score of the joints below the head
FINGERS = 0.9  # presence of a real hand
OFTEN = 0.5  # share of the frames with such a hand
_JOINTS = slice(5, 17)  # of COCO's body points: faces are hidden from behind
_FRAMES = 9  # that are looked at
_READ = 500  # frames at most: the rest of a long film is not decoded for this


def people_of(
    frames: Iterable[np.ndarray], count: int, drawn: DWPose, real: PeopleEstimator
) -> Literal["drawn", "real"]:
    """What a film of `count` uint8 RGB frames shows; `drawn` is the net for drawn people, without a detector."""
    read = min(count, _READ)
    step = max(1, read // _FRAMES)
    looked_at = [frame for number, frame in enumerate(islice(frames, read)) if number % step == 0]
    scores = [float(np.clip(one.scores[0, _JOINTS], 0, 1).mean()) for one in drawn.detect(looked_at)]
    if not scores or float(np.median(scores)) < SURE:
        return "real"
    fingers = [_shows_fingers(real, frame) for frame in looked_at]
    return "real" if float(np.mean(fingers)) >= OFTEN else "drawn"


def _shows_fingers(real: PeopleEstimator, frame: np.ndarray) -> bool:
    people = real.at_a_glance(frame)
    return any(hand is not None and hand.presence >= FINGERS for person in people for hand in person.hands)
