"""The group norms in which the published UNet differs from diffusers' (SPEC section 3)."""

from __future__ import annotations

import torch
from diffusers import UNetMotionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn

MOTION_GROUPS = 32  # whatever the UNet's own number of groups is


class OverFrames(nn.GroupNorm):
    """Statistics over all `frames` of a row, on (rows · frames, channels, height, width)."""

    frames = 1

    @classmethod
    def like(cls, norm: nn.GroupNorm) -> OverFrames:
        """Of the same groups and channels."""
        return cls(norm.num_groups, norm.num_channels, eps=norm.eps)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        packed, channels, height, width = hidden.shape
        video = hidden.reshape(-1, self.frames, channels, height, width).permute(0, 2, 1, 3, 4)
        return super().forward(video).permute(0, 2, 1, 3, 4).reshape(packed, channels, height, width)


class PerFrame(nn.GroupNorm):
    """Statistics of each frame by itself, on (rows, channels, frames, height, width)."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        rows, channels, frames, height, width = hidden.shape
        images = hidden.permute(0, 2, 1, 3, 4).reshape(rows * frames, channels, height, width)
        return super().forward(images).reshape(rows, frames, channels, height, width).permute(0, 2, 1, 3, 4)


def with_published_norms(unet: UNetMotionModel) -> UNetMotionModel:
    """Replace the three kinds of norm; names of weights stay. On the meta device."""
    with torch.device("meta"):
        for module in list(unet.modules()):
            if isinstance(module, ResnetBlock2D):
                module.norm1, module.norm2 = OverFrames.like(module.norm1), OverFrames.like(module.norm2)
            elif isinstance(module, AnimateDiffTransformer3D):
                module.norm = PerFrame(MOTION_GROUPS, module.in_channels, eps=module.norm.eps)
        unet.conv_norm_out = OverFrames.like(unet.conv_norm_out)
    return unet


def tell_frames(unet: UNetMotionModel, frames: int) -> None:
    """How many frames a row of the next forward has."""
    for module in unet.modules():
        if isinstance(module, OverFrames):
            module.frames = frames
