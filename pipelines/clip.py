"""One clip in this process, without Ray: the same stages, one after the other."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from manifests.errors import WrongUsage
from manifests.results import Result
from manifests.work import Work
from pipelines import stage_of
from pipelines.configuration import RunConfig
from pipelines.keying import Keying
from pipelines.progress import Say
from pipelines.settings import settled


def make_clip(config: RunConfig, fields: dict[str, Any], film: Path, cache: str | None, say: Say) -> Result:
    """Make the film of one row (`fields` as in a manifest; paths relative to the current folder) at `film`.

    With `cache`, poses and latents stay there and are found again. Raises `Problem` when the film cannot be made.
    """
    if film.suffix.lower() != ".mp4":
        raise WrongUsage(f"film {str(film)!r}", "name a file that ends in .mp4")
    try:
        film.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongUsage(f"film {str(film)!r}: {error}", "name a file in a folder that can be written") from None
    with tempfile.TemporaryDirectory(prefix="catwalk-clip-") as scratch:
        chain = StageChain(config.model_copy(update={"cache": cache}), scratch)
        work = chain.work(fields)
        clip, settings = work.clip, chain.settings
        said = f"{clip.animator}, {clip.mode} mode, {work.frames} frames, {clip.steps} steps"
        say(f"{said}, {settings.dtype} on {settings.device}")
        result = chain.film(work)
        shutil.move(result.film, film)
        shutil.move(result.poster, film.with_suffix(".jpg"))
    say(f"{film}: {result.frames} frames at {result.fps} per second, {result.width}×{result.height}")
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
        settings = self.settings
        keying = Keying(settings.config, settings.dtype, settings.layout.sources)
        return keying(stage_of.validate(settings)(0, fields))

    def film(self, work: Work) -> Result:
        """Everything from the driving file to the published film; what is in the cache is not made again."""
        poses = stage_of.extract_pose(self.settings)
        poses.for_driving(work)
        poses.for_reference(work)
        stage_of.prepare_inputs(self.settings)(work)
        return stage_of.animate(self.settings)(work)
