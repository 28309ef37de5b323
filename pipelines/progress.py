"""Progress a person can read: clips, frames, what remains."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable

from manifests.log_context import about
from manifests.results import Result

log = logging.getLogger(__name__)

Say = Callable[[str], None]


class ClipProgress:
    """Says how far a single clip is: on a terminal in one line that is written over, else in a line now and then."""

    def __init__(self, say: Say, live: Say | None = None, interval: float = 10.0) -> None:
        """`live` writes over the last line, with a bar; else `say` is called at most every `interval` seconds."""
        self._tell = live or say
        self._bar = live is not None
        self._interval = 0.1 if live else interval
        self._last = time.monotonic()
        self._part = ""
        self._begun = self._begun_with = 0.0

    def __call__(self, part: str, done: float, whole: float) -> None:
        """Take in that `done` of `whole` is done of `part`, such as "denoising, step"."""
        now = time.monotonic()
        if part != self._part or done < self._begun_with:
            # what came before the first step, such as loading, is not the pace of the others
            self._part, self._begun, self._begun_with = part, now, done
        if now - self._last < self._interval:
            return
        self._last = now
        line = f"  {bar(done / whole)}" if self._bar and whole else " "
        line += f" {part} {math.ceil(done)} of {whole:g}"
        if done > self._begun_with:
            left = (now - self._begun) / (done - self._begun_with) * (whole - done)
            line += f" · about {clock(left)} left for this"
        self._tell(line)


class Progress:
    """Says after a clip, at most every `interval` seconds, how far the run is. Failures are said at once."""

    def __init__(
        self,
        clips: int,
        cost: float,
        say: Say,
        interval: float = 5.0,
        live: Say | None = None,
        busy: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`cost` is the sum over all clips of what `ended` is told of each: what the ETA is measured in.

        `live` writes over the last line, with a bar, at every `tick`; `busy` is the share of workers that are.
        """
        self._clips = clips
        self._cost = cost
        self._say = say
        self._live = live
        self._busy = busy
        self._interval = interval
        self._begun = self._last = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._frames = 0
        self._cost_done = 0.0
        # the pace is measured from the first clip's first step on: workers that start and load have none
        self._pace_since: float | None = None
        self._cost_before = 0.0
        self._done_before = 0

    def went_on(self, cost: float) -> None:
        """Take in a part of a clip."""
        self._cost_done += cost
        self._begin_pace(0.0)
        self._say_now_and_then(self._counts.total())

    def ended(self, result: Result, cost: float) -> None:
        """Take in one clip's result."""
        self._counts[result.status] += 1
        self._cost_done += cost
        self._frames += result.frames or 0
        with about(row=result.row, clip=result.id):
            log.info("row %d (%s) %s in %s s", result.row, result.id, result.status, result.seconds)
        if not result.good and result.status != "not_reached":  # of which there may be thousands
            self._say(f"  {result.status}: row {result.row} ({result.id}) in {result.stage}: {result.error}")
        took = 0.0
        if result.started is not None and result.finished is not None:
            took = (result.finished - result.started).total_seconds() - result.seconds.get("load", 0.0)
        self._begin_pace(took)
        self._say_now_and_then(self._counts.total())

    def _begin_pace(self, took: float) -> None:
        """The pace begins with what came first, and took so many seconds."""
        if self._pace_since is None:
            self._pace_since = time.monotonic() - max(0.0, took)
            done = self._counts.total()
            self._cost_before, self._done_before = (0, 0) if took > 0 else (self._cost_done, done)

    def _say_now_and_then(self, done: int) -> None:
        now = time.monotonic()
        if done == self._clips or (self._live is None and now - self._last >= self._interval):
            self._last = now
            self._say(self._line(done, now - self._begun))

    def tick(self) -> None:
        """A moment has passed: on a terminal the line is written anew."""
        done = self._counts.total()
        if self._live is not None and done < self._clips:
            self._live(self._line(done, time.monotonic() - self._begun, bar(self._cost_done / (self._cost or 1))))

    def _line(self, done: int, elapsed: float, drawn: str = "") -> str:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self._counts.items()))
        line = f"  {drawn} " if drawn else "  "
        line += f"{done}/{self._clips} clips" + (f" ({counts})" if counts else "")
        line += f" · {self._frames} frames · {clock(elapsed)} elapsed"
        if self._pace_since is None:
            return line
        since = time.monotonic() - self._pace_since
        if since > 0:
            line += f" · {3600 * (done - self._done_before) / since:,.0f} films/h"
        if (busy := self._busy()) is not None:
            line += f" · {busy:.0%} busy"
        if done < self._clips and self._cost_done > self._cost_before:
            pace = since / (self._cost_done - self._cost_before)
            line += f" · about {clock(pace * (self._cost - self._cost_done))} left"
        return line


def bar(share: float, width: int = 24) -> str:
    """A bar of so many letters, filled up to a share from 0 to 1."""
    filled = round(width * min(max(share, 0.0), 1.0))
    return "█" * filled + "░" * (width - filled)


def clock(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
