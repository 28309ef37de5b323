"""Which frame of a video shows when: the rate of its timestamps, and the frames of an output of another rate."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, lcm
from typing import NamedTuple, overload

import numpy as np

from manifests.errors import Rejected
from manifests.frame_rate import NTSC

# Containers round timestamps to their ticks (Matroska: 1 ms), so a frame may be announced this part of a period late.
ROUNDING = Fraction(1, 8)
# What Matroska and FLV round timestamps to; they stay rounded when such a file is copied into another container.
MILLISECOND = Fraction(1, 1000)
# Where nothing tells the rate of a single frame.
DEFAULT_RATE = Fraction(25)
# A picture that shows this many periods is held: a recorder that writes nothing while nothing moves.
HELD = Fraction(7, 4)
# How far a measured rate may be from an announced one, and from a usual one, to be that.
NEAR_ANNOUNCED, NEAR_USUAL = Fraction(1, 200), Fraction(1, 50)


class Rate(NamedTuple):
    """Frames per second; `variable` where the frames are not evenly spaced; `inferred` where nothing announced it."""

    fps: Fraction
    variable: bool
    inferred: bool = False


def rate(timestamps: Sequence[Fraction], tick: Fraction, announced: Iterable[Fraction | None]) -> Rate:
    """Tell the rate of ascending timestamps in seconds from 0, rounded to `tick` seconds.

    A rate that the container announces is believed when every timestamp lies within a tick of it (and a quarter of
    a period, as AVI's tick is a whole one): that keeps 30000/1001 exact where a container rounds to milliseconds.
    libav also announces averages like 19001/317; before one of these is believed of rounded timestamps, and where none
    is, the usual rates next to the average are tried on timestamps that were rounded to milliseconds at some time.
    What no rate fits is variable: its rate is that of the motion where pictures are held, else the average.
    """
    stated = [one for one in announced if one and one > 0]
    if len(timestamps) < 2 or timestamps[-1] == 0:
        return Rate(stated[0] if stated else DEFAULT_RATE, False)
    average = (len(timestamps) - 1) / timestamps[-1]
    usual = [candidate for candidate in stated if candidate in _usual_rates(candidate)]
    exact = tick < MILLISECOND / 2
    for candidate in stated:
        if (exact or candidate in usual or candidate * tick == 1) and _fits(timestamps, candidate, tick):
            return Rate(candidate, False)
    for candidate in sorted(_usual_rates(average), key=lambda near: near not in usual):
        if _spread(timestamps, candidate) <= min(MILLISECOND + tick, 1 / (4 * candidate)):
            return Rate(candidate, False, inferred=True)
    for candidate in [*stated, average]:
        if _fits(timestamps, candidate, tick):
            return Rate(candidate, False)
    motion = _motion_rate(timestamps, usual)
    # An average like 4017000/133901 would give every film a time base of its own.
    return Rate(motion or average.limit_denominator(1001), True, inferred=motion is not None)


def _fits(timestamps: Sequence[Fraction], fps: Fraction, tick: Fraction) -> bool:
    slack = min(tick, 1 / (4 * fps))
    return all(abs(at - index / fps) <= slack for index, at in enumerate(timestamps))


def _spread(timestamps: Sequence[Fraction], fps: Fraction) -> Fraction:
    """How far the timestamps stray from even ones, earliest to latest: the first is rounded like any other."""
    strays = [at - index / fps for index, at in enumerate(timestamps)]
    return max(strays) - min(strays)


def _usual_rates(fps: Fraction) -> list[Fraction]:
    """The multiple of a half next to `fps`, if it is not 0, and the rate of NTSC next to it; the nearer one first."""
    near = Fraction(round(fps * 2), 2), min(NTSC, key=lambda rate: abs(rate - fps))
    return sorted((rate for rate in near if rate > 0), key=lambda rate: abs(rate - fps))


def _motion_rate(timestamps: Sequence[Fraction], announced: Sequence[Fraction]) -> Fraction | None:
    """The rate of the frames between which something moves, if some pictures are held; else None.

    Motion is what follows about as fast as the fastest frames do, but for the fastest in twenty: recorders stutter.
    """
    periods = sorted(after - before for before, after in pairwise(timestamps) if after > before)
    fastest = periods[len(periods) // 20]
    moving = [period for period in periods if period <= fastest * 3 / 2]
    period = sum(moving, Fraction(0)) / len(moving)
    if len(moving) < 4 or periods[-1] < HELD * period:
        return None
    measured = 1 / period
    same = [fps for fps in announced if abs(fps / measured - 1) <= NEAR_ANNOUNCED]
    same += [fps for fps in _usual_rates(measured) if abs(fps / measured - 1) <= NEAR_USUAL]
    return same[0] if same else measured.limit_denominator(1001)


def select(
    timestamps: Sequence[Fraction],
    fps: Fraction,
    start: Fraction | None = None,
    duration: Fraction | None = None,
    first_frame: int | None = None,
    frame_count: int | None = None,
    native_fps: Fraction | None = None,
) -> list[int]:
    """Return for each output instant k/fps the source frame that shows then: non-descending indices, repeats included.

    `timestamps` are the source's, in seconds from 0, ascending; `native_fps` is its (average) rate, by default `fps`;
    its last frame lasts 1/native_fps. The range is given either in seconds (`start`, `duration`) or in source frames
    (`first_frame`, `frame_count`) and ends with the source if that is sooner. At the rate of a constant-rate source
    the result is first, first + 1, … exactly. Raises Rejected for a range given both ways or without a frame in it.
    """
    begin, count, tolerance = _instants(timestamps, fps, start, duration, first_frame, frame_count, native_fps or fps)
    # In integers, 1/parts of a second each, and on from frame to frame: fractions take ten times as long.
    latest = begin + tolerance
    parts = lcm(latest.denominator, fps.numerator)
    moment, step = int(latest * parts), int(parts / fps)
    begun, chosen = bisect_right(timestamps, latest), []
    for _ in range(count):
        while begun < len(timestamps) and (at := timestamps[begun]).numerator * parts <= moment * at.denominator:
            begun += 1
        chosen.append(max(0, begun - 1))
        moment += step
    return chosen


def selected_count(
    timestamps: Sequence[Fraction],
    fps: Fraction,
    start: Fraction | None = None,
    duration: Fraction | None = None,
    first_frame: int | None = None,
    frame_count: int | None = None,
    native_fps: Fraction | None = None,
) -> int:
    """How many frames `select` returns, without choosing them: it looks at a few timestamps only. Raises as it does."""
    return _instants(timestamps, fps, start, duration, first_frame, frame_count, native_fps or fps)[1]


class EvenTimestamps(Sequence[Fraction]):
    """Timestamps of `frames` frames at a constant rate, in seconds from 0, each made when it is asked for."""

    def __init__(self, frames: int, fps: Fraction) -> None:
        self._frames = range(frames)
        self._fps = fps

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Fraction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Fraction]: ...
    def __getitem__(self, index: int | slice) -> Fraction | list[Fraction]:
        if isinstance(index, slice):
            return [frame / self._fps for frame in self._frames[index]]
        return self._frames[index] / self._fps


class KeptTimestamps(Sequence[Fraction]):
    """Timestamps in seconds in 8 bytes each, for those who keep many: a fraction takes more than a hundred."""

    def __init__(self, seconds: Sequence[Fraction]) -> None:
        self._parts = lcm(*(second.denominator for second in seconds))
        self._ticks = array("q", (int(second * self._parts) for second in seconds))

    def __len__(self) -> int:
        return len(self._ticks)

    @overload
    def __getitem__(self, index: int) -> Fraction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Fraction]: ...
    def __getitem__(self, index: int | slice) -> Fraction | list[Fraction]:
        if isinstance(index, slice):
            return [Fraction(tick, self._parts) for tick in self._ticks[index]]
        return Fraction(self._ticks[index], self._parts)


def _instants(
    timestamps: Sequence[Fraction],
    fps: Fraction,
    start: Fraction | None,
    duration: Fraction | None,
    first_frame: int | None,
    frame_count: int | None,
    native_fps: Fraction,
) -> tuple[Fraction, int, Fraction]:
    """(second of the first output instant, how many there are, how late a frame may be announced)."""
    if (start or duration is not None) and (first_frame is not None or frame_count is not None):
        raise Rejected(
            "start/duration and first_frame/frame_count are both given", "give the range in seconds or in source frames"
        )
    source_end = timestamps[-1] + 1 / native_fps
    if first_frame is not None or frame_count is not None:
        begin, end = _frame_range(timestamps, source_end, first_frame or 0, frame_count)
    else:
        begin = start or Fraction(0)
        end = source_end if duration is None else min(source_end, begin + duration)
        if begin < 0 or begin >= end:
            asked = f"start {_seconds(begin)}" + ("" if duration is None else f", duration {_seconds(duration)}")
            raise Rejected(
                f"{asked}: no frame of the video, which lasts {_seconds(source_end)}", "choose a range inside the video"
            )
    tolerance = ROUNDING * min(1 / native_fps, 1 / fps)
    return begin, max(1, ceil((end - begin - tolerance) * fps)), tolerance


def select_evenly(
    num_frames: int, native_fps: float, fps: float, start: float = 0.0, end: float | None = None
) -> list[int]:
    """Return the source frame of every output frame as Text2Video-Zero's published code chooses them.

    Seconds [start, end) of a constant-rate source; a part of an output frame at the end is left out, which may leave
    none at all. Source: stages/diffusion/text2video_zero/SPEC.md section 5, in its floating-point arithmetic.
    """
    end = num_frames / native_fps if end is None else end
    count = max(0, int((end - start) * fps))
    return np.linspace(int(start * native_fps), int(end * native_fps), count, endpoint=False).astype(int).tolist()


def _frame_range(
    timestamps: Sequence[Fraction], source_end: Fraction, first: int, count: int | None
) -> tuple[Fraction, Fraction]:
    """Return (begin, end) in seconds of `count` source frames from `first` on."""
    if not 0 <= first < len(timestamps) or (count is not None and count < 1):
        asked = f"first_frame {first}" + ("" if count is None else f", frame_count {count}")
        raise Rejected(
            f"{asked}: no frame of the video, which has {len(timestamps)}", "choose a range inside the video"
        )
    after = len(timestamps) if count is None else first + count
    return timestamps[first], (timestamps[after] if after < len(timestamps) else source_end)


def _seconds(value: Fraction) -> str:
    return f"{float(value):.3f} s"
