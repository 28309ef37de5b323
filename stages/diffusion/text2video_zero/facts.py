"""Text2Video-Zero before it is loaded: facts, options, published words, sizes and frames. Imports no torch.

Source: SPEC.md; the sections named below are its.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from manifests.errors import Rejected
from stages.diffusion.animator import Facts, Options, Segments, Shape
from stages.diffusion.fast import Fast
from stages.video.timing import select_evenly

if TYPE_CHECKING:
    from manifests.clip import Clip

VAE_SCALE = 0.18215  # the VAE's config of that era has none (section 1)
BASE, CONTROL = "stable-diffusion-v1-5", "stable-diffusion-v1-5-controlnet-openpose"
POSE_SUFFIX = (
    "best quality, extremely detailed, HD, ultra-realistic, 8K, HQ, masterpiece, trending on artstation, art, smooth"
)
POSE_NEGATIVE = (
    "longbody, lowres, bad anatomy, bad hands, missing fingers, extra digit, fewer difits, cropped, worst quality, "
    "low quality, deformed body, bloated, ugly, unrealistic"
)
TEXT_SUFFIX = "high quality, HD, 8K, trending on artstation, high focus, dramatic lighting"
UNDRIVEN: dict[str, Any] = {"fps": Fraction(4), "steps": 50, "guidance": (7.5,)}  # from a prompt alone (section 7)
UNDRIVEN_FAST_STEPS = 24
RESOLUTION, MULTIPLE = 512, 64  # of the longer side, and of both (section 5)


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


def own_defaults(clip: Clip, shape: Shape | None) -> dict[str, Any]:
    """What a film from a prompt alone is; in parity mode, the size that the published code brings poses to."""
    if shape is None:
        return UNDRIVEN | ({"steps": UNDRIVEN_FAST_STEPS} if clip.mode == "fast" else {})
    if clip.mode != "parity":
        return {}
    height, width = size_of_long_side(shape["height"], shape["width"])
    # the published code fails on strips so narrow that a side is rounded to nothing
    return {"width": max(MULTIPLE, width), "height": max(MULTIPLE, height)}


def size_of_long_side(height: int, width: int, resolution: int = RESOLUTION) -> tuple[int, int]:
    """(height, width) whose long side is about `resolution`, both rounded to 64, halves to even.

    A side that comes to 32 or less becomes 0. Source: section 5.
    """
    scale = resolution / max(height, width)
    return round(height * scale / MULTIPLE) * MULTIPLE, round(width * scale / MULTIPLE) * MULTIPLE


def parity_frames(clip: Clip, num_frames: int, native_fps: Fraction) -> list[int]:
    """Frames of the driving file that the film shows: evenly spaced, what is left over at the end left out."""
    rate = float(native_fps)
    end = None if clip.duration is None else min(clip.start + clip.duration, num_frames / rate)
    chosen = select_evenly(num_frames, rate, float(clip.fps), clip.start, end)
    if not chosen:
        raise Rejected(
            f"fps {clip.fps}: the {num_frames} frames of the driving video, or the part asked for, last less than one "
            "frame of the film, which parity mode leaves out",
            "raise fps, follow a longer part, or use mode standard",
        )
    return chosen


TEXT2VIDEO_ZERO = Facts(
    name="text2video_zero",
    implementation="stages.diffusion.text2video_zero.animator:Text2VideoZero",
    pose="openpose",
    reference=False,
    size_multiple=8,
    native_size=(512, 512),
    window=8,
    window_limits=(2, 64),
    overlap=0,
    steps=20,
    guidance=(9.0,),
    checkpoint=(
        "stable-diffusion-v1-5/tokenizer",
        "stable-diffusion-v1-5/text_encoder",
        "stable-diffusion-v1-5/unet",
        "stable-diffusion-v1-5/vae",
        "stable-diffusion-v1-5/scheduler",
    ),
    licence="base model CreativeML OpenRAIL-M; the ControlNet's likewise",
    lora=True,
    text=True,
    options=Text2VideoZeroOptions,
    deals_windows=True,
    modes=("parity", "standard", "fast"),
    fast=Fast(),
    fast_steps=10,
    parameters=1_428,
    checkpoint_settings=("stable-diffusion-v1-5-controlnet-openpose",),
    driving="optional",
    loops=False,
    own_defaults=own_defaults,
    parity_frames=parity_frames,
    segments=Segments(240),
)
