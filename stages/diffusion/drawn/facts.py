"""The bundled animator before it is loaded: facts and options. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stages.diffusion.animator import Facts, Options, Segments
from stages.diffusion.fast import Fast


class DrawnOptions(Options):
    """The bundled animator's own options: all exist to show what they are for."""

    noise: Literal["shared", "independent"] = Field("shared", description="one noise for all frames, or one for each")
    warp: bool = Field(
        True,
        description="whether the networks are shown the reference warped into every pose; "
        "without, the codec alone makes the pictures",
    )
    motion: bool = Field(True, description="whether the temporal modules take part")


DRAWN = Facts(
    name="drawn",
    implementation="stages.diffusion.drawn.animator:Drawn",
    pose="skeleton",
    reference=True,
    size_multiple=32,
    native_size=(192, 256),
    window=16,
    window_limits=(1, 24),
    overlap=4,
    steps=2,
    guidance=(),
    checkpoint=("codec", "unet", "reference", "pose_guider", "motion", "finishing", "scheduler"),
    licence="Apache-2.0, trained by this repository on people it draws itself",
    options=DrawnOptions,
    checkpoint_settings=("digests.json",),
    modes=("standard", "fast"),  # there is no published implementation to be equal to
    fast=Fast(sampler="own", guided=1, reuse=1),
    fast_steps=1,
    half=("bfloat16",),  # activations of its reference network reach 1e9, float16 ends at 65,504
    keypoints="drawn",
    aligns=True,
    bundled="bundled:drawn",
    deals_windows=True,
    parameters=13.3,
    segments=Segments(240, halo=16),
)
