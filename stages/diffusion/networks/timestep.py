"""Timesteps as networks take them."""

from __future__ import annotations

import torch


def timestep_on(device: torch.device, timestep: int) -> torch.Tensor:
    """(1,), filled in there: a number, or a tensor made of a list, is copied to a GPU, and the copy is waited for."""
    return torch.full((1,), timestep, device=device)
