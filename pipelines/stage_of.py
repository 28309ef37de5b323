"""From a run's settings to its stages, for the workers of a cluster and for `catwalk clip` alike.

A stage is imported when it is made: what it needs (torch, decoders, estimators) is loaded where it works, and so are
animators from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING

from manifests.consent.register import Register
from manifests.retries import RETRIES
from manifests.storage import Allowed
from manifests.temporary import remove_dead_folders
from pipelines.settings import RunSettings
from pipelines.watching.logs import begin
from stages.diffusion.animators import add_animators
from stages.progress import Told, silent

if TYPE_CHECKING:
    from stages.animate import Animate, Machine
    from stages.extract_pose import ExtractPose
    from stages.prepare_inputs import PrepareInputs
    from stages.validate import Probing, Validate


def _begin(settings: RunSettings) -> None:
    """What every process of a run is told before its first stage."""
    begin(settings.config.logs.format, settings.config.logs.level, settings.run_id)
    RETRIES.begin(settings.session, settings.config.storage_retries)
    _remove_dead_folders()
    add_animators(settings.config.animators)


@cache  # once in a process
def _remove_dead_folders() -> None:
    remove_dead_folders()


def validate(settings: RunSettings, probing: Probing = lambda *of: nullcontext()) -> Validate:
    """Rows to work; `probing` is around the reading of each file."""
    from stages.validate import Validate

    _begin(settings)
    config = settings.config
    allowed = Allowed(prefixes=list(settings.allowed_prefixes))
    sources = settings.layout.sources
    register = Register(config.consent)
    places = config.limits, config.checkpoints, sources
    return Validate(settings.base, allowed, *places, config.estimators, probing, register)


def extract_pose(settings: RunSettings, told: Told = silent) -> ExtractPose:
    """Driving files and references to stored poses; `told` of each frame."""
    from stages.extract_pose import ExtractPose

    _begin(settings)
    return ExtractPose(settings.layout, settings.config.limits, settings.config.estimators, told)


def prepare_inputs(settings: RunSettings) -> PrepareInputs:
    """References and sounds to plain data."""
    from stages.prepare_inputs import PrepareInputs

    _begin(settings)
    return PrepareInputs(settings.layout, settings.config.limits)


def animate(
    settings: RunSettings,
    told: Told = silent,
    machine: Machine | None = None,
    going_on: Callable[[], None] = lambda: None,
) -> Animate:
    """Poses and reference to a published film; holds the models. `told` of steps and frames.

    `machine`, for the results, is this one if it is left out; `going_on` is asked between the segments of a long clip,
    and raises where the run is to end.
    """
    from stages.animate import Animate, Machine
    from stages.diffusion.model_cache import ModelCache

    _begin(settings)
    config = settings.config
    pool = config.animate_pool
    first, *others = settings.devices
    models = ModelCache(first, settings.dtype, pool.model_bytes, others, pool)
    return Animate(
        settings.layout,
        models,
        config.encode,
        settings.run_id,
        settings.code,
        config.keep_latents,
        config.pose_rules,
        machine or Machine(settings.device, pool.num_gpus or len(settings.devices) * (first != "cpu")),
        told,
        config.review,
        going_on,
        weights=config.model_cache.cache(),
        register=Register(config.consent),
        signing=settings.signing(),
        safety=config.safety,
        film_limits=config.limits,
    )
