"""The animators Catwalk knows. Imports torch only when one is loaded."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.errors import Problem
from stages.diffusion.animate_anyone.facts import ANIMATE_ANYONE
from stages.diffusion.animator import Animator
from stages.diffusion.drawn.facts import DRAWN
from stages.diffusion.dreampose.facts import DREAMPOSE
from stages.diffusion.magicanimate.facts import MAGICANIMATE
from stages.diffusion.text2video_zero.facts import TEXT2VIDEO_ZERO

if TYPE_CHECKING:
    import torch

    from stages.diffusion.weights.lora_file import LoraFile

ANIMATORS = {facts.name: facts for facts in (MAGICANIMATE, ANIMATE_ANYONE, DREAMPOSE, TEXT2VIDEO_ZERO, DRAWN)}


def load_animator(
    name: str, checkpoint: Path, device: str, dtype: torch.dtype, lora: LoraFile | None = None
) -> Animator:
    """The animator of that name with the weights of that folder. Imports torch and diffusers.

    Raises `Problem` for a wrong folder and `Rejected` for a LoRA that does not fit.
    """
    module, _, attribute = ANIMATORS[name].implementation.partition(":")
    animator: type[Animator] = getattr(importlib.import_module(module), attribute)
    added = () if lora is None else (importlib.import_module("stages.diffusion.weights.lora").Lora.read(lora),)
    try:
        return animator.load(checkpoint, device, dtype, *added)
    except (ValueError, TypeError, LookupError, AttributeError) as wrong:
        # a configuration of another network, which diffusers or transformers trip over somewhere inside
        reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
        raise Problem(
            f"checkpoint {checkpoint} cannot be loaded as {name}: {type(wrong).__name__}: {reason}",
            f"copy the published folder again; see stages/diffusion/README.md, {name!r}",
        ) from None
