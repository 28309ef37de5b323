"""Wan-VACE before it is loaded: facts and options. Imports no torch."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from pydantic import Field

from stages.diffusion.animator import Facts, Segments
from stages.diffusion.chained_segments import PER_LATENT, ChainedOptions, refusal, segments

if TYPE_CHECKING:
    from manifests.clip import Clip

LONGEST = 81  # frames of a segment in training
CARRIED = (1, 5, 9)  # whole latent frames


class WanVaceOptions(ChainedOptions):
    """Wan-VACE's own options."""

    conditioning_scale: float = Field(1.0, ge=0, le=4, description="strength of the control video and the reference")


def refused(clip: Clip) -> tuple[str, str] | None:
    """What the general rules let pass."""
    return refusal(clip, LONGEST, CARRIED)


WAN_VACE = Facts(
    name="wan_vace",
    implementation="stages.diffusion.wan_vace.animator:WanVace",
    pose="control",
    reference=True,
    reference_whole=True,
    size_multiple=16,
    native_size=(832, 480),
    window=LONGEST,
    window_limits=(5, LONGEST),
    overlap=1,
    steps=50,
    guidance=(5.0,),
    checkpoint=("transformer", "vae", "text_encoder", "tokenizer", "scheduler"),
    licence="weights Apache-2.0",
    text=True,
    lora=True,
    lora_of="wan",
    loops=False,
    options=WanVaceOptions,
    half=("bfloat16",),
    parameters=7_950,
    segments=Segments(LONGEST - 1, carried=1, per_latent=PER_LATENT),
    own_segments=segments,
    own_refusal=refused,
    native_fps=Fraction(16),
)
