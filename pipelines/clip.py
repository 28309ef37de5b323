"""One clip in this process, without Ray: the same stages, one after the other."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from manifests import storage
from manifests.errors import WrongUsage
from manifests.result_warnings import plan_warnings
from manifests.results import Result
from manifests.work import Work
from pipelines import stage_of
from pipelines.configuration import RunConfig
from pipelines.keying import Keying
from pipelines.output_files import require_writable
from pipelines.progress import Say
from pipelines.settings import settled
from stages.diffusion.animator import compute_dtype
from stages.diffusion.animators import ANIMATORS


def make_clip(
    config: RunConfig,
    fields: dict[str, Any],
    film: Path,
    cache: str | None,
    say: Say,
    poster: Path | None = None,
    overwrite: bool = False,
) -> Result:
    """Make the film of one row (`fields` as in a manifest; paths relative to the current folder) at `film`.

    With `cache`, poses and latents stay there and are found again; `poster` receives its sharpest frame. Raises
    `WrongUsage` where a file to write is one that is read, or is there already and not to be overwritten, and `Problem`
    when the film cannot be made.
    """
    if film.suffix.lower() != ".mp4":
        raise WrongUsage(f"film {str(film)!r}", "name a file that ends in .mp4")
    if poster is not None and poster.suffix.lower() not in (".jpg", ".jpeg"):
        raise WrongUsage(f"poster {str(poster)!r}", "name a file that ends in .jpg")
    outputs = [film] if poster is None else [film, poster]
    read = [fields[name] for name in ("reference", "driving", "lora", "checkpoint") if fields.get(name)]
    require_writable(outputs, read, overwrite)
    with tempfile.TemporaryDirectory(prefix="catwalk-clip-") as scratch:
        chain = StageChain(config.model_copy(update={"cache": cache}), scratch)
        work = chain.work(fields)
        clip, settings = work.clip, chain.settings
        said = f"{clip.animator}, {clip.mode} mode, {work.frames} frames, {clip.steps} steps"
        dtype = compute_dtype(ANIMATORS[clip.animator], settings.device, settings.dtype)
        say(f"{said}, {dtype} on {settings.device}")
        for warning in plan_warnings(work):
            say(f"warning: {warning}")
        result = chain.film(work)
        storage.publish(Path(cast(str, result.film)), str(film.absolute()))
        if poster is not None:
            storage.publish(Path(cast(str, result.poster)), str(poster.absolute()))
    say(f"{film}: {result.frames} frames at {result.fps} per second, {result.width}×{result.height}")
    for warning in set(result.warnings) - set(plan_warnings(work)):
        say(f"warning: {warning}")
    if poster is not None:
        say(f"{poster}: its sharpest frame")
    return result


class StageChain:
    """The stages of a run one after the other, in this process."""

    def __init__(self, config: RunConfig, output: str) -> None:
        """Paths are relative to the current folder; what a person types on their own command line may lie anywhere."""
        pool = config.animate_pool
        if pool.device == "auto":
            pool = pool.model_copy(update={"device": "cuda" if torch.cuda.is_available() else "cpu"})
        made = settled(config.model_copy(update={"animate_pool": pool}), os.getcwd(), output, None)
        self.settings = replace(made, allowed_prefixes=())

    def work(self, fields: dict[str, Any]) -> Work:
        """Validate a row and name what it makes."""
        return Keying(self.settings)(stage_of.validate(self.settings)(0, fields))

    def film(self, work: Work) -> Result:
        """Everything from the driving file to the published film; what is in the cache is not made again."""
        poses = stage_of.extract_pose(self.settings)
        poses.for_driving(work)
        poses.for_reference(work)
        stage_of.prepare_inputs(self.settings)(work)
        return stage_of.animate(self.settings)(work)
