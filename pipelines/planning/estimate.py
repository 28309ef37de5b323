"""The forecast of a plan on the workers of a configuration."""

from __future__ import annotations

import logging
from dataclasses import replace

from pipelines.configuration import AnimatePool
from pipelines.plan import Plan
from pipelines.planning.calibration_file import Calibration, stored_calibration
from pipelines.planning.forecast import Figures, Forecast
from pipelines.planning.machine import Workers, card_of, machine_of
from pipelines.planning.times import Times
from pipelines.settings import RunSettings

log = logging.getLogger(__name__)


def expected(plan: Plan, refused: int, settings: RunSettings) -> Figures | None:
    """What a run is to be compared with at its end; None where nothing is to be made or no card is named."""
    try:
        calibration = stored_calibration(settings)
        workers = workers_of(settings, None, None, None, measured=calibration is not None)
        return figures(plan, refused, settings, workers, calibration) if plan.todo else None
    except Exception as unknown:  # a run goes on without
        log.info("no forecast: %s", unknown)
        return None


def figures(
    plan: Plan, refused: int, settings: RunSettings, workers: Workers, calibration: Calibration | None
) -> Figures:
    """The forecast of a plan whose rows have been looked at."""
    times = Times(settings, workers, calibration)
    return Forecast(workers, times, settings.config.price, settings.config.keep_latents).of(plan, refused)


def workers_of(
    settings: RunSettings, gpus: float | None, card: str | None, tflops: float | None, measured: bool = False
) -> Workers:
    """Those of the configuration; GPUs that it does not mention are held one by each.

    Of `gpus`, workers for one animator alone hold what they are configured to, and the others the rest. What card they
    are is in `card`, else in `accelerator_type`; where their pace is `measured`, it may be unknown.
    """
    config, poses = settings.config, settings.config.pose_pool
    unmentioned = not any(pool.num_gpus for pool in config.animating())

    def workers(pool: AnimatePool, all_gpus: float | None) -> Workers:
        held = pool.num_gpus or float(unmentioned and bool(gpus or card))
        animating = max(1, int(all_gpus / held)) if all_gpus is not None and held else pool.most
        named = (card or card_of(pool.accelerator_type)) if held else None
        device = "cuda" if held else "cpu"
        machine = machine_of(device, named, tflops, settings.dtype, pool.threads, measured and bool(pool.num_gpus))
        together = pool.gpus_per_clip if held and not tflops else 1
        return Workers(machine, animating, held, poses.max_size or poses.size, together)

    own = {name: workers(config.pool_of(name), None) for name in config.animate_pools}
    rest = gpus and gpus - sum(each.gpus * each.animating for each in own.values())
    return replace(workers(config.animate_pool, rest), own=own)
