"""Guidance by image and by pose: three predictions of every frame, of which only those that count are made.

Source: SPEC.md sections 6 and 12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from stages.diffusion.sampling.transfer import sent


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
    """(branches, frames, channels, height, width) → (frames, …): the branches by their weights.

    A single one is returned as it is: weights add up to 1.
    """
    by_branch = torch.tensor(list(weights)).view(-1, 1, 1, 1, 1)

    def guide(branches: torch.Tensor) -> torch.Tensor:
        return branches[0] if len(branches) == 1 else (branches * sent(by_branch, branches.device)).sum(dim=0)

    return guide
