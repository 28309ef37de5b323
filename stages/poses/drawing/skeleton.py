"""Skeletons: keypoints as each published caller hands them to its drawing (there a "pose dictionary")."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stages.poses.keypoints import People
from stages.poses.wholebody import BODY, FACE, LEFT_HAND, RIGHT_HAND, VISIBLE

HIDDEN = -1.0


@dataclass(frozen=True)
class Skeleton:
    """The people of one picture, ready to be drawn. Positions are fractions of its width and height, float64."""

    candidate: np.ndarray  # (18 · people, 2): body joints of person after person, hidden ones too
    subset: np.ndarray  # (people, 18): index into candidate, −1 where the joint is hidden
    hands: np.ndarray  # (2 · people, 21, 2): everyone's left hands, then everyone's right ones
    faces: np.ndarray  # (people, 68, 2)
    score: np.ndarray  # (people, 18)
    hands_score: np.ndarray  # (2 · people, 21)
    faces_score: np.ndarray  # (people, 68)

    def __len__(self) -> int:
        return len(self.subset)


def dwpose(people: People, width: int, height: int) -> Skeleton:
    """Everyone; points of hands and faces with a score below 0.3 are at (−1, −1)."""
    return _without_unsure_points(mimicmotion(people, width, height))


def animate_anyone(people: People, width: int, height: int) -> Skeleton:
    """The one person whose 18 body scores are best on average, chosen for each picture by itself; else as `dwpose`.

    The neck counts with its 0 or 1.
    """
    if len(people) > 1:
        best = int(people.scores[:, BODY].mean(axis=-1).argmax())
        chosen = slice(best, best + 1)
        people = People(people.points[chosen], people.scores[chosen], people.boxes[chosen])
    return dwpose(people, width, height)


def mimicmotion(people: People, width: int, height: int) -> Skeleton:
    """Everyone; hands and faces keep unsure points, which its drawing darkens instead."""
    points, scores = people.points / [width, height], people.scores
    body = scores[:, BODY]
    return Skeleton(
        candidate=points[:, BODY].reshape(-1, 2),
        subset=np.where(body > VISIBLE, np.arange(body.size, dtype=np.float64).reshape(body.shape), HIDDEN),
        hands=np.concatenate([points[:, LEFT_HAND], points[:, RIGHT_HAND]]),
        faces=points[:, FACE],
        score=body,
        hands_score=np.concatenate([scores[:, LEFT_HAND], scores[:, RIGHT_HAND]]),
        faces_score=scores[:, FACE],
    )


def _without_unsure_points(skeleton: Skeleton) -> Skeleton:
    # Not the same rule as for the body: a score of exactly 0.3 hides a joint and shows a point of a hand.
    return replace(
        skeleton,
        hands=np.where((skeleton.hands_score < VISIBLE)[..., None], HIDDEN, skeleton.hands),
        faces=np.where((skeleton.faces_score < VISIBLE)[..., None], HIDDEN, skeleton.faces),
    )
