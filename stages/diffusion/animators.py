"""The animators Catwalk knows, and the interface of each. Imports no torch: validation reads the facts."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from manifests.errors import Problem
from stages.diffusion.options import (
    AnimateAnyoneOptions,
    DrawnOptions,
    DreamPoseOptions,
    MagicAnimateOptions,
    Options,
    Text2VideoZeroOptions,
)

if TYPE_CHECKING:
    import torch

    from manifests.clip import Clip
    from stages.diffusion.weights.lora import Lora
    from stages.diffusion.weights.lora_file import LoraFile


@dataclass(frozen=True)
class Facts:
    """What the rest of Catwalk must know of an animator before it is loaded."""

    name: str
    implementation: str  # "module:class"
    pose: Literal["densepose", "skeleton", "openpose", "densepose_uv", "none"]  # openpose: 18 joints, limbs over them
    reference: bool  # needs a reference image
    size_multiple: int  # width and height in pixels
    native_size: tuple[int, int]  # (width, height) the published weights were trained at
    window: int  # frames
    overlap: int
    longest_window: int
    steps: int
    guidance: tuple[float, ...]
    segments: Literal["independent", "chained", "whole"]
    # folders and files inside the checkpoint folder that are read, as published; see `parts.the_one` for "*" and "|"
    checkpoint: tuple[str, ...]
    licence: str  # of the published weights
    options: type[Options] = Options
    checkpoint_settings: tuple[str, ...] = ()  # files that are read where they are there
    loops: bool = True  # the end of a film can be made to join its beginning
    text: bool = False  # is told what to draw by prompt and negative_prompt
    lora: bool = False  # its networks are Stable Diffusion 1.x, so that a LoRA of it can be added
    modes: tuple[str, ...] = ("parity", "standard")
    keypoints: Literal["dwpose", "drawn"] = "dwpose"  # estimator of the people in driving videos and references
    driving: Literal["required", "optional"] = "required"  # optional: the system also draws without poses
    fps: Fraction | None = None  # of a film without driving video
    undriven_steps: int | None = None  # without driving video, where that differs
    undriven_guidance: tuple[float, ...] | None = None
    shortest_window: int = 1
    parity_resolution: int | None = None  # parity: the longer side where a row has no size, both rounded to 64
    parity_frames: Literal["by_time", "evenly"] = "by_time"  # parity: how frames of another rate are chosen
    fixed_area: bool = False  # the weights make pictures of one area only, native_size's
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
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Lora | None = None) -> Animator:
        """Read the official layout, and add `lora` to its weights where `facts.lora` says that it can be.

        Raises `Problem` for a wrong, foreign or incomplete folder, `Rejected` for a LoRA that does not fit.
        """

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
            implementation="stages.diffusion.magicanimate.animator:MagicAnimate",
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
            lora=True,
            text=True,
            options=MagicAnimateOptions,
        ),
        Facts(
            name="animate_anyone",
            implementation="stages.diffusion.animate_anyone.animator:AnimateAnyone",
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
            lora=True,
            options=AnimateAnyoneOptions,
            checkpoint_settings=("inference_config.json",),
        ),
        Facts(
            name="dreampose",
            implementation="stages.diffusion.dreampose.animator:DreamPose",
            pose="densepose_uv",
            reference=True,
            size_multiple=32,
            native_size=(512, 640),
            window=8,
            overlap=0,
            longest_window=64,
            steps=100,
            guidance=(8.0, 3.0),
            segments="independent",
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
            checkpoint_settings=("vae_*.pth",),
            fixed_area=True,
        ),
        Facts(
            name="text2video_zero",
            implementation="stages.diffusion.text2video_zero.animator:Text2VideoZero",
            pose="openpose",
            reference=False,
            size_multiple=8,
            native_size=(512, 512),
            window=8,
            overlap=0,
            longest_window=64,
            steps=20,
            guidance=(9.0,),
            segments="independent",
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
            checkpoint_settings=("stable-diffusion-v1-5-controlnet-openpose",),
            driving="optional",
            fps=Fraction(4),
            loops=False,
            undriven_steps=50,
            undriven_guidance=(7.5,),
            shortest_window=2,
            parity_resolution=512,
            parity_frames="evenly",
        ),
        Facts(
            name="drawn",
            implementation="stages.diffusion.drawn.animator:Drawn",
            pose="skeleton",
            reference=True,
            size_multiple=32,
            native_size=(192, 256),
            window=16,
            overlap=4,
            longest_window=24,
            steps=2,
            guidance=(),
            segments="independent",
            checkpoint=("codec", "unet", "reference", "pose_guider", "motion", "scheduler"),
            licence="Apache-2.0, trained by this repository on people it draws itself",
            options=DrawnOptions,
            checkpoint_settings=("digests.json",),
            modes=("standard",),  # there is no published implementation to be equal to
            keypoints="drawn",
            bundled="bundled:drawn",
        ),
    )
}


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
            "copy the published folder again; see README, 'Checkpoints'",
        ) from None
