"""LoRA files: low-rank changes to the weights of a Stable Diffusion base model, added to them once when it is loaded.

Fused weights cost neither memory nor time. Names are converted by diffusers; peft, which its own loader needs to apply
them, is not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.utils.state_dict_utils import StateDictType, convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from safetensors import safe_open

from manifests.errors import Problem, Rejected
from stages.diffusion.weights.lora_file import REMEDY, LoraFile

UNET, TEXT_ENCODER = "unet", "text_encoder"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LowRank:
    """The change to one layer."""

    down: torch.Tensor  # (rank, in) or (rank, in, kernel, kernel)
    up: torch.Tensor  # (out, rank) or (out, rank, 1, 1)
    alpha: float | None  # None: the rank

    def fits(self, weight: torch.Tensor) -> bool:
        """Whether this is a change to a weight of that shape."""
        rank, out = len(self.down), len(self.up)
        shapes = self.up.numel() == out * rank and self.down.numel() == rank * weight[0].numel()
        return shapes and out == len(weight)

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        """What is added to a weight that it fits: in float32, on that weight's device."""
        rank = len(self.down)
        factor = 1.0 if self.alpha is None else self.alpha / rank
        up, down = (half.to(weight.device, torch.float32).flatten(1) for half in (self.up, self.down))
        return factor * (up @ down).reshape(weight.shape)


class Lora:
    """The changes of one file, by network and layer."""

    def __init__(self, name: str, scale: float, layers: Mapping[str, Mapping[str, LowRank]]) -> None:
        self._name = name
        self._scale = scale
        self._layers = layers

    @classmethod
    def read(cls, file: LoraFile) -> Lora:
        """Raises `Rejected` for what is no LoRA, or one of a kind that cannot be added to weights.

        Raises `Problem` where the bytes are not those that were validated.
        """
        file.check()
        try:
            with safe_open(file.path, "pt") as opened:
                state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - no mapping
                metadata = json.loads((opened.metadata() or {}).get("lora_adapter_metadata", "{}"))
            return cls(file.name, file.scale, _layers(state, metadata))
        except Problem:
            raise
        except Exception as broken:  # damaged bytes, and names that diffusers cannot convert
            reason = " ".join((str(broken) or type(broken).__name__).split())[:200]
            raise Rejected(f"lora {file.name}: cannot be read: {reason}", REMEDY) from None

    def fuse(self, unet: torch.nn.Module, text_encoder: torch.nn.Module | None = None) -> None:
        """Add the changes to the weights of these networks, in place.

        Layers of a text encoder are left out, and said to be, where the animator has none. Raises `Rejected` when a
        layer is not in its network or of another shape; the networks are then as they were.
        """
        networks = {UNET: unet, TEXT_ENCODER: text_encoder}
        fitting, complaints = [], []
        for part, layers in self._layers.items():
            if networks.get(part) is None:
                log.warning("lora %s: its part %s is ignored, the animator has no such network", self._name, part)
                continue
            modules = dict(networks[part].named_modules())
            for name, low_rank in layers.items():
                weight = getattr(modules.get(name), "weight", None)
                if weight is not None and low_rank.fits(weight):
                    fitting.append((weight, low_rank))
                else:
                    shapes = [tuple(low_rank.up.shape), tuple(low_rank.down.shape)]
                    complaints.append(f"{part}.{name} ({' × '.join(map(str, shapes))})")
        if complaints or not fitting:
            more = f" and {len(complaints) - 3} more" if len(complaints) > 3 else ""
            what = ", ".join(complaints[:3]) + more or f"it is for {' and '.join(self._layers)} alone"
            raise Rejected(f"lora {self._name} does not fit the animator's networks: {what}", REMEDY)
        with torch.no_grad():
            for weight, low_rank in fitting:
                weight.copy_(weight.float() + self._scale * low_rank.change(weight))


def _layers(state: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> dict[str, dict[str, LowRank]]:
    """{network: {layer: change}} of a file's tensors. Raises `Rejected` or `ValueError` for any other kind of file."""
    if unsupported := [key for key in state if "dora_scale" in key or "lora_magnitude_vector" in key]:
        raise Rejected(f"lora: {unsupported[0]} is of a DoRA, which is no change of low rank", REMEDY)
    converted, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(dict(state))
    halves: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    stated = {_place(key)[:2]: float(alpha) for key, alpha in (alphas or {}).items()}
    for key, tensor in converted.items():
        part, layer, half = _place(key)
        if half:
            halves.setdefault((part, layer), {})[half] = tensor
        elif key.endswith(".alpha"):
            stated[part, layer] = float(tensor)
        else:
            raise ValueError(f"{key} is no part of a LoRA")
    layers: dict[str, dict[str, LowRank]] = {}
    for (part, layer), both in halves.items():
        if len(both) < 2:
            raise ValueError(f"{part}.{layer} has one half alone, {', '.join(both)}")
        down, up = both["lora_A"], both["lora_B"]
        if min(down.dim(), up.dim()) < 2 or not len(down):
            raise ValueError(f"{part}.{layer} is no pair of matrices")
        alpha = stated.get((part, layer), _trained_alpha(part, layer, metadata, len(down)))
        layers.setdefault(part, {})[layer] = LowRank(down, up, alpha)
    if not layers:
        raise ValueError("it holds no layer")
    return layers


def _place(key: str) -> tuple[str, str, str]:
    """(network, layer, half) that a key of any age means; what names no network is the UNet's.

    The half is `lora_A` (down), `lora_B` (up), or empty, which keys of alphas may have.
    """
    whole = key if key.startswith((f"{UNET}.", TEXT_ENCODER)) else f"{UNET}.{key}"
    whole = whole.removesuffix(".alpha")
    if whole.startswith(f"{UNET}."):
        (today,) = convert_unet_state_dict_to_peft({whole: None})
    else:
        (today,) = convert_state_dict_to_peft({whole: None}, original_type=StateDictType.DIFFUSERS_OLD)
    part, _, rest = today.removesuffix(".weight").partition(".")
    layer, _, half = rest.rpartition(".")
    if half not in ("lora_A", "lora_B"):
        layer, half = rest, ""
    # transformers leaves out the class name that files still have
    return part, layer.removeprefix("text_model."), half


def _trained_alpha(part: str, layer: str, metadata: Mapping[str, Any], rank: int) -> float | None:
    """The alpha that peft wrote into the file's header beside the rank; None where there is none."""
    patterns = metadata.get(f"{part}.alpha_pattern") or {}
    named = [alpha for name, alpha in patterns.items() if f".{layer}".endswith(f".{name}")]
    alpha = named[0] if named else metadata.get(f"{part}.lora_alpha")
    # rank-stabilised: divided by the root of the rank
    stabilised = rank**0.5 if metadata.get(f"{part}.use_rslora") else 1.0
    return None if alpha is None else float(alpha) * stabilised
