"""`catwalk plan`: what a manifest will take on a machine, before anything is spent."""

from __future__ import annotations

import time

from manifests.errors import WrongUsage
from manifests.kept_results import KeptResults
from manifests.result_summary import summarise
from manifests.temporary import temporary_folder
from pipelines.configuration import RunConfig
from pipelines.manifest_reading import look_at
from pipelines.plan import Plan
from pipelines.planning.calibration_file import stored_calibration
from pipelines.planning.estimate import figures, workers_of
from pipelines.planning.forecast import Figures
from pipelines.progress import Say
from pipelines.running.record import failure_lines, remove_traces
from pipelines.settings import RunSettings, settled


def look_ahead(
    config: RunConfig,
    manifest: str,
    output: str | None,
    *,
    gpus: float | None = None,
    card: str | None = None,
    tflops: float | None = None,
    limit: int | None = None,
    calibrate: bool = False,
    say: Say = lambda line: None,
) -> Figures:
    """The forecast for `gpus` in all (left out: what the configuration's workers hold) of a `card`.

    With `output`, rows are looked at on Ray, as a run would, and what is finished there takes nothing; without, in this
    process. Raises `WrongUsage`, and `Problem` as a run does.
    """
    require_options(gpus, card, tflops, calibrate, config.animate_pool.num_gpus)
    connecting = reached(say) if calibrate else 0.0
    with temporary_folder("plan") as scratch:
        settings = settled(config, manifest, output or str(scratch), None)
        look_at(settings.manifest)
        calibration = stored_calibration(settings) if output and not (calibrate or card or tflops) else None
        workers = workers_of(settings, gpus, card, tflops, measured=calibrate or calibration is not None)
        plan, refused = looked_at_there(settings, limit, say) if output else looked_at_here(settings, limit, say)
        for line in failure_lines(summarise(refused)["failures"]):
            say(line)
        if calibrate:
            from pipelines.planning.calibration import calibrated

            calibration = calibrated(plan, settings, connecting, output and settings.output, say)
            if output:
                calibration.write(settings.layout)
        return figures(plan, len(refused), settings, workers, calibration)


def reached(say: Say) -> float:
    """Seconds until Ray is there."""
    from cluster.connection import connect

    begun = time.monotonic()
    say(f"connected to {connect()}")
    return time.monotonic() - begun


def require_options(gpus: float | None, card: str | None, tflops: float | None, calibrate: bool, held: float) -> None:
    """Raise `WrongUsage` for options that contradict each other, or workers that hold so many GPUs.

    With `calibrate`, the card says how much memory there is, and what a film takes is measured.
    """
    if gpus is not None and not gpus > 0:
        raise WrongUsage(f"--gpus {gpus:g}", "give a number above 0")
    if calibrate and (tflops or (card and not held)):
        option = "--tflops" if tflops else "--card"
        raise WrongUsage(f"--calibrate and {option}", "give one: --calibrate measures the machine that is there")


def looked_at_here(settings: RunSettings, limit: int | None, say: Say) -> tuple[Plan, KeptResults]:
    """Without an output, in this process."""
    from pipelines.planning.look import looked_at

    return looked_at(settings, limit, say)


def looked_at_there(settings: RunSettings, limit: int | None, say: Say) -> tuple[Plan, KeptResults]:
    """With an output, on Ray, as a run would."""
    from pipelines.animate import gathered, planned

    _, rows = gathered(settings, limit, (), None, False, say)
    plan, refused = planned(rows, settings, say, dry_run=True)
    remove_traces(settings)
    finished = {row for row, _ in plan.finished.texts()}
    kept = KeptResults()
    for row, text in refused.texts():
        if row not in finished:
            kept.add(row, text)
    return plan, kept
