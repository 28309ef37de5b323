"""Networks that live in main memory and are on their device only while they compute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from diffusers.hooks import apply_group_offloading
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


def stream(network: nn.Module, device: str) -> None:
    """Move a network to main memory; from then on each of its blocks is on that device while it computes.

    On CUDA the next block is on its way meanwhile, from pinned memory: a network whose blocks compute for longer than
    they travel loses no time. `network` is diffusers', with its blocks in lists.
    """
    network.block_by_block = True
    apply_group_offloading(
        network,
        onload_device=torch.device(device),
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=device.startswith("cuda"),
    )


def streamed(network: nn.Module) -> bool:
    """Whether `stream` was called of it."""
    return getattr(network, "block_by_block", False)


def spare(modules: Mapping[str, nn.Module], waiting: Iterable[str], streaming: Iterable[str], device: str) -> int:
    """Offload those that wait, stream those that compute at every step → bytes that have left the device."""
    left = 0
    for name in waiting:
        left += _bytes_on(modules[name], device)
        offload(modules[name], device)
    for name in streaming:
        if not streamed(modules[name]):
            left += _bytes_on(modules[name], device)
            stream(modules[name], device)
    return left if device != "cpu" else 0


def _bytes_on(network: nn.Module, device: str) -> int:
    kind = torch.device(device).type
    return sum(weight.nbytes for weight in network.parameters() if weight.device.type == kind)


def _move(network: nn.Module, device: torch.device) -> None:
    nn.Module.to(network, device)  # diffusers' own warns of moves that it has not made itself
