"""What a row's `options` may hold, animator by animator. Imports no torch: validation reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """What a row's `options` may hold for one animator. Animators with options of their own extend it."""

    # a default is dumped as the same value given by a row would be: both are in the key
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class MagicAnimateOptions(Options):
    """MagicAnimate's own options, under the names of the published inference configuration."""

    context_stride: int = Field(1, ge=1, le=8, description="levels of the parity window schedule")
    controlnet_conditioning_scale: float = Field(1.0, ge=0, le=4, description="strength of the pose")


class AnimateAnyoneOptions(Options):
    """Animate Anyone's own options."""

    context_stride: int = Field(1, ge=1, le=8, description="levels of the parity window schedule")
    interpolation_factor: int = Field(1, ge=1, le=16, description="denoise every n-th frame, interpolate the others")
    interpolation_method: Literal["linear", "slerp"] = Field("linear", description="how latents are interpolated")


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


class Text2VideoZeroOptions(Options):
    """Text2Video-Zero's own options: of its pose path, of its text path, of both."""

    controlnet_conditioning_scale: float = Field(1.0, ge=0, le=4, description="strength of the pose")
    midblock_wiring: Literal["legacy", "modern"] | None = Field(
        None, description="where the ControlNet enters; left out, legacy (as published) in parity mode, else modern"
    )
    use_motion_field: bool = Field(True, description="without a driving file: whether the scene moves")
    motion_field_strength_x: float = Field(12, ge=-512, le=512, description="to the left, pixels of 512 per frame")
    motion_field_strength_y: float = Field(12, ge=-512, le=512, description="upwards, pixels of 512 per frame")
    t0: int = Field(44, ge=0, le=47, description="where the moved scene is taken: timestep 1 + 20·t0")
    t1: int = Field(47, ge=1, le=48, description="where denoising goes on from it: timestep 1 + 20·t1")
    prompt_suffix: str | None = Field(
        None, description="put behind the prompt; left out, the published words in parity mode, else none"
    )
    default_negative_prompt: str | None = Field(
        None, description="for rows without one; left out, the published one in parity mode with poses, else none"
    )


class DrawnOptions(Options):
    """The bundled animator's own options: both exist to show what they are for."""

    noise: Literal["shared", "independent"] = Field("shared", description="one noise for all frames, or one for each")
    motion: bool = Field(True, description="whether the temporal modules take part")
