"""The SD 1.5 UNet with motion modules as MagicAnimate runs it: diffusers' layers, our own short forward.

Source: specs/magicanimate.md sections 3 and 5, "Wasted work" 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

from stages.diffusion.layout import FrameSpanningGroupNorm, Layout, PerFrameGroupNorm
from stages.diffusion.reference_attention import Features, ReferenceReader, reading_blocks

# What no checkpoint file holds: the published inference configuration of the motion modules (spec section 1).
MOTION_HEADS = 8
MOTION_NORM_GROUPS = 32
LONGEST_WINDOW = 24


def build_motion_unet(config: dict[str, Any]) -> UNetMotionModel:
    """The network of a 2-D SD 1.5 `config.json`, on the meta device, with the published norms."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
        adapter = MotionAdapter(
            block_out_channels=unet.config.block_out_channels,
            motion_layers_per_block=unet.config.layers_per_block,
            motion_num_attention_heads=MOTION_HEADS,
            motion_norm_num_groups=MOTION_NORM_GROUPS,
            motion_max_seq_length=LONGEST_WINDOW,
            use_motion_mid_block=False,
        )
        network = UNetMotionModel.from_unet2d(unet, adapter, load_weights=False)
        layout = Layout()
        for module in list(network.modules()):
            if isinstance(module, ResnetBlock2D):
                module.norm1 = FrameSpanningGroupNorm(module.norm1, layout)
                module.norm2 = FrameSpanningGroupNorm(module.norm2, layout)
            elif isinstance(module, AnimateDiffTransformer3D):
                module.norm = PerFrameGroupNorm(MOTION_NORM_GROUPS, module.in_channels, eps=module.norm.eps)
        network.conv_norm_out = FrameSpanningGroupNorm(network.conv_norm_out, layout)
    network.layout = layout
    return network


class MotionUNet:
    """One denoising forward, with what both guidance rows share computed once."""

    def __init__(self, network: UNetMotionModel) -> None:
        self.network = network
        self.layout: Layout = network.layout
        self._readers: dict[str, tuple[Any, ReferenceReader]] = {}
        for name in reading_blocks(network):
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

    def predict(
        self,
        latents: torch.Tensor,
        timestep: int,
        text: torch.Tensor,
        residuals: tuple[Sequence[torch.Tensor], torch.Tensor] | None = None,
        shared_text: bool = False,
    ) -> torch.Tensor:
        """Noise prediction of one window.

        `latents` (frames, channels, height, width), the same for all rows; `text` (rows, tokens, width), rows being
        [unconditional, conditional] or the conditional one alone; `residuals` the ControlNet's (down, mid) with one row
        of frames, added to every row. → (rows, frames, channels, height, width).

        With `shared_text` (all rows of text equal) the rows differ from the middle block's attention on: everything
        before it is computed for one row.
        """
        network, layout = self.network, self.layout
        rows, layout.frames = len(text), len(latents)
        layout.rows = 1 if shared_text else rows

        emb = self._time_embedding(timestep, latents)
        words = text.repeat_interleave(layout.frames, dim=0)
        hidden = network.conv_in(latents).repeat(layout.rows, 1, 1, 1)

        skips = [hidden]
        for block in network.down_blocks:
            hidden, taken = self._block(block, hidden, emb, words)
            skips += taken
        hidden = network.mid_block.resnets[0](hidden, self._per_row(emb))

        hidden = hidden.repeat(rows // layout.rows, 1, 1, 1)
        if residuals is not None:
            skips = [self._plus(skip, more) for skip, more in zip(skips, residuals[0], strict=True)]
        skips = [skip.repeat(rows // layout.rows, 1, 1, 1) for skip in skips]
        layout.rows = rows

        for attention, resnet in zip(network.mid_block.attentions, network.mid_block.resnets[1:], strict=True):
            hidden = attention(hidden, encoder_hidden_states=words, return_dict=False)[0]
            hidden = resnet(hidden, self._per_row(emb))
        if residuals is not None:
            hidden = self._plus(hidden, residuals[1])

        for block in network.up_blocks:
            taken = [skips.pop() for _ in block.resnets][::-1]
            size = skips[-1].shape[2:] if skips else None
            hidden = self._block(block, hidden, emb, words, res_hidden_states_tuple=tuple(taken), upsample_size=size)
        hidden = network.conv_out(network.conv_act(network.conv_norm_out(hidden)))
        return hidden.unflatten(0, (rows, layout.frames))

    def _time_embedding(self, timestep: int, like: torch.Tensor) -> torch.Tensor:
        projection = self.network.time_proj(torch.tensor([timestep], device=like.device))
        return self.network.time_embedding(projection.to(like.dtype))

    def _per_row(self, embedding: torch.Tensor) -> torch.Tensor:
        return embedding.expand(self.layout.rows * self.layout.frames, -1)

    def _plus(self, hidden: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Add one row of frames to every row."""
        return (hidden.unflatten(0, (-1, self.layout.frames)) + residual).flatten(0, 1)

    def _block(self, block: Any, hidden: torch.Tensor, emb: torch.Tensor, words: torch.Tensor, **skips: Any) -> Any:
        if getattr(block, "has_cross_attention", False):
            skips["encoder_hidden_states"] = words[: len(hidden)]
        return block(hidden_states=hidden, temb=self._per_row(emb), num_frames=self.layout.frames, **skips)
