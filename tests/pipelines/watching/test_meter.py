"""What a session's figures say is what its rows did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from manifests.results import Result
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
    meter = Meter(workers=1, gpus=1, now=clock)
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
