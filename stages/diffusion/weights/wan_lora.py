"""LoRA files of Wan's transformers, in whatever layout, as diffusers names their layers."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from diffusers.loaders import WanLoraLoaderMixin

log = logging.getLogger(__name__)

# Wan's own names, kohya's (musubi-tuner) and diffusers'; what names no network is the transformer's, in Wan's names.
_PREFIXES = ("diffusion_model.", "lora_unet_blocks_", "transformer.")


def converted_wan(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a file by diffusers' names, `transformer.LAYER.lora_A.weight`. Raises `ValueError` for any other file.

    Changes that are no matrices of low rank, which few-step LoRAs hold of norms, are left out, and said to be.
    """
    named = {key if key.startswith(_PREFIXES) else f"diffusion_model.{key}": one for key, one in state.items()}
    if foreign := [key for key in named if key.startswith("diffusion_model.") and not _of_wan(key)]:
        raise ValueError(f"{foreign[0].removeprefix('diffusion_model.')} is no layer of Wan's")
    left_out = [key for key, one in named.items() if key.endswith(".diff") and one.any()]
    left_out += [key for key, one in named.items() if key.endswith(".diff_b") and "norm" in key and one.any()]
    if left_out:
        log.warning("lora: %d changes that are not of low rank are left out, %s first", len(left_out), left_out[0])
    try:
        return WanLoraLoaderMixin.lora_state_dict(dict(named))
    except KeyError as missing:
        raise ValueError(f"{missing.args[0]} is missing") from None


def _of_wan(key: str) -> bool:
    owners = ("blocks.", "head.", "img_emb.", "patch_embedding.", "text_embedding.", "time_embedding.")
    return key.removeprefix("diffusion_model.").startswith((*owners, "time_projection."))
