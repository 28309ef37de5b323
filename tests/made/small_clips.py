"""Small clips of every animator of Catwalk's own, on tiny weights: what it takes to denoise one, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manifests.clip import Clip
from stages.bundled import bundled
from stages.diffusion.animator import Segment
from stages.diffusion.animators import load_animator
from stages.diffusion.sampling.denoise import Step
from tests.made import dreampose_media
from tests.made.tiny_diffusion import GOLDEN, write_animate_anyone, write_text2video_zero
from tests.made.walking import Walking, joints

SIZES = {"magicanimate": (48, 64), "dreampose": (64, 128), "text2video_zero": (64, 48), "animate_anyone": (32, 48)}
GUIDANCE = {"dreampose": (8.0, 3.0), "drawn": None}

WRITE: dict[str, Callable[[Path], Path]] = {
    "magicanimate": lambda _: GOLDEN / "magicanimate" / "checkpoint",
    "animate_anyone": write_animate_anyone,
    "dreampose": dreampose_media.write_checkpoint,
    "text2video_zero": write_text2video_zero,
    "drawn": lambda _: Path(bundled("bundled:drawn")),
}


def replicas(name: str, checkpoint: Path, count: int) -> list[Any]:
    """An animator and others like it, each with weights of its own, in float32 on the CPU."""
    return [load_animator(name, checkpoint, "cpu", torch.float32) for _ in range(count)]


def steps_of(animator: Any, frames: int, told: Callable[[float, int], None] | None = None, **fields: Any) -> list[Step]:
    """Every step of one clip of so many frames; `driven=False` leaves the poses out."""
    with torch.inference_mode():
        return list(_steps(animator, frames, told or (lambda done, steps: None), **fields))


def given_to(animator: Any, frames: int, **fields: Any) -> tuple[Clip, np.ndarray, Any]:
    """One clip of so many frames at the animator's small size: clip, reference and poses."""
    name = animator.facts.name
    width, height = SIZES.get(name, (64, 96))
    given = {"width": width, "height": height, "fit": "stretch", "fps": 12, "steps": 2, "seed": 1, "prompt": "a dance"}
    given |= {"guidance": GUIDANCE.get(name, (4.0,)), "window": 6, "overlap": 2}
    clip, reference = Clip(id="c", animator=name, **{**given, **fields}), picture(0, width, height)
    if name == "dreampose":
        return clip, reference, dreampose_media.uv(frames)
    poses = np.stack([picture(100 + frame, width, height) for frame in range(frames)])
    return clip, reference, Walking(poses, joints(frames, width, height)) if animator.facts.aligns else poses


def _steps(
    animator: Any, frames: int, told: Callable[[float, int], None], driven: bool = True, **fields: Any
) -> Iterator[Step]:
    clip, reference, poses = given_to(animator, frames, **fields)
    segment = Segment(0, frames, told=told)
    if animator.facts.name != "text2video_zero":
        return animator.steps(clip, reference, poses, segment)
    if driven:
        return animator.pose_steps(clip, poses, segment)
    return (step for _, step in animator.text_path(clip, segment).steps())


def picture(seed: int, width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3), noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
