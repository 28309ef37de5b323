"""DreamPose before it is loaded: facts, options, published constants, the sizes it makes. Imports no torch.

Source: SPEC.md; the sections named below are its.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from stages.diffusion.animator import Facts, Options, Segments, Shape
from stages.diffusion.fast import Fast

if TYPE_CHECKING:
    from manifests.clip import Clip

VAE_SCALE = 0.18215  # a literal in the published code, whatever the VAE's config says
IN_CHANNELS = 14  # four of the latents, ten of the pose; the saved configuration still says four (section 2)
NATIVE_SIZE = (512, 640)


class DreamPoseOptions(Options):
    """DreamPose's own options."""

    sampler: Literal["checkpoint", "pndm", "ddim"] = Field("checkpoint", description="the checkpoint's, or one of two")
    strength: float = Field(1.0, gt=0, le=1, description="part of the steps that is done, from the key image on")
    image_tokens: Literal["published", "trained"] = Field(
        "published", description="range of the pixels the adapter is shown: 0 … 255 as published, 0 … 1 as in training"
    )
    levels: Literal["frame", "clip", "trained"] | None = Field(
        None, description="decoded range that is stretched to 0 … 255: each frame's, the film's, or that of training"
    )


def own_defaults(clip: Clip, shape: Shape | None) -> dict[str, Any]:
    """Its weights make pictures of one area alone: the native size, upright or lying as the driving file is."""
    lying = shape is not None and shape["width"] > shape["height"]
    width, height = NATIVE_SIZE[::-1] if lying else NATIVE_SIZE
    return {"width": width, "height": height}


DREAMPOSE = Facts(
    name="dreampose",
    implementation="stages.diffusion.dreampose.animator:DreamPose",
    pose="densepose_uv",
    reference=True,
    size_multiple=32,
    native_size=NATIVE_SIZE,
    window=8,
    window_limits=(1, 64),
    overlap=0,
    steps=100,
    guidance=(8.0, 3.0),
    checkpoint=(
        "unet_epoch_*.pth",
        "adapter_*.pth",
        "checkpoint-*/unet/config.json | stable-diffusion-v1-4/unet/config.json",
        "checkpoint-*/vae | stable-diffusion-v1-4/vae",
        "checkpoint-*/scheduler | stable-diffusion-v1-4/scheduler",
        "checkpoint-*/image_encoder | clip-vit-base-patch32",
    ),
    licence="base model CreativeML OpenRAIL-M; a fine-tuned checkpoint is its owner's",
    lora=True,
    options=DreamPoseOptions,
    deals_windows=True,
    modes=("parity", "standard", "fast"),
    fast=Fast(),
    fast_steps=48,
    parameters=1_032,
    checkpoint_settings=("vae_*.pth",),
    own_defaults=own_defaults,
    segments=Segments(240),
)
