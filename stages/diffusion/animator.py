"""The seam: what a stage knows of an animator. Imports no torch: validation reads the facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from manifests.errors import Problem

if TYPE_CHECKING:
    import torch

    from manifests.clip import Clip
    from stages.diffusion.weights.lora import Lora

Shape = Mapping[str, int]  # `width` and `height` of a picture or video, in pixels


class Options(BaseModel):
    """What a row's `options` may hold for one animator. Animators with options of their own extend it."""

    # a default is dumped as the same value given by a row would be: both are in the key
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def no_defaults_of_its_own(clip: Clip, shape: Shape | None) -> dict[str, Any]:
    """Of a system for which the general rules hold."""
    return {}


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
    window_limits: tuple[int, int]  # fewest and most frames
    overlap: int
    steps: int
    guidance: tuple[float, ...]
    # folders and files inside the checkpoint folder that are read, as published; see `published_names.the_one` for "*"
    # and "|"; none: there are no weights, and no folder is asked for
    checkpoint: tuple[str, ...]
    licence: str  # of the published weights; of the code, where there are none
    options: type[Options] = Options
    checkpoint_settings: tuple[str, ...] = ()  # files that are read where they are there
    loops: bool = True  # the end of a film can be made to join its beginning
    text: bool = False  # is told what to draw by prompt and negative_prompt
    lora: bool = False  # its networks are Stable Diffusion 1.x, so that a LoRA of it can be added
    modes: tuple[str, ...] = ("parity", "standard")
    half: tuple[str, ...] = ("float16", "bfloat16")  # what it can compute in beside float32, the preferred one first
    keypoints: Literal["dwpose", "drawn"] = "dwpose"  # estimator of the people in driving videos and references
    driving: Literal["required", "optional"] = "required"  # optional: the system also draws without poses
    bundled: str | None = None  # weights that come with Catwalk
    parameters: float = 0  # of the networks that are loaded, in millions; 0: not known
    revision: str = ""  # of an animator from outside: another one whenever its films change, which are then made anew
    # (clip, shape of its driving file, else of its reference, if there is either) → fields of a clip that this system
    # alone fills in otherwise, for rows that leave them out
    own_defaults: Callable[[Clip, Shape | None], dict[str, Any]] = no_defaults_of_its_own
    # (clip, frames of the driving file, their rate) → the frames that a film in parity mode shows, where the published
    # code does not choose them by time
    parity_frames: Callable[[Clip, int, Fraction], list[int]] | None = None


def compute_dtype(facts: Facts, device: str, wanted: str) -> str:
    """The compute type of an animator's networks: `wanted`, or where that is "auto" what suits it on that device.

    Raises `Problem` for one that the animator cannot compute in.
    """
    if wanted == "auto":
        return facts.half[0] if device.startswith("cuda") and facts.half else "float32"
    if wanted not in ("float32", *facts.half):
        can = " or ".join(["auto", *facts.half, "float32"])
        raise Problem(f"dtype {wanted}: {facts.name} cannot compute in it", f"set animate_pool.dtype to {can}")
    return wanted


StepsTold = Callable[[float, int], None]


def silent(done: float, steps: int) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Segment:
    """Frames [start, stop) of a clip that are denoised jointly.

    `carry` is what a chained system hands on: the latents of the preceding segment, (frames, channels, height, width);
    None for the first one and for systems whose segments do not depend on each other.
    """

    start: int
    stop: int
    carry: torch.Tensor | None = None
    # called with the steps that are done, in parts of one too, and the number of steps: often enough to show progress
    told: StepsTold = silent

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
        """Denoise one segment → (frames, channels, height/8, width/8) on the CPU; or what else `frames` decodes.

        `clip` has every default resolved. `reference` is uint8 (height, width, 3); `poses` are the whole film's, and
        may be looked at beyond the segment. Both come in sizes of their own, to be fitted to the film's as the system
        does; either is None where it is not given. Raises `Rejected` for what the loaded checkpoint cannot do.
        """

    def frames(self, latents: torch.Tensor, clip: Clip) -> Iterator[np.ndarray]:
        """Decode the whole film in batches: uint8 (n, height, width, 3), in order, memory bounded by one batch."""
