"""What is measured of a film while it is encoded, with its poses and reference to hold it against."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from manifests.work import Work
from stages.denoise import Denoise
from stages.diffusion.animator import PosePictures
from stages.diffusion.animators import facts_of
from stages.driving import frames_to_show
from stages.latents_cache import segments
from stages.poses.conditioning import reference_torso
from stages.video.image import fit
from stages.video.quality.container import Wanted, container_faults
from stages.video.quality.curve import Figure
from stages.video.quality.film_quality import FilmQuality, Metric, metrics_of
from stages.video.quality.frame import small_size
from stages.video.quality.outline import Outline, outline_of_picture

log = logging.getLogger(__name__)

_LOOKS = 10  # a second: between them a person has hardly moved


@contextmanager
def measured(denoise: Denoise, work: Work, report: dict[str, Any], scratch: Path) -> Iterator[FilmQuality]:
    """The metrics of a clip's film. What cannot be had of its poses and reference costs what needs it, never the film.

    `report` is the one on the poses.
    """
    clip = work.clip
    fps, size = cast(Fraction, clip.fps), (cast(int, clip.width), cast(int, clip.height))
    reference: np.ndarray | None = None
    torso: np.ndarray | None = None
    outlines: Outlines | None = None
    # closed below without telling the poses what went wrong with the film, which is not their fault
    opened = ExitStack()
    window = report.get("window")
    with _without(work, "the reference"):
        if (picture := denoise.reference(work, window, scratch)) is not None:
            reference = fit(picture, *size, clip.fit or "stretch")
    with _without(work, "the reference's torso"):
        if (person := denoise.reference_keypoints(work, scratch)) is not None:
            torso = reference_torso(person, clip, window)
    with _without(work, "poses"):
        if (poses := opened.enter_context(denoise.poses(work, scratch))) is not None:
            outlines = Outlines(poses, work)
    meet: list[int] = []
    with _without(work, "its segments' borders"):
        meet = borders(work)
    metrics: list[Metric] = []
    with _without(work, "a reference or borders"):
        rule = facts_of(clip.animator).segments
        chained = rule is not None and rule.carried > 0
        metrics = metrics_of(fps, reference, torso, bool(clip.loop), meet, chained)
    if not metrics:
        with _without(work, "anything to look at"):
            metrics = metrics_of(fps)
    try:
        yield FilmQuality(metrics, outlines)
    finally:
        opened.close()


@contextmanager
def _without(work: Work, what: str) -> Iterator[None]:
    """Metrics go without what fails in here."""
    try:
        yield
    except Exception:
        log.exception("row %d (%s): metrics go without %s", work.row, work.clip.id, what)


def look_at_file(quality: FilmQuality, film: Path, work: Work) -> list[str]:
    """Count among the metrics what is wrong with the finished file; returns it in words."""
    clip = work.clip
    wanted = Wanted(work.frames, cast(Fraction, clip.fps), cast(int, clip.width), cast(int, clip.height))
    try:
        faults = container_faults(film, wanted)
    except Exception:
        log.exception("row %d (%s): the film's file could not be looked at", work.row, clip.id)
        return []
    quality.put("container", Figure(len(faults)))
    return [f"the film's file: {fault}" for fault in faults]


def borders(work: Work) -> list[int]:
    """The frames of the film at which its segments meet."""
    rule = facts_of(work.clip.animator).segments
    if rule is None:
        return []
    drawn = frames_to_show(work)
    starts = [segment.start + max(rule.halo, segment.taken_over) for segment in segments(work)[1:]]
    return [
        next(frame for frame, shown in enumerate(drawn) if shown >= start) for start in starts if start <= drawn[-1]
    ]


class Outlines:
    """Where the person is to be in each frame of a film, by the poses that it was drawn from."""

    def __init__(self, poses: PosePictures, work: Work) -> None:
        self._poses = poses
        self._shown = frames_to_show(work)
        self._fit = work.clip.fit or "stretch"
        self._size = cast(int, work.clip.width), cast(int, work.clip.height)
        self._every = max(1, round(cast(Fraction, work.clip.fps) / _LOOKS))
        self._last: Outline | None = None

    def __call__(self, frame: int) -> Outline:
        """In pixels of the small picture; between two looks it is that of the last one, without a torso."""
        if self._last is None or frame % self._every == 0:
            self._last = self._outline(self._shown[frame])
            return self._last
        self._last = replace(self._last, torso=None)
        return self._last

    def _outline(self, drawn: int) -> Outline:
        small = small_size(*self._size)
        pose = self._poses[drawn]
        if pose.dtype != np.uint8:  # U and V, in [0, 1]
            pose = (255 * np.stack([*pose, pose.max(axis=0)], axis=-1)).astype(np.uint8)
        outline = outline_of_picture(fit(pose, *small, self._fit))
        torso = getattr(self._poses, "torso", lambda _: None)(drawn)
        scale = np.divide(small, self._size)
        return outline if torso is None else replace(outline, torso=torso * scale)
