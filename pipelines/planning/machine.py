"""The machine a forecast is for: a card known by name, or what the configured workers run on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

from manifests.errors import WrongUsage
from manifests.field_error import choose

GIB = 2**30
# What is reached of a card's peak with these networks in half precision: facts of published codes and our own estimate,
# not measured on any card here. A core's figure was measured with `drawn` on this repository's test machine.
SHARE = 0.4
CORE_TFLOPS = 0.03
CONTEXT_BYTES = GIB  # CUDA's own, and what its allocator leaves unused


class Card(NamedTuple):
    """As its maker states it."""

    tflops: float  # peak of dense matrix products in half precision
    gib: float


CARDS = {
    "b200": Card(2250, 180),
    "h200": Card(989, 141),
    "h100": Card(989, 80),
    "a100-80": Card(312, 80),
    "a100-40": Card(312, 40),
    "l40s": Card(362, 48),
    "a10": Card(125, 24),
    "l4": Card(121, 24),
    "rtx4090": Card(165, 24),
    "rtx3090": Card(71, 24),
    "v100": Card(112, 16),
    "t4": Card(65, 16),
}


@dataclass(frozen=True)
class Machine:
    """What one animating worker computes on. `tflops` are those it reaches, not the peak."""

    name: str
    device: str  # cpu or cuda
    tflops: float
    memory_bytes: int | None
    source: str  # of `tflops`


def machine_of(device: str, card: str | None, tflops: float | None, dtype: str, threads: int | None) -> Machine:
    """The machine that options and configuration name. Raises `WrongUsage` for a card that is not known."""
    if card is not None and card not in CARDS:
        raise WrongUsage(f"--card {card}: is not known", f"{choose(card, CARDS)} or give what it reaches with --tflops")
    if tflops is not None and not tflops > 0:
        raise WrongUsage(f"--tflops {tflops:g}", "give a number above 0")
    if device == "cpu" and card is None:
        cores = threads or max(1, (os.cpu_count() or 1) - 1)
        reached = tflops or cores * CORE_TFLOPS
        source = "--tflops" if tflops else f"{CORE_TFLOPS:g} assumed for each of {cores} core(s)"
        return Machine("CPU", "cpu", reached, None, source)
    if card is None:
        if tflops is None:
            raise WrongUsage(
                "the workers hold GPUs, and nothing says which", f"add --card ({', '.join(CARDS)}), or --tflops"
            )
        return Machine("GPU", "cuda", tflops, None, "--tflops")
    known = CARDS[card]
    peak = known.tflops if dtype != "float32" else known.tflops / 8
    source = "--tflops" if tflops else f"{SHARE:.0%} assumed of a peak of {peak:g}"
    return Machine(card, "cuda", tflops or SHARE * peak, int(known.gib * GIB), source)
