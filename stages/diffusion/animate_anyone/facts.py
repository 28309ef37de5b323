"""Animate Anyone before it is loaded: facts, options, and what no weight file holds. Imports no torch.

Source: SPEC.md; the sections named below are its.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stages.diffusion.animator import Facts, Options, Segments
from stages.diffusion.fast import Fast

VAE_SCALE = 0.18215  # the VAE's config has none (section 1)
REFERENCE_TIMESTEP = 0  # the reference is clean, once per clip (section 3)
LONGEST_WINDOW = 32  # positions of the motion modules of the published weights (section 1)
SCHEDULER = {  # section 5
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "rescale_betas_zero_snr": True,
    "clip_sample": False,
    "steps_offset": 1,
    "set_alpha_to_one": True,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}


class AnimateAnyoneOptions(Options):
    """Animate Anyone's own options."""

    context_stride: int = Field(1, ge=1, le=8, description="levels of the parity window schedule")
    interpolation_factor: int = Field(1, ge=1, le=16, description="denoise every n-th frame, interpolate the others")
    interpolation_method: Literal["linear", "slerp"] = Field("linear", description="how latents are interpolated")


ANIMATE_ANYONE = Facts(
    name="animate_anyone",
    implementation="stages.diffusion.animate_anyone.animator:AnimateAnyone",
    pose="skeleton",
    reference=True,
    size_multiple=8,
    native_size=(512, 768),
    window=24,
    window_limits=(1, LONGEST_WINDOW),
    overlap=4,
    steps=30,
    guidance=(3.5,),
    checkpoint=(
        "denoising_unet.pth",
        "motion_module.pth",
        "reference_unet.pth",
        "pose_guider.pth",
        "image_encoder",
        "sd-vae-ft-mse",
        "stable-diffusion-v1-5/unet/config.json",
    ),
    licence="weights Apache-2.0; base models CreativeML OpenRAIL-M",
    lora=True,
    options=AnimateAnyoneOptions,
    deals_windows=True,
    modes=("parity", "standard", "fast"),
    fast=Fast(),
    fast_steps=14,
    parameters=2_559,
    checkpoint_settings=("inference_config.json",),
    segments=Segments(240, halo=24),
)
