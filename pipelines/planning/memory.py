"""How much of its device's memory an animator's film takes: read from counts of its networks, not built here.

`memory.json` is written by `python -m tests.bench.memory`; what one forward holds stands in `operations.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from manifests.clip import Clip
from pipelines.planning.chained import Chained, counted_as, longest_segment
from pipelines.planning.effort import branches_of, steps_of
from pipelines.planning.machine import CONTEXT_BYTES
from pipelines.planning.operations import denoised_frames, operations_of, windows_at
from stages.diffusion.animator import Segment, compute_dtype
from stages.diffusion.animators import facts_of
from stages.diffusion.fast import fast_of, guided_steps
from stages.diffusion.segments import segments_of

TABLE = Path(__file__).with_name("memory.json")
# What a forward takes for what is counted of it. On a CPU measured (tests/bench/RESULTS.md): oneDNN copies what goes
# into a convolution and comes out of it into layouts of its own. On a GPU assumed, for working space and fragments.
TAKEN = {"cpu": 2.0, "cuda": 1.2}
CACHED = 2**30  # bytes of references' features that are kept at most (FeatureCache)
LATENTS_KEPT = 6  # of Wan's solver, a segment's size each: latents, prediction, and what it remembers of two steps
EMBEDDED = 2**28  # bytes of poses behind a ControlNet's first layers that are kept at most (EmbeddedPoses)


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak, by what they are for."""

    weights: float  # of networks that are on the device while frames are denoised
    window: float  # one forward
    kept: float  # from window to window: what is known of reference and poses, and the latents
    picture: float  # one decoded frame, and the decoder where it had left
    context: float  # of CUDA itself
    prompt: float = 0.0  # what reads a prompt, where it waits elsewhere

    @property
    def peak(self) -> float:
        """Denoising, or decoding, or reading a prompt."""
        return self.context + self.weights + max(self.window + self.kept, self.picture, self.prompt)


def memory_of(
    clip: Clip, frames: int, device: str, dtype: str = "auto", low_vram: bool = False, checkpoint: str = ""
) -> Memory | None:
    """That of a clip of so many frames, with its defaults resolved; None of an animator that nobody has counted."""
    facts, pixels = facts_of(clip.animator), (clip.width or 0) * (clip.height or 0)
    operations = operations_of(clip.animator, pixels, checkpoint)
    of = _table().get(counted_as(clip.animator, checkpoint))
    if operations is None or of is None:
        return None
    size = 4 if compute_dtype(facts, device, dtype) == "float32" else 2
    branches, taken = 1 if low_vram else branches_of(clip), TAKEN["cuda" if device.startswith("cuda") else "cpu"]
    if isinstance(operations, Chained):
        context = CONTEXT_BYTES if device.startswith("cuda") else 0.0
        return _of_chained(operations, of, longest_segment(clip, frames), size, taken, low_vram, context)
    window = (clip.window or 1) * operations.window_held(clip, branches)
    weights = {part: number * 1e6 * size for part, number in of["weights"].items()}
    away = sum(weights[part] for part in of["waiting"]) if low_vram else 0.0
    longest = max(segments_of(clip, facts, frames), key=len)
    together = len(longest)
    kept = {part: number * pixels * size for part, number in of["kept"].items()}
    reference = kept["reference"]
    if of["reference_by_step"]:
        reference = max(reference, min(CACHED, reference * steps_of(clip)))
    # latents, the next ones, and the predictions of every branch that are fused, in float32
    latents = together * (3 + branches_of(clip)) * operations.facts["channels"] * pixels / 64 * 4
    kept_bytes = reference + (clip.window or 1) * kept["window_frame"] + together * kept["segment_frame"] + latents
    kept_bytes += min(EMBEDDED, together * kept["embedded_frame"])
    kept_bytes += _reused_frames(clip, longest, operations.facts) * kept["deep_frame"]
    decoder = weights["autoencoder"] if low_vram else 0.0
    picture = taken * operations.picture_held * pixels * size
    return Memory(
        sum(weights.values()) - away,
        taken * window * 1e6 * size,
        kept_bytes,
        picture + decoder,
        CONTEXT_BYTES if device.startswith("cuda") else 0.0,
    )


def _of_chained(
    operations: Chained, of: dict[str, Any], frames: int, size: int, taken: float, low_vram: bool, context: float
) -> Memory:
    """A segment of so many frames, whose branches go one by one; the text encoder waits in main memory."""
    weights = {part: number * 1e6 * (4 if part in of["in_float32"] else size) for part, number in of["weights"].items()}
    text, waiting = weights.pop("text"), 0.0
    if low_vram:  # block by block, the next one on its way
        waiting = max(weights[part] for part in of["waiting"] if part in weights)
        blocks = of["blocks"] - 2 * of["largest_block"]
        weights = {"transformer": weights["transformer"] - blocks * 1e6 * size}
    # what it is made from, the latents, and the last steps' that the next one is made with
    latents = (LATENTS_KEPT * operations.facts["channels"] + of["conditioning"]) * operations.latent_frames(frames)
    return Memory(
        sum(weights.values()),
        taken * operations.forward_bytes(frames) * size / 2,
        latents * operations.pixels / 64 * 4,
        taken * operations.coder_bytes(frames) + waiting,
        context,
        text,
    )


def _reused_frames(clip: Clip, segment: Segment, counted: dict[str, Any]) -> int:
    """Frames, of every window and branch, whose deep features a step of mode fast keeps for the next ones, at most."""
    fast, steps = fast_of(clip), steps_of(clip)
    if fast is None or fast.reuse == 1 or steps == 1:
        return 0
    branches, frames = (
        branches_of(clip) if guided_steps(fast, steps) else 1,
        denoised_frames(clip, len(segment), counted),
    )
    # the last step keeps none
    grids = range((steps - 2) // fast.reuse + 1)
    places = (windows_at(clip, frames, grid, counted["fused"], segment.start, segment.whole) for grid in grids)
    return branches * max(in_windows for _, in_windows in places)


@cache
def _table() -> dict[str, Any]:
    return json.loads(TABLE.read_text(encoding="utf-8"))
