"""MagicAnimate before it is loaded: facts, options, and what the published code has hard-coded. Imports no torch.

Source: SPEC.md; the sections named below are its.
"""

from __future__ import annotations

from pydantic import Field

from stages.diffusion.animator import Facts, Options, Segments
from stages.diffusion.fast import Fast

# Whatever the VAE's config says (quirk 10).
VAE_SCALE = 0.18215
LONGEST_WINDOW = 24  # positions of the motion modules; the published inference configuration (section 1)
NOISE_BLOCK = 16  # frames of noise drawn at once, and the unit a clip is padded to (sections 8 and 11)
SCHEDULER = {  # section 7; the base model's scheduler file is not read
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "clip_sample": False,
    "steps_offset": 1,
    "set_alpha_to_one": True,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}


class MagicAnimateOptions(Options):
    """MagicAnimate's own options, under the names of the published inference configuration."""

    context_stride: int = Field(1, ge=1, le=8, description="levels of the parity window schedule")
    controlnet_conditioning_scale: float = Field(1.0, ge=0, le=4, description="strength of the pose")


MAGICANIMATE = Facts(
    name="magicanimate",
    implementation="stages.diffusion.magicanimate.animator:MagicAnimate",
    pose="densepose",
    reference=True,
    size_multiple=8,
    native_size=(512, 512),
    window=16,
    window_limits=(1, LONGEST_WINDOW),
    overlap=4,
    steps=25,
    guidance=(7.5,),
    checkpoint=(
        "stable-diffusion-v1-5/tokenizer",
        "stable-diffusion-v1-5/text_encoder",
        "stable-diffusion-v1-5/unet",
        "sd-vae-ft-mse",
        "MagicAnimate/appearance_encoder",
        "MagicAnimate/densepose_controlnet",
        "MagicAnimate/temporal_attention",
    ),
    licence="weights BSD-3-Clause; base model CreativeML OpenRAIL-M",
    lora=True,
    text=True,
    options=MagicAnimateOptions,
    deals_windows=True,
    modes=("parity", "standard", "fast"),
    fast=Fast(),
    fast_steps=12,
    parameters=2_702,
    segments=Segments(240, halo=16),
)
