"""What a session's figures say is what its rows did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from manifests.clip import Clip
from manifests.layout import OutputLayout
from manifests.results import Result
from manifests.work import Work
from pipelines.plan import make_plan
from pipelines.planned_clip import planned_clip
from pipelines.running.dealing import Dealing
from pipelines.watching.meter import Meter

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Clock:
    """The time, to be moved on by the test."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def done(row: int, worker: str, begin: float, end: float, **fields: Any) -> Result:
    moments = {"started": NOON + timedelta(seconds=begin), "finished": NOON + timedelta(seconds=end)}
    made = {"frames": 50, "fps": "25", "seconds": {"denoise": end - begin}, "cpu_seconds": 2.0}
    return Result.model_validate({"row": row, "status": "done", "worker": worker, **moments, **made, **fields})


def test_the_busy_share_counts_start_up_idling_and_rows_of_every_worker() -> None:
    clock = Clock()
    meter = Meter(workers=2, gpus=0.5, now=clock)
    meter.begins()
    clock.now += timedelta(seconds=50)
    meter.ended(done(0, "a", 10, 50))
    assert meter.busy_so_far == pytest.approx(0.8), "the other worker's row is not known yet"
    clock.now += timedelta(seconds=50)
    meter.ended(done(1, "b", 10, 100))
    meter.ends()
    assert meter.busy == pytest.approx((40 + 90) / 200)
    figures = meter.figures()
    assert figures["gpu_hours"] == pytest.approx(65 / 3600, abs=1e-6)
    assert figures["gpu_hours_held"] == pytest.approx(100 / 3600, abs=1e-6)
    assert (figures["done"], figures["frames"], figures["film_seconds"], figures["cpu_seconds"]) == (2, 100, 4.0, 4.0)


def test_a_second_graph_adds_to_the_first_and_the_time_between_is_not_held() -> None:
    clock = Clock()
    meter = Meter(workers=1, gpus=1, now=clock)
    for begin in (0, 1000):
        clock.now = NOON + timedelta(seconds=begin)
        meter.begins()
        meter.ended(done(begin, "a", begin, begin + 60))
        clock.now += timedelta(seconds=100)
        meter.ends()
    assert meter.held_seconds == 200
    assert meter.busy == pytest.approx(0.6)


def test_segments_that_others_denoised_keep_their_workers_busy() -> None:
    clock = Clock()
    meter = Meter(workers=1, gpus=1, most=2, now=clock)
    meter.begins()
    clock.now += timedelta(seconds=100)
    for worker in ("a", "b"):
        part = {"row": 0, "status": "not_reached", "error": "e", "remedy": "r", "worker": worker}
        meter.part_ended(Result.model_validate(part), 70.0)
    assert meter.busy_so_far == pytest.approx(0.7)
    meter.ended(done(0, "a", 100, 120))
    clock.now += timedelta(seconds=20)
    meter.ends()
    assert meter.busy_seconds == 160
    assert meter.held_seconds == 240, "two workers were there, though the pool began with one"


def test_rows_that_nobody_did_here_are_counted_and_take_nothing() -> None:
    meter = Meter(workers=1, gpus=1, now=Clock())
    meter.begins()
    meter.ended(done(0, "elsewhere", -9000, -8000, status="cached"))
    meter.ended(Result(row=1, status="failed", error="e", remedy="r", worker="a", gpu_seconds=30.0))
    assert meter.busy_seconds == 30
    assert meter.counts == {"cached": 1, "failed": 1}
    assert meter.frames == 0


def test_a_worker_in_a_dead_ones_place_and_a_second_graph_hold_no_more_gpus_than_the_pool_has() -> None:
    clock = Clock()
    meter = Meter(workers=2, gpus=1, most=2, now=clock)
    for graph, alone in enumerate((False, False, True)):
        meter.begins(alone=alone)
        clock.now += timedelta(seconds=100)
        for number in range(1 if alone else 3):
            meter.ended(done(number, f"{graph}-{number}", 0, 30))
        assert meter.held_seconds == (200, 400, 500)[graph]
        meter.ends()
    assert meter.figures()["gpu_hours_held"] == pytest.approx(500 / 3600, abs=1e-6)
    assert meter.busy == pytest.approx(7 * 30 / 500)


def test_films_of_earlier_sessions_are_counted_but_are_not_this_sessions() -> None:
    meter = Meter(workers=1, gpus=1, now=Clock())
    meter.settled([done(0, "a", -9000, -8000, worker_deaths=1), Result(row=1, status="cached")])
    meter.begins()
    meter.ended(done(2, "b", 0, 60))
    assert meter.counts == {"done": 2, "cached": 1}
    figures = meter.figures()
    assert (figures["done"], figures["frames"], figures["worker_seconds"], figures["cpu_seconds"]) == (1, 50, 60, 2)
    assert (meter.seconds, meter.worker_deaths) == ({"denoise": 60}, 0)


def test_a_segment_that_failed_is_paid_once(tmp_path: Path) -> None:
    meter = Meter(workers=2, gpus=1, now=Clock())
    clip = Clip(id="c", animator="magicanimate", width=64, height=64, steps=4, guidance=1, fps=Fraction(25), seed=1)
    keys = {"latents_key": f"{0:032x}", "film_key": "film", "checkpoint_digest": "w"}
    work = Work(row=0, clip=clip, frames=600, **keys)
    plan = make_plan([planned_clip(work)], OutputLayout(str(tmp_path)), "run")
    dealing = Dealing(plan, lambda animator: 2)
    segments = range(len(dealing.units()))
    meter.begins()
    ended = None
    for number in segments:
        failed = number == segments[-1]
        told = {"status": "failed" if failed else "not_reached", "error": "e", "remedy": "r", "worker": "a"}
        result = Result.model_validate({"row": 0, "gpu_seconds": 7.0, **told})
        meter.part_ended(result, 0.0 if failed else 7.0)
        part = work.model_copy(update={"segment": number})
        ended = dealing.came(part, result, "" if failed else "render")
    assert ended is not None
    untold, _ = dealing.drawn(ended.result)
    meter.ended(untold)
    assert meter.counts == {"failed": 1}
    assert meter.busy_seconds == pytest.approx(7.0 * len(segments))
