"""The one person that a clip is about, followed through crossings and gaps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from stages.poses.anatomy import clip_extent
from stages.poses.keypoints import Keypoints
from stages.poses.motion.tracks import Association, TrackingSettings, associate
from stages.poses.wholebody import BODY, VISIBLE

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
    """A sequence in which it is known who everybody is."""

    found: Keypoints
    association: Association  # whose track each detection of `found` is, numbered in order of first appearance
    subject: Keypoints  # one slot; none of its frames is present where nobody was found
    slot: int | None  # the subject's track
    doubts: tuple[Doubt, ...]

    @property
    def present(self) -> np.ndarray:
        """bool (frames, tracks): who is there."""
        return _presence(self.association)

    @property
    def tracks(self) -> Keypoints:
        """Everybody in a slot of their own, made anew each time: 3 KB for every frame and track."""
        frame, slot = np.nonzero(self.association.owner >= 0)
        person = self.association.owner[frame, slot]
        return _slots(self.found, self.association.tracks, frame, person, slot)


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
    if not association.tracks:
        nobody = np.empty(0, int)
        return Followed(keypoints, association, _slots(keypoints, 1, nobody, nobody, nobody), None, ())
    shown = range(len(keypoints)) if shown is None else shown
    track = _chosen(keypoints, association, choose, shown)
    doubts = _doubts(_presence(association), track, association, fps)
    seen = tuple(doubt for doubt in doubts if doubt.last >= shown.start and doubt.first < shown.stop)
    frame, slot = np.nonzero(association.owner == track)
    alone = association.owner.shape[1] == 1 and len(frame) == len(keypoints)  # and always there: no need of a copy
    subject = keypoints if alone else _slots(keypoints, 1, frame, np.zeros_like(frame), slot)
    return Followed(keypoints, association, subject, track, seen)


def _presence(association: Association) -> np.ndarray:
    """bool (frames, tracks): who is there."""
    frame, slot = np.nonzero(association.owner >= 0)
    present = np.zeros((len(association.owner), association.tracks), bool)
    present[frame, association.owner[frame, slot]] = True
    return present


def _slots(found: Keypoints, count: int, frame: np.ndarray, to: np.ndarray, slot: np.ndarray) -> Keypoints:
    """As many slots as `count`, empty but for detections (frame, slot) of `found`, which go into the slots `to`."""
    made = Keypoints.empty(len(found), count, found.width, found.height)
    made.points[frame, to] = found.points[frame, slot]
    made.scores[frame, to] = found.scores[frame, slot]
    made.boxes[frame, to] = found.boxes[frame, slot]
    return made


def _chosen(found: Keypoints, association: Association, choose: Choice, shown: range) -> int:
    if choose not in CANDIDATE_SHARE:
        raise ValueError(f"choose is {choose!r}, expected 'largest', 'central' or 'persistent'")
    present = _presence(association)
    time, while_shown = present.sum(axis=0), present[shown.start : shown.stop].sum(axis=0)
    # of the frames that each is in alone: there are more tracks, the longer the sequence is
    sightings = [np.nonzero(association.owner == track) for track in range(association.tracks)]
    sizes = np.nan_to_num([clip_extent(found.points[which], found.scores[which]) for which in sightings])
    enough = while_shown >= CANDIDATE_SHARE[choose] * while_shown.max()
    if choose == "persistent":
        return int(np.lexsort((sizes, np.where(enough, time, -1)))[-1])
    if choose == "largest":
        return int(np.where(enough, sizes, -1).argmax())
    size = found.width, found.height
    distance = [_distance_from_centre(found.points[which], found.scores[which], *size) for which in sightings]
    return int(np.where(enough, distance, np.inf).argmin())


def _distance_from_centre(points: np.ndarray, scores: np.ndarray, width: int, height: int) -> float:
    """Mean distance in pixels of one person's visible body, (frames, 134, 2), from the centre of the picture."""
    seen = scores[:, BODY] > VISIBLE
    if not seen.any():
        return float("inf")
    centre = np.array([width - 1, height - 1]) / 2
    middles = [points[frame, BODY][seen[frame]].mean(axis=0) for frame in np.flatnonzero(seen.any(axis=1))]
    return float(np.linalg.norm(np.array(middles) - centre, axis=1).mean())


def _doubts(present: np.ndarray, slot: int, association: Association, fps: float) -> tuple[Doubt, ...]:
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
    last = int(np.flatnonzero(present[:, slot])[-1])
    later = np.flatnonzero(present[last + 1 :].any(axis=0))
    if len(later):
        doubts.append(Doubt("lost", last, len(present) - 1, tuple(int(one) for one in later)))
    return tuple(doubts)
