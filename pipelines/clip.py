"""One clip in this process, without Ray: the same stages, one after the other."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from manifests import storage
from manifests.errors import WrongUsage
from manifests.results import Result
from manifests.work import Work
from pipelines.configuration import RunConfig
from pipelines.keying import Keying
from pipelines.progress import Say
from pipelines.settings import settled
from stages.animate import Animate
from stages.diffusion.model_cache import ModelCache
from stages.driving import recipe_of
from stages.extract_pose import ExtractPose
from stages.prepare_inputs import PrepareInputs
from stages.validate import Validate


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
        self.settings = settled(config.model_copy(update={"animate_pool": pool}), os.getcwd(), output, None)

    def work(self, fields: dict[str, Any]) -> Work:
        """Validate a row and name what it makes."""
        settings, config, sources = self.settings, self.settings.config, self.settings.places.sources
        validate = Validate(
            os.getcwd(), storage.Allowed(), config.limits, config.checkpoints, sources, config.estimators
        )
        return Keying(config, settings.dtype, sources)(validate(0, fields))

    def film(self, work: Work) -> Result:
        """Everything from the driving file to the published film; what is in the cache is not made again."""
        settings, config, places = self.settings, self.settings.config, self.settings.places
        if work.pose_key is not None:
            recipe = recipe_of(work.clip)
            ExtractPose(places, config.limits, config.estimators)(work.driving, recipe, work.pose_key)
        PrepareInputs(places, config.limits, config.estimators)(work)
        models = ModelCache(settings.device, settings.dtype, config.animate_pool.model_bytes)
        animate = Animate(
            places, models, config.encode, settings.run_id, settings.code, config.keep_latents, config.pose_rules
        )
        return animate(work)
