"""The forecast of a plan on the workers of a configuration."""

from __future__ import annotations

from pipelines.plan import Plan
from pipelines.planning.calibration_file import Calibration
from pipelines.planning.forecast import Figures, Forecast, Workers
from pipelines.planning.machine import machine_of
from pipelines.planning.times import Times
from pipelines.settings import RunSettings


def figures(
    plan: Plan, refused: int, settings: RunSettings, workers: Workers, calibration: Calibration | None
) -> Figures:
    """The forecast of a plan whose rows have been looked at."""
    times = Times(settings, workers.machine, calibration)
    return Forecast(workers, times, settings.config.price, settings.config.keep_latents).of(plan, refused)


def workers_of(settings: RunSettings, gpus: float | None, card: str | None, tflops: float | None) -> Workers:
    """Those of the configuration; GPUs that it does not mention are held one by each."""
    pool, poses = settings.config.animate_pool, settings.config.pose_pool
    held = pool.num_gpus or float(bool(gpus or card))
    animating = max(1, int(gpus / held)) if gpus else pool.max_size or pool.size
    device = "cuda" if held else "cpu"
    machine = machine_of(device, card, tflops, settings.dtype, pool.threads)
    return Workers(machine, animating, held, poses.max_size or poses.size)
