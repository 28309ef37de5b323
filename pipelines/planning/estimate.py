"""The forecast of a plan on the workers of a configuration."""

from __future__ import annotations

import logging

from pipelines.plan import Plan
from pipelines.planning.calibration_file import Calibration, stored_calibration
from pipelines.planning.forecast import Figures, Forecast, Workers
from pipelines.planning.machine import card_of, machine_of
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
    times = Times(settings, workers.machine, calibration)
    return Forecast(workers, times, settings.config.price, settings.config.keep_latents).of(plan, refused)


def workers_of(
    settings: RunSettings, gpus: float | None, card: str | None, tflops: float | None, measured: bool = False
) -> Workers:
    """Those of the configuration; GPUs that it does not mention are held one by each.

    What card they are is in `card`, else in `accelerator_type`; where their pace is `measured`, it may be unknown.
    """
    pool, poses = settings.config.animate_pool, settings.config.pose_pool
    held = pool.num_gpus or float(bool(gpus or card))
    animating = max(1, int(gpus / held)) if gpus else pool.most
    device = "cuda" if held else "cpu"
    card = card or (card_of(pool.accelerator_type) if held else None)
    machine = machine_of(device, card, tflops, settings.dtype, pool.threads, measured and bool(pool.num_gpus))
    return Workers(machine, animating, held, poses.max_size or poses.size)
