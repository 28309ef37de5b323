"""One person of one picture, as the three nets see them together, in COCO-WholeBody's 133 points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.poses.estimators.people.body import HEAD, SHOULDERS, Body
from stages.poses.estimators.people.face import Face
from stages.poses.estimators.people.hands import Hand

POINTS = 133
_BODY_AND_FEET = {  # COCO-WholeBody's point → the body net's
    **dict(enumerate((0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28))),
    **{17: 31, 19: 29, 20: 32, 22: 30},  # big toes and heels; the net has no small toes
}
_FACE = slice(23, 91)
_HANDS = slice(91, 112), slice(112, 133)
_NOSE_AND_EYES = slice(0, 3)
_LEGIBLE = 24  # pixels of the head's points: a face of that size is seen as one


@dataclass(frozen=True)
class Person:
    """A body, and the hands (left, right) and face of it where they are seen."""

    body: Body
    hands: tuple[Hand | None, Hand | None]
    face: Face | None

    @property
    def from_behind(self) -> bool:
        """Whether no face is seen where one would be; the body net puts nose and eyes on backs of heads too."""
        if self.face is not None:
            return False
        left, right = self.body.points[list(SHOULDERS)]
        head = self.body.points[HEAD]
        return bool(np.ptp(head, axis=0).max() >= _LEGIBLE or left[0] < right[0])

    def wholebody(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 (133, 2) pixels, centres at whole numbers, and scores (133,); what is not seen has score 0."""
        points, scores = np.zeros((POINTS, 2)), np.zeros(POINTS)
        theirs = list(_BODY_AND_FEET.values())
        points[list(_BODY_AND_FEET)], scores[list(_BODY_AND_FEET)] = self.body.points[theirs], self.body.scores[theirs]
        for toe, small in ((17, 18), (20, 21)):
            points[small] = points[toe]
        # parts that are not seen lie where they hang, so that no point is far off
        points[_FACE] = points[0] if self.face is None else self.face.points
        scores[_FACE] = 0.0 if self.face is None else self.face.flag
        for which, wrist, hand in zip(_HANDS, (9, 10), self.hands, strict=True):
            points[which] = points[wrist] if hand is None else hand.points
            scores[which] = 0.0 if hand is None else hand.presence
        if self.from_behind:
            scores[_NOSE_AND_EYES] = 0.0
        return points - 0.5, scores
