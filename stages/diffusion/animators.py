"""The animators Catwalk knows, and the interface of each. Imports no torch: validation reads the facts."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch

    from manifests.clip import Clip


class Options(BaseModel):
    """What a row's `options` may hold for one animator. Animators with options of their own extend it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MagicAnimateOptions(Options):
    """MagicAnimate's own options, under the names of the published inference configuration."""

    context_stride: int = Field(1, ge=1, le=8, description="levels of the parity window schedule")
    controlnet_conditioning_scale: float = Field(1.0, ge=0, le=4, description="strength of the pose")


class AnimateAnyoneOptions(Options):
    """Animate Anyone's own options."""

    context_stride: int = Field(1, ge=1, le=8, description="levels of the parity window schedule")
    interpolation_factor: int = Field(1, ge=1, le=16, description="denoise every n-th frame, interpolate the others")
    interpolation_method: Literal["linear", "slerp"] = Field("linear", description="how latents are interpolated")


class StudioOptions(Options):
    """The bundled animator's own options: both exist to show what they are for."""

    noise: Literal["shared", "independent"] = Field("shared", description="one noise for all frames, or one for each")
    motion: bool = Field(True, description="whether the temporal modules take part")


@dataclass(frozen=True)
class Facts:
    """What the rest of Catwalk must know of an animator before it is loaded."""

    name: str
    implementation: str  # "module:class"
    pose: Literal["densepose", "skeleton", "densepose_uv", "none"]
    reference: bool  # needs a reference image
    size_multiple: int  # width and height in pixels
    native_size: tuple[int, int]  # (width, height) the published weights were trained at
    window: int  # frames
    overlap: int
    longest_window: int
    steps: int
    guidance: tuple[float, ...]
    segments: Literal["independent", "chained", "whole"]
    checkpoint: tuple[str, ...]  # folders and files inside the checkpoint folder that are read, as published
    licence: str  # of the published weights
    options: type[Options] = Options
    checkpoint_settings: tuple[str, ...] = ()  # files that are read where they are there
    driving: Literal["required", "optional"] = "required"  # optional: the system also draws without poses
    fps: Fraction | None = None  # of a film without driving video
    bundled: str | None = None  # weights that come with Catwalk


@dataclass(frozen=True)
class Segment:
    """Frames [start, stop) of a clip that are denoised jointly.

    `carry` is what a chained system hands on: the latents of the preceding segment, (frames, channels, height, width);
    None for the first one and for systems whose segments are independent or whole.
    """

    start: int
    stop: int
    carry: torch.Tensor | None = None

    def __len__(self) -> int:
        return self.stop - self.start


class PosePictures(Protocol):
    """What a clip is conditioned on, one array per frame of the film, made or read when it is asked for.

    uint8 (height, width, 3) as drawn, or float32 (2, height, width) of DensePose's U and V in [0, 1].
    """

    def __len__(self) -> int:
        """Frames of the film."""

    def __getitem__(self, frame: int) -> np.ndarray:
        """The pose of one frame, of its own size."""


class Animator(Protocol):
    """One system with its weights loaded. A stage knows nothing else of it."""

    facts: Facts
    nbytes: int  # of all weights

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> Animator:
        """Read the official layout. Raises `Problem` for a wrong, foreign or incomplete folder."""

    def latents(
        self, clip: Clip, reference: np.ndarray | None, poses: PosePictures | None, segment: Segment
    ) -> torch.Tensor:
        """Denoise one segment → (frames, channels, height/8, width/8) on the CPU.

        `clip` has every default resolved. `reference` is uint8 (height, width, 3); `poses` are the whole film's, and
        may be looked at beyond the segment. Both come in sizes of their own, to be fitted to the film's as the system
        does; either is None where it is not given. Raises `Rejected` for what the loaded checkpoint cannot do.
        """

    def frames(self, latents: torch.Tensor, clip: Clip) -> Iterator[np.ndarray]:
        """Decode the whole film in batches: uint8 (n, height, width, 3), in order, memory bounded by one batch."""


ANIMATORS = {
    facts.name: facts
    for facts in (
        Facts(
            name="magicanimate",
            implementation="stages.diffusion.magicanimate:MagicAnimate",
            pose="densepose",
            reference=True,
            size_multiple=8,
            native_size=(512, 512),
            window=16,
            overlap=4,
            longest_window=24,
            steps=25,
            guidance=(7.5,),
            segments="independent",
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
            options=MagicAnimateOptions,
        ),
        Facts(
            name="animate_anyone",
            implementation="stages.diffusion.animate_anyone:AnimateAnyone",
            pose="skeleton",
            reference=True,
            size_multiple=8,
            native_size=(512, 768),
            window=24,
            overlap=4,
            longest_window=32,
            steps=30,
            guidance=(3.5,),
            segments="independent",
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
            options=AnimateAnyoneOptions,
            checkpoint_settings=("inference_config.json",),
        ),
        Facts(
            name="studio",
            implementation="stages.diffusion.studio:Studio",
            pose="skeleton",
            reference=True,
            size_multiple=32,
            native_size=(192, 256),
            window=16,
            overlap=4,
            longest_window=24,
            steps=4,
            guidance=(),
            segments="independent",
            checkpoint=("codec", "unet", "reference", "pose_guider", "motion", "scheduler"),
            licence="Apache-2.0, trained by this repository on people it draws itself",
            options=StudioOptions,
            bundled="bundled:studio",
        ),
    )
}


def load_animator(name: str, checkpoint: Path, device: str, dtype: torch.dtype) -> Animator:
    """The animator of that name with the weights of that folder. Imports torch and diffusers."""
    module, _, attribute = ANIMATORS[name].implementation.partition(":")
    return getattr(importlib.import_module(module), attribute).load(checkpoint, device, dtype)
