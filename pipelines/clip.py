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
from pipelines.plan import keyed
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
    from stages.checkpoints import checkpoint_digest
    from stages.diffusion.animators import ANIMATORS
    from stages.diffusion.model_cache import ModelCache, resolve_device, resolve_dtype
    from stages.extract_pose import ExtractPose
    from stages.prepare_inputs import PrepareInputs
    from stages.validate import Validate

    here = os.getcwd()
    pool = config.animate_pool
    device = resolve_device(pool.device)
    dtype = resolve_dtype(pool.dtype, device)
    checkpoints = {name: storage.resolve(folder, here) for name, folder in config.checkpoints.items()}
    # what a person types on their own command line may lie anywhere
    validate = Validate(here, storage.Allowed(), config.limits, checkpoints, places.sources)
    work = validate(0, fields)
    facts = ANIMATORS[work.clip.animator]
    digest = checkpoint_digest(work.checkpoint, facts, storage.SourceMemo(places.sources))
    work = keyed(work, digest, dtype, config.encode.model_dump(mode="json"))
    say(f"{facts.name}, {work.clip.mode} mode, {work.frames} frames, {work.clip.steps} steps, {dtype} on {device}")
    if work.pose_key is not None:
        ExtractPose(places, config.limits)(work.driving, work.pose_key)
    PrepareInputs(places, config.limits)(work)
    models = ModelCache(device, dtype, pool.model_bytes)
    return Animate(places, models, config.encode, new_run_id(), code_version(), config.keep_latents)(work)
