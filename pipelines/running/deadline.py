"""The moment at which a run has to end, and whether a row can still be finished before it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable
from datetime import UTC, datetime, timedelta

from manifests.errors import WrongUsage
from pipelines.progress import clock
from pipelines.running.stopping import NotReached


def moment(text: str, now: datetime) -> datetime:
    """What a person means by "06:00", the next time that clocks here show it, or by a moment in ISO 8601.

    Without an offset it is local time. Raises `WrongUsage` for anything else, and for the past.
    """
    try:
        if hour := re.fullmatch(r"(\d{1,2}):(\d\d)", text):
            local = now.astimezone().replace(tzinfo=None)
            at = local.replace(hour=int(hour[1]), minute=int(hour[2]), second=0, microsecond=0)
            return (at if at > local else at + timedelta(days=1)).astimezone()
        at = datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise WrongUsage(
            f"--until {text!r}: is no time of day and no date", "write 06:00, or 2026-11-30T06:00+01:00"
        ) from None
    if at <= now:
        raise WrongUsage(f"--until {text!r}: is in the past", "give a moment to come")
    return at


def shown(until: datetime) -> str:
    """A deadline as a person reads it."""
    return f"{until.astimezone():%Y-%m-%d %H:%M}"


class Deadline:
    """Lets a worker begin only what it will finish before the deadline, by the pace of its rows so far."""

    def __init__(self, until: datetime | None) -> None:
        self._until = until
        self._cost: defaultdict[Hashable, float] = defaultdict(float)
        self._seconds: defaultdict[Hashable, float] = defaultdict(float)

    def __bool__(self) -> bool:
        return self._until is not None

    def took(self, kind: Hashable, cost: float, seconds: float) -> None:
        """Take in a row's cost and time; rows of one `kind` take time in proportion to their cost."""
        self._cost[kind] += cost
        self._seconds[kind] += seconds

    def require(self, kind: Hashable, cost: float) -> None:
        """Raise `NotReached` where a row would end after the deadline. The first of its kind is tried."""
        if self._until is None:
            return
        left = (self._until - datetime.now(UTC)).total_seconds()
        if left <= 0:
            raise NotReached(f"the deadline {shown(self._until)} came")
        needs = self._seconds[kind] / self._cost[kind] * cost if self._cost[kind] else 0.0
        if needs > left:
            raise NotReached(f"it takes about {clock(needs)}, and {shown(self._until)} was {clock(left)} away")
