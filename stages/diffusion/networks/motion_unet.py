"""SD 1.5 UNets with motion modules: diffusers' layers, and what every short forward of ours through them shares.

Source: magicanimate/SPEC.md sections 3 and 5; animate_anyone/SPEC.md section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

from stages.diffusion.networks.batch_layout import FrameSpanningGroupNorm, Layout, PerFrameGroupNorm
from stages.diffusion.networks.reference_attention import Features, ReferenceReader

# The same in every published system, whatever the UNet's own number of groups is.
MOTION_NORM_GROUPS = 32


def build_motion_unet(
    config: dict[str, Any], longest_window: int, mid_block: bool, motion_heads: int = 8
) -> UNetMotionModel:
    """The network of a 2-D SD 1.5 `config.json`, on the meta device, all norms per frame.

    `longest_window` is the number of positions of the motion modules; `mid_block` whether the middle block has one.
    """
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
        adapter = MotionAdapter(
            block_out_channels=unet.config.block_out_channels,
            motion_layers_per_block=unet.config.layers_per_block,
            motion_num_attention_heads=motion_heads,
            motion_norm_num_groups=MOTION_NORM_GROUPS,
            motion_max_seq_length=longest_window,
            use_motion_mid_block=mid_block,
        )
        network = UNetMotionModel.from_unet2d(unet, adapter, load_weights=False)
        for module in list(network.modules()):
            if isinstance(module, AnimateDiffTransformer3D):
                module.norm = PerFrameGroupNorm(MOTION_NORM_GROUPS, module.in_channels, eps=module.norm.eps)
    network.layout = Layout()
    return network


def span_frames(network: UNetMotionModel) -> UNetMotionModel:
    """Let the norms of the resnets and of the output run over all frames of a row together."""
    with torch.device("meta"):
        for module in list(network.modules()):
            if isinstance(module, ResnetBlock2D):
                module.norm1 = FrameSpanningGroupNorm(module.norm1, network.layout)
                module.norm2 = FrameSpanningGroupNorm(module.norm2, network.layout)
        network.conv_norm_out = FrameSpanningGroupNorm(network.conv_norm_out, network.layout)
    return network


class MotionUNet:
    """A motion UNet whose named blocks read a reference. Each system adds the forward that saves its own work."""

    def __init__(self, network: UNetMotionModel, reading: Sequence[str]) -> None:
        self.network = network
        self.layout: Layout = network.layout
        self._readers: dict[str, tuple[Any, ReferenceReader]] = {}
        for name in reading:
            attn = network.get_submodule(name).attn1
            reader = ReferenceReader(self.layout)
            attn.set_processor(reader)
            self._readers[name] = (attn, reader)

    def read(self, features: Features) -> None:
        """Let the conditional row attend to these reference features, each (tokens, channels), from now on."""
        for name, tokens in features.items():
            attn, reader = self._readers[name]
            reader.read(attn, tokens)

    def forget_reference(self) -> None:
        """Back to a network without a reference."""
        for _, reader in self._readers.values():
            reader.forget()

    def _time_embedding(self, timestep: int, like: torch.Tensor) -> torch.Tensor:
        projection = self.network.time_proj(torch.tensor([timestep], device=like.device))
        return self.network.time_embedding(projection.to(like.dtype))

    def _per_row(self, embedding: torch.Tensor) -> torch.Tensor:
        return embedding.expand(self.layout.rows * self.layout.frames, -1)

    def _block(
        self, block: Any, hidden: torch.Tensor, emb: torch.Tensor, words: torch.Tensor | None, **skips: Any
    ) -> Any:
        if words is not None and getattr(block, "has_cross_attention", False):
            skips["encoder_hidden_states"] = words[: len(hidden)]
        return block(hidden_states=hidden, temb=self._per_row(emb), num_frames=self.layout.frames, **skips)

    def _up(
        self, hidden: torch.Tensor, skips: list[torch.Tensor], emb: torch.Tensor, words: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The up path and the output: (rows · frames, …) → (rows, frames, channels, height, width)."""
        network, skips = self.network, list(skips)
        for block in network.up_blocks:
            taken = [skips.pop() for _ in block.resnets][::-1]
            size = skips[-1].shape[2:] if skips else None
            hidden = self._block(block, hidden, emb, words, res_hidden_states_tuple=tuple(taken), upsample_size=size)
        hidden = network.conv_out(network.conv_act(network.conv_norm_out(hidden)))
        return hidden.unflatten(0, (self.layout.rows, self.layout.frames))
