"""A forecast as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.disk_space import megabytes
from pipelines.planning.forecast import Figures
from pipelines.planning.machine import GIB
from pipelines.progress import clock


def forecast_lines(made: Figures) -> Iterator[str]:
    """What is to be done, how long it takes, what it needs and costs, and all that was assumed."""
    yield (
        f"{made.films} films to make: {made.frames:,} frames, {made.film_seconds:,.1f} s of film; {made.windows:,} "
        f"windows in {made.segments:,} segments, {made.pflop:,.3g} PFLOP"
    )
    others = [
        f"{count:,} {what}"
        for count, what in (
            (made.encoded_anew, "of them encoded anew from stored latents"),
            (made.copies, "the same as one of these"),
            (made.finished, "finished already"),
            (made.refused, "refused"),
        )
        if count
    ]
    if others:
        yield "  " + ", ".join(others)
    if not made.films:
        return
    who = f"{made.gpus:g} GPU(s)" if made.gpus else f"{made.workers} worker(s) without GPU"
    yield f"time: {clock(made.wall_seconds)} with {who}, of which {clock(made.start_seconds)} until they are there"
    if made.gpus:
        busy = made.gpu_hours / made.gpu_hours_held if made.gpu_hours_held else 0.0
        yield f"  {made.gpu_hours:,.3g} GPU-hours at work, {made.gpu_hours_held:,.3g} held ({busy:.0%} busy)"
    else:
        cpu = "" if made.cpu_seconds is None else f", {clock(made.cpu_seconds)} of processor time"
        yield f"  {clock(made.worker_seconds)} of animating workers{cpu}, {clock(made.pose_seconds)} of poses"
    yield from _memory(made)
    parts = [("films", made.film_bytes), ("latents", made.latents_bytes), ("poses", made.pose_bytes)]
    yield "storage: " + ", ".join(f"{megabytes(size)} of {what}" for what, size in parts if size)
    if made.cost is not None and made.cost_per_film_second is not None:
        each = made.cost_per_film_second
        yield f"cost: {made.cost:,.2f} {made.currency}, {each:,.3g} {made.currency} for a second of film"
    else:
        yield "cost: not told without " + ("a price: --gpu-price, or price.gpu_hour" if made.gpus else "GPUs")
    yield "assumed:"
    yield from (f"  {line}" for line in made.assumptions)


def _memory(made: Figures) -> Iterator[str]:
    for animator, size in made.memory_bytes.items():
        line = f"memory: {size / GIB:,.2g} GiB at the peak for {animator}"
        if made.card_bytes:
            line += f" of the card's {made.card_bytes / GIB:,.0f}"
            if size > made.card_bytes:
                line += ": it does not fit; use a smaller size or window, animate_pool.low_vram, or a larger card"
        yield line
