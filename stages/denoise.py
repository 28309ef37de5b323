"""Denoise: a clip's poses and reference to latents, one segment after the other, each stored as soon as it is there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast, overload

import numpy as np
import torch

from manifests import storage
from manifests.errors import Again, Damaged, NotFinite
from manifests.layout import OutputLayout
from manifests.log_context import about
from manifests.work import Work
from stages.cache_entry import fetch_entry, made_anew, read_picture
from stages.diffusion.animator import Animator, Driving, PosePictures, Segment
from stages.diffusion.animators import ANIMATORS
from stages.driving import as_drawn, in_the_film, shown_frames, stored_as
from stages.latents_cache import latents_uri, segments
from stages.latents_file import finite, read_latents, write_latents
from stages.poses.conditioning import draws_as_published, followed, framing_of, largest, skeleton_pictures
from stages.poses.files.keypoint_file import read_keypoints
from stages.poses.files.sequence import PoseSequence, ShownPoses
from stages.poses.keypoints import Keypoints
from stages.poses.motion.absence import empty_stretches, left_empty, spans
from stages.poses.motion.faces import FacePictures
from stages.poses.motion.framing import Window
from stages.poses.motion.person_masks import GivenMasks, PersonMasks
from stages.poses.motion.quality import QualityRules
from stages.poses.motion.subject import follow
from stages.poses.outdated import framed_otherwise
from stages.progress import Told

log = logging.getLogger(__name__)


class StoredParts(Sequence[tuple[Segment, torch.Tensor]]):
    """A clip's denoised segments as files of the scratch folder; one is read whenever it is asked for."""

    def __init__(self) -> None:
        self._files: list[tuple[Segment, Path]] = []

    def add(self, segment: Segment, file: Path) -> None:
        """The next segment."""
        self._files.append((segment, file))

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, place: int) -> tuple[Segment, torch.Tensor]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[Segment, torch.Tensor]]: ...
    def __getitem__(self, place: int | slice) -> tuple[Segment, torch.Tensor] | list[tuple[Segment, torch.Tensor]]:
        if isinstance(place, slice):
            return [self[at] for at in range(len(self))[place]]
        segment, file = self._files[place]
        try:
            denoised, _ = read_latents(file, segment)
        except Damaged as gone:  # another film of these latents was finished meanwhile, and removed them
            raise Again(gone.error, "run again: it is made anew") from None
        return replace(segment, kept=denoised.kept), denoised.latents


class Inputs(NamedTuple):
    """What a clip's segments are made of."""

    reference: np.ndarray | None
    driving: Driving
    report: dict  # on the poses, of the whole film


class Found(NamedTuple):
    """A denoised segment: its local file, what it hands on, and the report on the poses."""

    file: Path
    carry: torch.Tensor | None
    report: dict


class Denoise:
    """What is in the cache is not made again: a clip that was killed goes on at its next segment, exactly."""

    def __init__(
        self, layout: OutputLayout, pose_rules: QualityRules | None, told: Told, going_on: Callable[[], None]
    ) -> None:
        """`pose_rules` say which keypoints are unusable; `told` is told of steps.

        `going_on` is asked before each segment but the first that is made, and raises where the run is to end.
        """
        self._layout = layout
        self._pose_rules = pose_rules
        self._told = told
        self._going_on = going_on

    def __call__(
        self, animator: Animator, work: Work, scratch: Path, cached: bool = True, keep: bool = True
    ) -> tuple[StoredParts, dict]:
        """All segments, and the report on the poses. Raises `NotFinite`.

        `cached`: those in the cache are taken; `keep`: those that are made are stored there.
        """
        parts, carry, report = StoredParts(), None, {}
        made = 0
        every = segments(work)
        with ExitStack() as opened:
            inputs = None
            for segment in every:
                found = self._cached(work, segment, scratch) if cached else None
                if found is None:
                    if made:
                        self._going_on()
                    made += 1
                    inputs = inputs or opened.enter_context(self.inputs(work, scratch))
                    with about(segment=segment.number):
                        found = self._made(animator, work, replace(segment, carry=carry), inputs, len(every), scratch)
                    if keep:
                        storage.publish(found.file, latents_uri(self._layout, work, segment))
                carry, report = found.carry, found.report
                parts.add(segment, found.file)
        return parts, report

    def one(self, animator: Animator, work: Work, number: int, scratch: Path) -> None:
        """Make and store one segment of a clip whose segments are independent, unless it is there.

        Raises `NotFinite`.
        """
        segment = segments(work)[number]
        if self._cached(work, segment, scratch) is None:
            with self.inputs(work, scratch) as inputs:
                made = self._made(animator, work, segment, inputs, 1, scratch)
            storage.publish(made.file, latents_uri(self._layout, work, segment))

    def reference(self, work: Work, window: Sequence[int] | None, scratch: Path) -> np.ndarray | None:
        """uint8 (height, width, 3), of its own size, or the `window` of it that the film shows."""
        if work.reference_key is None:
            return None
        uri = self._layout.reference(work.reference_key)
        with made_anew(uri, "the reference's pixels"):
            picture = read_picture(fetch_entry(uri, scratch))
        return picture if window is None else Window(*window).of(picture)

    def reference_keypoints(self, work: Work, scratch: Path) -> Keypoints | None:
        """Those of the reference, of its own size; None where the clip needs none."""
        return None if work.reference_pose_key is None else self._reference_keypoints(work, scratch)

    @contextmanager
    def poses(self, work: Work, scratch: Path) -> Iterator[PosePictures | None]:
        """The poses that are drawn, at the animator's rate; None for a clip without any."""
        with ExitStack() as opened:
            yield self._driving(work, scratch, opened)[0].poses

    def _made(
        self, animator: Animator, work: Work, segment: Segment, inputs: Inputs, count: int, scratch: Path
    ) -> Found:
        """The segment, denoised. For `told` it is one of `count`."""
        before = segment.number if count > 1 else 0

        def told(done: float, steps: int) -> None:
            self._told("denoising, step", before * steps + done, count * steps)

        denoised = animator.segment(work.clip, inputs.reference, inputs.driving, replace(segment, told=told))
        if not finite(denoised):
            raise NotFinite(f"{work.clip.animator} produced values that are not finite")
        file = scratch / f"latents-{segment.number:05}.safetensors"
        write_latents(file, denoised, inputs.report, segment)
        return Found(file, denoised.carry, inputs.report)

    def _cached(self, work: Work, segment: Segment, scratch: Path) -> Found | None:
        """A segment in the cache, unless it is damaged or the poses would be drawn otherwise now."""
        uri = latents_uri(self._layout, work, segment)
        if not storage.exists(uri):
            return None
        try:
            file = fetch_entry(uri, scratch)
            denoised, report = read_latents(file, segment)
        except Damaged as found:
            log.warning("row %d (%s): %s; they are made anew", work.row, work.clip.id, found.error)
            return None
        if left_empty(report):
            return None
        if framed_otherwise(work, report):
            framing = framing_of(self._reference_keypoints(work, scratch), work.clip)
            if tuple(framing.window or ()) != tuple(report.get("window") or ()):
                return None
            report |= framing._asdict()
        return Found(file, denoised.carry, report)

    @contextmanager
    def inputs(self, work: Work, scratch: Path) -> Iterator[Inputs]:
        """What the segments of a clip are made of; files are open while the block lasts."""
        with ExitStack() as opened:
            driving, report = self._driving(work, scratch, opened)
            report |= in_the_film(report, work)
            yield Inputs(self.reference(work, report.get("window"), scratch), driving, report)

    def _driving(self, film: Work, scratch: Path, opened: ExitStack) -> tuple[Driving, dict]:
        """What the clip follows, at the animator's rate; and the report on the poses if they were drawn.

        `opened` closes the files of it.
        """
        if film.pose_key is None:
            return Driving(), {}
        work, rate = as_drawn(film), cast(Fraction, film.clip.fps)
        frames: ShownPoses | None = None
        masks: ShownPoses | None = None
        if work.frames_key is not None:
            frames = self._pictures(work, rate, self._layout.poses(work.frames_key), scratch, opened)
        if frames is not None and work.masks_key is not None:
            # one for each of the driving video's frames, whatever rate a file of masks has
            stored = self._sequence(self._place_of_masks(work)(work.masks_key), scratch, opened)
            masks = ShownPoses(stored, frames.shown)
        if stored_as(work.clip) == "keypoints":
            return self._drawn(work, rate, frames, masks, scratch)
        poses = self._pictures(work, rate, self._layout.poses(cast(str, work.pose_key)), scratch, opened)
        _require_all(poses, work)
        report = {"empty": empty_stretches(poses[frame] for frame in range(work.frames))}
        if "faces" in ANIMATORS[work.clip.animator].asks:  # which pictures of poses hold none of
            report["faceless"] = [[0, work.frames - 1]]
        return Driving(poses, frames), report

    def _place_of_masks(self, work: Work) -> Callable[[str], str]:
        """Where masks lie by their key: a file's as its pictures, the estimator's by themselves."""
        return self._layout.masks if work.mask is None else self._layout.poses

    def _pictures(self, work: Work, rate: Fraction, uri: str, scratch: Path, opened: ExitStack) -> ShownPoses:
        """Stored pictures of the frames that are drawn, each read when it is asked for.

        `rate` is the film's, at which they run where they state none.
        """
        sequence = self._sequence(uri, scratch, opened)
        return ShownPoses(sequence, shown_frames(work.clip, *sequence.timing(rate)))

    def _sequence(self, uri: str, scratch: Path, opened: ExitStack) -> PoseSequence:
        opened.enter_context(made_anew(uri, "poses"))
        return opened.enter_context(PoseSequence(fetch_entry(uri, scratch)))

    def _drawn(
        self, work: Work, rate: Fraction, frames: PosePictures | None, masks: PosePictures | None, scratch: Path
    ) -> tuple[Driving, dict]:
        uri, facts = self._layout.poses(cast(str, work.pose_key)), ANIMATORS[work.clip.animator]
        with made_anew(uri, "poses"):
            keypoints, seconds, fps = read_keypoints(fetch_entry(uri, scratch))
        if facts.keypoints == "drawn":  # which has seen skeletons of drawn people only
            keypoints = keypoints.without_hands_and_face()
        if fps is None:  # the file states none: it runs at the film's
            fps = rate
            seconds = [number / fps for number in range(len(keypoints))]
        reference = self.reference_keypoints(work, scratch)
        shown = shown_frames(work.clip, seconds, fps)
        poses, report = skeleton_pictures(keypoints, fps, work.clip, shown, reference, self._pose_rules, facts.pose)
        _require_all(poses, work)
        if facts.asks <= {"frames"}:
            return Driving(poses, frames), report
        faces, within = None, range(shown[0], shown[-1] + 1)
        found, _ = followed(keypoints, fps, work.clip.subject, shown=within)
        person = [found.people(frame) for frame in shown]
        if "faces" in facts.asks:
            # as they were found: repair puts points where no face is to be seen
            if draws_as_published(work.clip, facts.pose):  # who is drawn, whoever would be followed
                seen = [largest(keypoints.people(frame)) for frame in shown]
            else:
                subject = follow(keypoints, float(fps), work.clip.subject, shown=within).subject
                seen = [subject.people(frame) for frame in shown]
            faces = None if frames is None else FacePictures(frames, seen)
            unseen = np.ones(len(shown), bool) if faces is None else faces.unseen
            report["faceless"] = spans(unseen, range(len(shown)))
        if masks is not None:
            masks = PersonMasks(masks, person) if work.mask is None else GivenMasks(masks, len(shown))
        return Driving(poses, frames, person, faces, masks), report

    def _reference_keypoints(self, work: Work, scratch: Path) -> Keypoints:
        uri = self._layout.poses(cast(str, work.reference_pose_key))
        with made_anew(uri, "poses of the reference"):
            return read_keypoints(fetch_entry(uri, scratch))[0]


def _require_all(poses: PosePictures, work: Work) -> None:
    """That there is a pose for every frame that is drawn: a film of others would lag behind what it follows."""
    if len(poses) != work.frames:
        raise RuntimeError(f"{len(poses)} poses for {work.frames} frames that are drawn")
