"""The one person that a clip is about, followed through crossings and gaps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from stages.poses.anatomy import clip_extent
from stages.poses.keypoints import Keypoints
from stages.poses.motion.tracks import Association, TrackingSettings, associate
from stages.poses.wholebody import BODY, POINTS, VISIBLE

Choice = Literal["largest", "central", "persistent"]
# To be chosen, a person must be there for so much of the time, in the frames shown, that the most persistent one is.
CANDIDATE_SHARE = {"persistent": 0.7, "largest": 0.25, "central": 0.25}


@dataclass(frozen=True)
class Doubt:
    """A moment at which the subject may have been taken for somebody else, or was lost.

    `ambiguous`: another pairing of people was nearly as good. `lost`: the subject is gone before the end while others
    are still there, which may be the same person not recognised.
    """

    kind: Literal["ambiguous", "lost"]
    first: int  # frame
    last: int
    others: tuple[int, ...]  # slots of the people it may concern

    def to_dict(self) -> dict[str, Any]:
        """For the result row."""
        return {**asdict(self), "others": list(self.others)}


@dataclass(frozen=True)
class Followed:
    """A sequence in which everybody has a slot of their own."""

    tracks: Keypoints  # slots in order of first appearance
    subject: Keypoints  # one slot; none of its frames is present where nobody was found
    slot: int | None  # the subject's in `tracks`
    doubts: tuple[Doubt, ...]


def follow(
    keypoints: Keypoints,
    fps: float = 25.0,
    choose: Choice = "persistent",
    settings: TrackingSettings | None = None,
    shown: range | None = None,
) -> Followed:
    """Tell people apart over a whole sequence and choose one.

    `persistent`: who is there longest, the larger one of equals. `largest`: whose body is largest, typically.
    `central`: who is nearest to the picture's centre, on average. All of them over the whole sequence, so that its
    parts show the same person, but only among those who are in the frames `shown` (by default all) for long enough.
    Pseudo persons, and people seen twice in one frame, get no slot. The subject never becomes another track: where it
    is not seen it is absent. Doubts are those that touch the frames shown.
    """
    settings = settings or TrackingSettings()
    association = associate(keypoints, fps, settings)
    tracks = _by_person(keypoints, association)
    if not association.tracks:
        return Followed(tracks, _nobody(keypoints), None, ())
    shown = range(len(tracks)) if shown is None else shown
    slot = _chosen(tracks, choose, shown)
    doubts = _doubts(tracks, slot, association, fps)
    seen = tuple(doubt for doubt in doubts if doubt.last >= shown.start and doubt.first < shown.stop)
    return Followed(tracks, _slot(tracks, slot), slot, seen)


def _by_person(keypoints: Keypoints, association: Association) -> Keypoints:
    frames = len(keypoints)
    points = np.full((frames, association.tracks, POINTS, 2), np.nan)
    scores = np.zeros((frames, association.tracks, POINTS))
    boxes = np.full((frames, association.tracks, 4), np.nan)
    frame, slot = np.nonzero(association.owner >= 0)
    person = association.owner[frame, slot]
    points[frame, person] = keypoints.points[frame, slot]
    scores[frame, person] = keypoints.scores[frame, slot]
    boxes[frame, person] = keypoints.boxes[frame, slot]
    return Keypoints(points, scores, boxes, keypoints.width, keypoints.height)


def _slot(tracks: Keypoints, slot: int) -> Keypoints:
    one = slice(slot, slot + 1)
    return Keypoints(tracks.points[:, one], tracks.scores[:, one], tracks.boxes[:, one], tracks.width, tracks.height)


def _nobody(like: Keypoints) -> Keypoints:
    frames = len(like)
    points, boxes = np.full((frames, 1, POINTS, 2), np.nan), np.full((frames, 1, 4), np.nan)
    return Keypoints(points, np.zeros((frames, 1, POINTS)), boxes, like.width, like.height)


def _chosen(tracks: Keypoints, choose: Choice, shown: range) -> int:
    if choose not in CANDIDATE_SHARE:
        raise ValueError(f"choose is {choose!r}, expected 'largest', 'central' or 'persistent'")
    time = tracks.present.sum(axis=0)
    slots = range(len(time))
    sizes = np.nan_to_num([clip_extent(tracks.points[:, slot], tracks.scores[:, slot]) for slot in slots])
    while_shown = tracks.part(shown).present.sum(axis=0)
    enough = while_shown >= CANDIDATE_SHARE[choose] * while_shown.max()
    if choose == "persistent":
        return int(np.lexsort((sizes, np.where(enough, time, -1)))[-1])
    if choose == "largest":
        return int(np.where(enough, sizes, -1).argmax())
    distance = [_distance_from_centre(tracks, slot) for slot in slots]
    return int(np.where(enough, distance, np.inf).argmin())


def _distance_from_centre(tracks: Keypoints, slot: int) -> float:
    """Mean distance of the visible body from the picture's centre, in pixels."""
    seen = (tracks.scores[:, slot, BODY] > VISIBLE) & tracks.present[:, slot, None]
    if not seen.any():
        return float("inf")
    centre = np.array([tracks.width - 1, tracks.height - 1]) / 2
    frames = np.flatnonzero(seen.any(axis=1))
    middles = [tracks.points[frame, slot, BODY][seen[frame]].mean(axis=0) for frame in frames]
    return float(np.linalg.norm(np.array(middles) - centre, axis=1).mean())


def _doubts(tracks: Keypoints, slot: int, association: Association, fps: float) -> tuple[Doubt, ...]:
    doubts: list[Doubt] = []
    for contested in association.contested:
        if slot not in contested.tracks:
            continue
        other = next(track for track in contested.tracks if track != slot)
        previous = doubts[-1] if doubts else None
        if previous and contested.frame - previous.last <= fps / 2:  # one crossing is one doubt
            others = tuple(sorted({*previous.others, other}))
            doubts[-1] = Doubt("ambiguous", previous.first, contested.frame, others)
        else:
            doubts.append(Doubt("ambiguous", contested.frame, contested.frame, (other,)))
    present = tracks.present
    last = int(np.flatnonzero(present[:, slot])[-1])
    later = np.flatnonzero(present[last + 1 :].any(axis=0))
    if len(later):
        doubts.append(Doubt("lost", last, len(present) - 1, tuple(int(one) for one in later)))
    return tuple(doubts)
