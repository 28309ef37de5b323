"""The published networks (SPEC sections 1 to 4), from a checkpoint or from another's weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tests.bench.published.norms import MOTION_GROUPS, with_published_norms
from tests.bench.published.reference import as_reader, as_writer

POSITIONS = 24  # of the motion modules
Config = Mapping[str, Any]
State = dict[str, torch.Tensor]

MOTION_NAMES = (
    (".temporal_transformer.", "."),
    (".attention_blocks.0.pos_encoder.pe", ".pos_embed.pe"),
    (".attention_blocks.0.", ".attn1."),
    (".attention_blocks.1.", ".attn2."),
    (".norms.0.", ".norm1."),
    (".norms.1.", ".norm2."),
    (".ff_norm.", ".norm3."),
)


@dataclass(frozen=True)
class Configs:
    """What describes the networks: the `config.json` files of a checkpoint, or of other widths."""

    unet: Config
    appearance: Config
    control: Config
    vae: Config
    text: Config


class Networks:
    """The five networks, the denoising one with readers and the appearance encoder with writers."""

    def __init__(self, configs: Configs) -> None:
        """On the meta device."""
        with torch.device("meta"):
            flat = UNet2DConditionModel.from_config(configs.unet)
            adapter = MotionAdapter(
                block_out_channels=flat.config.block_out_channels,
                motion_layers_per_block=flat.config.layers_per_block,
                motion_num_attention_heads=8,
                motion_norm_num_groups=MOTION_GROUPS,
                motion_max_seq_length=POSITIONS,
                use_motion_mid_block=False,
            )
            self.unet = with_published_norms(UNetMotionModel.from_unet2d(flat, adapter, load_weights=False))
            self.appearance = UNet2DConditionModel.from_config(configs.appearance)
            self.control = ControlNetModel.from_config(configs.control)
            self.vae = AutoencoderKL.from_config(configs.vae)
            self.text = CLIPTextModel(CLIPTextConfig(**configs.text))
        self.writers = as_writer(self.appearance)
        self.readers = as_reader(self.unet)

    def parts(self) -> dict[str, nn.Module]:
        """By the names of `take`."""
        return {name: getattr(self, name) for name in ("unet", "appearance", "control", "vae", "text")}

    def take(self, states: Mapping[str, State]) -> Networks:
        """Put those very tensors in, for every network; nothing may be missing or left over."""
        for name, network in self.parts().items():
            network.load_state_dict(states[name], assign=True)
            for key, buffer in list(network.named_buffers()):
                if buffer.is_meta:  # not in the file: CLIP's position numbers
                    owner, _, last = key.rpartition(".")
                    numbers = torch.arange(buffer.shape[-1], device=next(network.parameters()).device)
                    setattr(network.get_submodule(owner), last, numbers.expand(buffer.shape))
            network.eval()
        return self


def load(checkpoint: Path) -> tuple[CLIPTokenizer, Networks]:
    """Read the published folders, in float32 on the CPU."""
    base, own = checkpoint / "stable-diffusion-v1-5", checkpoint / "MagicAnimate"
    folders = {"appearance": own / "appearance_encoder", "control": own / "densepose_controlnet"}
    folders |= {"unet": base / "unet", "vae": checkpoint / "sd-vae-ft-mse", "text": base / "text_encoder"}
    configs = {name: json.loads((folder / "config.json").read_text()) for name, folder in folders.items()}
    networks = Networks(Configs(**configs))
    states = {name: _read(folder) for name, folder in folders.items()}
    states["unet"] |= _motion(own / "temporal_attention" / "temporal_attention.ckpt")
    states["vae"] = {_vae_name(key): _vae_weight(key, value) for key, value in states["vae"].items()}
    text = {key.removeprefix("text_model."): value for key, value in states["text"].items()}
    states["text"] = {key: value for key, value in text.items() if not key.endswith("position_ids")}
    return CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True), networks.take(states)


def _read(folder: Path) -> State:
    file = next(path for path in sorted(folder.iterdir()) if path.suffix in (".safetensors", ".bin"))
    state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _motion(file: Path) -> State:
    state = {}
    for key, value in torch.load(file, weights_only=True)["state_dict"].items():
        name = key.removeprefix("module.")
        if name.endswith(".attention_blocks.1.pos_encoder.pe"):
            continue  # the first one's again
        for published, ours in MOTION_NAMES:
            name = name.replace(published, ours)
        state[name] = value.float()
    return state


def _vae_name(key: str) -> str:
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        key = re.sub(rf"(attentions\.0)\.{old}\.", rf"\1.{new}.", key)
    return key


def _vae_weight(key: str, value: torch.Tensor) -> torch.Tensor:
    projects = ".attentions.0." in key and ".group_norm." not in key
    return value.flatten(1) if projects and key.endswith("weight") else value
