"""Is this pose sequence good enough to animate from? A report for the result row, and rules to reject by."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from manifests.errors import Rejected
from stages.poses.anatomy import NECK, clip_extent
from stages.poses.keypoints import Keypoints
from stages.poses.motion.left_right import runs
from stages.poses.motion.repair import Repairs
from stages.poses.motion.smoothing import noise
from stages.poses.motion.subject import Followed
from stages.poses.wholebody import BODY, VISIBLE

_CORE = (0, 2, 5)  # nose and shoulders: without any of them a body at the border is cut off
_BORDER = 0.01  # of the picture's sides
_PERSON_SHARE = 0.1  # whoever is there for less of the clip is not counted


class QualityRules(BaseModel):
    """When a pose sequence is unusable. Shares are of all frames, from 0 to 1; None: no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    missing: float | None = Field(0.3, ge=0, le=1, description="share of frames without the subject, at most")
    gap_seconds: float | None = Field(1.5, ge=0, description="longest stretch without the subject, at most")
    confidence: float | None = Field(0.35, ge=0, description="mean score of the body where the subject is, at least")
    cut_off: float | None = Field(0.3, ge=0, le=1, description="share in which head or shoulders leave the picture")
    truncated: float | None = Field(None, ge=0, le=1, description="share in which any part leaves the picture")
    jitter: float | None = Field(0.03, ge=0, description="noise as found, in units of the body's extent, at most")
    people: PositiveInt | None = Field(None, description="people in the clip at most, for clips that must show one")
    doubts: int | None = Field(None, ge=0, description="moments at which the subject may have been mistaken, at most")


@dataclass(frozen=True)
class PoseReport:
    """What is known about one person's poses in the frames that a film shows, and between them.

    Shares from 0 to 1; NaN where there is nothing to measure.
    """

    first: int  # frame of the driving file that the film shows first
    frames: int  # from the first one shown to the last
    fps: float
    found: tuple[float, float] | None  # seconds of the driving file in which the subject is first and last seen
    people: int  # there for at least a tenth of the clip
    most_people: int  # at once
    present: int  # frames in which the subject was found
    longest_gap: int  # frames without the subject, its first and last ones included
    confidence: float  # mean score of the body's joints while present
    confidence_low: float  # … its lowest tenth over the frames
    visible: float  # share of the body's joints seen while present
    jitter: float  # as found, noise in units of the body's extent
    jitter_left: float  # after repair
    truncated: float  # share of the present frames in which the body leaves the picture
    cut_off: float  # … and takes the head or the shoulders with it
    doubts: tuple[dict[str, Any], ...] = ()
    repairs: dict[str, Any] = field(default_factory=dict)  # of the whole driving file

    @property
    def missing(self) -> float:
        """Share of frames without the subject."""
        return (self.frames - self.present) / self.frames if self.frames else 1.0

    def to_dict(self) -> dict[str, Any]:
        """For the result row: plain values, NaN as None."""
        plain = asdict(self) | {"missing": self.missing, "doubts": list(self.doubts)}
        plain["found"] = self.found and list(self.found)
        return {key: _plain(value) for key, value in plain.items()}


def assess(
    followed: Followed,
    fps: float,
    repaired: Keypoints | None = None,
    repairs: Repairs | None = None,
    shown: range | None = None,
) -> PoseReport:
    """Measure the chosen subject as it was found, and what repair left of its jitter, in the frames `shown`: else all.

    Where those are too few to tell noise from motion, jitter is that of the whole sequence.
    """
    everywhere = np.flatnonzero(followed.subject.present[:, 0])
    shown = range(len(followed.subject)) if shown is None else shown
    subject = followed.subject.part(shown)
    scores, present = subject.scores[:, 0], subject.present[:, 0]
    body = scores[present][:, BODY]
    everyone = followed.present[shown.start : shown.stop]
    truncated, cut_off = _leaving(subject)
    return PoseReport(
        first=shown.start,
        frames=len(subject),
        fps=float(fps),
        found=(float(everywhere[0] / fps), float((everywhere[-1] + 1) / fps)) if len(everywhere) else None,
        people=int((everyone.sum(axis=0) >= max(1, _PERSON_SHARE * len(subject))).sum()),
        most_people=int(everyone.sum(axis=1).max(initial=0)),
        present=int(present.sum()),
        longest_gap=max((end - start for start, end in runs(~present)), default=0),
        confidence=float(body.mean()) if body.size else float("nan"),
        confidence_low=float(np.quantile(body.mean(axis=1), 0.1)) if body.size else float("nan"),
        visible=float((body > VISIBLE).mean()) if body.size else float("nan"),
        jitter=_jitter(followed.subject, followed.subject, shown),
        jitter_left=_jitter(repaired or followed.subject, followed.subject, shown),
        truncated=float(truncated[present].mean()) if present.any() else float("nan"),
        cut_off=float(cut_off[present].mean()) if present.any() else float("nan"),
        doubts=tuple(doubt.to_dict() for doubt in followed.doubts),
        repairs=repairs.to_dict() if repairs else {},
    )


def judge(report: PoseReport, rules: QualityRules | None = None) -> None:
    """Raise `Rejected` for a sequence that breaks a rule, most telling one first."""
    for broken in faults(report, rules):
        raise broken


def faults(report: PoseReport, rules: QualityRules | None = None) -> list[Rejected]:
    """The rules that a sequence breaks, most telling one first, each with what to do about it."""
    rules = rules or QualityRules()
    if report.found is None:
        error = f"nobody is found in any of the {report.frames} frames of the driving video"
        remedy = "use a driving video that shows a person; a drawing or a tiny figure is not recognised as one"
        return [Rejected(error, remedy)]
    there = f"the person is there between {report.found[0]:.2f} s and {report.found[1]:.2f} s"
    if not report.present:
        error = f"nobody is found in any of the {report.frames} frames that the film shows of the driving video"
        return [Rejected(error, f"choose another range of it: {there}")]
    gap = report.longest_gap / report.fps
    checks = (
        (
            rules.people is not None and report.people > rules.people,
            f"{report.people} people are in the driving video, at most {rules.people} expected",
            "cut the others out, or allow more people and choose one by `subject`",
        ),
        (
            _above(report.cut_off, rules.cut_off),
            f"head or shoulders are outside the picture in {_percent(report.cut_off)} of the frames",
            "use a driving video that keeps the person in the picture",
        ),
        (
            _above(report.truncated, rules.truncated),
            f"part of the body is outside the picture in {_percent(report.truncated)} of the frames",
            "use a driving video that keeps the whole person in the picture",
        ),
        (
            _above(report.missing, rules.missing),
            f"the person is not found in {_percent(report.missing)} of the frames",
            f"use a driving video in which the person stays visible, or a range of it: {there}",
        ),
        (
            _above(gap, rules.gap_seconds),
            f"the person is not found for {gap:.1f} s on end, too long to fill in",
            f"cut the driving video before or after that stretch by start and duration: {there}",
        ),
        (
            rules.confidence is not None and report.confidence < rules.confidence,
            f"the body is recognised with a confidence of only {report.confidence:.2f}",
            "use a sharper, brighter or closer driving video",
        ),
        (
            _above(report.jitter, rules.jitter),
            f"the pose jitters by {_percent(report.jitter)} of the body's size",
            "use a steadier, sharper or closer driving video",
        ),
        (
            rules.doubts is not None and len(report.doubts) > rules.doubts,
            f"the person may have been mistaken for another at {len(report.doubts)} moments",
            "use a driving video in which people do not cross, or look at the drawn poses and allow more doubts",
        ),
    )
    return [Rejected(error, remedy) for broken, error, remedy in checks if broken]


def _leaving(subject: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """bool (frames,) twice: part of the body is beyond the border; head or shoulders are."""
    points, scores = subject.points[:, 0], subject.scores[:, 0]
    joints = [joint for joint in range(18) if joint != NECK]
    size = np.array([subject.width, subject.height], float)
    margin = _BORDER * size
    outside = np.any((points < margin) | (points > size - 1 - margin), axis=-1)
    hidden = scores <= VISIBLE
    boxes = subject.boxes[:, 0]
    low, high = boxes[:, :2] < margin, boxes[:, 2:] > size - 1 - margin
    touching = np.any(low | high, axis=1)
    # What lies beyond is either placed there or, being unseen, anywhere; the box tells that something is cut.
    truncated = (outside[:, joints] | (hidden[:, joints] & touching[:, None])).any(axis=1) & (
        touching | outside[:, joints].any(axis=1)
    )
    core = list(_CORE)
    cut_off = (outside[:, core] | (hidden[:, core] & touching[:, None])).all(axis=1)
    cut_off |= (outside[:, core] & hidden[:, core]).sum(axis=1) >= 2
    return truncated, cut_off


def _jitter(moving: Keypoints, found: Keypoints, shown: range) -> float:
    """Noise of `moving` where it was `found`, in units of the body's extent."""
    for frames in (shown, range(len(found))):
        points, there = moving.part(frames).points[:, 0], found.part(frames)
        seen = (there.scores[:, 0] > VISIBLE) & there.present
        deviation = noise(points[:, BODY], seen[:, BODY])
        if np.isfinite(deviation).any():
            return float(np.nanmedian(deviation) / clip_extent(points, seen.astype(float)))
    return float("nan")


def _above(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value
