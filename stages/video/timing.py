"""Which frame of a video shows when: the rate of its timestamps, and the frames of an output of another rate."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import ceil

import numpy as np

from manifests.errors import Rejected

# Containers round timestamps to their ticks (Matroska: 1 ms), so a frame may be announced this part of a period late.
ROUNDING = Fraction(1, 8)
# Where nothing tells the rate of a single frame.
DEFAULT_RATE = Fraction(25)


def rate(timestamps: Sequence[Fraction], tick: Fraction, announced: Iterable[Fraction | None]) -> tuple[Fraction, bool]:
    """Return (frames per second, variable) of ascending timestamps in seconds from 0, rounded to `tick` seconds.

    A rate that the container announces is believed when every timestamp lies within a tick of it (and a quarter of
    a period, as AVI's tick is a whole one): that keeps 30000/1001 exact where a container rounds to milliseconds.
    Otherwise the rate is the average, and variable.
    """
    candidates = [one for one in announced if one and one > 0]
    if len(timestamps) < 2 or timestamps[-1] == 0:
        return (candidates[0] if candidates else DEFAULT_RATE), False
    average = (len(timestamps) - 1) / timestamps[-1]
    for candidate in [*candidates, average]:
        slack = min(tick, 1 / (4 * candidate))
        if all(abs(at - index / candidate) <= slack for index, at in enumerate(timestamps)):
            return candidate, False
    # An average like 4017000/133901 would give every film a time base of its own.
    return average.limit_denominator(1001), True


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
    native_fps = native_fps or fps
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
    count = max(1, ceil((end - begin - tolerance) * fps))
    instants = (begin + k / fps for k in range(count))
    return [max(0, bisect_right(timestamps, instant + tolerance) - 1) for instant in instants]


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
