"""LoRA files of Wan's transformers, in whatever layout, as diffusers names their layers."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

import torch
from diffusers.loaders import WanLoraLoaderMixin

log = logging.getLogger(__name__)

State = dict[str, torch.Tensor]

_OWN, _KOHYA, _DIFFUSERS = "diffusion_model.", "lora_unet_", "transformer."
_PEFT = "base_model.model."  # before names of any kind
# Wan's own names, kohya's (musubi-tuner) and diffusers'; what names no network is the transformer's.
_PREFIXES = (_OWN, f"{_KOHYA}blocks_", f"{_KOHYA}vace_blocks_", f"{_KOHYA}face_adapter_", _DIFFUSERS)
_OF_DIFFUSERS = (".attn1.", ".attn2.", ".ffn.net.")  # in names that only it gives
_EMBEDDINGS = ("img_emb.", "patch_embedding.", "text_embedding.", "time_embedding.", "time_projection.")
_OWNERS = ("blocks.", "head.", *_EMBEDDINGS, "vace_blocks.", "vace_patch_embedding.", "face_adapter.fuser_blocks.")

# Layers of Wan-VACE and Wan-Animate whose names diffusers does not convert.
_BESIDE = re.compile(
    r"(?:diffusion_model\.|lora_unet_)(?:(?P<block>vace_blocks)|face_adapter[._]fuser_blocks)[._](?P<number>\d+)[._]"
    r"(?P<layer>before_proj|after_proj|linear1_q|linear1_kv|linear2)\.(?P<part>.+)"
)
_TODAY = {
    "before_proj": ("proj_in",),
    "after_proj": ("proj_out",),
    "linear1_q": ("to_q",),
    "linear1_kv": ("to_k", "to_v"),  # of which one layer was made
    "linear2": ("to_out",),
}
_KNOWN = f"{_OWN}blocks.0.self_attn.q", f"{_DIFFUSERS}blocks.0.attn1.to_q"  # a layer that it does convert


def converted_wan(state: Mapping[str, torch.Tensor]) -> State:
    """Tensors of a file by diffusers' names, `transformer.LAYER.lora_A.weight`. Raises `ValueError` for any other file.

    Changes that are no matrices of low rank, which few-step LoRAs hold of norms, are left out, and said to be.
    """
    named = _named(state)
    if foreign := [key for key in named if key.startswith(_OWN) and not key.removeprefix(_OWN).startswith(_OWNERS)]:
        raise ValueError(f"{foreign[0].removeprefix(_OWN)} is no layer of Wan's")
    left_out = [key for key, one in named.items() if key.endswith(".diff") and one.any()]
    left_out += [key for key, one in named.items() if key.endswith(".diff_b") and "norm" in key and one.any()]
    if left_out:
        log.warning("lora: %d changes that are not of low rank are left out, %s first", len(left_out), left_out[0])
    rest: State = {}
    control: State = {}
    beside: dict[tuple[str, str], State] = {}
    for key, tensor in named.items():
        if match := _BESIDE.fullmatch(key):
            block = f"{match['block'] or 'face_adapter'}.{match['number']}"
            beside.setdefault((block, match["layer"]), {})[f"{_KNOWN[0]}.{match['part']}"] = tensor
        elif key.startswith((f"{_OWN}vace_blocks.", f"{_KOHYA}vace_blocks_")):
            control[key.replace("vace_blocks", "blocks", 1)] = tensor  # which are named as others
        else:
            rest[key] = tensor
    found = _by_diffusers(rest)
    found |= {key.replace(".blocks.", ".vace_blocks.", 1): tensor for key, tensor in _by_diffusers(control).items()}
    for (block, layer), parts in beside.items():
        for key, tensor in _by_diffusers(parts).items():
            ending = key.removeprefix(_KNOWN[1])
            halves = _TODAY[layer]
            tensors = tensor.chunk(len(halves)) if ".lora_B." in ending else (tensor,) * len(halves)
            found |= {f"{_DIFFUSERS}{block}.{name}{ending}": one for name, one in zip(halves, tensors, strict=True)}
    return found


def _named(state: Mapping[str, torch.Tensor]) -> State:
    """With a prefix that says whose names they are, where the file leaves that open."""
    plain = {re.sub(r"\.default\.weight$", ".weight", key.removeprefix(_PEFT)): one for key, one in state.items()}
    prefix = _DIFFUSERS if any(mark in key for key in plain for mark in _OF_DIFFUSERS) else _OWN
    return {key if key.startswith(_PREFIXES) else f"{prefix}{key}": one for key, one in plain.items()}


def _by_diffusers(state: State) -> State:
    """What diffusers converts them to; of what is there already in its names, nothing."""
    if not state:
        return {}
    if any(key.startswith(_OWN) for key in state):  # it takes for granted that there is a block, and drops this of it
        state = {f"{_OWN}blocks.0.norm3.diff": torch.zeros(1), **state}
    try:
        return WanLoraLoaderMixin.lora_state_dict(dict(state))
    except KeyError as missing:
        raise ValueError(f"{missing.args[0]} is missing") from None
