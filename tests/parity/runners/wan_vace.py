"""Wan-VACE's recorded films, made by the product's own code."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manifests.clip import Clip
from stages.diffusion.animator import Driving
from stages.diffusion.chained_segments import segments
from stages.diffusion.wan_vace.animator import WanVace
from tests.parity.recording import Recording


@cache
def _animator(checkpoint: Path) -> WanVace:
    return WanVace.load(checkpoint, "cpu", torch.float32)


class WanVaceRunners:
    """Runs calls against the animator loaded from the recording's own checkpoint."""

    def __init__(self, recording: Recording) -> None:
        self.animator = _animator(recording.checkpoint)

    def pipeline(self, params: dict, reference_u8: torch.Tensor, control_u8: torch.Tensor) -> dict[str, Any]:
        clip, carry, parts = clip_of(params), None, []
        for segment in segments(clip, params["frames"]):
            segment = replace(segment, carry=carry)
            made = self.animator.segment(clip, reference_u8.numpy(), Driving(control_u8.numpy()), segment)
            parts.append((segment, made.latents))
            carry = made.carry
        return {
            "latents": {str(segment.number): latents for segment, latents in parts},
            "frames_u8": np.concatenate(list(self.animator.frames(parts, clip))),
        }


def clip_of(params: dict) -> Clip:
    return Clip(
        id="recording",
        animator="wan_vace",
        prompt=params["prompt"],
        negative_prompt=params["negative_prompt"],
        width=params["width"],
        height=params["height"],
        seed=params["seed"],
        steps=params["steps"],
        guidance=params["guidance"],
        mode="parity",
        window=params["longest"],
        overlap=params["carried"],
        fit="stretch",
    )
