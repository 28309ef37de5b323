"""Networks that live in main memory and are on their device only while they compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def offload(network: nn.Module, device: str) -> None:
    """Move a network to main memory; whoever computes with it does so within `at_work`, on that device."""
    network.works_on = torch.device(device)  # a name that no network has for something else
    _move(network, torch.device("cpu"))


@contextmanager
def at_work(network: nn.Module) -> Iterator[None]:
    """While the block lasts, the network is on its device."""
    device = getattr(network, "works_on", None)
    if device is None:
        yield
        return
    try:
        _move(network, device)  # within: out of memory, it stops halfway
        yield
    finally:
        _move(network, torch.device("cpu"))


def _move(network: nn.Module, device: torch.device) -> None:
    nn.Module.to(network, device)  # diffusers' own warns of moves that it has not made itself
