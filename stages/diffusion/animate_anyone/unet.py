"""The denoising network of Animate Anyone: one image token, reference tokens in every block, poses after `conv_in`.

Source: SPEC.md sections 2.2 and 3; section 13 ("Wasted work") items 1, 2, 4, 5 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import Attention
from torch import nn

from stages.diffusion.networks.batch_layout import Layout
from stages.diffusion.networks.motion_unet import MotionUNet
from stages.diffusion.networks.reference_attention import KeysValues, keys_values, transformer_blocks


@dataclass(frozen=True)
class Conditioning:
    """What is the same for every frame, window and step of a clip, per transformer block."""

    reference: Mapping[str, KeysValues]  # empty: no reference
    token: Mapping[str, torch.Tensor]  # (rows, 1, channels): all that cross-attention adds
    rows: int


@dataclass(frozen=True)
class Stem:
    """Frames as they are before the first motion module, where they are still independent of each other."""

    entry: torch.Tensor  # (frames, channels, height, width): the first skip, the same for all rows
    hidden: torch.Tensor  # (rows, frames, channels, height, width)

    def split(self) -> list[Stem]:
        """One stem per frame."""
        return [Stem(self.entry[[at]], self.hidden[:, [at]]) for at in range(len(self.entry))]

    @classmethod
    def join(cls, stems: list[Stem]) -> Stem:
        """The stems of several frames as one."""
        return cls(torch.cat([one.entry for one in stems]), torch.cat([one.hidden for one in stems], dim=1))


class SingleTokenAttention(nn.Module):
    """Cross-attention to one token. The softmax over one key is 1: it adds `to_out(to_v(token))` to every pixel."""

    def __init__(self, attn: Attention, layout: Layout) -> None:
        super().__init__()
        self.to_v, self.to_out = attn.to_v, attn.to_out
        self._layout = layout
        self.added: torch.Tensor | None = None

    def vectors(self, tokens: torch.Tensor) -> torch.Tensor:
        """(rows, 1, width) → (rows, 1, channels)."""
        return self.to_out[1](self.to_out[0](self.to_v(tokens)))

    def forward(self, hidden_states: torch.Tensor, **_: object) -> torch.Tensor:
        """(rows · frames, tokens, channels) → (rows · frames, 1, channels), which broadcasts."""
        return self.added.repeat_interleave(self._layout.frames, dim=0)


class PosedUNet(MotionUNet):
    """The network, with everything that does not depend on the latents computed once per clip."""

    def __init__(self, network: UNetMotionModel) -> None:
        """`network` has its weights: the parts of cross-attention that one token leaves without effect are dropped."""
        super().__init__(network, transformer_blocks(network))
        self._crossings: dict[str, SingleTokenAttention] = {}
        for name in self._readers:
            block = network.get_submodule(name)
            self._crossings[name] = block.attn2 = SingleTokenAttention(block.attn2, self.layout)
            block.norm2 = nn.Identity()

    def condition(self, features: Mapping[str, torch.Tensor], tokens: torch.Tensor) -> Conditioning:
        """`features` (tokens, channels) by block, empty for no reference; `tokens` (rows, 1, width) → for `predict`."""
        return Conditioning(
            {name: keys_values(self._readers[name][0], tokens) for name, tokens in features.items()},
            {name: crossing.vectors(tokens) for name, crossing in self._crossings.items()},
            len(tokens),
        )

    def predict(
        self, latents: torch.Tensor, timestep: int, conditioning: Conditioning, pose: torch.Tensor | None
    ) -> torch.Tensor:
        """Raw rows of one window: (frames, 4, height, width) → (rows, frames, 4, height, width).

        Rows are [unconditional, conditional] or the conditional one alone; `pose` (frames, channels, height, width)
        is added to both.
        """
        return self.finish(self.stem(latents, timestep, conditioning, pose), timestep, conditioning)

    def stem(self, latents: torch.Tensor, timestep: int, conditioning: Conditioning, pose: torch.Tensor | None) -> Stem:
        """What needs no other frame: shared by all windows of a step that hold the frame. Shapes as `predict`."""
        first = self.network.down_blocks[0]
        self.use(conditioning, len(latents))
        entry = self.network.conv_in(latents)
        if pose is not None:
            entry = entry + pose
        emb = self._time_embedding(timestep, latents)
        # up to here both rows are equal
        hidden = first.resnets[0](entry, emb.expand(len(latents), -1)).repeat(conditioning.rows, 1, 1, 1)
        hidden = first.attentions[0](hidden, return_dict=False)[0]
        return Stem(entry, hidden.unflatten(0, (conditioning.rows, -1)))

    def finish(self, stem: Stem, timestep: int, conditioning: Conditioning) -> torch.Tensor:
        """The rest of the network, on all frames of a window → (rows, frames, 4, height, width)."""
        network, frames = self.network, len(stem.entry)
        self.use(conditioning, frames)
        emb = self._time_embedding(timestep, stem.entry)

        first = network.down_blocks[0]
        hidden = first.motion_modules[0](stem.hidden.flatten(0, 1), num_frames=frames)
        skips = [stem.entry.repeat(conditioning.rows, 1, 1, 1), hidden]
        for resnet, attention, motion in zip(
            first.resnets[1:], first.attentions[1:], first.motion_modules[1:], strict=True
        ):
            hidden = attention(resnet(hidden, self._per_row(emb)), return_dict=False)[0]
            hidden = motion(hidden, num_frames=frames)
            skips.append(hidden)
        for downsampler in first.downsamplers:
            hidden = downsampler(hidden)
            skips.append(hidden)

        for block in network.down_blocks[1:]:
            hidden, taken = self._block(block, hidden, emb, None)
            skips += taken
        hidden = self._block(network.mid_block, hidden, emb, None)
        return self._up(hidden, skips, emb)

    def use(self, conditioning: Conditioning, frames: int) -> None:
        """Let the blocks read this conditioning, for rows of `frames` frames, from now on."""
        self.layout.rows, self.layout.frames = conditioning.rows, frames
        for name, (_, reader) in self._readers.items():
            reader.attend(conditioning.reference.get(name))
        for name, crossing in self._crossings.items():
            crossing.added = conditioning.token[name]
