"""Regional compilation: each transformer block of a network is compiled by itself, for films of any size and length."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from inspect import signature
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import nn

BACKEND = "inductor"
# Of one block: what is left to tell apart besides sizes, such as one branch or two, or one with a reference from one
# without. A block that meets more runs as it is written from then on.
MOST_GRAPHS = 8


def compile_blocks(networks: Iterable[nn.Module]) -> int:
    """Have torch compile the transformer blocks of these networks, each when it is first called → their number.

    With sizes as symbols from the first call on: a graph is not compiled for one size and then again for others, and
    what a film comes to does not depend on those that were made before it. (`UNetMotionModel` names no repeated blocks,
    as diffusers' own way of doing this asks for; Wan's transformers do.)
    """
    blocks = [block for network in networks for block in network.modules() if _repeats(network, block)]
    for block in blocks:
        # a cache of its own: else all blocks would share one limit, since their code is the same
        block.compile(backend=BACKEND, dynamic=True, **known(isolate_recompiles=True, recompile_limit=MOST_GRAPHS))
    return len(blocks)


def _repeats(network: nn.Module, block: nn.Module) -> bool:
    """Whether it is a transformer block, of whatever name diffusers has for those of this network."""
    named = getattr(network, "_repeated_blocks", ())
    return isinstance(block, BasicTransformerBlock) or type(block).__name__ in named


def known(**wanted: Any) -> dict[str, Any]:
    """Those of some arguments that this torch's compiler takes: an older one knows fewer, and has its own limit."""
    there = signature(torch.compile).parameters
    return {name: value for name, value in wanted.items() if name in there}


@cache
def require_compiler(device: str) -> None:
    """Raise whatever torch raises where it cannot compile for this device, as without a C++ compiler."""
    compiled = torch.compile(lambda numbers: numbers.cos() + 1, backend=BACKEND, dynamic=True)
    compiled(torch.ones(8, device=device))
