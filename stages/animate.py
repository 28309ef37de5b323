"""Animate: one clip from its poses and reference to a published film."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch

from manifests import results, storage
from manifests.errors import Damaged, NotFinite, Problem
from manifests.layout import Film, OutputLayout, sound_key
from manifests.results import Result
from manifests.review import Measure, ReviewLimits
from manifests.storage_fault import StorageFault, storage_fault
from manifests.temporary import temporary_folder
from manifests.work import Work
from stages.bundled import bundled
from stages.cache_entry import fetch_entry, made_anew, read_picture
from stages.checkpoint_files import local_checkpoint, local_lora
from stages.diffusion.animator import Animator, PosePictures, Segment
from stages.diffusion.animators import ANIMATORS, facts_of
from stages.diffusion.model_cache import ModelCache
from stages.driving import keeps_sound, shown_frames, stored_as
from stages.latents_file import read_latents, write_latents
from stages.poses.conditioning import framing_of, skeleton_pictures
from stages.poses.files.keypoint_file import read_keypoints
from stages.poses.files.sequence import PoseSequence, ShownPoses
from stages.poses.keypoints import Keypoints
from stages.poses.motion.absence import empty_stretches, left_empty
from stages.poses.motion.framing import Window
from stages.poses.motion.quality import QualityRules
from stages.poses.outdated import framed_unseen, outdated
from stages.progress import Told, counted_batches, silent
from stages.video.brightness import BRIGHT, DARK, Brightest
from stages.video.encode import EncodeRecipe
from stages.video.film import likely_posters, write_film
from stages.video.quality.film_quality import FilmQuality
from stages.video.sound import check_sound

log = logging.getLogger(__name__)

_NO_PICTURE = "try another seed or a lower guidance; if it happens with every clip, fetch the checkpoint again"


@dataclass
class Timings:
    """Seconds of each part of one clip."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Measure the block as `part`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = round(self.seconds.get(part, 0.0) + time.perf_counter() - begun, 3)


class Made(NamedTuple):
    """A film in the scratch folder, the report on its poses, what metrics say of it, and what else is to be said."""

    movie: Path
    poster: Path
    poster_frame: int
    report: dict
    quality: FilmQuality
    remarks: list[str]


@dataclass(frozen=True)
class Machine:
    """Where films are made, as their results say."""

    device: str
    gpus: float = 0.0  # held while a film is made
    host: str = field(default_factory=socket.gethostname)
    worker: str = field(default_factory=lambda: f"process {os.getpid()}")


class Animate:
    """Denoise → decode → encode → publish. What reaches it is our own data: stored poses and plain reference pixels."""

    def __init__(
        self,
        layout: OutputLayout,
        models: ModelCache,
        recipe: EncodeRecipe,
        run_id: str,
        code: str,
        keep_latents: bool = True,
        pose_rules: QualityRules | None = None,
        machine: Machine | None = None,
        told: Told = silent,
        limits: ReviewLimits | None = None,
    ) -> None:
        """`run_id`, `code` and `machine` go into the marker; `pose_rules` say which keypoints are unusable.

        `told` is told of the steps and frames that are done; `limits` say which films somebody should look at.
        """
        self._told = told
        self._limits = limits
        self._machine = machine
        self._pose_rules = pose_rules
        self._layout = layout
        self._models = models
        self._recipe = recipe
        self._run_id = run_id
        self._code = code
        self._keep_latents = keep_latents

    def __call__(self, work: Work, attempt: int = 0) -> Result:
        """Make and publish the film of `work`, or return at once if it is there: after a death, or by another run.

        `attempt` is the number of the try, where tries are counted.
        """
        film = Film(work.clip.id, work.film_key)
        if (marker := self._made_already(film, work)) is not None:
            own = marker.get("run") == self._run_id
            return results.of_marker(work, marker, "done" if own else "cached", self._layout, self._limits)
        started, timings = datetime.now(UTC), Timings(dict(work.seconds))
        with temporary_folder("animate") as folder:
            made = self._finite(work, folder, timings)
            with timings.of("publish"):
                self._publish(made.movie, made.poster, film)
            film_bytes = made.movie.stat().st_size
        result = self._result(work, attempt, started, timings, made, film_bytes)
        marker = results.marker(result, self._run_id, made.quality.curves())
        storage.publish_json(marker, self._layout.film_marker(film))
        return results.of_marker(work, marker, "done", self._layout, self._limits)

    def _finite(self, work: Work, scratch: Path, timings: Timings) -> Made:
        """The film, made once more in float32 where half precision gave no picture. Raises `Problem` if both fail."""
        half = self._models.dtype(work.clip.animator)
        try:
            return self._film(work, scratch, timings)
        except NotFinite as poor:
            reason = poor.error
        if half == "float32":
            raise Problem(reason, _NO_PICTURE)
        log.warning("row %d (%s): %s in %s; once more in float32", work.row, work.clip.id, reason, half)
        try:
            made = self._film(work, scratch, timings, "float32")
        except NotFinite as still:
            raise Problem(f"{still.error}, in {half} and in float32", _NO_PICTURE) from None
        return made._replace(remarks=[f"made in float32: in {half}, {reason}", *made.remarks])

    def _film(self, work: Work, scratch: Path, timings: Timings, dtype: str | None = None) -> Made:
        """The film, computed in the configured type or in `dtype`. Raises `NotFinite`."""
        with timings.of("load"):
            animator = self._animator(work, dtype)
        with timings.of("denoise"):
            latents, report = self._latents(animator, work, scratch, dtype)
        with timings.of("encode"):
            quality = FilmQuality(cast(Fraction, work.clip.fps))
            movie, poster, poster_frame, brightest = self._encode(animator, latents, work, report, scratch, quality)
        made = Made(movie, poster, poster_frame, report, quality, [])
        if brightest.value >= DARK:
            return made
        reference = self._reference(work, None, scratch)
        if reference is not None and int(reference.max(initial=0)) < BRIGHT:
            return made
        if reference is None and (dtype or self._models.dtype(work.clip.animator)) == "float32":
            return made._replace(remarks=["all frames are black"])  # it may be what was asked for
        raise NotFinite("all frames are black")

    def _made_already(self, film: Film, work: Work) -> dict | None:
        """The marker of a film that is there, whole, and would come out the same now."""
        (marker,) = self._layout.read_film_markers([film])
        if not results.is_marker(marker) or outdated(work, marker.get("pose") or {}):
            return None
        try:
            size = storage.stamp(self._layout.film(film)).size
        except FileNotFoundError:
            return None
        return marker if size == (marker.get("film_bytes") or size) else None

    def _publish(self, movie: Path, still: Path, film: Film) -> None:
        """Put film and poster at their places. Raises `Problem` naming where the film was kept instead."""
        try:
            storage.publish(movie, self._layout.film(film))
            storage.publish(still, self._layout.poster(film))
        except Exception as error:
            fault = storage_fault(error) or StorageFault(f"{type(error).__name__}: {error}", "run again")
            kept = self._layout.unpublished(film)
            try:
                storage.publish(movie, kept)
            except Exception:  # most likely for the same reason
                raise Problem(f"film {self._layout.film(film)}: {fault.error}", fault.remedy) from error
            remedy = f"{fault.remedy}; the finished film is kept at {kept}"
            raise Problem(f"film {self._layout.film(film)}: {fault.error}", remedy) from error

    def _animator(self, work: Work, dtype: str | None) -> Animator:
        facts = facts_of(work.clip.animator)
        scratch = Path(tempfile.gettempdir()) / "catwalk"
        folder = local_checkpoint(bundled(work.checkpoint), facts, work.checkpoint_digest, scratch)
        lora = work.lora and local_lora(work.lora, work.clip.lora_scale, scratch)
        return self._models.get(work.clip.animator, folder, work.checkpoint_digest, lora, dtype)

    def _latents(
        self, animator: Animator, work: Work, scratch: Path, dtype: str | None = None
    ) -> tuple[torch.Tensor, dict]:
        """(frames, channels, height/8, width/8) and the report on the poses: from the cache, or made and stored.

        Those in another `dtype` than the key's are neither.
        """
        uri = self._layout.latents(work.latents_key)
        if dtype is None and (cached := self._cached(uri, work, scratch)) is not None:
            return cached
        with self._poses(work, scratch) as (poses, report):
            whole = Segment(0, work.frames, told=partial(self._told, "denoising, step"))
            reference = self._reference(work, report.get("window"), scratch)
            latents = animator.latents(work.clip, reference, poses, whole)
        if not bool(torch.isfinite(latents).all()):
            raise NotFinite(f"{work.clip.animator} produced values that are not finite")
        if self._keep_latents and dtype is None:
            stored = scratch / "latents.safetensors"
            write_latents(stored, latents, report)
            storage.publish(stored, uri)
        return latents, report

    def _cached(self, uri: str, work: Work, scratch: Path) -> tuple[torch.Tensor, dict] | None:
        """Latents in the cache and their report, unless they are damaged or the poses would be drawn otherwise now."""
        if not storage.exists(uri):
            return None
        try:
            latents, report = read_latents(fetch_entry(uri, scratch), work.frames)
        except Damaged as found:
            log.warning("row %d (%s): %s; they are made anew", work.row, work.clip.id, found.error)
            return None
        if left_empty(report):
            return None
        if framed_unseen(work, report):
            framing = framing_of(self._reference_keypoints(work, scratch), work.clip)
            if framing.window is not None:
                return None
            report |= framing._asdict()
        return latents, report

    @contextmanager
    def _poses(self, work: Work, scratch: Path) -> Iterator[tuple[PosePictures | None, dict]]:
        """The poses of the film's frames, and the report on them if they were drawn."""
        if work.pose_key is None:
            yield None, {}
            return
        clip, uri = work.clip, self._layout.poses(work.pose_key)
        if stored_as(clip) == "keypoints":
            yield self._drawn(work, uri, scratch)
            return
        with made_anew(uri, "poses"), PoseSequence(fetch_entry(uri, scratch)) as sequence:
            poses = ShownPoses(sequence, shown_frames(clip, *sequence.timing(clip.fps)))
            yield poses, {"empty": empty_stretches(poses[frame] for frame in range(work.frames))}

    def _drawn(self, work: Work, uri: str, scratch: Path) -> tuple[PosePictures, dict]:
        with made_anew(uri, "poses"):
            keypoints, seconds, fps = read_keypoints(fetch_entry(uri, scratch))
        facts = ANIMATORS[work.clip.animator]
        if facts.keypoints == "drawn":  # which has seen skeletons of drawn people only
            keypoints = keypoints.without_hands_and_face()
        if fps is None:  # the file states none: it runs at the film's
            fps = work.clip.fps
            seconds = [number / fps for number in range(len(keypoints))]
        reference = None if work.reference_pose_key is None else self._reference_keypoints(work, scratch)
        shown = shown_frames(work.clip, seconds, fps)
        return skeleton_pictures(keypoints, fps, work.clip, shown, reference, self._pose_rules, facts.pose)

    def _reference_keypoints(self, work: Work, scratch: Path) -> Keypoints:
        uri = self._layout.poses(cast(str, work.reference_pose_key))
        with made_anew(uri, "poses of the reference"):
            return read_keypoints(fetch_entry(uri, scratch))[0]

    def _reference(self, work: Work, window: Sequence[int] | None, scratch: Path) -> np.ndarray | None:
        """uint8 (height, width, 3), of its own size, or the `window` of it that the film shows."""
        if work.reference_key is None:
            return None
        uri = self._layout.reference(work.reference_key)
        with made_anew(uri, "the reference's pixels"):
            picture = read_picture(fetch_entry(uri, scratch))
        return picture if window is None else Window(*window).of(picture)

    def _encode(
        self,
        animator: Animator,
        latents: torch.Tensor,
        work: Work,
        report: dict,
        scratch: Path,
        quality: FilmQuality,
    ) -> tuple[Path, Path, int, Brightest]:
        clip, sound, begin, brightest = work.clip, None, Fraction(0), Brightest()
        if keeps_sound(work):
            uri = self._layout.sound(sound_key(work.driving.content))
            with made_anew(uri, "the sound"):
                check_sound(sound := fetch_entry(uri, scratch))
            begin = Fraction(work.begins)
        movie, still = scratch / "film.mp4", scratch / "film.jpg"
        poor = [span for kind in ("held", "bridged", "empty") for span in report.get(kind, ())]
        posters = likely_posters(work.frames, poor)
        drawn = quality.of(brightest.of(animator.frames(latents, clip)))
        frames = counted_batches(drawn, work.frames, "drawing, frame", self._told)
        written = write_film(movie, still, frames, clip.fps, self._recipe, sound, begin, posters)
        if written.frames != work.frames:
            raise RuntimeError(f"{written.frames} frames were decoded instead of {work.frames}")
        return movie, still, written.poster_frame, brightest

    def _result(
        self, work: Work, attempt: int, started: datetime, timings: Timings, made: Made, film_bytes: int
    ) -> Result:
        """The result of a film just made, with every figure that its marker keeps."""
        clip, machine = work.clip, self._machine
        held = sum(timings.seconds.get(part, 0.0) for part in ("load", "denoise", "encode", "publish"))
        return results.of_clip(
            work,
            "done",
            frames=work.frames,
            fps=clip.fps,
            width=clip.width,
            height=clip.height,
            film_bytes=film_bytes,
            poster_frame=made.poster_frame,
            crf=self._recipe.crf,
            device=machine and machine.device,
            host=machine and machine.host,
            worker=machine and machine.worker,
            gpu_seconds=machine and round(held * machine.gpus, 3),
            seconds=timings.seconds,
            code=self._code,
            attempts=attempt,
            pose=made.report,
            quality={name: Measure(value=one.value, frame=one.frame) for name, one in made.quality.figures.items()},
            remarks=made.remarks,
            started=started,
            finished=datetime.now(UTC),
        )
