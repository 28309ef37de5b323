"""Which frames a clip's segments show, and what is shown beyond its end. Imports no torch.

Source: SPEC.md section 6.
"""

from __future__ import annotations

from stages.diffusion.animator import Segment

PER_LATENT = 4  # frames of a latent frame, but for the first


def count(frames: int, length: int, carried: int) -> int:
    """How many segments of `length` frames, `carried` of them taken over, show so many."""
    return max(1, -(-(frames - carried) // (length - carried)))


def chained(frames: int, length: int, carried: int) -> list[Segment]:
    """The segments of a clip; the last one may end before its `length`."""
    step = length - carried
    number_of = count(frames, length, carried)
    if number_of == 1:
        return [Segment(0, frames)]
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
    return max(PER_LATENT + 1, -(-(least - 1) // PER_LATENT) * PER_LATENT + 1)


def reflected(frame: int, frames: int) -> int:
    """Which frame of a clip stands for one beyond its end: back from the last one to the first, and so on."""
    if frames == 1:
        return 0
    place = frame % (2 * (frames - 1))
    return place if place < frames else 2 * (frames - 1) - place
