"""The estimator `people`: RGB frames → the keypoints of everyone in them, followed from frame to frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from stages.poses.estimators.people.body import Body, BodyNet
from stages.poses.estimators.people.detector import PersonDetector
from stages.poses.estimators.people.face import FaceNet
from stages.poses.estimators.people.hands import HandNet
from stages.poses.estimators.people.lite_model import logistic
from stages.poses.estimators.people.lookout import Lookout
from stages.poses.estimators.people.parts import Parts
from stages.poses.estimators.people.person import Person
from stages.poses.estimators.people.region import Picture
from stages.poses.estimators.people.search import Search, distinct, there
from stages.poses.keypoints import Keypoints, People
from stages.poses.wholebody import VISIBLE, openpose_order, outlined

NOBODY = -20.0  # logit of a mask where no region reaches
CUT = 30.0  # of 255: a mean change of the picture by more is another scene
_THUMB = (32, 32)


@dataclass(frozen=True)
class Sight:
    """The people of one frame, those who have been there longest first."""

    people: list[Person]
    searched: bool  # whether the detector ran, in a part of the picture at least
    width: int
    height: int

    def mask(self) -> np.ndarray:
        """uint8 (height, width): how surely each pixel is on somebody, 0 … 255."""
        surest = np.full((self.height, self.width), NOBODY, np.float32)
        for person in self.people:
            np.maximum(surest, person.body.seen_in.laid_out(person.body.mask, self.width, self.height, NOBODY), surest)
        return np.round(255 * logistic(surest)).astype(np.uint8)

    def keypoints(self) -> People:
        """The same in OpenPose's order, with necks; boxes are around the visible points."""
        whole = [person.wholebody() for person in self.people]
        points = np.stack([one for one, _ in whole]) if whole else np.empty((0, 133, 2))
        scores = np.stack([one for _, one in whole]) if whole else np.empty((0, 133))
        points, scores = openpose_order(points, scores)
        return People(points, scores, outlined(points, scores > VISIBLE))


class PeopleEstimator:
    """MediaPipe's nets as one estimator. Where nobody is found there is nobody."""

    def __init__(self, search: Search, body: BodyNet, parts: Parts) -> None:
        self._search, self._body, self._parts = search, body, parts

    @classmethod
    def load(cls, folder: Path, body: Path, threads: int = 1) -> Self:
        """Open the nets of a folder, named as they are published, and the body net, with `threads` each.

        Raises `Problem` where a file is missing, damaged or another network, and where the runtime is not installed.
        """
        net = BodyNet(body, threads)
        detector = PersonDetector(folder / "pose_detection.tflite", threads)
        hands = HandNet(folder / "hand_recrop.tflite", folder / "hand_landmark_full.tflite", threads)
        faces = FaceNet(folder / "face_detection_short_range.tflite", folder / "face_landmark.tflite", threads)
        return cls(Search(detector, net), net, Parts(hands, faces))

    def __call__(self, frames: Iterable[np.ndarray]) -> Keypoints:
        """uint8 RGB frames (height, width, 3) of one size → their keypoints. Raises ValueError when sizes differ."""
        people, sizes = [], set()
        for sight in self.follow(frames):
            sizes.add((sight.height, sight.width))
            if len(sizes) > 1:
                raise ValueError(f"frames of one sequence differ in size: {sorted(sizes)}")
            people.append(sight.keypoints())
        height, width = sizes.pop() if sizes else (0, 0)
        return Keypoints.from_people(people, width, height)

    def people(self, frames: Iterable[np.ndarray]) -> Iterator[People]:
        """The same frame by frame, for those of a film that is as long as it may be."""
        return (sight.keypoints() for sight in self.follow(frames))

    def at_a_glance(self, frame: np.ndarray) -> list[Person]:
        """The large people of one frame, whatever was before it: one look at the whole of it."""
        picture = Picture(frame)
        return [self._parts(picture, body, None) for body in self._search.at_a_glance(picture)]

    def follow(self, frames: Iterable[np.ndarray]) -> Iterator[Sight]:
        """One sight per frame, in order. A frame equal to the one before it is not looked at again."""
        lookout, thumb = Lookout(), None
        sight: Sight | None = None
        last = np.empty(0, np.uint8)
        for number, frame in enumerate(frames):
            if sight is None or not np.array_equal(frame, last):
                before, thumb = thumb, cv2.resize(frame, _THUMB, interpolation=cv2.INTER_AREA).astype(np.float64)
                cut = before is not None and float(np.abs(thumb - before).mean()) > CUT
                if cut:
                    lookout.restart(number)
                known = [] if cut or sight is None else sight.people
                sight, last = self._look(Picture(frame), number, known, lookout), frame
            yield sight

    def _look(self, picture: Picture, number: int, known: list[Person], lookout: Lookout) -> Sight:
        owners: list[tuple[Body, Person | None]] = []
        for person in known:
            body = self._body(picture, person.body.next)
            if there(body, picture):
                owners.append((body, person))
            else:
                lookout.lost(number, person.body.next)
        # two who cannot be told apart any more: whoever has been there longer stays
        kept = distinct([body for body, _ in owners])
        owners = [(body, person) for body, person in owners if any(body is one for one in kept)]
        found, searched = self._searched(picture, number, not owners, lookout)
        for body in distinct([*kept, *found])[len(kept) :]:
            owners.append((body, None))
            lookout.found(number, body.next)
        people = [self._parts(picture, body, before) for body, before in owners]
        return Sight(people, searched, picture.width, picture.height)

    def _searched(self, picture: Picture, number: int, nobody: bool, lookout: Lookout) -> tuple[list[Body], bool]:
        """Bodies that a search finds in this frame, if one is due, and whether one was."""
        if lookout.everywhere(number, nobody):
            return self._search.thorough(picture), True
        places = lookout.places(number)
        found = [body for place in places for body in self._search.around(picture, place)]
        glance = lookout.at_a_glance(number)
        if glance:
            found += self._search.at_a_glance(picture)
        return found, bool(places) or glance
