"""A calibration: short films of a plan are made on the very machine, by the run itself, and dropped."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, cast

import pyarrow.parquet as pq

from manifests import storage
from manifests.build import to_table
from manifests.errors import Problem, WrongUsage
from manifests.results import Result
from manifests.temporary import temporary_folder
from manifests.work import Work
from pipelines.configuration import AnimatePool, RunConfig
from pipelines.plan import Plan
from pipelines.planned_clip import PlannedClip
from pipelines.planning.calibration_file import Calibration, Setup
from pipelines.planning.effort import Effort
from pipelines.planning.pace import MEGAPIXEL, Pace, effort_of
from pipelines.planning.samples import Sample, Shape, samples, shapes
from pipelines.progress import Say
from pipelines.settings import RunSettings

LEAST = 1e-9  # seconds of a TFLOP, where noise says that more work took less time


def calibrated(plan: Plan, settings: RunSettings, connecting: float, output: str | None, say: Say) -> Calibration:
    """Make short films of every shape and measure them; `connecting` are the seconds that it took to reach Ray.

    They are put into `output` for as long as it takes; without one into a folder of this machine. Raises `WrongUsage`
    where the workers cannot see that, `Problem` where nothing is to be made or nothing can be.
    """
    if output is None and "RAY_ADDRESS" in os.environ:
        raise WrongUsage("--calibrate on a cluster needs a place that its workers see", "name the OUTPUT too")
    chosen = shapes(plan)
    if not chosen:
        raise Problem("--calibrate: there is no film to denoise", "plan without it")
    with temporary_folder("calibration") as scratch:
        folder = storage.join(output or str(scratch), f"calibration-{settings.session}")
        try:
            return _measured(chosen, settings, connecting, folder, scratch, say)
        finally:
            for name in storage.listing(folder, recursive=True):
                storage.delete(storage.join(folder, name))


def _measured(
    chosen: Mapping[Shape, PlannedClip], settings: RunSettings, connecting: float, folder: str, scratch: Path, say: Say
) -> Calibration:
    from pipelines.animate import run

    made: list[Sample] = []
    for number, (shape, clip) in enumerate(chosen.items()):
        made += samples(shape, clip.work, number, folder, scratch, settings.config)
    pq.write_table(to_table([sample.clip for sample in made]), scratch / "samples.parquet")
    storage.publish(scratch / "samples.parquet", manifest := storage.join(folder, "samples.parquet"))
    say(f"measuring with {len(made)} short films of {len(chosen)} kinds")
    begun, at = time.monotonic(), datetime.now(UTC)
    results = run(_alone(settings), manifest, storage.join(folder, "output")).results
    found = [Measured(*pair) for pair in zip(made, results, strict=True) if pair[1].status == "done"]
    if not found:
        first = next(result for result in results if not result.good)
        raise Problem(f"--calibrate: no film could be made; {first.stage}: {first.error}", first.remedy or "")
    ended = at + timedelta(seconds=time.monotonic() - begun)
    pose = _pose_seconds(found)
    return Calibration(
        setup=Setup.of(settings),
        measured=at,
        host=", ".join(sorted({one.result.host for one in found if one.result.host})),
        rows=len(found),
        paces=[pace for shape in chosen if (pace := pace_of([one for one in found if one.sample.shape == shape]))],
        start_seconds=connecting + _starting(found, pose, at),
        end_seconds=max(0.0, (ended - max(one.moment("finished") for one in found)).total_seconds()),
        inputs_seconds=fmean(one.result.seconds.get("inputs", 0.0) for one in found),
        load_seconds=_load_seconds(found),
        pose_seconds=pose,
        film_bytes=sum(one.result.film_bytes or 0 for one in found) / sum(one.frames * one.area for one in found),
        missing=[
            f"{result.id} ({sample.shape.animator}), {result.stage}: {result.error}"
            for sample, result in zip(made, results, strict=True)
            if result.status != "done"
        ],
    )


def _alone(settings: RunSettings) -> RunConfig:
    """The configuration with one worker of each kind, which has the threads that it would have beside the others."""
    config = settings.config

    def threads(pool: AnimatePool) -> dict[str, int | None]:
        return {"threads": pool.threads_on(os.cpu_count() or 1) if settings.device == "cpu" else pool.threads}

    one = {"size": 1, "max_size": None}
    changed = {
        "animate_pool": config.animate_pool.model_copy(update={**one, **threads(config.animate_pool)}),
        "animate_pools": {
            name: own.model_copy(update={**one, **threads(config.pool_of(name))})
            for name, own in config.animate_pools.items()
        },
        "pose_pool": config.pose_pool.model_copy(update=one),
        "allowed_prefixes": list(settings.allowed_prefixes),
        "cache": None,
        "on_end": None,
    }
    return config.model_copy(update=changed)


class Measured(NamedTuple):
    """A short film and what became of it."""

    sample: Sample
    result: Result

    @property
    def frames(self) -> int:
        """Of the film."""
        return self.sample.clip.frame_count or 1

    @property
    def area(self) -> float:
        """Megapixels of a frame."""
        return self.sample.shape.pixels / MEGAPIXEL

    @property
    def effort(self) -> Effort:
        """What it took."""
        return effort_of(Work(row=0, clip=self.sample.clip, frames=self.frames))

    def moment(self, name: str) -> datetime:
        """When it was `started` or `finished`."""
        return cast(datetime, getattr(self.result, name))


def pace_of(found: Sequence[Measured]) -> Pace | None:
    """The pace of one shape; None where one of its kinds of film is missing.

    Films that differ in their steps alone tell what an operation takes, those that differ in length what a frame does.
    """
    few, many, long = ([one for one in found if one.sample.part == part] for part in ("few", "many", "long"))
    if not (few and many and long):
        return None

    def line(seconds: Callable[[Result], float]) -> tuple[float, float, float]:
        """What of that many `seconds` a film takes, what each of its frames' megapixels, and what each TFLOP."""
        at = [fmean(seconds(one.result) for one in some) for some in (few, many, long)]
        tflop = [some[0].effort.denoise_tflop for some in (few, many, long)]
        areas = [some[0].frames * some[0].area for some in (few, many, long)]
        each = max(0.0, (at[1] - at[0]) / (tflop[1] - tflop[0]))
        rest = at[0] - each * tflop[0], at[2] - each * tflop[2]
        frame = max(0.0, (rest[1] - rest[0]) / (areas[2] - areas[0]))
        return max(0.0, rest[0] - frame * areas[0]), frame, each

    clip, frame, each = line(lambda result: result.seconds["denoise"])
    at = [fmean(drawing(one.result) for one in some) for some in (few + many, long)]
    areas = few[0].frames * few[0].area, long[0].frames * long[0].area
    drawing_frame = max(0.0, (at[1] - at[0]) / (areas[1] - areas[0]))
    cpu = line(lambda result: result.cpu_seconds or 0.0) if all(one.result.cpu_seconds for one in found) else None
    return Pace(
        animator=few[0].sample.shape.animator,
        pixels=few[0].sample.shape.pixels,
        tflops=1 / max(each, LEAST),
        clip=clip,
        frame=frame,
        drawing_clip=max(0.0, at[0] - drawing_frame * areas[0]),
        drawing_frame=drawing_frame,
        cpu=cpu,
    )


def drawing(result: Result) -> float:
    """Seconds from latents to a published film."""
    return result.seconds.get("encode", 0.0) + result.seconds.get("publish", 0.0)


def _load_seconds(found: Sequence[Measured]) -> dict[str, float]:
    """Of each animator's weights: the most, as its films of further sizes find them loaded."""
    spent: dict[str, float] = {}
    for one in found:
        animator, seconds = one.sample.shape.animator, one.result.seconds.get("load", 0.0)
        spent[animator] = max(spent.get(animator, 0.0), seconds)
    return spent


def _pose_seconds(found: Sequence[Measured]) -> dict[str, float]:
    """Of a driving frame, by estimator: those of the longer videos, by when it is loaded. "" is poses only read."""
    spent: defaultdict[str, list[float]] = defaultdict(list)
    for one in found:
        if one.sample.part != "warm" and (seconds := one.result.seconds.get("pose", 0.0)):
            spent[one.result.pose_estimator or ""].append(seconds / one.sample.driving_frames)
    return {estimator: max(each) for estimator, each in spent.items()}


def _starting(found: Sequence[Measured], pose: Mapping[str, float], begun: datetime) -> float:
    """From the beginning to the first film, without the time that goes into its own files."""
    first = min(found, key=lambda one: one.moment("started"))
    own = first.frames * pose.get(first.result.pose_estimator or "", 0.0) + first.result.seconds.get("inputs", 0.0)
    own += sum(one.result.seconds.get("validate", 0.0) for one in found)
    return max(0.0, (first.moment("started") - begun).total_seconds() - own)
