"""Progress: what a person reads while a film or a night is being made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from manifests.results import Result
from pipelines import progress
from pipelines.progress import ClipProgress, Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be moved on by the test."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_clip_is_told_of_now_and_then_with_the_time_that_its_steps_take(clock: list[float]) -> None:
    said: list[str] = []
    told = ClipProgress(said.append)
    clock[0] += 60  # loading
    told("denoising, step", 1, 25)
    for step in range(2, 26):
        clock[0] += 4
        told("denoising, step", step, 25)
    assert said[0] == "  denoising, step 1 of 25", "how long a step takes is not known yet"
    assert said[1] == "  denoising, step 4 of 25 · about 1:24 left for this"
    assert len(said) == 9, "every ten seconds"


def test_a_quick_clip_is_not_talked_about(clock: list[float]) -> None:
    said: list[str] = []
    told = ClipProgress(said.append)
    for frame in range(1, 6):
        clock[0] += 1
        told("drawing, frame", frame, 5)
    assert said == []


def test_a_terminal_is_written_over_often(clock: list[float]) -> None:
    said: list[str] = []
    live: list[str] = []
    told = ClipProgress(said.append, live.append)
    for part in ("denoising, step", "drawing, frame"):
        for number in range(1, 4):
            clock[0] += 0.5
            told(part, number - 0.5, 3)
    assert said == []
    assert live[1] == f"  {'█' * 12}{'░' * 12} denoising, step 2 of 3 · about 0:01 left for this"
    assert live[3] == f"  {'█' * 4}{'░' * 20} drawing, frame 1 of 3", "every part has a pace of its own"


def test_the_time_left_counts_no_start_up(clock: list[float]) -> None:
    said: list[str] = []
    night = Progress(4, 40.0, said.append, interval=0)
    noon = datetime(2026, 11, 29, 12, tzinfo=UTC)

    def ended(seconds: float, load: float) -> None:
        clock[0] += seconds
        times = {"started": noon, "finished": noon + timedelta(seconds=seconds)}
        night.ended(Result(row=0, status="done", frames=1, seconds={"load": load}, **times), 10.0)

    clock[0] += 500  # Ray and its workers start
    ended(40, load=30)
    assert said[-1].endswith("9:00 elapsed · 360 films/h · about 0:30 left")
    ended(10, load=0)
    assert said[-1].endswith("9:10 elapsed · 360 films/h · about 0:20 left")


def test_a_first_clip_that_fails_sets_no_pace(clock: list[float]) -> None:
    said: list[str] = []
    night = Progress(3, 30.0, said.append, interval=0)
    clock[0] += 100
    night.ended(Result(row=0, status="failed", error="it broke", remedy="mend it"), 10.0)
    assert "left" not in said[-1]
    clock[0] += 7
    night.ended(Result(row=1, status="done"), 10.0)
    assert said[-1].endswith("about 0:07 left")


def test_a_terminal_shows_the_night_in_a_line_that_moves_without_rows(clock: list[float]) -> None:
    said: list[str] = []
    live: list[str] = []
    night = Progress(4, 40.0, said.append, live=live.append, busy=lambda: 0.5)
    night.tick()
    assert live == [f"  {'░' * 24} 0/4 clips · 0 frames · 0:00 elapsed"]
    clock[0] += 60
    night.ended(Result(row=0, status="done", frames=9), 10.0)
    clock[0] += 30
    night.ended(Result(row=1, status="done", frames=9), 10.0)
    night.tick()
    assert live[-1].startswith(f"  {'█' * 12}{'░' * 12} 2/4 clips (2 done) · 18 frames")
    assert live[-1].endswith("1:30 elapsed · 120 films/h · 50% busy · about 1:00 left")
    assert said == [], "rows that end well need no line of their own"
    night.ended(Result(row=2, status="failed", error="it broke", remedy="mend it"), 10.0)
    assert len(said) == 1, "those that do not, do"
