"""Animate: one clip from its poses and reference to a published film."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from manifests import results, storage
from manifests.consent.register import Register
from manifests.consent.settings import ConsentSettings
from manifests.consent.withdrawal import Withdrawals
from manifests.errors import NotFinite, Problem
from manifests.layout import Film, OutputLayout, sound_key
from manifests.out_of_memory import first_line, out_of_memory
from manifests.results import Result
from manifests.review import Measure, ReviewLimits
from manifests.safety import SafetySettings
from manifests.storage_fault import StorageFault, storage_fault
from manifests.temporary import temporary_folder
from manifests.work import Work
from stages.bundled import bundled
from stages.cache_entry import fetch_entry, made_anew
from stages.checkpoint_files import held_checkpoint, held_lora, lora_at
from stages.consenting import consents_of
from stages.denoise import Denoise
from stages.diffusion.animator import Animator, Parts, Segment
from stages.diffusion.animators import facts_of
from stages.diffusion.fast import recipe_of
from stages.diffusion.model_cache import ModelCache
from stages.driving import frames_to_show, keeps_sound
from stages.latents_cache import latents_uri, segments
from stages.measuring import look_at_file, measured
from stages.node_cache import NodeCache
from stages.poses.motion.quality import QualityRules
from stages.poses.outdated import outdated
from stages.progress import Told, counted_batches, silent
from stages.provenance.credentials.film_signing import FilmSigning, Tampered, whole
from stages.provenance.watermark.method import identity_of, method_of
from stages.screening import Screening
from stages.video.beside import used_beside
from stages.video.brightness import BRIGHT, DARK, Brightest
from stages.video.encode import EncodeRecipe
from stages.video.film import Written, likely_posters, shown_of, write_film
from stages.video.limits import Limits
from stages.video.quality.curve import Figure
from stages.video.quality.film_quality import FilmQuality
from stages.video.sound import check_sound

log = logging.getLogger(__name__)

Done = TypeVar("Done")

_NO_ROOM = "use a smaller size or window, set animate_pool.low_vram, or take a device with more memory"
_NO_PICTURE = "try another seed or a lower guidance; if it happens with every clip, fetch the checkpoint again"


@dataclass
class Timings:
    """Seconds of each part of one clip."""

    seconds: dict[str, float] = field(default_factory=dict)
    used_before: float = field(default_factory=lambda: sum(os.times()[:4]))

    @property
    def processor(self) -> float:
        """Seconds of all threads of this process since then, and of those that it started and that have ended."""
        return round(sum(os.times()[:4]) - self.used_before, 3)

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


class Stills(NamedTuple):
    """Frames of a film that is not made, uint8 (height, width, 3), and what they were drawn from."""

    drawn: list[np.ndarray]
    poses: list[np.ndarray]  # as `PosePictures` gives them; none without a driving file
    reference: np.ndarray | None  # the part of it that the film shows, of its own size
    report: dict  # on the poses, of the whole film
    seconds: float  # that drawing took, once models and poses were there


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
        going_on: Callable[[], None] = lambda: None,
        weights: NodeCache | None = None,
        register: Register | None = None,
        signing: FilmSigning | None = None,
        safety: SafetySettings | None = None,
        film_limits: Limits | None = None,
    ) -> None:
        """`run_id`, `code` and `machine` go into the marker; `pose_rules` say which keypoints are unusable.

        `told` is told of the steps and frames that are done; `limits` say which films somebody should look at;
        `going_on` is asked between the segments of a long clip, and raises where the run is to end; `weights` are kept
        there that come from elsewhere; `register` holds the consents of people, where a run asks for them;
        `signing` signs what is published, left out with this machine's development certificate; `safety` says which
        films are set aside instead, read within `film_limits`.
        """
        self._register = register or Register(ConsentSettings())
        self._screening = Screening(safety or SafetySettings(), layout, self._register.settings, film_limits)
        self._withdrawals = Withdrawals(layout, self._register.settings)
        self._signing = signing or FilmSigning()
        self._weights = weights or NodeCache()
        self._told = told
        self._limits = limits
        self._machine = machine
        self._denoise = Denoise(layout, pose_rules, told, going_on)
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
        work = self._consented(work)
        film = Film(work.clip.id, work.film_key)
        if (marker := self._made_already(film, work)) is not None:
            try:
                return self._kept(work, film, marker)
            except Tampered as tampered:
                log.warning("row %d (%s): %s", work.row, work.clip.id, tampered)
        started, timings = datetime.now(UTC), Timings(dict(work.seconds))
        with temporary_folder("animate") as folder:
            made = self._with_room(work, partial(self._finite, work, folder, timings))
            reason = self._screened(made, work, folder)
            work = self._consented(work)  # it took its time, in which somebody may have changed their mind
            layout = self._layout.aside() if reason else self._layout
            with timings.of("publish"):
                carried, remarks = self._signing.carried(work, self._layout), list(made.remarks)
                movie = self._signing.signed(work, made.movie, folder, self._code, carried, remarks=remarks)
                poster = self._signing.signed(work, made.poster, folder, self._code)
                self._publish(movie, poster, film, layout)
            film_bytes = movie.stat().st_size
        result = self._result(work, attempt, started, timings, made._replace(remarks=remarks), film_bytes)
        marker = results.marker(result, self._run_id, made.quality.curves())
        marker = self._screening.aside(marker, reason) if reason else marker
        storage.publish_json(marker, layout.film_marker(film))
        self._clear(work)
        if reason:
            return results.of_set_aside(work, marker, self._layout)
        return results.of_marker(work, marker, "done", self._layout, self._limits)

    def _kept(self, work: Work, film: Film, marker: dict[str, Any]) -> Result:
        """The result of a film that is there; signed again and screened where that is asked for. Raises `Tampered`."""
        if self._signing.outdated(work, marker):
            marker = self._signing.renewed(work, film, results.marker_under(work, marker), self._layout)
        elif results.under_other_consents(work, marker):
            storage.publish_json(results.marker_under(work, marker), self._layout.film_marker(film))
        self._clear(work)  # a worker may have died before it did
        if self._screening.pending(marker):
            with temporary_folder("screening") as folder:
                marker = self._screening.finished(film, marker, partial(self._denoise.reference, work, None, folder))
            if "set_aside" in marker:
                return results.of_set_aside(work, marker, self._layout)
        own = marker.get("run") == self._run_id
        return results.of_marker(work, marker, "done" if own else "cached", self._layout, self._limits)

    def _consented(self, work: Work) -> Work:
        """The clip with the consents that it has at this moment. Raises `Rejected` where it may not be made."""
        consents = consents_of(work.clip, self._register, now=True)
        self._withdrawals.require_none(work.film_key, consents)
        return work.model_copy(update={"consents": consents})

    def _screened(self, made: Made, work: Work, scratch: Path) -> str | None:
        """Why a film just made is to be set aside; its scores are among the figures."""
        found = self._screening.measures(made.movie, partial(self._denoise.reference, work, None, scratch))
        for name, measure in found.items():
            made.quality.put(name, Figure(measure.value, measure.frame))
        return self._screening.settings.reason(found)

    def _clear(self, work: Work) -> None:
        """Remove the segments of a finished film, unless latents are kept."""
        if self._keep_latents or len(every := segments(work)) == 1:
            return
        for segment in every:
            try:
                storage.delete(latents_uri(self._layout, work, segment))
            except Exception as error:  # the film is there
                log.warning("row %d (%s): a segment could not be removed: %s", work.row, work.clip.id, error)

    def segment(self, work: Work, number: int) -> Work:
        """Denoise and store one segment of a long clip, unless it is there; the clip with the seconds that it took.

        Raises `NotFinite` where half precision gave none: then the whole film is to be made in float32.
        """
        work, timings = self._consented(work), Timings(dict(work.seconds))
        with temporary_folder("animate") as folder:
            self._with_room(work, partial(self._one_segment, work, number, folder, timings))
        return work.model_copy(update={"seconds": timings.seconds})

    def _one_segment(self, work: Work, number: int, folder: Path, timings: Timings) -> None:
        with timings.of("load"):
            animator = self._animator(work, None)
        with timings.of("denoise"):
            self._denoise.one(animator, work, number, folder)

    def stills(self, work: Work, numbers: Sequence[int]) -> Stills:
        """Some of a film's frames, each drawn by itself at the film's size: how it will look, but for its motion.

        In the film's mode; in `standard` where that is `parity`, whose rules are a whole film's. Where the animator has
        a rate of its own, the frames are counted at that.
        """
        mode = "standard" if work.clip.mode == "parity" else work.clip.mode
        clip, facts = work.clip.model_copy(update={"mode": mode}), facts_of(work.clip.animator)
        with temporary_folder("stills") as folder:
            animator = self._animator(work, None)
            with self._denoise.inputs(work, folder) as given:
                drawn, begun = [], time.perf_counter()
                for done, number in enumerate(numbers):
                    alone = Segment(number, number + 1, whole=False)
                    denoised = animator.segment(clip, given.reference, given.driving, alone)
                    parts = [(replace(alone, start=0, stop=1, kept=denoised.kept), denoised.latents)]
                    drawn.append(next(iter(animator.frames(parts, clip)))[0])
                    self._told("drawing, frame", done + 1, len(numbers))
                took, poses = time.perf_counter() - begun, given.driving.poses
                shown = [] if poses is None or facts.pose == "none" else [poses[number] for number in numbers]
                return Stills(drawn, shown, given.reference, given.report, took)

    def _with_room(self, work: Work, call: Callable[[], Done]) -> Done:
        """What `call` does, twice where the device's memory did not suffice and the cache of models could make room.

        Raises `Problem` where there is too little.
        """
        reason = ""
        for last in (False, True):
            try:
                return call()
            except Exception as error:
                if not out_of_memory(error):
                    raise
                reason = error.error if isinstance(error, Problem) else first_line(error)
            # behind the handler: the error's traceback held what had been computed
            if last or not self._models.keep_one():
                break
            log.warning("row %d (%s): %s; once more, without what is kept for others", work.row, work.clip.id, reason)
        raise Problem(reason, _NO_ROOM)

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
            # those of another type than the key's are neither taken from the cache nor stored; those of several
            # segments are stored until the film is there, so that a clip that was killed goes on
            keep = self._keep_latents or len(segments(work)) > 1
            parts, report = self._denoise(animator, work, scratch, dtype is None, keep and dtype is None)
        with timings.of("encode"), measured(self._denoise, work, report, scratch) as quality:
            movie, poster, poster_frame, brightest = self._encode(animator, parts, work, report, scratch, quality)
        made = Made(movie, poster, poster_frame, report, quality, look_at_file(quality, movie, work))
        if brightest.value >= DARK:
            return made
        reference = self._denoise.reference(work, None, scratch)
        if reference is not None and int(reference.max(initial=0)) < BRIGHT:
            return made
        if reference is None and (dtype or self._models.dtype(work.clip.animator)) == "float32":
            return made._replace(remarks=[*made.remarks, "all frames are black"])  # it may be what was asked for
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
        return marker if whole(marker, size) else None

    def _publish(self, movie: Path, still: Path, film: Film, layout: OutputLayout) -> None:
        """Put film and poster at their places in `layout`. Raises `Problem` naming where the film was kept instead."""
        try:
            storage.publish(movie, layout.film(film))
            storage.publish(still, layout.poster(film))
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
        name, digest = work.clip.animator, work.checkpoint_digest
        lora = lora_at(work.lora, work.clip.lora_scale) if work.lora else None
        folder = Path(bundled(work.checkpoint))
        with ExitStack() as held:  # while it is loaded, its files are not taken away; a loaded one needs them no more
            if not self._models.holds(name, digest, lora, dtype):
                checkpoint = held_checkpoint(bundled(work.checkpoint), facts_of(name), digest, self._weights)
                folder = held.enter_context(checkpoint)
                if work.lora:
                    lora = held.enter_context(held_lora(work.lora, work.clip.lora_scale, self._weights))
            return self._models.get(name, folder, digest, lora, dtype)

    def _encode(
        self,
        animator: Animator,
        parts: Parts,
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

        def written_from(decoded: Iterator[np.ndarray]) -> Written:
            shown = quality.of(brightest.of(shown_of(decoded, frames_to_show(work))))
            marked = self._marked(shown, work)  # what was measured is what the animator drew
            frames = counted_batches(marked, work.frames, "drawing, frame", self._told)
            return write_film(movie, still, frames, clip.fps, self._recipe, sound, begin, posters)

        written = used_beside(animator.frames(parts, clip), written_from)
        if written.frames != work.frames:
            raise RuntimeError(f"{written.frames} frames were decoded instead of {work.frames}")
        return movie, still, written.poster_frame, brightest

    def _marked(self, batches: Iterator[np.ndarray], work: Work) -> Iterator[np.ndarray]:
        """Frames with the watermark in them, as they come."""
        method = method_of(self._signing.marking)
        return batches if method is None else (method.mark(frames, identity_of(work.film_key)) for frames in batches)

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
            **self._signing.told(work),
            poster_frame=made.poster_frame,
            recipe=recipe_of(clip, work.checkpoint) | _corrected(work),
            crf=self._recipe.crf,
            device=machine and machine.device,
            host=machine and machine.host,
            worker=machine and machine.worker,
            gpu_seconds=machine and round(held * machine.gpus, 3),
            cpu_seconds=timings.processor,
            seconds=timings.seconds,
            code=self._code,
            attempts=attempt,
            pose=made.report,
            quality={name: Measure(value=one.value, frame=one.frame) for name, one in made.quality.figures.items()},
            remarks=made.remarks,
            started=started,
            finished=datetime.now(UTC),
        )


def _corrected(work: Work) -> dict[str, float]:
    """What was done to a film's colours: nothing where it is of one segment, which is led back to no other."""
    strength = work.clip.options.get("colour_correction")
    return {"colour_correction": strength} if strength and len(segments(work)) > 1 else {}
