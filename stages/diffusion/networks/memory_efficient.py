"""xFormers' memory-efficient attention in the place of torch's, layer by layer: never a default of the process."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from diffusers.models.attention import AttentionModuleMixin
from diffusers.models.attention_processor import Attention, AttnProcessor2_0, XFormersAttnProcessor
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn

from stages.diffusion.networks.attention_heads import attend, keys_values_of, split_heads

MOST_SAMPLES = 2**16 - 1  # of one call: a dimension of CUDA's grid


def memory_efficient(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """xFormers' operator, shaped as `Operator` says; its own layout has the tokens before the heads.

    Raises `NotImplementedError` where it has none for the device, the type or the size of the heads.
    """
    import xformers.ops

    laid_out = [one.transpose(1, 2).split(MOST_SAMPLES) for one in (query, key, value)]
    made = [xformers.ops.memory_efficient_attention(*part) for part in zip(*laid_out, strict=True)]
    return (made[0] if len(made) == 1 else torch.cat(made)).transpose(1, 2)


class SelfAttention:
    """Processor of the motion modules' layers, whose samples are pixels.

    diffusers' own for xFormers makes every head a sample: at 512×512 with guidance, one more than CUDA's grid takes.
    """

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """`hidden_states` (pixels, frames, channels) → the same shape."""
        return attend(attn, split_heads(attn, attn.to_q(hidden_states)), keys_values_of(attn, hidden_states))


def attend_memory_efficiently(networks: Iterable[nn.Module]) -> tuple[int, int]:
    """Give all attention layers of these networks xFormers' operator → (layers that have it, layers that cannot).

    Layers keep torch's where xFormers has none for their size of heads, on their device and in their type. What is not
    built of diffusers' attention layers, such as transformers' encoders, stays as it is. Raises `ImportError` without
    the package.
    """
    given = refused = 0
    for network in networks:
        temporal = {
            layer
            for module in network.modules()
            if isinstance(module, AnimateDiffTransformer3D)
            for layer in module.modules()
        }
        for layer in network.modules():
            if not isinstance(layer, Attention | AttentionModuleMixin):
                continue
            weight = layer.to_q.weight
            if not _works(layer.inner_dim // layer.heads, weight.device, weight.dtype):
                refused += 1
                continue
            given += 1
            if isinstance(layer, AttentionModuleMixin):  # of the newer transformers: its processor knows the operators
                layer.set_attention_backend("xformers")
                continue
            layer.operator = memory_efficient
            if type(layer.processor) is AttnProcessor2_0:
                layer.set_processor(SelfAttention() if layer in temporal else XFormersAttnProcessor())
    return given, refused


@cache
def _works(channels: int, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether xFormers has an operator for heads of so many channels."""
    probe = torch.zeros(1, 1, 8, channels, device=device, dtype=dtype)
    try:
        memory_efficient(probe, probe, probe)
    except NotImplementedError:
        return False
    return True
