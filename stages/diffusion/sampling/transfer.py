"""From main memory to a device without waiting for it: a plain copy would, until all that it was asked for is done."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor, on that device."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def picked(tensor: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
    """(n, …) → (places, …): those places of a tensor, wherever it is; a list as an index would be copied plainly."""
    return tensor[sent(torch.tensor(places), tensor.device)]
