"""Networks that live in main memory and are on their device only while they compute."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from stages.diffusion.networks.block_streaming import stream, streamed

log = logging.getLogger(__name__)

FILLED = 0.9  # part of a device's memory that weights may take: something is to be computed there too


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


def settle(network: nn.Module, device: str) -> nn.Module:
    """Move a network to its device, or `stream` it where the device's whole memory is too small for its weights."""
    weights = sum(weight.nbytes for weight in network.parameters())
    if weights < FILLED * memory_of(device):
        return nn.Module.to(network, device)
    log.warning(
        "weights of %.1f GiB are more than %s holds: each block is there while it computes", weights / 2**30, device
    )
    stream(network, device)
    return network


def memory_of(device: str) -> float:
    """Bytes of a device, whatever they are used for."""
    return torch.cuda.get_device_properties(device).total_memory if device.startswith("cuda") else math.inf


def spare(modules: Mapping[str, nn.Module], waiting: Iterable[str], streaming: Iterable[str], device: str) -> int:
    """Offload those that wait, stream those that compute at every step → bytes that have left the device."""
    left = 0
    for name in waiting:
        left += _bytes_on(modules[name], device)
        offload(modules[name], device)
    for name in streaming:
        before = _bytes_on(modules[name], device)
        if not streamed(modules[name]):
            stream(modules[name], device)
        left += before - _bytes_on(modules[name], device)
    return left if torch.device(device).type != "cpu" else 0


def _bytes_on(network: nn.Module, device: str) -> int:
    kind = torch.device(device).type
    return sum(weight.nbytes for weight in network.parameters() if weight.device.type == kind)


def _move(network: nn.Module, device: torch.device) -> None:
    nn.Module.to(network, device)  # diffusers' own warns of moves that it has not made itself
