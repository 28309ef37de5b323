"""What an animator computes and holds for a clip: read from counts of its networks, which are not built here.

`operations.json` is written by `python -m tests.bench.operations` from the product's networks at three sizes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from manifests.clip import Clip
from manifests.work import Work
from pipelines.planning.chained import Chained, counted_as
from pipelines.planning.effort import Effort, branches_of, steps_of, weighted
from stages.diffusion.animators import facts_of
from stages.diffusion.fast import Fast, fast_of, guided_steps
from stages.diffusion.segments import segments_of

TABLE = Path(__file__).with_name("operations.json")


@dataclass(frozen=True)
class Operations:
    """An animator at one size. `tflop` and `elements` are by part, as the bench names them."""

    facts: dict[str, Any]  # the animator's part of the table
    tflop: dict[str, float]
    elements: dict[str, float]  # millions of numbers that are held at once: of a frame, or a decoded megapixel

    def effort(self, work: Work) -> Effort:
        """What one clip takes; it has its defaults resolved."""
        clip, steps, drawn = work.clip, steps_of(work.clip), work.drawn or work.frames
        fast = fast_of(clip)
        frame = self.tflop["frame"] if clip.driving is not None else 0.0
        parts = segments_of(clip, facts_of(clip.animator), drawn)
        windows = window_frames = 0
        denoise = 0.0
        for part in parts:
            frames = denoised_frames(clip, len(part), self.facts)
            denoise += self.tflop["clip"]
            if fast is None:
                more = windows_of(clip, frames, steps, self.facts["fused"], part.start, part.whole)
                denoise += steps * (self.tflop["step"] + frames * frame) + more[1] * self.tflop[self._window(clip)]
                windows, window_frames = windows + more[0], window_frames + more[1]
                continue
            for step in range(steps):
                more = windows_at(clip, frames, step // fast.reuse, self.facts["fused"], part.start, part.whole)
                denoise += self._fast_step(clip, fast, step, steps, frames if clip.driving is not None else 0, more[1])
                windows, window_frames = windows + more[0], window_frames + more[1]
        return Effort(work.frames, len(parts), windows, window_frames, denoise, drawn * self.tflop["picture"])

    def _fast_step(self, clip: Clip, fast: Fast, step: int, steps: int, posed: int, window_frames: int) -> float:
        """TFLOP of one step in mode fast, of which `posed` frames have a pose."""
        guided = step < guided_steps(fast, steps)
        window = self._window(clip) if guided else "window_1"
        # what is done for every frame by itself, of all branches or of the one that is left
        frame = "frame" if guided or branches_of(clip) == 1 or "frame_1" not in self.tflop else "frame_1"
        if step % fast.reuse:
            return window_frames * self.tflop[f"again_{window}"] + posed * self.tflop[f"again_{frame}"]
        return self.tflop["step"] + window_frames * self.tflop[window] + posed * self.tflop[frame]

    def window_held(self, clip: Clip, branches: int) -> float:
        """Millions of numbers that a window with that many branches holds at most, for each of its frames."""
        return self.elements[self._window(clip, branches)]

    @property
    def stored_numbers(self) -> float:
        """Of latents, for each frame and each pixel of them."""
        return self.facts["channels"]

    @property
    def picture_held(self) -> float:
        """Numbers that the decoder holds at most, for each pixel of its frames."""
        return self.elements["picture"]

    def _window(self, clip: Clip, branches: int | None = None) -> str:
        name = f"window_{branches or branches_of(clip)}"
        # branches of one text share a part of the network
        words = f"{name}_words"
        return words if words in self.tflop and clip.prompt != clip.negative_prompt else name


@lru_cache(maxsize=4096)  # many rows are of one size
def operations_of(animator: str, pixels: int, checkpoint: str = "") -> Operations | Chained | None:
    """What is known of an animator at a size, with a checkpoint of that name; None of one that nobody has counted."""
    of = _table().get(counted_as(animator, checkpoint))
    if of is None:
        return None
    if of.get("chained"):
        return Chained(of, pixels)

    def at(kind: str) -> dict[str, float]:
        return {part: weighted(of["pixels"], pixels, counts) for part, counts in of[kind].items()}

    return Operations(of, at("tflop"), at("elements"))


@cache
def _table() -> dict[str, Any]:
    return json.loads(TABLE.read_text(encoding="utf-8"))


def denoised_frames(clip: Clip, frames: int, facts: dict[str, Any]) -> int:
    """Frames that go through the networks: every n-th where the others are interpolated, whole blocks in parity."""
    factor = clip.options.get("interpolation_factor", 1)
    if factor > 1:
        frames = math.ceil((frames - 1) / factor) + 1
    block = facts.get("parity_block", 1) if clip.mode == "parity" else 1
    return math.ceil(frames / block) * block


def windows_of(clip: Clip, frames: int, steps: int, fused: bool, begin: int = 0, whole: bool = True) -> tuple[int, int]:
    """Windows of all steps, and the frames in them, of a `whole` clip or of a segment that begins at `begin`.

    Holds to `stages/diffusion/sampling/windows.py`, which cannot be asked: it needs torch, and a list per step.
    """
    size, overlap = clip.window or frames, clip.overlap or 0
    if not fused:
        return steps * math.ceil(frames / size), steps * frames
    if frames <= size:
        return steps, steps * frames
    advance = size - overlap
    if clip.mode == "parity":
        stride = clip.options.get("context_stride", 1)
        levels = min(stride, math.ceil(math.log2(frames / size)) + 1)
        count = steps * sum(math.ceil(frames / (size * 2**level - overlap)) for level in range(levels))
    elif clip.loop and whole:
        count = steps * math.ceil(frames / advance)
    else:
        count = _open_windows(frames - size, advance, steps, begin)
    return count, count * size


def windows_at(clip: Clip, frames: int, grid: int, fused: bool, begin: int, whole: bool) -> tuple[int, int]:
    """Windows of one step, and the frames in them; `grid` numbers the places they have, which steps may share."""
    before, with_it = (windows_of(clip, frames, steps, fused, begin, whole) for steps in (grid, grid + 1))
    return with_it[0] - before[0], with_it[1] - before[1]


@lru_cache(maxsize=4096)
def _open_windows(last: int, advance: int, steps: int, begin: int) -> int:
    """Windows of all steps: one at either end, and those between, whose places move with the step."""
    count = 2 * steps
    for step in range(steps):
        shift = (math.floor(advance * int(f"{step:064b}"[::-1], 2) / 2**64) - begin) % advance
        count += max(0, math.ceil((last - shift) / advance) - (shift == 0))
    return count
