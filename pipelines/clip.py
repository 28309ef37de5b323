"""One clip in this process, without Ray: the same stages, one after the other."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from manifests import storage
from manifests.clip import Clip, parse_clip
from manifests.errors import Again, Problem, Rejected, WrongUsage
from manifests.field_error import FieldError, choose, rejection
from manifests.layout import Film, OutputLayout
from manifests.result_warnings import plan_warnings
from manifests.results import Result
from manifests.storage_fault import StorageFault, storage_fault
from manifests.temporary import temporary_folder
from manifests.work import Work
from pipelines import stage_of
from pipelines.animator_choice import with_animator, with_what_works
from pipelines.configuration import RunConfig
from pipelines.disk_space import FILM, LATENTS, require_space
from pipelines.keying import Keying
from pipelines.output_files import require_writable
from pipelines.planned_clip import planned_clip
from pipelines.progress import Say
from pipelines.settings import RunSettings, require_animators, require_device, require_packages, settled
from stages.diffusion.animator import compute_dtype
from stages.diffusion.animators import ANIMATORS, UNUSABLE
from stages.latents_cache import segments
from stages.poses.recipes import remedy_for
from stages.progress import Told, silent
from stages.provenance.credentials.film_signing import NOBODY

if TYPE_CHECKING:
    from stages.animate import Animate

log = logging.getLogger(__name__)


def make_clip(
    config: RunConfig,
    fields: dict[str, Any],
    film: Path,
    cache: str | None,
    say: Say,
    poster: Path | None = None,
    overwrite: bool = False,
    told: Told = silent,
) -> Result:
    """Make the film of one row (`fields` as in a manifest; paths relative to the current folder) at `film`.

    Without an animator, one is chosen by what is there. With `cache`, poses and latents stay there and are found again;
    without, those of a clip of several segments stay beside the film until it is finished, so that the same call goes
    on where an earlier one was ended. `poster` receives its sharpest frame; `told` is told of steps and frames that are
    done. Raises `WrongUsage` for a field that no row has or that holds what it cannot, and where a file to write is one
    that is read, or is there already and not to be overwritten; `Problem` when the film cannot be made.
    """
    _require_outputs(film, poster, fields, overwrite)
    require_fields(fields)
    require_animators(config)
    fields = with_animator(config, fields, say)
    require_values(fields)
    require_device(config.animate_pool.device)
    with temporary_folder("clip") as scratch, ExitStack() as until_delivered:
        chain = StageChain(config.model_copy(update={"cache": cache}), str(scratch), told)
        try:
            work = chain.work(fields)
        except Problem as problem:
            raise with_what_works(problem, config, fields) from None
        say(_in_words(work, chain.settings))
        if work.pose_estimator == "drawn" and not config.estimators.has("people"):
            say(f"note: the driving person is taken for a drawn one; for real ones {remedy_for('people')}")
        for line in chain.settings.undealt([work.clip.animator]):
            say(line)
        for warning in plan_warnings(work):
            say(f"warning: {warning}")
        if cache is None and len(segments(work)) > 1:
            kept = until_delivered.enter_context(kept_until_finished(film, say))
            chain = StageChain(config.model_copy(update={"cache": str(kept)}), str(scratch), told)
        require_space(str(film.absolute().parent), [planned_clip(work)], FILM)
        require_space(chain.settings.layout.cache, [planned_clip(work)], LATENTS)
        try:
            result = chain.film(work)
        except Again as changed:
            say(f"{changed.error}; once more")
            work = chain.work(fields)
            result = chain.film(work)
        if not result.good:
            raise _set_aside(result, chain.settings.layout, film)
        _deliver(Path(cast(str, result.film)), film, chain.settings.config.cache)
        if poster is not None:
            storage.publish(Path(cast(str, result.poster)), str(poster.absolute()))
    say(f"{film}: {result.frames} frames at {result.fps} per second, {result.width}×{result.height}")
    for warning in set(result.warnings) - set(plan_warnings(work)):
        say(f"warning: {warning}")
    if result.signed_by == NOBODY:
        say(f"note: {film} carries no credentials, as the configuration says")
    if poster is not None:
        say(f"{poster}: its sharpest frame")
    log.info("seconds: %s", result.seconds)
    return result.model_copy(update={"film": str(film.absolute()), "poster": poster and str(poster.absolute())})


@contextmanager
def kept_until_finished(film: Path, say: Say) -> Iterator[Path]:
    """The cache of a long clip that was given none, beside the film: it is removed once the block ends well."""
    folder = film.absolute().with_name(f"{film.name}.unfinished")
    if folder.exists():
        say(f"going on with what {folder} holds")
    try:
        yield folder
    except BaseException:
        if folder.exists():
            say(f"what is finished is kept in {folder}: the same command goes on there; delete it if nobody will")
        raise
    layout = OutputLayout(str(folder), str(folder))
    for stored in (layout.reference, layout.sound, layout.poses, layout.masks, layout.latents):
        shutil.rmtree(storage.parent(stored("")), ignore_errors=True)
    shutil.rmtree(layout.sources, ignore_errors=True)
    with suppress(OSError):  # there is something else in it
        folder.rmdir()


def _require_outputs(film: Path, poster: Path | None, fields: dict[str, Any], overwrite: bool) -> None:
    """Raise `WrongUsage` for a film or poster that may not be written, or by another name."""
    if film.suffix.lower() != ".mp4":
        raise WrongUsage(f"film {str(film)!r}", "name a file that ends in .mp4")
    if poster is not None and poster.suffix.lower() not in (".jpg", ".jpeg"):
        raise WrongUsage(f"poster {str(poster)!r}", "name a file that ends in .jpg")
    read = [fields[name] for name in ("reference", "driving", "mask", "lora", "checkpoint") if fields.get(name)]
    require_writable([film] if poster is None else [film, poster], read, overwrite)


def _in_words(work: Work, settings: RunSettings) -> str:
    clip, dtype = work.clip, compute_dtype(ANIMATORS[work.clip.animator], settings.device, settings.dtype)
    said = f"{clip.animator}, {clip.mode} mode, {work.frames} frames, {clip.steps} steps"
    times = f"{len(settings.devices)} × " if len(settings.devices) > 1 else ""
    return f"{said}, {dtype} on {times}{settings.device}"


def _set_aside(result: Result, layout: OutputLayout, film: Path) -> Rejected:
    """What is said of a film that a person has to look at first; it is kept beside the place that was asked for."""
    kept = film.absolute().with_name(f"{film.stem}.set-aside.mp4")
    storage.publish(Path(layout.aside().film(Film(cast(str, result.id), cast(str, result.film_key)))), str(kept))
    return Rejected(result.error or "", f"look at {kept}, and use it if it is in order")


def _deliver(made: Path, film: Path, cache: str | None) -> None:
    """Put a finished film where it was asked for. Raises `Problem` naming where it is kept if that fails."""
    try:
        storage.publish(made, str(film.absolute()))
    except OSError as error:
        fault = storage_fault(error) or StorageFault(str(error), "choose another place")
        kept = storage.join(cache, "unpublished") if cache else tempfile.mkdtemp(prefix="catwalk-unpublished-")
        storage.publish(made, kept := storage.join(kept, film.name))
        raise Problem(f"film {film}: {fault.error}", f"{fault.remedy}; the finished film is at {kept}") from error


def require_fields(fields: dict[str, Any]) -> None:
    """Raise `WrongUsage` for a name that no field of a row has."""
    for name in fields:
        if name not in Clip.model_fields:
            remedy = f'{choose(name, Clip.model_fields)} what is your own goes into metadata={{"NAME": "VALUE"}}'
            raise WrongUsage(f"{name!r} is not a field of a clip", remedy)


def require_values(fields: dict[str, Any]) -> None:
    """Raise `WrongUsage` for what no row can hold."""
    _, errors = parse_clip(fields)
    if fields["animator"] not in ANIMATORS.keys() | UNUSABLE.keys():
        remedy = choose(fields["animator"], ANIMATORS)
        errors = [*errors, FieldError("animator", repr(fields["animator"]), "is not a known animator", remedy)]
    if errors:
        raise WrongUsage(*rejection(errors).args)


class StageChain:
    """The stages of a run one after the other, in this process."""

    def __init__(self, config: RunConfig, output: str, told: Told = silent, manifest: str | None = None) -> None:
        """Rows are those of the `manifest`, held to the places that a run is held to.

        Without one, paths are relative to the current folder, and what a person types on their own command line may lie
        anywhere.
        """
        pool = config.animate_pool
        if pool.device == "auto":
            pool = pool.model_copy(update={"device": "cuda" if torch.cuda.is_available() else "cpu"})
        made = settled(config.model_copy(update={"animate_pool": pool}), manifest or os.getcwd(), output, None)
        self.settings = made if manifest else replace(made, allowed_prefixes=())
        require_device(self.settings.device, together=pool.gpus_per_clip)
        require_packages(config)
        # what is not said is all cores, but for replicas on them, of which each would take all
        if pool.threads or (self.settings.device == "cpu" and pool.gpus_per_clip > 1):
            torch.set_num_threads(pool.threads_on(os.cpu_count() or 1))
        self._told = told

    def work(self, fields: dict[str, Any]) -> Work:
        """Validate a row and name what it makes."""
        return Keying(self.settings)(stage_of.validate(self.settings)(0, fields))

    def prepare(self, work: Work) -> None:
        """Poses, reference and sound; what is in the cache is not made again."""
        poses = stage_of.extract_pose(self.settings, self._told)
        poses.for_driving(work)
        poses.for_reference(work)
        stage_of.prepare_inputs(self.settings)(work)

    def film(self, work: Work) -> Result:
        """Everything from the driving file to the published film."""
        self.prepare(work)
        return self.animate()(work)

    def animate(self) -> Animate:
        """The stage that draws."""
        return stage_of.animate(self.settings, self._told)
