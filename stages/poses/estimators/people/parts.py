"""Hands and face of a body: found from it on a first look, from where they were on the next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stages.poses.estimators.people.body import FORE, HEAD, LITTLE, WRISTS, Body
from stages.poses.estimators.people.face import Face, FaceNet, head_of
from stages.poses.estimators.people.hands import Hand, HandNet, end_of_arm
from stages.poses.estimators.people.person import Person
from stages.poses.estimators.people.region import Picture

SURE = 0.5  # of a hand's presence and of a face's flag: below it they are not seen
PROMISING = 0.05  # a hand's presence, from which another look at its own region is worth it
SMALLEST_ARM, SMALLEST_HEAD = 20.0, 16.0  # pixels of the region: there is nothing to see in a smaller one
ON_THE_WRIST = 0.25  # of the arm's region: a hand's wrist is no farther from the body's
ON_THE_HEAD = 0.25  # of the head's region: a face is no farther from it
ONE_HAND = 0.3  # of a hand's size: left and right are the same hand if their points are nearer


class Parts:
    """The nets for hands and faces."""

    def __init__(self, hands: HandNet, faces: FaceNet) -> None:
        self._hands, self._faces = hands, faces

    def __call__(self, picture: Picture, body: Body, before: Person | None) -> Person:
        """The person with this body; `before` is the same person in the frame before."""
        hands = [self._hand(picture, body, side, before) for side in (0, 1)]
        left, right = hands
        if left and right and _one(left, right):
            hands[0 if _fitness(left, 0) < _fitness(right, 1) else 1] = None
        return Person(body, (hands[0], hands[1]), self._face(picture, body, before))

    def _hand(self, picture: Picture, body: Body, side: int, before: Person | None) -> Hand | None:
        wrist, fore, little = (body.points[which[side]] for which in (WRISTS, FORE, LITTLE))
        arm = end_of_arm(wrist, fore, little)
        if arm.side < SMALLEST_ARM or not _inside(arm.centre, picture):
            return None

        def fits(hand: Hand) -> bool:
            return hand.presence >= SURE and _near(hand.points[0], wrist, ON_THE_WRIST * arm.side)

        last = before and before.hands[side]
        if before and last:
            moved = wrist - before.body.points[WRISTS[side]]
            hand = self._hands(picture, replace(last.next, centre=last.next.centre + moved))
            if fits(hand):
                return hand
        looks = [self._hands(picture, self._hands.found(picture, arm))]
        if looks[0].presence >= PROMISING:
            looks.append(self._hands(picture, looks[0].next))
        return max(filter(fits, looks), key=lambda hand: hand.presence, default=None)

    def _face(self, picture: Picture, body: Body, before: Person | None) -> Face | None:
        head = head_of(body.points[HEAD])
        if head.side < SMALLEST_HEAD or not _inside(head.centre, picture):
            return None

        def fits(face: Face) -> bool:
            return face.flag >= SURE and _near(face.seen_in.centre, head.centre, ON_THE_HEAD * head.side)

        if before and before.face:
            face = self._faces(picture, before.face.next)
            if fits(face):
                return face
        found = self._faces.found(picture, head)
        for region in [head.scaled(0.5)] if found is None else [found, head.scaled(0.5)]:
            face = self._faces(picture, region)
            face = max(face, self._faces(picture, face.next), key=lambda face: face.flag)
            if fits(face):
                return face
        return None


def _inside(place: np.ndarray, picture: Picture) -> bool:
    return bool((place >= 0).all() and (place < [picture.width, picture.height]).all())


def _near(place: np.ndarray, other: np.ndarray, most: float) -> bool:
    return float(np.linalg.norm(place - other)) < most


def _one(left: Hand, right: Hand) -> bool:
    apart = np.linalg.norm(left.points - right.points, axis=1).mean()
    return bool(apart < ONE_HAND * np.ptp(left.points, axis=0).max())


def _fitness(hand: Hand, side: int) -> float:
    """How well a hand goes with the left (0) or right (1) arm."""
    return hand.presence * (hand.right if side else 1 - hand.right)
