"""Progress a person can read: clips, frames, what remains."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from manifests.results import Result

Say = Callable[[str], None]


class Progress:
    """Says after a clip, at most every `interval` seconds, how far the run is. Failures are said at once."""

    def __init__(self, clips: int, cost: float, say: Say, interval: float = 5.0) -> None:
        """`cost` is the sum over all clips of what `ended` is told of each: what the ETA is measured in."""
        self._clips = clips
        self._cost = cost
        self._say = say
        self._interval = interval
        self._begun = self._last = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._frames = 0
        self._cost_done = 0.0

    def ended(self, result: Result, cost: float) -> None:
        """Take in one clip's result."""
        self._counts[result.status] += 1
        self._cost_done += cost
        self._frames += result.frames or 0
        if not result.good:
            self._say(f"  {result.status}: row {result.row} ({result.id}) in {result.stage}: {result.error}")
        done = self._counts.total()
        now = time.monotonic()
        if done == self._clips or now - self._last >= self._interval:
            self._last = now
            self._say(self._line(done, now - self._begun))

    def _line(self, done: int, elapsed: float) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self._counts.items()))
        line = f"  {done}/{self._clips} clips ({counts}) · {self._frames} frames · {clock(elapsed)} elapsed"
        if done < self._clips and self._cost_done:
            line += f" · about {clock(elapsed * (self._cost - self._cost_done) / self._cost_done)} left"
        return line


def clock(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
