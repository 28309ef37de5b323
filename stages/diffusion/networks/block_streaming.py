"""Networks larger than their device: each block is there while it computes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

_NAME = "blocks_stream"  # a name that no network has for something else
Place = tuple[nn.Module, str]  # of a weight: the module that has it, and its name there


def stream(network: nn.Module, device: str) -> None:
    """Keep the blocks of a network in main memory, from where each goes to the device to compute; the rest is there.

    Blocks are what it has in lists. Compiled ones stay where they are: what computes there knows no hooks.
    """
    blocks = list(blocks_of(network))
    if streamed(network) or any(block._compiled_call_impl for block in blocks):
        return
    setattr(network, _NAME, Stream(blocks, torch.device(device)))
    _move_rest(network, blocks, torch.device(device))


def blocks_of(network: nn.Module) -> Iterator[nn.Module]:
    """What it has in lists, outermost ones."""
    for part in network.children():
        yield from part if isinstance(part, nn.ModuleList) else blocks_of(part)


def streamed(network: nn.Module) -> bool:
    """Whether `stream` has been called of it."""
    return hasattr(network, _NAME)


class Stream:
    """Brings blocks, and on CUDA the next one while one computes, in the order that the first forward has shown."""

    def __init__(self, blocks: list[nn.Module], device: torch.device) -> None:
        self._device = device
        cuda = device.type == "cuda"
        self._copying = torch.cuda.Stream(device) if cuda else None
        self._places = [list(_places(block)) for block in blocks]
        self._waiting: list[list[nn.Parameter]] = []  # pinned: else nothing travels beside what computes
        self._next: dict[int, int] = {}  # the block that has followed each one
        self._last: int | None = None
        self._coming: tuple[int, list[nn.Parameter]] | None = None
        for number, block in enumerate(blocks):
            self._waiting.append([_on_host(owner._parameters[name], cuda) for owner, name in self._places[number]])
            self._leave(number)
            block.register_forward_pre_hook(lambda *_, number=number: self._arrive(number))
            block.register_forward_hook(lambda *_, number=number: self._leave(number), always_call=True)

    def _arrive(self, number: int) -> None:
        coming, self._coming = self._coming, None
        found = coming[1] if coming is not None and coming[0] == number else self._copies(number)
        if self._copying is not None:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_stream(self._copying)
            for copy in found:
                copy.record_stream(computing)  # its memory is the other stream's to use again
        _put(self._places[number], found)
        if self._last is not None:
            self._next[self._last] = number
        self._last = number
        if self._copying is not None and (following := self._next.get(number)) is not None:
            self._coming = following, self._copies(following)

    def _leave(self, number: int) -> None:
        _put(self._places[number], self._waiting[number])

    @torch.inference_mode(mode=False)
    def _copies(self, number: int) -> list[nn.Parameter]:
        with torch.cuda.stream(self._copying):  # none: nothing
            return [_weight(kept.to(self._device, non_blocking=True, copy=True)) for kept in self._waiting[number]]


def _places(network: nn.Module) -> Iterator[Place]:
    for part in network.modules():
        yield from ((part, name) for name, weight in part._parameters.items() if weight is not None)


def _put(places: list[Place], weights: list[nn.Parameter]) -> None:
    for (owner, name), weight in zip(places, weights, strict=True):
        owner._parameters[name] = weight


def _move_rest(network: nn.Module, blocks: list[nn.Module], device: torch.device) -> None:
    """What belongs to no block, and all that is no weight."""
    of_blocks = {part for block in blocks for part in block.modules()}
    rest = [(owner, name) for owner, name in _places(network) if owner not in of_blocks]
    _put(rest, [_weight(owner._parameters[name].detach().to(device)) for owner, name in rest])
    for part in network.modules():
        for name, known in part.named_buffers(recurse=False):
            part._buffers[name] = known.to(device)


@torch.inference_mode(mode=False)
def _on_host(weight: nn.Parameter, pinned: bool) -> nn.Parameter:
    kept = weight.detach().to("cpu")
    return _weight(kept.pin_memory() if pinned else kept)


def _weight(values: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
