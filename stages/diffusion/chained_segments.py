"""Segments of systems that go on from the last frames of the segment before. Imports no torch.

Source: wan_animate/SPEC.md section 6.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from pydantic import Field

from stages.diffusion.animator import Options, Segment

if TYPE_CHECKING:
    from manifests.clip import Clip

PER_LATENT = 4  # frames of a latent frame, but for the first
UNGUIDED = 1.0  # guidance at which the conditional branch is all there is


class ChainedOptions(Options):
    """Options of all systems whose segments go on from one another."""

    colour_correction: float = Field(
        0.0, ge=0, le=1, description="how far later segments are led back to the colours of the first; mode standard"
    )
    flow_shift: float | None = Field(
        None,
        ge=0.1,
        le=20,
        exclude_if=lambda shift: shift is None,  # in no key of a film that goes without
        description="how long steps stay noisy; left out, the checkpoint's",
    )


class Resolved(NamedTuple):
    """What validation has filled in of a clip."""

    width: int
    height: int
    fit: Literal["stretch", "cover", "contain"]
    steps: int
    guidance: float
    longest: int  # frames of a segment
    carried: int  # frames from one segment to the next


def resolved(clip: Clip) -> Resolved:
    """The fields of a clip that systems of chained segments are made with."""
    guidance = cast(tuple[float, ...], clip.guidance)[0]
    fields = clip.width, clip.height, clip.fit, clip.steps, guidance, clip.window, clip.overlap
    return Resolved(*cast(Any, fields))


def segments(clip: Clip, frames: int) -> list[Segment]:
    """The segments of a clip: `clip.window` frames at most, of which `clip.overlap` are taken over.

    Standard mode makes them evenly long, so that next to nothing is drawn that no film shows.
    """
    asked = resolved(clip)
    even = even_length(frames, asked.longest, asked.carried)
    return chained(frames, asked.longest if clip.mode == "parity" else even, asked.carried)


def seen_frames(clip: Clip, segment: Segment) -> int:
    """Frames that the networks see of a segment, 4n + 1. In parity mode whole windows, as published."""
    return resolved(clip).longest if clip.mode == "parity" else at_least(len(segment))


def refusal(clip: Clip, longest: int, carried: Collection[int]) -> tuple[str, str] | None:
    """(error, remedy) for what general rules let pass of guidance, window and overlap; `carried` are those known."""
    window, name = clip.window or longest, clip.animator
    if clip.mode == "parity" and clip.options.get("colour_correction"):
        error = "options: colour_correction is heeded in mode standard, published films go without"
        return error, "leave it out, or use mode standard"
    if clip.guidance and clip.guidance[0] < UNGUIDED:
        error = f"guidance {clip.guidance[0]:g}: {name} is guided above {UNGUIDED:g} alone, and {UNGUIDED:g} is without"
        return error, f"use {UNGUIDED:g} or more, or leave it out"
    if window % PER_LATENT != 1:
        near = window // PER_LATENT * PER_LATENT + 1
        return f"window {window}: {name} makes 4n + 1 frames at once", f"use {near} or {near + PER_LATENT}"
    if clip.overlap is None:
        return None
    if clip.overlap not in carried:
        known = " or ".join(map(str, carried))
        return f"overlap {clip.overlap}: {name} carries {known} frames from one segment to the next", f"use {known}"
    if window <= 2 * clip.overlap:
        least = 2 * clip.overlap + 3
        return (
            f"window {window}: too short to carry {clip.overlap} frames",
            f"use {least} or more, or a smaller overlap",
        )
    return None


def count(frames: int, length: int, carried: int) -> int:
    """How many segments of `length` frames, `carried` of them taken over, show so many."""
    return max(1, -(-(frames - carried) // (length - carried)))


def chained(frames: int, length: int, carried: int) -> list[Segment]:
    """The segments of a clip; the last one may end before its `length`."""
    if frames <= length:
        return [Segment(0, frames)]
    step, number_of = length - carried, count(frames, length, carried)
    return [
        Segment(
            number * step,
            min(number * step + length, frames),
            number,
            whole=False,
            taken_over=carried if number else 0,
        )
        for number in range(number_of)
    ]


def even_length(frames: int, longest: int, carried: int) -> int:
    """The least 4n + 1 with which the clip takes no more segments than with the `longest`: nothing is thrown away."""
    number_of = count(frames, longest, carried)
    least = -(-(frames - carried) // number_of) + carried
    return at_least(least)


def at_least(frames: int) -> int:
    """The least 4n + 1 from so many frames on, of two latent frames or more."""
    return max(PER_LATENT + 1, -(-(frames - 1) // PER_LATENT) * PER_LATENT + 1)


def reflected(frame: int, frames: int) -> int:
    """Which frame of a clip stands for one beyond its end: back from the last one to the first, and so on."""
    if frames == 1:
        return 0
    place = frame % (2 * (frames - 1))
    return place if place < frames else 2 * (frames - 1) - place
