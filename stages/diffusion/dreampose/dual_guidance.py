"""Guidance by image and by pose: three predictions of every frame, of which only those that count are made.

Source: SPEC.md sections 6 and 12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch

from stages.diffusion.dreampose.pose_packing import PackedPoses
from stages.diffusion.dreampose.unet import Conditioning, ContextUNet
from stages.diffusion.sampling.windows import Window


class Branch(NamedTuple):
    """One prediction of a frame."""

    context: int  # 0 the unconditional one, 1 the key image's
    posed: bool  # whether it sees the pose, or zeros


UNCONDITIONAL, FULL, IMAGE_ONLY = Branch(0, False), Branch(1, True), Branch(1, False)


def branch_weights(image: float, pose: float) -> dict[Branch, float]:
    """The branches that count in e_u + image · (e_i - e_u) + pose · (e_f - e_i), and how much."""
    weights = {UNCONDITIONAL: 1 - image, FULL: pose, IMAGE_ONLY: image - pose}
    return {branch: weight for branch, weight in weights.items() if weight}


def dual_guidance(weights: Iterable[float]) -> Callable[[torch.Tensor], torch.Tensor]:
    """(branches, frames, channels, height, width) → (frames, …): the branches by their weights."""
    by_branch = torch.tensor(list(weights)).view(-1, 1, 1, 1, 1)
    return lambda branches: (branches * by_branch.to(branches.device)).sum(dim=0)


# key image ─┬─ CLIP + VAE ── adapter ── context ── keys and values of every layer ──┐
#            └─ VAE + noise ──┐                                                      │
# five poses, or zeros ───────┴── UNet, every branch of a frame by itself ───────────┴── noise prediction
class ClipModel:
    """The window model of one clip, whose frames do not see each other: its windows are what one call holds."""

    def __init__(
        self,
        unet: ContextUNet,
        contexts: torch.Tensor,
        poses: PackedPoses,
        branches: Sequence[Branch],
        equal_starts: bool = False,
    ) -> None:
        """`contexts` (2, 1 or frames, tokens, width) and `poses` are those of the clip's frames.

        `equal_starts`: all frames start from the same latents, so at the first step only their poses differ.
        """
        self._unet = unet
        self._contexts = contexts
        self._shared = unet.project(contexts[:, 0]) if contexts.shape[1] == 1 else None
        self._poses = poses
        self._branches = branches
        self._equal_starts = equal_starts
        self._steps = 0
        self._first: dict[Branch, torch.Tensor] = {}

    def begin_step(self, timestep: int, windows: Sequence[Window]) -> None:
        """Count the steps."""
        self._steps += 1

    def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        """(window frames, 4, height, width) → (branches, window frames, 4, height, width)."""
        frames = list(window.frames)
        if self._steps > 1 or not self._equal_starts:
            return self._predicted(self._branches, latents, timestep, frames)
        posed = [branch for branch in self._branches if branch.posed]
        unposed = [branch for branch in self._branches if not branch.posed]
        if unposed and not self._first:
            self._first = dict(zip(unposed, self._predicted(unposed, latents[:1], timestep, frames[:1]), strict=True))
        found = dict(self._first)
        if posed:
            found |= zip(posed, self._predicted(posed, latents, timestep, frames), strict=True)
        return torch.stack([found[branch].expand(latents.shape) for branch in self._branches])

    def _predicted(
        self, branches: Sequence[Branch], latents: torch.Tensor, timestep: int, frames: list[int]
    ) -> torch.Tensor:
        poses = self._poses[frames]
        latents = latents.to(poses.dtype)
        sample = torch.cat(
            [torch.cat([latents, poses if branch.posed else torch.zeros_like(poses)], dim=1) for branch in branches]
        )
        noise = self._unet.predict(sample, timestep, self._conditioning(branches, frames))
        return noise.unflatten(0, (len(branches), len(frames)))

    def _conditioning(self, branches: Sequence[Branch], frames: list[int]) -> Conditioning:
        """Which context each sample reads, all frames of the first branch first.

        What the whole clip reads is projected once; each frame's own (as published) anew with every window, because
        they would take 5 MB a frame.
        """
        of_branch = torch.tensor([branch.context for branch in branches], device=self._contexts.device)
        if self._shared is not None:
            return Conditioning(self._shared, of_branch.repeat_interleave(len(frames)))
        own = self._contexts[:, frames]
        numbers = torch.arange(own.shape[0] * own.shape[1], device=own.device).view(own.shape[:2])
        return Conditioning(self._unet.project(own.flatten(0, 1)), numbers[of_branch].flatten())
