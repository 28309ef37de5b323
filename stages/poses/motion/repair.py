"""One person's keypoints over time, repaired: exchanged sides, outliers, short gaps, jitter.

Hands, face and feet follow the joint they hang on through gaps, and are smoothed relative to their own middle, so that
a fast arm does not keep a still hand from being smoothed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.poses.anatomy import ATTACHED, clip_extent
from stages.poses.keypoints import Keypoints
from stages.poses.motion.leaps_and_gaps import cross_gaps, leaps
from stages.poses.motion.left_right import exchanged, runs, undo
from stages.poses.motion.smoothing import noise, smooth
from stages.poses.wholebody import BODY, VISIBLE

_BLOCK = 256  # frames of which the middle is found at once
_FADED = 0.05  # the score left to an outlier that nothing could replace


class RepairSettings(BaseModel):
    """What is repaired. Identity on clean motion: everything reacts to faults only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sides: bool = Field(True, description="undo exchanges of left and right")
    longest_exchange_seconds: float = Field(0.5, ge=0, description="longer ones may be meant")
    outliers: bool = Field(True, description="take points that leap away and back for unseen")
    outlier: float = Field(0.06, gt=0, description="how far a leap goes at least, in units of the body's extent")
    longest_gap_seconds: float = Field(0.5, ge=0, description="shorter gaps are interpolated, longer ones stay")
    smooth: bool = Field(True, description="remove jitter")


@dataclass(frozen=True)
class Repairs:
    """What was done to a sequence."""

    exchanged: dict[str, int] = field(default_factory=dict)  # group → frames
    outliers: int = 0  # points in frames
    filled_frames: int = 0  # in which nobody had been found
    filled_points: int = 0  # unseen points elsewhere
    jitter: float = float("nan")  # pixels: the body's median noise before smoothing
    moved: float = 0.0  # pixels: mean displacement of visible body joints by smoothing

    def to_dict(self) -> dict[str, Any]:
        """For the result row; NaN becomes None."""
        return {key: None if value != value else value for key, value in asdict(self).items()}


def repair(keypoints: Keypoints, fps: float, settings: RepairSettings | None = None) -> tuple[Keypoints, Repairs]:
    """One-slot keypoints → the same repaired, and what was done. Raises ValueError for more slots than one.

    An interpolated point gets the lower score of those beside the gap; a frame that was empty gets the person, with an
    interpolated box. Points that stay unseen keep their place and score, empty frames in longer gaps stay empty.
    """
    settings = settings or RepairSettings()
    if keypoints.points.shape[1] != 1:
        raise ValueError(f"expected keypoints of one person in one slot, not of {keypoints.points.shape[1]}: follow()")
    points, scores, boxes = keypoints.points[:, 0].copy(), keypoints.scores[:, 0].copy(), keypoints.boxes[:, 0].copy()
    size = clip_extent(points, scores)
    if not np.isfinite(size):
        return keypoints, Repairs()
    sides: dict[str, int] = {}
    if settings.sides:
        found = exchanged(points, scores, size, round(settings.longest_exchange_seconds * fps), _jitter(points, scores))
        undo(points, scores, found)
        sides = {name: int(frames.sum()) for name, frames in found.items() if frames.any()}
    mended = _mend(points, scores, size, fps, settings)
    absent = np.isnan(points[:, 0, 0])
    added = absent & ~np.isnan(mended.points[:, 0, 0])
    boxes = _between(boxes, added)
    done = Repairs(
        exchanged=sides,
        outliers=int(mended.rejected.sum()),
        filled_frames=int(added.sum()),
        filled_points=int(mended.filled[~absent].sum()),
        jitter=mended.jitter,
        moved=mended.moved,
    )
    return (
        Keypoints(mended.points[:, None], mended.scores[:, None], boxes[:, None], keypoints.width, keypoints.height),
        done,
    )


@dataclass(frozen=True)
class _Mended:
    points: np.ndarray
    scores: np.ndarray
    rejected: np.ndarray
    filled: np.ndarray
    jitter: float
    moved: float


def _mend(points: np.ndarray, scores: np.ndarray, size: float, fps: float, settings: RepairSettings) -> _Mended:
    """The body first, then the parts that hang on it, relative to where it is now."""
    shape = scores.shape
    rejected, filled = np.zeros(shape, bool), np.zeros(shape, bool)
    new_points, new_scores = points.copy(), scores.copy()
    seen = (scores > VISIBLE) & np.isfinite(points[..., 0])
    longest = int(settings.longest_gap_seconds * fps)

    def mend(which: slice, anchor: np.ndarray, smoothing: Callable[..., np.ndarray]) -> None:
        values, there, known = points[:, which], seen[:, which], scores[:, which]
        if settings.outliers:
            offsets = values - anchor[:, None]
            rejected[:, which] = leaps(offsets, there, settings.outlier * size, noise(offsets, there))
            there = there & ~rejected[:, which]
        if settings.smooth:
            values = smoothing(values, np.where(there, np.clip(known, 0.05, 1.0) ** 2, 0.0))
        known = np.where(rejected[:, which], _FADED, known)
        offsets, new_scores[:, which], filled[:, which] = cross_gaps(values - anchor[:, None], known, there, longest)
        new_points[:, which] = offsets + anchor[:, None]

    limit = 2.5 * np.nan_to_num(_jitter(points, scores), nan=np.inf)  # fast fingers look noisier than they are

    def smooth_part(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return _smooth_together(values, weights, limit)

    mend(BODY, np.zeros((len(points), 2)), _smooth_each)
    for joint, which in ATTACHED:
        mend(which, _path(new_points[:, joint], (seen & ~rejected | filled)[:, joint]), smooth_part)
    body = seen[:, BODY] & ~rejected[:, BODY]
    jitter = _jitter(points, np.where(rejected, 0.0, scores))
    moved = np.linalg.norm(new_points - points, axis=-1)[:, BODY][body]
    return _Mended(new_points, new_scores, rejected, filled, jitter, float(moved.mean()) if len(moved) else 0.0)


def _jitter(points: np.ndarray, scores: np.ndarray) -> float:
    """The body's median noise in pixels; NaN where it is seen too briefly."""
    deviation = noise(points[:, BODY], (scores[:, BODY] > VISIBLE) & np.isfinite(points[:, BODY, 0]))
    return float(np.median(deviation)) if np.isfinite(deviation).any() else float("nan")


def _smooth_each(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return smooth(values, weights, noise(values, weights > 0))


def _smooth_together(values: np.ndarray, weights: np.ndarray, limit: float) -> np.ndarray:
    """A part's middle, where noise has cancelled and fast motion shows, and its points relative to that."""
    there = weights > 0
    somewhere = np.any(there, axis=1)
    if not somewhere.any():
        return values
    middle, shape = np.zeros((len(values), 2)), np.zeros((values.shape[1], 2))
    for _ in range(2):  # which points are seen changes; the middle must not jump with that
        for start in range(0, len(values), _BLOCK):
            some = np.flatnonzero(somewhere[start : start + _BLOCK]) + start
            middle[some] = np.nanmean(np.where(there[some, :, None], values[some], np.nan) - shape, axis=1)
        for point in np.flatnonzero(there.any(axis=0)):
            shape[point] = np.nanmedian(np.where(there[:, point, None], values[:, point], np.nan) - middle, axis=0)
    count = there.sum(axis=1).astype(float)
    relative = values - middle[:, None]
    deviation = np.minimum(noise(relative, there), limit)
    relative = smooth(relative, weights, deviation)
    # The middle of a fast hand looks noisy, but cannot be noisier than its points.
    whole = np.minimum(
        noise(middle[:, None], somewhere[:, None]), np.nanmedian(deviation) if np.isfinite(deviation).any() else np.nan
    )
    moved = smooth(middle[:, None], (count / values.shape[1])[:, None], whole)
    relative += moved
    return np.where(there[..., None], relative, values)


def _path(joint: np.ndarray, known: np.ndarray) -> np.ndarray:
    """A joint (frames, 2) on straight lines through the frames in which it is known; nowhere known: the origin."""
    frames = np.flatnonzero(known)
    if not len(frames):
        return np.zeros_like(joint)
    every = np.arange(len(joint))
    return np.stack([np.interp(every, frames, joint[frames, axis]) for axis in range(2)], axis=1)


def _between(boxes: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Boxes (frames, 4) with those of added frames on straight lines between their neighbours, where those have one."""
    boxes = boxes.copy()
    for start, end in runs(added):
        share = ((np.arange(start, end) - (start - 1)) / (end - start + 1))[:, None]
        boxes[start:end] = (1 - share) * boxes[start - 1] + share * boxes[end]
    return boxes
