"""The most that tensors hold at once while a call computes, on the meta device too."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Call = Callable[[], Any]


class Alive(TorchDispatchMode):
    """The most elements, or bytes, of tensors that were alive at once within the block, beside those from before it."""

    def __init__(self, in_bytes: bool = False) -> None:
        super().__init__()
        self._in_bytes = in_bytes
        self.most = self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors(args):  # what is there from before, such as weights
            self._take(tensor.untyped_storage(), 0)
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            size = 1 if self._in_bytes else tensor.element_size()
            self._take(tensor.untyped_storage(), tensor.untyped_storage().nbytes() // size)
        return made

    def _take(self, storage: torch.UntypedStorage, elements: int) -> None:
        if storage._cdata in self._known:
            return
        number = storage._cdata
        self._known.add(number)
        self._now += elements
        self.most = max(self.most, self._now)

        def gone() -> None:
            self._known.discard(number)
            self._now -= elements

        weakref.finalize(storage, gone)


def _tensors(given: Any) -> Iterator[torch.Tensor]:
    return (one for one in tree_leaves(given) if isinstance(one, torch.Tensor))


def held(run: Call) -> float:
    """Millions of elements that a call holds at most, where attention does not write its weights down."""
    return _most(run, in_bytes=False) / 1e6


def held_bytes(run: Call) -> float:
    """The same in bytes, for calls of several types."""
    return _most(run, in_bytes=True)


def _most(run: Call, in_bytes: bool) -> int:
    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return query.new_empty((*query.shape[:-1], value.shape[-1]))

    here, of_diffusers = "stages.diffusion.networks.attention_heads", "torch.nn.functional"
    name = "scaled_dot_product_attention"
    patched = patch(f"{here}.{name}", attention), patch(f"{of_diffusers}.{name}", attention)
    with torch.no_grad(), patched[0], patched[1], Alive(in_bytes) as alive:
        run()
    return alive.most
