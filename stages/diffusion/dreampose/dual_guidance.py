"""Guidance by image and by pose: three predictions of every frame, of which only those that count are made.

Source: SPEC.md sections 6 and 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from stages.diffusion.dreampose.pose_packing import PackedPoses
from stages.diffusion.dreampose.unet import ContextUNet
from stages.diffusion.sampling.windows import Window


class Row(NamedTuple):
    """One prediction of a frame."""

    context: int  # 0 the unconditional one, 1 the key image's
    posed: bool  # whether it sees the pose, or zeros


UNCONDITIONAL, FULL, IMAGE_ONLY = Row(0, False), Row(1, True), Row(1, False)


def row_weights(image: float, pose: float) -> dict[Row, float]:
    """The rows that count in e_u + image · (e_i - e_u) + pose · (e_f - e_i), and how much."""
    weights = {UNCONDITIONAL: 1 - image, FULL: pose, IMAGE_ONLY: image - pose}
    return {row: weight for row, weight in weights.items() if weight}


class GuidedFrames:
    """The window model of one clip whose frames do not see each other. Its windows are what one call holds."""

    def __init__(
        self,
        unet: ContextUNet,
        contexts: torch.Tensor,
        poses: PackedPoses,
        rows: Sequence[Row],
        equal_starts: bool = False,
    ) -> None:
        """`contexts` (2, 1 or frames, tokens, width) and `poses` are those of the clip's frames.

        `equal_starts`: all frames start from the same latents, so at the first step only their poses differ.
        """
        self._unet = unet
        self._contexts = contexts
        self._shared = contexts.flatten(0, 1) if contexts.shape[1] == 1 else None
        self._poses = poses
        self._rows = rows
        self._equal_starts = equal_starts
        self._steps = 0
        self._first: dict[Row, torch.Tensor] = {}

    def begin_step(self, timestep: int, windows: Sequence[Window]) -> None:
        """Count the steps."""
        self._steps += 1

    def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        """(window frames, 4, height, width) → (rows, window frames, 4, height, width)."""
        frames = list(window.frames)
        if self._steps > 1 or not self._equal_starts:
            return self._predicted(self._rows, latents, timestep, frames)
        posed = [row for row in self._rows if row.posed]
        unposed = [row for row in self._rows if not row.posed]
        if unposed and not self._first:
            self._first = dict(zip(unposed, self._predicted(unposed, latents[:1], timestep, frames[:1]), strict=True))
        found = dict(self._first)
        if posed:
            found |= zip(posed, self._predicted(posed, latents, timestep, frames), strict=True)
        return torch.stack([found[row].expand(latents.shape) for row in self._rows])

    def _predicted(self, rows: Sequence[Row], latents: torch.Tensor, timestep: int, frames: list[int]) -> torch.Tensor:
        poses = self._poses[frames]
        latents = latents.to(poses.dtype)
        sample = torch.cat(
            [torch.cat([latents, poses if row.posed else torch.zeros_like(poses)], dim=1) for row in rows]
        )
        contexts, numbers = self._shared, [row.context for row in rows for _ in frames]
        if contexts is None:
            contexts = self._contexts[:, frames].flatten(0, 1)
            numbers = [row.context * len(frames) + place for row in rows for place in range(len(frames))]
        noise = self._unet.predict(sample, timestep, contexts, numbers)
        return noise.unflatten(0, (len(rows), len(frames)))
