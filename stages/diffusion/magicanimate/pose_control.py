"""ControlNet residuals of a clip's pose frames, kept only as long as a window still needs them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from diffusers import ControlNetModel
from torch import nn

from stages.diffusion.networks.shallow import first_residuals
from stages.diffusion.networks.timestep import timestep_on
from stages.diffusion.sampling.shared_frames import SharedFrames
from stages.diffusion.sampling.transfer import picked, sent
from stages.diffusion.sampling.windows import Window

Residuals = tuple[list[torch.Tensor], torch.Tensor]  # (down, mid), each (frames, channels, height, width)

BLOCK = 4  # frames that are embedded together: their layers at the pictures' full size take 17 MB each at 512×512
KEPT_BYTES = 2**28  # 100 frames at 512×512 in half precision


def picture_layers(network: ControlNetModel) -> nn.Module:
    """The layers that see the pictures, given up by the network: its forward takes what they make of those."""
    layers = network.controlnet_cond_embedding
    network.controlnet_cond_embedding = nn.Identity()
    return layers


class EmbeddedPoses:
    """What a ControlNet's first layers make of a clip's pictures, at no timestep: made once, where there is room.

    Which frames are embedded together follows from the clip, whatever windows ask for them: it may show in the last
    bits. Frames beyond `max_bytes` are embedded again whenever they are asked for.
    """

    def __init__(self, layers: nn.Module, poses: np.ndarray, dtype: torch.dtype, max_bytes: int = KEPT_BYTES) -> None:
        """`poses` uint8 (frames, height, width, 3)."""
        self._layers = layers
        self._poses = torch.from_numpy(np.ascontiguousarray(poses)).permute(0, 3, 1, 2)
        self._dtype = dtype
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: dict[int, torch.Tensor] = {}

    def of(self, frames: list[int]) -> torch.Tensor:
        """(frames, channels, height/8, width/8), on the device of the layers."""
        blocks = {number: self._block(number) for number in sorted({frame // BLOCK for frame in frames})}
        return torch.stack([blocks[frame // BLOCK][frame % BLOCK] for frame in frames])

    def _block(self, number: int) -> torch.Tensor:
        if number in self._kept:
            return self._kept[number]
        images = self._poses[number * BLOCK : (number + 1) * BLOCK]
        images = sent(images, next(self._layers.parameters()).device).float() / 255
        made = self._layers(images.to(self._dtype))
        if self._bytes + made.nbytes <= self._max_bytes:
            self._kept[number] = made
            self._bytes += made.nbytes
        return made


class PoseControl:
    """Residuals per frame and step. ControlNet is purely per frame, so frames shared by windows are computed once.

    They take 13.4 MB per frame at 512×512 in half precision, at most one window's worth of them.
    """

    def __init__(self, network: ControlNetModel, text: torch.Tensor, poses: EmbeddedPoses, scale: float) -> None:
        """`network` has given up its `picture_layers`."""
        self._network = network
        self._text = text
        self._poses = poses
        self._scale = scale
        self._shared: SharedFrames[Residuals] = SharedFrames()

    def begin_step(self, windows: Sequence[Window], share: range) -> None:
        """Residuals depend on the timestep and the latents: nothing is kept over a step."""
        self._shared.begin_step(windows, share)

    def residuals(self, latents: torch.Tensor, timestep: int) -> Residuals:
        """(down, mid) for the frames of the next window of the share, of all the clip's latents."""
        frames = self._shared.of(partial(self._compute, latents, timestep))
        down = [torch.cat(layer) for layer in zip(*(one[0] for one in frames), strict=True)]
        mid = torch.cat([one[1] for one in frames])
        return down, mid

    def first_residuals(self, latents: torch.Tensor, timestep: int) -> list[torch.Tensor]:
        """Those of them that a short forward reads, without the layers below."""
        frames = self._shared.of(partial(self._compute_first, latents, timestep))
        return [torch.cat(layer) for layer in zip(*(down for down, _ in frames), strict=True)]

    def _compute_first(self, latents: torch.Tensor, timestep: int, frames: list[int]) -> list[Residuals]:
        embedded = self._poses.of(frames)
        text = self._text.expand(len(frames), -1, -1)
        seen = picked(latents, frames).to(self._text.dtype)
        down = first_residuals(self._network, seen, timestep, embedded, self._scale, encoder_hidden_states=text)
        # copied as below
        of_frame = [slice(at, at + 1) for at in range(len(frames))]
        return [([layer[one].clone() for layer in down], down[-1][:0].clone()) for one in of_frame]

    def _compute(self, latents: torch.Tensor, timestep: int, frames: list[int]) -> list[Residuals]:
        down, mid = self._network(
            picked(latents, frames).to(self._text.dtype),
            timestep_on(latents.device, timestep),
            self._text.expand(len(frames), -1, -1),
            controlnet_cond=self._poses.of(frames),
            conditioning_scale=self._scale,
            return_dict=False,
        )
        # copied: one frame that is kept must not hold all of them
        of_frame = [slice(at, at + 1) for at in range(len(frames))]
        return [([layer[one].clone() for layer in down], mid[one].clone()) for one in of_frame]
