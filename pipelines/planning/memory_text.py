"""`catwalk models --memory`: what each animator takes of its device, at which size, and the card that it fits on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from manifests.clip import Clip
from pipelines.planning.chained import checkpoints_of, counted_as
from pipelines.planning.machine import CARDS, GIB
from pipelines.planning.memory import memory_of
from stages.diffusion.animator import Facts, compute_dtype
from stages.diffusion.animators import ANIMATORS

FRAMES = 240  # of the clips: a whole segment


def memory_lines(sizes: Sequence[tuple[int, int]], window: int | None, dtype: str, device: str) -> Iterator[str]:
    """A line for every animator at its own size, or at `sizes` (width, height), with and without `low_vram`."""
    parts = ("weights", "window", "kept", "picture", "prompt", "peak")
    yield (
        f"{'animator':<16} {'size':>9} window {'dtype':<9} low_vram"
        + "".join(f"{part:>9}" for part in parts)
        + "  card"
    )
    for name, facts in ANIMATORS.items():
        for width, height in sizes or [facts.native_size]:
            clip, computed = _typical(facts, width, height, window), compute_dtype(facts, device, dtype)
            for checkpoint, low_vram in product(checkpoints_of(name), (False, True)):
                if found := memory_of(clip, FRAMES, device, dtype, low_vram, checkpoint):
                    figures = "".join(f"{getattr(found, part) / GIB:9.2f}" for part in parts)
                    spared = "yes" if low_vram else "no"
                    size = f"{width}×{height}"
                    card = _smallest_card(found.peak) if device == "cuda" else "-"
                    called = counted_as(name, checkpoint)
                    yield f"{called:<16} {size:>9} {clip.window:6d} {computed:<9} {spared:<8}{figures}  {card}"
    yield (
        f"GiB, of a clip of {FRAMES} frames. Peak: weights, and window with what is kept, or a decoded picture, or "
        "what reads a prompt where that waits in main memory; on cuda with its context. Card: the smallest that holds "
        "it. Counted on the networks, and not measured on a GPU."
    )


def _typical(facts: Facts, width: int, height: int, window: int | None) -> Clip:
    """A clip as its animator draws it where a row says no more than the size."""
    return Clip(
        id=facts.name,
        animator=facts.name,
        width=width,
        height=height,
        window=window or facts.window,
        overlap=facts.overlap,
        steps=facts.steps,
        guidance=facts.guidance or None,
        prompt="a" if facts.text else "",
    )


def _smallest_card(size: float) -> str:
    fitting = [(card.gib, name) for name, card in CARDS.items() if card.gib * GIB >= size]
    return min(fitting)[1] if fitting else "none"
