"""Wan's denoising networks out of their published folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from diffusers import ModelMixin

from manifests.errors import Problem
from stages.diffusion.networks.offload import settle
from stages.diffusion.weights.checkpoint import build, load_strictly, read_config
from stages.diffusion.weights.sharded import read_network_state

if TYPE_CHECKING:
    from stages.diffusion.weights.lora import Lora

Transformer = TypeVar("Transformer", bound=ModelMixin)

# Settings of `Acceleration` that these systems have nothing for, and why.
CANNOT = {
    "channels_last": "its networks have no such layers to speak of: they are transformers, and convolve films",
    "decode_frames": "it decodes one latent frame, which is four frames, after the other",
}

# One narrow layer of the same network has all that is computed when it is built, and not stored.
_NARROW = {"num_layers": 1, "num_attention_heads": 1, "ffn_dim": 8}


def read_transformer(
    kind: type[Transformer],
    folder: Path,
    device: str,
    dtype: torch.dtype,
    narrow: Mapping[str, Any],
    lora: Lora | None = None,
) -> Transformer:
    """A transformer; what its class names stays in float32. Raises `Problem` for a wrong folder.

    `narrow` are values of its own for a network of one layer; `lora` is added to its weights.
    """
    config = read_config(folder)
    network = build(kind, config, folder / "config.json")
    load_strictly(network, read_network_state(folder), folder, dtype, kind._keep_in_fp32_modules)
    head = {"added_kv_proj_dim": config["attention_head_dim"]} if config.get("added_kv_proj_dim") else {}
    for name, computed in kind.from_config({**config, **_NARROW, **head, **narrow}).named_buffers():
        owner, _, attribute = name.rpartition(".")
        network.get_submodule(owner).register_buffer(attribute, computed, persistent=False)
    if lora is not None:
        lora.fuse_transformer(network)
    return cast(Transformer, settle(network, device))


def require_fitting(transformer: ModelMixin, checkpoint: Path, widths: Mapping[str, tuple[str, int]]) -> None:
    """Raise `Problem` where another part of the folder makes vectors of another width than the transformer takes.

    `widths` are, by the part's folder, the transformer's setting and the part's own width.
    """
    for part, (setting, width) in widths.items():
        if (wanted := transformer.config[setting]) != width:
            raise Problem(
                f"checkpoint {checkpoint}: {part}/ makes {width} channels, and transformer/ takes {wanted} ({setting})",
                "use the parts of one checkpoint",
            )
