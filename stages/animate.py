"""Animate: one clip from its poses and reference to a published film."""

from __future__ import annotations

import json
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
from typing import cast

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from manifests import results, storage
from manifests.errors import Problem
from manifests.layout import Film, OutputLayout, sound_key
from manifests.results import Result
from manifests.storage_fault import StorageFault, storage_fault
from manifests.work import Work
from stages.bundled import bundled
from stages.checkpoint_files import local_checkpoint, local_lora
from stages.diffusion.animator import Animator, PosePictures, Segment
from stages.diffusion.animators import ANIMATORS, facts_of
from stages.diffusion.model_cache import ModelCache
from stages.driving import keeps_sound, recipe_of, shown_frames
from stages.poses.conditioning import framing_of, skeleton_pictures
from stages.poses.files.keypoint_file import read_keypoints
from stages.poses.files.sequence import PoseSequence, ShownPoses
from stages.poses.keypoints import Keypoints
from stages.poses.motion.absence import empty_stretches, left_empty
from stages.poses.motion.framing import Window
from stages.poses.motion.quality import QualityRules
from stages.poses.outdated import framed_unseen, outdated
from stages.progress import Told, counted_batches, silent
from stages.video.encode import EncodeRecipe
from stages.video.film import likely_posters, write_film


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
            self.seconds[part] = round(time.perf_counter() - begun, 3)


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
    ) -> None:
        """`run_id`, `code` and `machine` go into the marker; `pose_rules` say which keypoints are unusable.

        `told` is told of the steps and frames that are done.
        """
        self._told = told
        self._machine = machine
        self._pose_rules = pose_rules
        self._layout = layout
        self._models = models
        self._recipe = recipe
        self._run_id = run_id
        self._code = code
        self._keep_latents = keep_latents

    def __call__(self, work: Work) -> Result:
        """Make and publish the film of `work`, or return at once if this run already has (a retry after a death)."""
        film = Film(work.clip.id, work.film_key)
        marker = storage.read_json(self._layout.film_marker(film))
        if marker and marker.get("run") == self._run_id and not outdated(work, marker.get("pose") or {}):
            return results.of_marker(work, marker, "done", self._layout)
        started, timings = datetime.now(UTC), Timings(dict(work.seconds))
        with tempfile.TemporaryDirectory(prefix="catwalk-animate-") as folder:
            scratch = Path(folder)
            with timings.of("load"):
                animator = self._animator(work)
            with timings.of("denoise"):
                latents, report = self._latents(animator, work, scratch)
            with timings.of("encode"):
                movie, poster = self._encode(animator, latents, work, report, scratch)
            with timings.of("publish"):
                self._publish(movie, poster, film)
            film_bytes = movie.stat().st_size
        marker = results.marker(self._made(work, started, timings, report, film_bytes), self._run_id)
        storage.publish_json(marker, self._layout.film_marker(film))
        return results.of_marker(work, marker, "done", self._layout)

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

    def _animator(self, work: Work) -> Animator:
        facts = facts_of(work.clip.animator)
        scratch = Path(tempfile.gettempdir()) / "catwalk"
        folder = local_checkpoint(bundled(work.checkpoint), facts, work.checkpoint_digest, scratch)
        lora = work.lora and local_lora(work.lora, work.clip.lora_scale, scratch)
        return self._models.get(work.clip.animator, folder, work.checkpoint_digest, lora)

    def _latents(self, animator: Animator, work: Work, scratch: Path) -> tuple[torch.Tensor, dict]:
        """(frames, channels, height/8, width/8) and the report on the poses: from the cache, or made and stored."""
        uri = self._layout.latents(work.latents_key)
        if (cached := self._cached(uri, work, scratch)) is not None:
            return cached
        with self._poses(work, scratch) as (poses, report):
            whole = Segment(0, work.frames, told=partial(self._told, "denoising, step"))
            reference = self._reference(work, report.get("window"), scratch)
            latents = animator.latents(work.clip, reference, poses, whole)
        if not bool(torch.isfinite(latents).all()):
            raise Problem(
                f"{work.clip.animator} produced values that are not finite",
                "set dtype to float32 or bfloat16 in the configuration and run again",
            )
        if self._keep_latents:
            stored = scratch / "latents.safetensors"
            save_file({"latents": latents.contiguous()}, stored, {"pose": json.dumps(report)})
            storage.publish(stored, uri)
        return latents, report

    def _cached(self, uri: str, work: Work, scratch: Path) -> tuple[torch.Tensor, dict] | None:
        """Latents in the cache and their report, unless the poses would be drawn otherwise now."""
        if not storage.exists(uri):
            return None
        with safe_open(storage.fetch(uri, scratch, None), "pt") as stored:
            report = json.loads(stored.metadata()["pose"])
            if left_empty(report):
                return None
            if framed_unseen(work, report):
                framing = framing_of(self._reference_keypoints(work, scratch), work.clip)
                if framing.window is not None:
                    return None
                report |= framing._asdict()
            return stored.get_tensor("latents"), report

    @contextmanager
    def _poses(self, work: Work, scratch: Path) -> Iterator[tuple[PosePictures | None, dict]]:
        """The poses of the film's frames, and the report on them if they were drawn."""
        if work.pose_key is None:
            yield None, {}
            return
        clip = work.clip
        stored = storage.fetch(self._layout.poses(work.pose_key), scratch, None)
        if recipe_of(clip).stored == "keypoints":
            yield self._drawn(work, stored, scratch)
            return
        with PoseSequence(stored) as sequence:
            poses = ShownPoses(sequence, shown_frames(clip, *sequence.timing(clip.fps)))
            yield poses, {"empty": empty_stretches(poses[frame] for frame in range(work.frames))}

    def _drawn(self, work: Work, stored: Path, scratch: Path) -> tuple[PosePictures, dict]:
        keypoints, seconds, fps = read_keypoints(stored)
        if fps is None:  # the file states none: it runs at the film's
            fps = work.clip.fps
            seconds = [number / fps for number in range(len(keypoints))]
        reference = None if work.reference_pose_key is None else self._reference_keypoints(work, scratch)
        shown = shown_frames(work.clip, seconds, fps)
        style = ANIMATORS[work.clip.animator].pose
        return skeleton_pictures(keypoints, fps, work.clip, shown, reference, self._pose_rules, style)

    def _reference_keypoints(self, work: Work, scratch: Path) -> Keypoints:
        found = storage.fetch(self._layout.poses(cast(str, work.reference_pose_key)), scratch, None)
        return read_keypoints(found)[0]

    def _reference(self, work: Work, window: Sequence[int] | None, scratch: Path) -> np.ndarray | None:
        """uint8 (height, width, 3), of its own size, or the `window` of it that the film shows."""
        if work.reference_key is None:
            return None
        stored = storage.fetch(self._layout.reference(work.reference_key), scratch, None)
        picture = np.array(Image.open(stored))
        return picture if window is None else Window(*window).of(picture)

    def _encode(
        self, animator: Animator, latents: torch.Tensor, work: Work, report: dict, scratch: Path
    ) -> tuple[Path, Path]:
        clip, sound, begin = work.clip, None, Fraction(0)
        if keeps_sound(work):
            sound = storage.fetch(self._layout.sound(sound_key(work.driving.content)), scratch, None)
            begin = Fraction(work.begins)
        movie, still = scratch / "film.mp4", scratch / "film.jpg"
        poor = [span for kind in ("held", "bridged", "empty") for span in report.get(kind, ())]
        posters = likely_posters(work.frames, poor)
        frames = counted_batches(animator.frames(latents, clip), work.frames, "drawing, frame", self._told)
        written = write_film(movie, still, frames, clip.fps, self._recipe, sound, begin, posters)
        if written != work.frames:
            raise RuntimeError(f"{written} frames were decoded instead of {work.frames}")
        return movie, still

    def _made(self, work: Work, started: datetime, timings: Timings, report: dict, film_bytes: int) -> Result:
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
            crf=self._recipe.crf,
            device=machine and machine.device,
            host=machine and machine.host,
            worker=machine and machine.worker,
            gpu_seconds=machine and round(held * machine.gpus, 3),
            seconds=timings.seconds,
            code=self._code,
            pose=report,
            started=started,
            finished=datetime.now(UTC),
        )
