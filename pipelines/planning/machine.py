"""The workers a forecast is for, and their machine: a card known by name, or what the configured workers run on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
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

# Ray's names of cards where they are others; of a card that is made in two sizes, the smaller one
RAY_NAMES = {"a100": "a100-40", "a100-40g": "a100-40", "a100-80g": "a100-80", "a10g": "a10"}


@dataclass(frozen=True)
class Machine:
    """What one animating worker computes on. `tflops` are those it reaches, not the peak; None: nobody knows."""

    name: str
    device: str  # cpu or cuda
    tflops: float | None
    memory_bytes: int | None
    source: str  # of `tflops`


@dataclass(frozen=True)
class Workers:
    """Who does the work: `animating` workers, each of which holds `gpus`, and those that find poses.

    `together` devices of each make a film. Some animators have workers of their `own`.
    """

    machine: Machine
    animating: int
    gpus: float
    posing: int
    together: int = 1
    own: Mapping[str, Workers] = field(default_factory=dict)

    def of(self, animator: str) -> Workers:
        """Those that make an animator's films."""
        return self.own.get(animator, self)


def card_of(accelerator_type: str | None) -> str | None:
    """The card that Ray calls so; None for one that is not known."""
    name = (accelerator_type or "").lower()
    name = RAY_NAMES.get(name, name)
    return name if name in CARDS else None


def machine_of(
    device: str, card: str | None, tflops: float | None, dtype: str, threads: int | None, measured: bool = False
) -> Machine:
    """The machine that options and configuration name; it need not be named where its pace is `measured`.

    Raises `WrongUsage` for a card that is not known.
    """
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
        if tflops is None and not measured:
            raise WrongUsage(
                "the workers hold GPUs, and nothing says which",
                f"add --card ({', '.join(CARDS)}), --tflops, or --calibrate where they are",
            )
        return Machine("GPU", "cuda", tflops, None, "--tflops" if tflops else "measured")
    known = CARDS[card]
    peak = known.tflops if dtype != "float32" else known.tflops / 8
    source = "--tflops" if tflops else f"{SHARE:.0%} assumed of a peak of {peak:g}"
    return Machine(card, "cuda", tflops or SHARE * peak, int(known.gib * GIB), source)
