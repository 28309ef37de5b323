"""Latents of published systems with tiny random weights: pictures mean nothing, how they are cut shows all the same.

MagicAnimate's weights are the recorded ones, Animate Anyone's UNets are drawn at random beside its recorded parts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from stages.diffusion.animators import ANIMATORS, load_animator
from stages.diffusion.sampling.cross_fade import cross_faded
from tests.bench.ablations.people import PEOPLE, sample
from tests.bench.ablations.variants import Variant, four_segments, parts_of
from tests.made.tiny_diffusion import GOLDEN, write_animate_anyone

SYSTEMS = ("magicanimate", "animate_anyone")
SIZE = {"width": 48, "height": 64}


def latent_variants(frames: int) -> dict[str, Variant]:
    """By name; the first is standard mode in one segment."""
    return {
        "as shipped": Variant(),
        **{f"4 segments, halo {halo}": Variant(segments=four_segments(frames, halo)) for halo in (0, 8, 16)},
        "published ring": Variant(ring=True),
        **{f"overlap {overlap}": Variant({"overlap": overlap}) for overlap in (0, 2, 8)},
    }


def denoise_latents(system: str, frames: int, steps: int, kept: Path) -> None:
    """Denoise every variant of one system, unless it is there: float32 (frames, 4, 8, 6) in spreads of the first."""
    torch.set_num_threads(1)
    facts, made = ANIMATORS[system], sample(next(iter(PEOPLE)), frames)
    fields = {"animator": system, "steps": steps, "window": facts.window, "overlap": facts.overlap}
    clip = made.clip.model_copy(update={**fields, **SIZE, "guidance": facts.guidance})
    with tempfile.TemporaryDirectory() as folder:
        weights = GOLDEN / "magicanimate" / "checkpoint"
        if system == "animate_anyone":
            weights = write_animate_anyone(Path(folder) / "checkpoint")
        animator = load_animator(system, weights, "cpu", torch.float32)
        for name, variant in latent_variants(frames).items():
            file = _file(kept, system, frames, steps, name)
            if file.exists():
                continue
            parts = parts_of(animator, clip, made.reference, made.poses, variant)
            np.save(file, torch.cat(list(cross_faded(parts))).numpy())
            print(f"{time.strftime('%X')} {file.stem}", file=sys.stderr, flush=True)


def kept_latents(system: str, frames: int, steps: int, kept: Path) -> dict[str, np.ndarray]:
    """By variant, in spreads of the first."""
    found = {name: np.load(_file(kept, system, frames, steps, name)) for name in latent_variants(frames)}
    spread = found["as shipped"].std()
    return {name: latents / spread for name, latents in found.items()}


def _file(kept: Path, system: str, frames: int, steps: int, variant: str) -> Path:
    return kept / f"{system}, {frames} frames, {steps} steps, {variant}.npy"
