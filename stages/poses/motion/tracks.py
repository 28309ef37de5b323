"""People followed from frame to frame by where their joints should be next.

A person is expected where their velocity takes them, in the pose and with the build they had. People and detections
are paired at least total cost; whoever is hidden moves on unseen for a while. Clothes and faces are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.poses.anatomy import FRAME_BONES, NECK, extent
from stages.poses.keypoints import Keypoints, People
from stages.poses.motion.assignment import assign
from stages.poses.wholebody import BODY, VISIBLE

_PATIENCE = 0.8  # seconds in which the velocity of somebody hidden dies down
_FIRM = [0, 1, 2, 5, 8, 11]  # joints that move with the whole body
# Joints whose sides a pose net confuses together, right then left.
_SIDED = (([2, 3, 4], [5, 6, 7]), ([8, 9, 10], [11, 12, 13]), ([14, 16], [15, 17]))
_JOINTS = [joint for joint in range(18) if joint != NECK]


class TrackingSettings(BaseModel):
    """When a detection is the same person as before. Distances are in units of the body's extent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_seconds: float = Field(2.0, gt=0, description="a person unseen for longer comes back as somebody new")
    gate: float = Field(0.2, gt=0, description="a person may be so far from where they were expected")
    gate_growth: float = Field(0.8, ge=0, description="… and so much farther per second unseen")
    gate_limit: float = Field(0.6, gt=0, description="… but never farther than this")
    duplicate: float = Field(0.05, ge=0, description="two detections nearer than this are one person seen twice")
    margin: float = Field(0.08, ge=0, description="an alternative pairing at most so much worse leaves a doubt")
    credible_joints: int = Field(4, ge=1, description="fewer visible body joints and no box are nobody")


@dataclass
class Track:
    """One person on the way."""

    pose: np.ndarray  # (18, 2), as last seen
    trust: np.ndarray  # (18,): 1 just seen, fading while hidden
    size: float
    build: np.ndarray  # logarithms of lengths of bones, NaN where never seen
    last: int
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    sightings: int = 1

    def expected(self, frame: int, patience: float) -> np.ndarray:
        """Where the joints should be: constant velocity that dies down within `patience` frames."""
        ahead = frame - self.last
        return self.pose + self.velocity * patience * (1 - np.exp(-ahead / patience))

    def see(
        self, points: np.ndarray, weights: np.ndarray, build: np.ndarray, size: float, frame: int, patience: float
    ) -> None:
        """Take a detection (18, 2), (18,) for this person."""
        ahead = frame - self.last
        order = _naming(points[None], self.expected(frame, patience))[0]
        points, weights = points[order], weights[order]
        shared = (weights > 0.5) & (self.trust > 0.5)
        firm = shared[_FIRM]
        which = np.array(_FIRM)[firm] if firm.sum() >= 2 else np.flatnonzero(shared)
        if len(which):
            moved = np.median(points[which] - self.pose[which], axis=0)
            gain = max(0.12, 1.0 / self.sightings)
            self.velocity = self.velocity + gain * (moved / ahead - self.velocity)
        else:
            moved = self.velocity * ahead
        seen = weights > 0.5
        self.pose = np.where(seen[:, None], points, self.pose + moved)
        self.trust = np.where(seen, 1.0, self.trust * 0.9**ahead)
        if np.isfinite(size) and seen.sum() >= 10:
            self.size += (size - self.size) * 0.1
        slow = max(0.05, 1.0 / self.sightings)
        known = np.where(np.isnan(self.build), build, self.build + slow * (build - self.build))
        self.build = np.where(np.isnan(build), self.build, known)
        self.last, self.sightings = frame, self.sightings + 1


@dataclass(frozen=True)
class Contested:
    """A pairing that could nearly as well have been another."""

    frame: int
    tracks: tuple[int, int]
    margin: float


@dataclass(frozen=True)
class Association:
    """Which person each detection is."""

    owner: np.ndarray  # int (frames, slots): number of the track; −1: nobody, or a person seen twice
    tracks: int
    contested: tuple[Contested, ...]


def associate(keypoints: Keypoints, fps: float, settings: TrackingSettings | None = None) -> Association:
    """Number the people of a sequence, in the order of their first appearance."""
    settings = settings or TrackingSettings()
    present = keypoints.present
    owner = np.full(present.shape, -1)
    tracks: list[Track] = []
    contested: list[Contested] = []
    for frame in range(len(keypoints)):
        slots = np.flatnonzero(present[frame])
        people = keypoints.people(frame)
        chosen = _credible(people, settings)
        people = People(people.points[chosen], people.scores[chosen], people.boxes[chosen])
        slots = slots[chosen]
        weights = np.clip((people.scores[:, BODY] - 0.1) / 0.4, 0.02, 1.0)
        sizes, builds = extent(people.points, people.scores), _builds(people)
        alive = [number for number, track in enumerate(tracks) if frame - track.last <= settings.memory_seconds * fps]
        cost = np.array(
            [_costs(tracks[number], frame, fps, people.points[:, BODY], weights, builds, settings) for number in alive]
        ).reshape(len(alive), len(people))
        pairs = assign(cost)
        contested += _contests(cost, pairs, alive, frame, settings.margin)
        for row, column in pairs:
            number = alive[row]
            body = people.points[column, BODY]
            tracks[number].see(body, weights[column], builds[column], sizes[column], frame, _PATIENCE * fps)
            owner[frame, slots[column]] = number
        for column in sorted(set(range(len(people))) - {column for _, column in pairs}):
            if not np.isfinite(sizes[column]):
                continue
            owner[frame, slots[column]] = len(tracks)
            body = people.points[column, BODY]
            seen = (weights[column] > 0.5).astype(float)
            tracks.append(Track(body.copy(), seen, float(sizes[column]), builds[column], frame))
    return Association(owner, len(tracks), tuple(contested))


def _credible(people: People, settings: TrackingSettings) -> np.ndarray:
    """Indices of detections that show somebody, and nobody twice."""
    visible = (people.scores[:, _JOINTS] > VISIBLE).sum(axis=1)
    detected = ~np.isnan(people.boxes[:, 0])
    kept: list[int] = []
    for one in np.flatnonzero((visible >= settings.credible_joints) | (detected & (visible >= 2))):
        size = extent(people.points[one], people.scores[one])
        for other in kept:
            both = (people.scores[[int(one), other]][:, BODY] > VISIBLE).all(axis=0)
            apart = np.linalg.norm(people.points[one, BODY] - people.points[other, BODY], axis=1)
            if both.sum() >= 4 and np.median(apart[both]) < settings.duplicate * size:
                break
        else:
            kept.append(int(one))
    return np.array(kept, int)


def _builds(people: People) -> np.ndarray:
    ends = np.array(FRAME_BONES)
    lengths = np.linalg.norm(people.points[:, ends[:, 0]] - people.points[:, ends[:, 1]], axis=-1)
    seen = (people.scores[:, ends] > VISIBLE).all(axis=-1)
    return np.where(seen, np.log(np.maximum(lengths, 1.0)), np.nan)


def _costs(
    track: Track,
    frame: int,
    fps: float,
    points: np.ndarray,
    weights: np.ndarray,
    builds: np.ndarray,
    settings: TrackingSettings,
) -> np.ndarray:
    """(detections,): what it costs to take each for this person; infinite beyond the gate."""
    expected = track.expected(frame, _PATIENCE * fps)
    order = _naming(points, expected)
    points, weights = np.take_along_axis(points, order[..., None], 1), np.take_along_axis(weights, order, 1)
    distance = np.minimum(np.linalg.norm(points - expected, axis=-1) / track.size, 1.0)
    certain = weights * (0.1 + track.trust)
    distance = (distance * certain).sum(axis=1) / certain.sum(axis=1)
    apart = 1 - np.array([_overlap(expected, one) for one in points])
    build = np.abs(builds - track.build)
    known = np.isfinite(build)
    build = np.where(known, build, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    unseen = (frame - track.last - 1) / fps
    gate = min(settings.gate + settings.gate_growth * unseen, settings.gate_limit)
    cost = distance + 0.1 * apart + 0.3 * np.minimum(build, 1.0)
    return np.where(distance < gate, cost, np.inf)


def _naming(points: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """int (detections, 18): the joints (detections, 18, 2) with left and right named as expected (18, 2).

    Somebody whose sides a pose net exchanges for a moment is still the same person.
    """
    order = np.tile(np.arange(points.shape[1]), (len(points), 1))
    for right, left in _SIDED:
        both, other = right + left, left + right
        same = np.linalg.norm(points[:, both] - expected[both], axis=-1).sum(axis=1)
        mirrored = np.linalg.norm(points[:, other] - expected[both], axis=-1).sum(axis=1)
        exchange = mirrored < 0.7 * same
        order[np.ix_(exchange, both)] = other
    return order


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of the boxes around two sets of joints (18, 2)."""
    low, high = np.stack([one.min(0), other.min(0)]), np.stack([one.max(0), other.max(0)])
    shared = np.prod(np.maximum(high.min(0) - low.max(0), 0))
    union = np.prod(high - low, axis=1).sum() - shared
    return float(shared / union) if union > 0 else 0.0


def _contests(
    cost: np.ndarray, pairs: list[tuple[int, int]], alive: list[int], frame: int, margin: float
) -> list[Contested]:
    """Pairs whose exchange, or whose hand-over to an unpaired person, would cost hardly more."""
    found = []
    taken = dict(pairs)
    for row, column in pairs:
        for other in range(len(alive)):
            if other == row or not np.isfinite(cost[other, column]):
                continue
            if other in taken:
                if other < row:
                    continue
                worse = cost[other, column] + cost[row, taken[other]] - cost[row, column] - cost[other, taken[other]]
            else:
                worse = cost[other, column] - cost[row, column]
            if worse < margin:
                found.append(Contested(frame, (alive[row], alive[other]), float(worse)))
    return found
