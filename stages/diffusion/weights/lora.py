"""LoRA files: low-rank changes to the weights of a base model, added to them once when it is loaded.

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
from stages.diffusion.weights.lora_file import REMEDIES, Family, LoraFile
from stages.diffusion.weights.wan_lora import converted_wan

UNET, TEXT_ENCODER, TRANSFORMER = "unet", "text_encoder", "transformer"

BIAS = "bias"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LowRank:
    """The change to one layer."""

    down: torch.Tensor  # (rank, in) or (rank, in, kernel, kernel)
    up: torch.Tensor  # (out, rank) or (out, rank, 1, 1)
    alpha: float | None  # None: the rank
    bias: torch.Tensor | None = None  # (out,) added to the layer's

    def fits(self, layer: torch.nn.Module | None) -> bool:
        """Whether this is a change to a layer of those shapes."""
        weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
        if weight is None or (self.bias is not None and (bias is None or bias.shape != self.bias.shape)):
            return False
        rank, out = len(self.down), len(self.up)
        shapes = self.up.numel() == out * rank and self.down.numel() == rank * weight[0].numel()
        return shapes and out == len(weight)

    @property
    def factor(self) -> float:
        """By which all of it is multiplied."""
        return 1.0 if self.alpha is None else self.alpha / len(self.down)

    def change(self, weight: torch.Tensor) -> torch.Tensor:
        """What is added to a weight that it fits: in float32, on that weight's device."""
        up, down = (half.to(weight.device, torch.float32).flatten(1) for half in (self.up, self.down))
        return self.factor * (up @ down).reshape(weight.shape)


class Lora:
    """The changes of one file, by network and layer."""

    def __init__(
        self, name: str, scale: float, layers: Mapping[str, Mapping[str, LowRank]], family: Family = "stable_diffusion"
    ) -> None:
        self._name = name
        self._remedy = REMEDIES[family]
        self._scale = scale
        self._layers = layers

    @classmethod
    def read(cls, file: LoraFile, family: Family = "stable_diffusion") -> Lora:
        """A LoRA of that family's networks.

        Raises `Rejected` for what is no LoRA, or one of a kind that cannot be added to weights; `Problem` where the
        bytes are not those that were validated.
        """
        file.check()
        try:
            with safe_open(file.path, "pt") as opened:
                state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - no mapping
                metadata = json.loads((opened.metadata() or {}).get("lora_adapter_metadata", "{}"))
            return cls(file.name, file.scale, _layers(state, metadata, family), family)
        except Problem:
            raise
        except Exception as broken:  # damaged bytes, and names that diffusers cannot convert
            reason = " ".join((str(broken) or type(broken).__name__).split())[:200]
            raise Rejected(f"lora {file.name}: cannot be read: {reason}", REMEDIES[family]) from None

    def fuse(self, unet: torch.nn.Module, text_encoder: torch.nn.Module | None = None) -> None:
        """Add the changes to the weights of these networks, in place.

        Layers of a text encoder are left out, and said to be, where the animator has none. Raises `Rejected` when a
        layer is not in its network or of another shape; the networks are then as they were.
        """
        self._add({UNET: unet, TEXT_ENCODER: text_encoder})

    def fuse_transformer(self, transformer: torch.nn.Module) -> None:
        """The same for a system that denoises with a transformer."""
        self._add({TRANSFORMER: transformer})

    def _add(self, networks: Mapping[str, torch.nn.Module | None]) -> None:
        fitting: list[tuple[Any, LowRank]] = []
        complaints = []
        for part, layers in self._layers.items():
            if (network := networks.get(part)) is None:
                log.warning("lora %s: its part %s is ignored, the animator has no such network", self._name, part)
                continue
            modules = dict(network.named_modules())
            for name, low_rank in layers.items():
                layer = modules.get(name)
                if low_rank.fits(layer):
                    fitting.append((layer, low_rank))
                else:
                    shapes = [tuple(low_rank.up.shape), tuple(low_rank.down.shape)]
                    complaints.append(f"{part}.{name} ({' × '.join(map(str, shapes))})")
        if complaints or not fitting:
            more = f" and {len(complaints) - 3} more" if len(complaints) > 3 else ""
            what = ", ".join(complaints[:3]) + more or f"it is for {' and '.join(self._layers)} alone"
            raise Rejected(f"lora {self._name} does not fit the animator's networks: {what}", self._remedy)
        with torch.no_grad():
            for layer, low_rank in fitting:
                weight = layer.weight
                weight.copy_(weight.float() + self._scale * low_rank.change(weight))
                if low_rank.bias is not None:
                    bias = layer.bias
                    bias.copy_(bias.float() + self._scale * low_rank.factor * low_rank.bias.to(bias.device).float())


def _layers(
    state: Mapping[str, torch.Tensor], metadata: Mapping[str, Any], family: Family
) -> dict[str, dict[str, LowRank]]:
    """{network: {layer: change}} of a file's tensors. Raises `Rejected` or `ValueError` for any other kind of file."""
    if unsupported := [key for key in state if "dora_scale" in key or "lora_magnitude_vector" in key]:
        raise Rejected(f"lora: {unsupported[0]} is of a DoRA, which is no change of low rank", REMEDIES[family])
    halves: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    if family == "wan":
        converted, alphas, place = converted_wan(state), {}, _place_as_named
    else:
        converted, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(dict(state))
        place = _place
    stated = {place(key)[:2]: float(alpha) for key, alpha in (alphas or {}).items()}
    for key, tensor in converted.items():
        part, layer, half = place(key)
        if half:
            halves.setdefault((part, layer), {})[half] = tensor
        elif key.endswith(".alpha"):
            stated[part, layer] = float(tensor)
        else:
            raise ValueError(f"{key} is no part of a LoRA")
    layers: dict[str, dict[str, LowRank]] = {}
    for (part, layer), both in halves.items():
        if not {"lora_A", "lora_B"} <= set(both):
            raise ValueError(f"{part}.{layer} has one half alone, {', '.join(both)}")
        down, up = both["lora_A"], both["lora_B"]
        if min(down.dim(), up.dim()) < 2 or not len(down):
            raise ValueError(f"{part}.{layer} is no pair of matrices")
        alpha = stated.get((part, layer), _trained_alpha(part, layer, metadata, len(down)))
        layers.setdefault(part, {})[layer] = LowRank(down, up, alpha, both.get(BIAS))
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


def _place_as_named(key: str) -> tuple[str, str, str]:
    """The same of a key in diffusers' layout, whose halves may have a bias beside them."""
    part, _, rest = key.removesuffix(".alpha").partition(".")
    for ending, half in ((".lora_A.weight", "lora_A"), (".lora_B.weight", "lora_B"), (".lora_B.bias", BIAS)):
        if rest.endswith(ending):
            return part, rest.removesuffix(ending), half
    return part, rest, ""


def _trained_alpha(part: str, layer: str, metadata: Mapping[str, Any], rank: int) -> float | None:
    """The alpha that peft wrote into the file's header beside the rank; None where there is none."""
    patterns = metadata.get(f"{part}.alpha_pattern") or {}
    named = [alpha for name, alpha in patterns.items() if f".{layer}".endswith(f".{name}")]
    alpha = named[0] if named else metadata.get(f"{part}.lora_alpha")
    # rank-stabilised: divided by the root of the rank
    stabilised = rank**0.5 if metadata.get(f"{part}.use_rslora") else 1.0
    return None if alpha is None else float(alpha) * stabilised
