"""Kinds of call that every system on a motion UNet has, and the way between recorded and own tensor layouts."""

from __future__ import annotations

from typing import Any

import torch


class MotionLayers:
    """Runs single layers of the denoising network. `animator.unet` is a `MotionUNet`."""

    animator: Any

    @torch.inference_mode()
    def motion_module(self, params: dict, hidden_states: torch.Tensor) -> dict[str, Any]:
        module, packed = self._denoising_layer(params, hidden_states)
        return {"hidden_states": rows_first(module(packed, num_frames=params["frames"]), params["frames"])}

    @torch.inference_mode()
    def resnet3d(self, params: dict, hidden_states: torch.Tensor, temb: torch.Tensor) -> dict[str, Any]:
        module, packed = self._denoising_layer(params, hidden_states)
        result = module(packed, temb.repeat_interleave(params["frames"], dim=0))
        return {"hidden_states": rows_first(result, params["frames"])}

    def _denoising_layer(self, params: dict, hidden_states: torch.Tensor) -> tuple[torch.nn.Module, torch.Tensor]:
        assert params["network"] == "denoising_unet", params["network"]
        unet = self.animator.unet
        unet.layout.frames = params["frames"]
        return unet.network.get_submodule(params["module"]), hidden_states.transpose(1, 2).flatten(0, 1)


def frames_first(video: torch.Tensor) -> torch.Tensor:
    """(1, channels, frames, height, width) → (frames, channels, height, width)."""
    return video[0].transpose(0, 1)


def rows_first(packed: torch.Tensor, frames: int | None = None) -> torch.Tensor:
    """(rows · frames, channels, height, width) → (rows, channels, frames, height, width)."""
    return packed.unflatten(0, (-1, frames or len(packed))).transpose(1, 2)
