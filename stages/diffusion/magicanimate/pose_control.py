"""ControlNet residuals of a clip's pose frames, kept only as long as a window still needs them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from diffusers import ControlNetModel

from stages.diffusion.networks.timestep import timestep_on
from stages.diffusion.sampling.shared_frames import SharedFrames
from stages.diffusion.sampling.transfer import picked, sent
from stages.diffusion.sampling.windows import Window

Residuals = tuple[list[torch.Tensor], torch.Tensor]  # (down, mid), each (frames, channels, height, width)


class PoseControl:
    """Residuals per frame and step. ControlNet is purely per frame, so frames shared by windows are computed once.

    They take 13.4 MB per frame at 512×512 in half precision, at most one window's worth of them.
    """

    def __init__(self, network: ControlNetModel, text: torch.Tensor, poses: np.ndarray, scale: float) -> None:
        self._network = network
        self._text = text
        self._poses = torch.from_numpy(np.ascontiguousarray(poses)).permute(0, 3, 1, 2)
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

    def _compute(self, latents: torch.Tensor, timestep: int, frames: list[int]) -> list[Residuals]:
        images = sent(self._poses[frames], latents.device).float() / 255
        down, mid = self._network(
            picked(latents, frames).to(self._text.dtype),
            timestep_on(latents.device, timestep),
            self._text.expand(len(frames), -1, -1),
            controlnet_cond=images.to(self._text.dtype),
            conditioning_scale=self._scale,
            return_dict=False,
        )
        # copied: one frame that is kept must not hold all of them
        of_frame = [slice(at, at + 1) for at in range(len(frames))]
        return [([layer[one].clone() for layer in down], mid[one].clone()) for one in of_frame]
