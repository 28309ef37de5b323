"""When a run has to end, and what is still begun before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from manifests.errors import WrongUsage
from pipelines.running.deadline import Deadline, moment
from pipelines.running.stopping import NotReached

EVENING = datetime(2026, 11, 29, 22, 30).astimezone()  # of wherever the tests run


@pytest.mark.parametrize(
    ("text", "day", "hour"), [("06:00", 30, 6), ("6:00", 30, 6), ("23:15", 29, 23), ("2026-12-01T05:00", 31, 5)]
)
def test_a_time_of_day_is_the_next_one_that_clocks_here_show(text: str, day: int, hour: int) -> None:
    at = moment(text, EVENING.astimezone(UTC)).astimezone().replace(tzinfo=None)
    assert (at.hour, at > EVENING.replace(tzinfo=None)) == (hour, True)
    if day < 31:
        assert at.day == day


def test_an_offset_is_respected() -> None:
    assert moment("2026-11-30T06:00+09:00", EVENING - timedelta(days=2)) == datetime(2026, 11, 29, 21, tzinfo=UTC)


@pytest.mark.parametrize("text", ["24:30", "six", "", "2026-13-01", "2026-11-29T22:00"])
def test_what_is_no_moment_to_come_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(WrongUsage, match="--until"):
        moment(text, EVENING)


def test_a_row_that_would_end_after_the_deadline_is_not_begun_and_a_shorter_one_is() -> None:
    deadline = Deadline(datetime.now(UTC) + timedelta(seconds=60))
    deadline.require("drawn", 10**9)  # the first one tells the pace
    deadline.took("drawn", cost=100, seconds=50)
    deadline.took("drawn", cost=100, seconds=50)
    deadline.require("drawn", 100)
    with pytest.raises(NotReached, match=r"takes about 1:40, and .* was (1:00|0:59) away"):
        deadline.require("drawn", 200)
    deadline.require("magicanimate", 200)  # whose pace is another


def test_nothing_is_begun_once_the_deadline_came_and_without_one_everything_is() -> None:
    with pytest.raises(NotReached, match=r"the deadline .* came"):
        Deadline(datetime.now(UTC)).require("drawn", 1)
    Deadline(None).require("drawn", 10**12)
