"""DWPose: RGB pictures → the keypoints of everyone in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np

from stages.poses.estimators.rtmpose import Crop, PoseNet
from stages.poses.estimators.yolox import PersonDetector
from stages.poses.keypoints import Keypoints, People
from stages.poses.wholebody import MIRRORED, VISIBLE, openpose_order, outlined

Order = Literal["rgb", "bgr"]
_ENOUGH_POINTS = 8  # visible ones, to crop around a person without detecting them again
_CLOSER_LOOKS, _ROUND_A_PERSON, _FILLS = 4, 0.2, 0.5  # times; of a person's longer side; of the picture's
# Crops of a still, beside where they would be: shares of their sides to the right and down, and how much larger.
_MOVED = (
    (0, 0, 1),
    (0.016, 0.008, 1),
    (-0.016, 0.004, 1),
    (0.005, -0.012, 1),
    (0, 0, 0.94),
    (0, 0, 1.06),
    (0.01, -0.008, 1.03),
)


@dataclass(frozen=True)
class Channels:
    """The channel order in which each network is shown a picture."""

    detector: Order
    pose: Order


# The detector was trained on BGR, the pose net on RGB. The published caller shows one order to both.
CALLERS = {
    "animate_anyone": Channels("bgr", "bgr"),
    "as_trained": Channels("bgr", "rgb"),
}


@dataclass(frozen=True)
class Detection:
    """What the two networks say about one picture, in COCO-WholeBody's order."""

    boxes: np.ndarray  # float64 (found, 4) as x1 y1 x2 y2, pixels; empty: the whole picture was taken for one person
    points: np.ndarray  # float64 (people, 133, 2), pixels
    scores: np.ndarray  # float32 (people, 133)

    def people(self) -> People:
        """The same in OpenPose's order, with necks."""
        points, scores = openpose_order(self.points, self.scores)
        return People(points, scores, self.boxes if len(self.boxes) else np.full((len(points), 4), np.nan))


class DWPose:
    """Person detector and whole-body pose net. Every picture holds at least one person, if only a pseudo person.

    Without a detector the whole picture is taken for the box of the one person in it, as `det_model="whole_image"`
    does in MMPose. That person counts as detected wherever a point of them is visible, in the box around those points.
    """

    def __init__(
        self,
        detector: PersonDetector | None,
        pose: PoseNet,
        channels: Channels = CALLERS["as_trained"],
        detect_every: int = 1,
    ) -> None:
        """`detect_every`: look for people in every n-th frame, in those between where their points last were."""
        self._detector, self._pose, self._channels = detector, pose, channels
        self._detect_every = detect_every

    @classmethod
    def load(
        cls,
        detector: Path | None,
        pose: Path,
        channels: Channels = CALLERS["as_trained"],
        threads: int = 1,
        batch: int = 1,
        detect_every: int = 1,
    ) -> Self:
        """Open the ONNX files, with `threads` per network; the pose net sees `batch` crops at a time.

        `detector` is None where the whole picture is the box. What is published uses batches of 1, and only those are
        exact to the bit. Raises `Problem` where a file is missing, damaged or another network.
        """
        persons = PersonDetector(detector, threads) if detector else None
        return cls(persons, PoseNet(pose, threads, batch), channels, detect_every)

    def detect(self, frames: Iterable[np.ndarray]) -> Iterator[Detection]:
        """uint8 RGB frames (height, width, 3) → one detection per frame, in order.

        A frame equal to the one before it is not looked at again.
        """
        if self._detect_every > 1:
            yield from self._followed(frames)
            return
        waiting: list[_Seen] = []
        previous = None
        for frame in frames:
            if previous is not None and np.array_equal(frame, previous):
                waiting[-1].times += 1
                continue
            if sum(len(seen.crops) for seen in waiting) >= self._pose.model.batch:
                yield from self._estimate(waiting)
                waiting = []
            waiting.append(self._look(frame))
            previous = frame
        if waiting:
            yield from self._estimate(waiting)

    def __call__(self, frames: Iterable[np.ndarray]) -> Keypoints:
        """uint8 RGB frames (height, width, 3) of one size → their keypoints. Raises ValueError when sizes differ."""
        size: set[tuple[int, ...]] = set()

        def of_one_size() -> Iterator[np.ndarray]:
            for frame in frames:
                size.add(frame.shape[:2])
                if len(size) > 1:
                    raise ValueError(f"frames of one sequence differ in size: {sorted(size)}")
                yield frame

        people = list(self.people(of_one_size()))
        height, width = size.pop() if size else (0, 0)
        return Keypoints.from_people(people, width, height)

    def people(self, frames: Iterable[np.ndarray]) -> Iterator[People]:
        """The same frame by frame, for those of a film that is as long as it may be."""
        return (detection.people() for detection in self.detect(frames))

    def still(self, picture: np.ndarray) -> Detection:
        """The one person of a uint8 RGB picture, looked at until the crop fits them, then from several crops.

        The mean of these and of the mirrored picture's errs a quarter less than one look. With a detector, as `detect`.
        """
        (found,) = self.detect(picture[None])
        if self._detector:
            return found
        height, width = picture.shape[:2]
        box = np.array([[0.0, 0.0, width, height]])
        for _ in range(_CLOSER_LOOKS):
            visible = found.scores > VISIBLE
            if not visible.any():
                return found
            if visible.sum() < _ENOUGH_POINTS:  # of which no crop can be made
                break
            low, high = np.split(outlined(found.points[:1], visible[:1]), 2, axis=1)
            reach = _ROUND_A_PERSON * (high - low).max()
            closer = np.concatenate([low - reach, high + reach], axis=1)
            if (high - low).max() > _FILLS * max(height, width) or np.abs(closer - box).max() < 2:
                break
            box = closer
            (found,) = self._estimate([self._look(picture, box)])
        looks = [self._at(picture, box, *moved) for moved in _MOVED]
        points, scores = (np.mean(of, axis=0) for of in zip(*looks, strict=True))
        visible = scores > VISIBLE
        return Detection(outlined(points, visible)[visible.any(axis=1)], points, scores.astype(np.float32))

    def _at(
        self, picture: np.ndarray, box: np.ndarray, right: float, down: float, scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points and scores in a crop that lies a little elsewhere, those of the mirrored picture averaged in.

        Hands and faces are the picture's own.
        """
        size = box[:, 2:] - box[:, :2]
        middle = (box[:, 2:] + box[:, :2]) / 2 + size * (right, down)
        moved = np.concatenate([middle - size * scale / 2, middle + size * scale / 2], axis=1)
        (found,) = self._estimate([self._look(picture, moved)])
        width = picture.shape[1]
        over = np.stack([width - moved[:, 2], moved[:, 1], width - moved[:, 0], moved[:, 3]], axis=1)
        (mirror,) = self._estimate([self._look(np.ascontiguousarray(picture[:, ::-1]), over)])
        points, scores, body = found.points.copy(), found.scores.copy(), slice(len(MIRRORED))
        there = mirror.points[:, MIRRORED] * (-1, 1) + (width - 1, 0)
        points[:, body] = (points[:, body] + there) / 2
        scores[:, body] = (scores[:, body] + mirror.scores[:, MIRRORED]) / 2
        return points, scores

    def _followed(self, frames: Iterable[np.ndarray]) -> Iterator[Detection]:
        """Detect in every n-th frame, and wherever nobody was found; between, crop around the last frame's points."""
        last = None
        for number, frame in enumerate(frames):
            known = None if last is None or number % self._detect_every == 0 else followed_boxes(last)
            (last,) = self._estimate([self._look(frame, known)])
            yield last

    def _look(self, frame: np.ndarray, boxes: np.ndarray | None = None) -> _Seen:
        if boxes is None:
            boxes = self._detector(_ordered(frame, self._channels.detector)) if self._detector else np.empty((0, 4))
        height, width = frame.shape[:2]
        everyone = boxes if len(boxes) else np.array([[0.0, 0.0, width, height]])
        return _Seen(boxes, self._pose.cut(_ordered(frame, self._channels.pose), everyone))

    def _estimate(self, waiting: list[_Seen]) -> Iterator[Detection]:
        points, scores = self._pose([crop for seen in waiting for crop in seen.crops])
        start = 0
        for seen in waiting:
            end = start + len(seen.crops)
            boxes, those, sure = seen.boxes, points[start:end], scores[start:end]
            if not self._detector:
                visible = sure > VISIBLE
                boxes = outlined(those, visible)[visible.any(axis=1)]
            detection = Detection(boxes, those, sure)
            yield from [detection] * seen.times
            start = end


@dataclass
class _Seen:
    """A frame that waits for the pose net, and how often it repeats."""

    boxes: np.ndarray
    crops: list[Crop]
    times: int = 1


def followed_boxes(last: Detection) -> np.ndarray | None:
    """Where to look for the people of the frame before: float64 (people, 4); None if anyone there was unsure.

    The box of a person's visible points, a tenth wider on every side, as points end inside the outline.
    """
    visible = last.scores > VISIBLE
    if not len(last.boxes) or (visible.sum(axis=1) < _ENOUGH_POINTS).any():
        return None
    low, high = np.split(outlined(last.points, visible), 2, axis=1)
    margin = 0.1 * (high - low)
    return np.concatenate([low - margin, high + margin], axis=1)


def _ordered(frame: np.ndarray, order: Order) -> np.ndarray:
    return frame if order == "rgb" else np.ascontiguousarray(frame[..., ::-1])
