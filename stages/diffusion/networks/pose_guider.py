"""Pose frames as features that a denoising network adds to its input.

Source: animate_anyone/SPEC.md section 2.3. The network is the one that ControlNet sees its images through.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding

from manifests.errors import Problem
from stages.diffusion.weights.checkpoint import State, load_strictly, read_state

# Frames of one call: their first layers at full resolution take about 0.4 GB at 512×768 in half precision.
BATCH = 16


def build_pose_guider(state: State, source: Path) -> ControlNetConditioningEmbedding:
    """The network on the meta device, as wide as the tensors in `state`; published with no configuration."""
    try:
        # every second block is wider than the one before it
        widths = [len(state["conv_in.bias"]), *(len(state[f"blocks.{at}.bias"]) for at in (1, 3, 5))]
        channels = len(state["conv_out.bias"])
    except (KeyError, TypeError) as missing:
        error = f"checkpoint {source} is no pose guider: {missing} is missing"
        raise Problem(error, "use the published file") from None
    with torch.device("meta"):
        return ControlNetConditioningEmbedding(channels, block_out_channels=tuple(widths))


class PoseGuider:
    """The network with its weights."""

    def __init__(self, network: ControlNetConditioningEmbedding) -> None:
        self.network = network

    @classmethod
    def load(cls, file: Path, device: str, dtype: torch.dtype) -> PoseGuider:
        """Read the published file. Raises `Problem` when it does not hold such a network."""
        state = read_state(file)
        return cls(load_strictly(build_pose_guider(state, file), state, file, dtype).to(device))

    @torch.inference_mode()
    def features(self, poses: Iterable[np.ndarray]) -> torch.Tensor:
        """uint8 frames (height, width, 3) → (frames, channels, height/8, width/8), each frame by itself.

        Frames are asked for as they are needed: a batch of them is in memory.
        """
        weight = self.network.conv_in.weight
        made, frames = [], iter(poses)
        while batch := list(islice(frames, BATCH)):
            images = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).to(weight.device, torch.float32) / 255
            made.append(self.network(images.to(weight.dtype)))
        return torch.cat(made)
