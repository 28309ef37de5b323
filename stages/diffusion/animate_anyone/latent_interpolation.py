"""Frames between denoised frames, made from latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch

Method = Literal["linear", "slerp"]
# Above this cosine two latents are too nearly parallel for an angle.
PARALLEL = 0.9995


def key_frames(start: int, stop: int, factor: int) -> list[int]:
    """Which of the frames [start, stop) are denoised: every `factor`-th of the clip, the first and the last."""
    between = (frame for frame in range(start + 1, stop - 1) if frame % factor == 0)
    return sorted({start, *between, stop - 1})


def interpolate(latents: torch.Tensor, frames: Sequence[int], method: Method) -> torch.Tensor:
    """Latents (keys, channels, height, width) of the ascending `frames` → of all frames from the first to the last.

    Source: SPEC.md section 9.
    """
    mix = _MIXES[method]
    made = [latents[0]]
    for at, (left, right) in enumerate(pairwise(frames)):
        gap = right - left
        made += [mix(latents[at], latents[at + 1], step / gap) for step in range(1, gap)]
        made.append(latents[at + 1])
    return torch.stack(made)


def _linear(left: torch.Tensor, right: torch.Tensor, part: float) -> torch.Tensor:
    return (1 - part) * left + part * right


def _spherical(left: torch.Tensor, right: torch.Tensor, part: float) -> torch.Tensor:
    """The angle is between the whole frames; its weights are given to the latents as they are, not normalised."""
    cosine = torch.sum(left / left.norm() * (right / right.norm()))
    if cosine.abs() > PARALLEL:
        return _linear(left, right, part)
    angle = torch.acos(cosine)
    return (torch.sin((1 - part) * angle) * left + torch.sin(part * angle) * right) / torch.sin(angle)


_MIXES: dict[Method, Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]] = {
    "linear": _linear,
    "slerp": _spherical,
}
