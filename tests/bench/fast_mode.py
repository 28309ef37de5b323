"""What mode fast saves and costs: `python -m tests.bench.fast_mode [ANIMATOR …]`.

Against mode standard of the same clip, for a recipe and for each of its parts alone: operations of a film of 64 frames
at the native size, as `catwalk plan` counts them; CPU seconds of denoising, one thread, taken in turns; PSNR and SSIM
to the film of standard, and the warping error of both. `drawn` draws held-out people with its bundled weights; the
others have tiny random weights, which say that the parts work and nothing about films: `--checkpoint FOLDER` takes
others, of one animator. `--steps 24` asks how the recipe of systems of many steps does with weights that are trained:
`drawn` in 24 steps against half as many.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from manifests.clip import Clip
from manifests.work import Work
from pipelines.planning.operations import operations_of
from stages.diffusion.animator import Driving, Facts, Segment
from stages.diffusion.animators import ANIMATORS, load_animator
from stages.diffusion.fast import NOTHING_LEFT_OUT, Fast
from stages.poses.estimators.dwpose import DWPose
from stages.video.quality.truth import psnr, ssim
from tests.bench.drawn_keypoints import NET
from tests.bench.drawn_quality import mean_of, samples, unrest
from tests.made import dreampose_media
from tests.made.seam import frames_of
from tests.made.small_clips import SIZES, WRITE

FRAMES, LONG = 16, 64


class Variant(NamedTuple):
    """Steps, and what of the recipe is on."""

    name: str
    steps: int
    recipe: dict[str, Any]


class Given(NamedTuple):
    """What a clip is made of, whatever its mode."""

    clip: Clip
    reference: np.ndarray | None
    driving: Driving


def variants(facts: Facts) -> list[Variant]:
    """The recipe, and each part of it alone."""
    assert facts.fast is not None
    whole, off = facts.fast.model_dump(), NOTHING_LEFT_OUT
    found = [Variant("recipe", facts.fast_steps, whole), Variant("fewer steps, own sampler", facts.fast_steps, off)]
    found += [Variant("fewer steps, unipc", facts.fast_steps, {**off, "sampler": "unipc"})]
    if facts.guidance:
        found += [Variant("guided 0.67", facts.steps, {**off, "guided": 0.67})]
    return [*found, Variant("reuse 2", facts.steps, {**off, "reuse": 2})]


def changed(clip: Clip, variant: Variant | None) -> Clip:
    """The clip in mode fast, or in standard."""
    if variant is None:
        return clip
    options = {**clip.options, "fast": variant.recipe}
    return clip.model_copy(update={"mode": "fast", "steps": variant.steps, "options": options})


def counted(facts: Facts, variant: Variant | None) -> tuple[float, float]:
    """TFLOP of denoising and of all of a film at the native size."""
    width, height = facts.native_size
    fields = {"width": width, "height": height, "fit": "cover", "fps": Fraction(12), "driving": "v.mp4"}
    fields |= {"steps": facts.steps, "guidance": facts.guidance or None, "window": facts.window}
    clip = changed(Clip(id="c", animator=facts.name, overlap=facts.overlap, **fields), variant)
    known = operations_of(facts.name, width * height)
    assert known is not None
    effort = known.effort(Work(row=0, clip=clip, frames=LONG))
    return effort.denoise_tflop, effort.tflop


def clips(facts: Facts, count: int, size: tuple[int, int] | None) -> Iterator[Given]:
    """Held-out people at the animator's size; poses are skeletons, for DreamPose coordinates of the tests."""
    width, height = size or (facts.native_size if facts.name == "drawn" else SIZES[facts.name])
    net = DWPose.load(None, NET)
    for seed, sample in enumerate(samples(net, count, FRAMES, width, height, facts.steps)):
        fields = {"animator": facts.name, "guidance": facts.guidance or None, "prompt": "a dancer", "seed": seed}
        fields |= {"window": facts.window, "overlap": facts.overlap}
        clip = sample.clip.model_copy(update=fields)
        poses = dreampose_media.uv(FRAMES) if facts.pose == "densepose_uv" else sample.poses
        yield Given(clip, sample.reference if facts.reference else None, Driving(poses))


def made(animator: Any, given: Given, variant: Variant | None) -> tuple[float, np.ndarray]:
    """CPU seconds of denoising, and the film."""
    clip, begun = changed(given.clip, variant), time.process_time()
    denoised = animator.segment(clip, given.reference, given.driving, Segment(0, FRAMES))
    took = time.process_time() - begun
    return took, np.concatenate(list(frames_of(animator, denoised, clip)))


def measured(
    animator: Any, facts: Facts, count: int, size: tuple[int, int] | None, wanted: list[Variant]
) -> Iterator[str]:
    """A line of the table for each variant, made in turns with standard."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for given in clips(facts, count, size):
        for variant in wanted:
            whole, film = made(animator, given, None)
            short, fast = made(animator, given, variant)
            close = mean_of(psnr, fast, film), mean_of(ssim, fast, film)
            found.setdefault(variant.name, []).append((whole / short, *close, unrest(fast)[1], unrest(film)[1]))
    for variant in wanted:
        plain, fast = counted(facts, None), counted(facts, variant)
        ratio, near, alike, restless, before = np.mean(found[variant.name], axis=0)
        steps = f"{facts.steps} → {variant.steps}"
        times = f"{plain[0] / fast[0]:.2f} × | {plain[1] / fast[1]:.2f} × | {ratio:.2f} ×"
        yield (
            f"| {facts.name}, {variant.name} | {steps} | {times} | {near:.1f} | {alike:.3f} | {restless / 255:.4f} "
            f"({before / 255:.4f}) |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("animators", nargs="*", default=list(WRITE))
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--steps", type=int, help="of standard, in place of the animator's own")
    parser.add_argument("--recipe", action="store_true", help="leave out what each part does alone")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    head = "| | Steps | Denoising, operations | Film, operations | Denoising, CPU time | PSNR dB | SSIM | Warping error"
    print(f"{head} (standard's) |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in asked.animators:
        with tempfile.TemporaryDirectory() as scratch:
            folder = asked.checkpoint or WRITE[name](Path(scratch) / "checkpoint")
            animator = load_animator(name, folder, asked.device, torch.float32)
        facts, size = ANIMATORS[name], asked.size and tuple(asked.size)
        if asked.steps:
            recipe = Fast(guided=0.67 if facts.guidance else 1)
            facts = animator.facts = replace(facts, steps=asked.steps, fast_steps=asked.steps // 2, fast=recipe)
        wanted = variants(facts)[: 1 if asked.recipe else None]
        for line in measured(animator, facts, asked.clips, size, wanted):
            print(line, flush=True)


if __name__ == "__main__":
    main()
