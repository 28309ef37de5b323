"""Progress: what a person reads while a film or a night is being made."""

from __future__ import annotations

import pytest

from pipelines import progress
from pipelines.progress import ClipProgress


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
    assert live[1] == "  denoising, step 2 of 3 · about 0:01 left for this"
    assert live[3] == "  drawing, frame 1 of 3", "every part has a pace of its own"
