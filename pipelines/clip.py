"""One clip in this process, without Ray: the same stages, one after the other."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from manifests import storage
from manifests.errors import Problem
from manifests.layout import Places, new_run_id
from manifests.results import Result
from pipelines.code_version import code_version
from pipelines.configuration import RunConfig
from pipelines.keying import Keying
from pipelines.progress import Say


def make_clip(config: RunConfig, fields: dict[str, Any], film: Path, cache: str | None, say: Say) -> Result:
    """Make the film of one row (`fields` as in a manifest; paths relative to the current folder) at `film`.

    With `cache`, poses and latents stay there and are found again. Raises `Problem` when the film cannot be made.
    """
    if film.suffix.lower() != ".mp4":
        raise Problem(f"film {str(film)!r}", "name a file that ends in .mp4")
    with tempfile.TemporaryDirectory(prefix="catwalk-clip-") as scratch:
        places = Places(scratch, storage.resolve(cache, os.getcwd()) if cache else None)
        result = _made(config, fields, places, say)
        film.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(result.film, film)
        shutil.move(result.poster, film.with_suffix(".jpg"))
    say(f"{film}: {result.frames} frames at {result.fps} per second, {result.width}×{result.height}")
    return result


def _made(config: RunConfig, fields: dict[str, Any], places: Places, say: Say) -> Result:
    from stages.animate import Animate
    from stages.diffusion.animators import ANIMATORS
    from stages.diffusion.model_cache import ModelCache, resolve_device, resolve_dtype
    from stages.extract_pose import ExtractPose
    from stages.poses.recipes import recipe_for
    from stages.prepare_inputs import PrepareInputs
    from stages.validate import Validate

    here = os.getcwd()
    pool = config.animate_pool
    device = resolve_device(pool.device)
    dtype = resolve_dtype(pool.dtype, device)
    checkpoints = {name: storage.resolve(folder, here) for name, folder in config.checkpoints.items()}
    # what a person types on their own command line may lie anywhere
    allowed = storage.Allowed()
    estimators = config.estimators.moved(lambda uri: storage.resolve(uri, here))
    config = config.model_copy(update={"estimators": estimators})
    work = Validate(here, allowed, config.limits, checkpoints, places.sources, estimators)(0, fields)
    work = Keying(config, dtype, places.sources)(work)
    clip = work.clip
    say(f"{clip.animator}, {clip.mode} mode, {work.frames} frames, {clip.steps} steps, {dtype} on {device}")
    if work.pose_key is not None:
        recipe = recipe_for(ANIMATORS[clip.animator].pose, clip)
        ExtractPose(places, config.limits, estimators)(work.driving, recipe, work.pose_key)
    PrepareInputs(places, config.limits, estimators)(work)
    models = ModelCache(device, dtype, pool.model_bytes)
    return Animate(places, models, config.encode, new_run_id(), code_version(), config.keep_latents)(work)
