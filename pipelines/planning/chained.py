"""What a system of chained segments computes and holds, a whole segment at once: read as `operations.py` reads others.

What a forward computes grows with 0, 1 and 2 powers of its tokens, of which the table knows three numbers; a face of
Wan-Animate is computed for each frame, and the autoencoder takes one frame, then four at once.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests import storage
from manifests.clip import Clip
from manifests.work import Work
from pipelines.planning.effort import Effort, branches_of, steps_of, weighted
from stages.diffusion.animator import Segment
from stages.diffusion.animators import facts_of
from stages.diffusion.chained_segments import PER_LATENT, seen_frames
from stages.diffusion.segments import segments_of
from stages.driving import replaces

LARGE = "14B"  # in the published name of the larger checkpoint, which the table has by itself
SMALL_LAYERS = 30  # of the smaller one's transformer; the larger one's has 40


def counted_as(animator: str, checkpoint: str = "") -> str:
    """The name in the tables of an animator with a checkpoint: its folder tells the size, or its name from afar."""
    return f"{animator}-{LARGE}" if animator == "wan_vace" and _is_large(checkpoint) else animator


def _is_large(checkpoint: str) -> bool:
    folder = storage.local_path(checkpoint) if checkpoint else None
    layers = None if folder is None else _layers_of(folder)
    return LARGE in checkpoint.upper() if layers is None else layers > SMALL_LAYERS


@functools.lru_cache(maxsize=64)
def _layers_of(folder: Path) -> int | None:
    """Layers of the transformer in a local folder; None where that cannot be read, which loading complains of."""
    try:
        layers = json.loads((folder / "transformer" / "config.json").read_bytes())["num_layers"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return layers if isinstance(layers, int) else None


def checkpoints_of(animator: str) -> tuple[str, ...]:
    """Names of checkpoints that the tables tell apart."""
    return ("", LARGE) if counted_as(animator, LARGE) != animator else ("",)


@dataclass(frozen=True)
class Chained:
    """An animator at one size in pixels."""

    facts: dict[str, Any]  # the animator's part of the table
    pixels: int

    def effort(self, work: Work) -> Effort:
        """What one clip takes; it has its defaults resolved."""
        clip, drawn = work.clip, work.drawn or work.frames
        parts = segments_of(clip, facts_of(clip.animator), drawn)
        steps, branches = steps_of(clip), branches_of(clip)
        denoise = branches * self.facts["once"]["prompt"]
        draw = 0.0
        for part in parts:
            frames = seen_frames(clip, part)
            blank = part.number == 0 and not replaces(clip)
            denoise += steps * branches * self.forward(frames) + self._encoded(frames, blank)
            denoise += 0.0 if part.stop == drawn else self._coded("decode", frames)  # for what the next one takes over
            draw += self._coded("decode", len(part))
        seen = sum(seen_frames(clip, part) for part in parts)
        return Effort(work.frames, len(parts), steps * len(parts), steps * seen, denoise, draw)

    def forward(self, frames: int) -> float:
        """TFLOP of one forward of a segment of so many frames, 4n + 1."""
        counted = [pixels * self.facts["latent_frames"] for pixels in self.facts["pixels"]]
        tokens = self.pixels * self.latent_frames(frames)
        return weighted(counted, tokens, self.facts["tflop"]["forward"]) + frames * self._at("tflop", "face")

    def latent_frames(self, frames: int) -> int:
        """Of a segment, the reference's among them."""
        return later(frames) + 2

    def forward_bytes(self, frames: int) -> float:
        """What one forward holds at most, where its numbers are two bytes."""
        return 2 * self._at("elements", "token") * self.pixels / 256 * self.latent_frames(frames)

    def coder_bytes(self, frames: int) -> float:
        """What the autoencoder holds at most, which a segment's frames go through one latent after the other."""
        pictures = 3 * self.pixels * frames  # the control video, and the two that are made of it
        return 4 * (self._at("elements", "picture") * self.pixels + 3 * pictures)

    @property
    def stored_numbers(self) -> float:
        """Of latents and what is carried over, for each frame and each pixel of latents, of a long clip's segments."""
        frames, carried = self.facts["frames"], 3 * 64
        return (self.facts["channels"] * self.latent_frames(frames) + carried) / frames

    def _encoded(self, frames: int, blank: bool) -> float:
        """TFLOP of what is encoded for a segment; of a `blank` one half of it, once for all clips."""
        once = self._coded("encode", 1) + self.facts["once"]["picture_tokens"]
        return once + (1 if blank else 2) * self._coded("encode", frames)

    def _coded(self, what: str, frames: int) -> float:
        return self._at("tflop", f"{what}_first") + later(frames) * self._at("tflop", f"{what}_later")

    def _at(self, kind: str, part: str) -> float:
        return weighted(self.facts["pixels"], self.pixels, self.facts[kind][part])


def later(frames: int) -> int:
    """Latent frames behind the first."""
    return -(-(frames - 1) // PER_LATENT)


def longest_segment(clip: Clip, frames: int) -> int:
    """Frames that the networks see of the longest segment of a clip of so many."""
    parts: Iterable[Segment] = segments_of(clip, facts_of(clip.animator), frames)
    return max(seen_frames(clip, part) for part in parts)
