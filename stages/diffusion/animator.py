"""The seam: what a stage knows of an animator. Imports no torch: validation reads the facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from manifests.errors import Problem
from stages.diffusion.fast import Fast

if TYPE_CHECKING:
    import torch

    from manifests.clip import Clip
    from stages.diffusion.weights.lora import Lora
    from stages.poses.keypoints import People

Shape = Mapping[str, int]  # `width` and `height` of a picture or video, in pixels


class Options(BaseModel):
    """What a row's `options` may hold for one animator. Animators with options of their own extend it."""

    # a default is dumped as the same value given by a row would be: both are in the key
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    # in no key of another mode
    fast: Fast | None = Field(None, exclude_if=lambda fast: fast is None, description="mode fast alone: its recipe")


def no_defaults_of_its_own(clip: Clip, shape: Shape | None) -> dict[str, Any]:
    """Of a system for which the general rules hold."""
    return {}


def nothing_of_its_own(clip: Clip) -> tuple[str, str] | None:
    """Of a system that refuses nothing beside what the general rules do."""
    return None


@dataclass(frozen=True)
class Segments:
    """How a long clip is cut into segments, of which one at a time is denoised. Part of the recipe, never of the card.

    Independent ones overlap by twice their halo and are faded into each other; a chained one goes on from the one
    before it, and shows again the frames that it took over, which are dropped.
    """

    frames: int  # from one border to the next, without halo and what is carried
    halo: int = 0  # frames beyond either border that are denoised too
    carried: int = 0  # frames that a chained segment takes over; 0: segments are independent
    per_latent: int = 1  # frames of one latent frame, but for the first, which has one (4: 4n+1 frames)

    def latent_frames(self, frames: int) -> int:
        """How many latent frames hold so many frames."""
        return -(-(frames - 1) // self.per_latent) + 1


@dataclass(frozen=True)
class Facts:
    """What the rest of Catwalk must know of an animator before it is loaded."""

    name: str
    implementation: str  # "module:class"
    # openpose: 18 joints, limbs over them; toes: 20 joints, toes among them, and hands; control: skeletons, or pictures
    # of another kind
    pose: Literal["densepose", "skeleton", "openpose", "toes", "control", "densepose_uv", "none"]
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
    lora: bool = False  # a LoRA can be added to its networks
    lora_of: Literal["stable_diffusion", "wan"] = "stable_diffusion"  # whose networks they are
    modes: tuple[str, ...] = ("parity", "standard")
    fast: Fast | None = (
        None  # what is left out in mode fast where a row does not say; none: what the system itself does
    )
    fast_steps: int = 0  # where there is a recipe
    half: tuple[str, ...] = ("float16", "bfloat16")  # what it can compute in beside float32, the preferred one first
    keypoints: Literal["dwpose", "drawn"] = "dwpose"  # estimator of the people in driving videos and references
    aligns: bool = False  # makes use of the reference's keypoints, also where a pose is not retargeted
    driving: Literal["required", "optional"] = "required"  # optional: the system also draws without poses
    bundled: str | None = None  # weights that come with Catwalk
    deals_windows: bool = False  # replicas on several devices can make a film together: see `DealsWindows`
    parameters: float = 0  # of the networks that are loaded, in millions; 0: not known
    revision: str = ""  # of an animator from outside: another one whenever its films change, which are then made anew
    segments: Segments | None = None  # of clips longer than one; none: a clip is denoised as a whole
    # (clip, frames that are drawn) → its segments, of a system that lays them out otherwise than `segments_of` does
    own_segments: Callable[[Clip, int], list[Segment]] | None = None
    # (clip with the row's values) → (error, remedy) for what no general rule refuses
    own_refusal: Callable[[Clip], tuple[str, str] | None] = nothing_of_its_own
    retargets_as_published: bool = False  # its published code retargets too: in parity mode a row may ask for it
    shape_of: Literal["driving", "reference"] = "driving"  # whose shape a film has whose row gives none
    reference_whole: bool = False  # it shows all of the reference, whatever `fit` makes of the driving file
    native_fps: Fraction | None = None  # frames per second that it draws, whatever the film's are; none: the film's
    # what it looks at beside the poses: the driving video's own frames, and where in them the person's keypoints are
    # (faces: cut out of the frames; masks: where in them the person is whom a row has replaced)
    asks: frozenset[Literal["frames", "keypoints", "faces", "masks"]] = frozenset()
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
    """Frames [start, stop) of a clip that are denoised jointly, halo and what is carried over among them.

    Of a clip that loops, a segment reaches beyond its ends, where it goes on at the other: see `shown`.
    """

    start: int
    stop: int
    number: int = 0  # from 0
    carry: torch.Tensor | None = None  # what the segment before has handed on
    taken_over: int = 0  # frames at its beginning that the segment before has drawn, and that are dropped here
    whole: bool = True  # it is the only one of its clip
    # where it is decoded: what it has kept for that
    kept: Mapping[str, torch.Tensor] | None = field(default=None, compare=False)
    # called with the steps that are done, in parts of one too, and the number of steps: often enough to show progress
    told: StepsTold = field(default=silent, compare=False)

    def __len__(self) -> int:
        return self.stop - self.start

    def shown(self, num_frames: int) -> list[int]:
        """Which of the clip's `num_frames` frames each of its own is."""
        return [frame % num_frames for frame in range(self.start, self.stop)]


_KEPT = "kept."  # before the names of what is kept beside latents and carry


class Denoised(NamedTuple):
    """What became of a segment. A stage stores both and looks into neither."""

    latents: torch.Tensor  # what `frames` decodes, on the CPU
    carry: torch.Tensor | None = None  # what the next segment needs of this one: all that a chained system remembers
    kept: Mapping[str, torch.Tensor] | None = None  # what `frames` needs beside the latents, by names of its own

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of them by name, "latents" first, as they are stored."""
        kept = {f"{_KEPT}{name}": one for name, one in (self.kept or {}).items()}
        found = {"latents": self.latents, "carry": self.carry, **kept}
        return {name: one for name, one in found.items() if one is not None}

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> Denoised:
        """From what `tensors` gave. Raises `TypeError` where they are others."""
        kept = {name.removeprefix(_KEPT): one for name, one in tensors.items() if name.startswith(_KEPT)}
        return cls(**{name: one for name, one in tensors.items() if not name.startswith(_KEPT)}, kept=kept or None)


Parts = Sequence[tuple[Segment, "torch.Tensor"]]  # a clip's segments in order and their latents, read when asked for


class PosePictures(Protocol):
    """What a clip is conditioned on, one array per frame of the film, made or read when it is asked for.

    uint8 (height, width, 3) as drawn, or float32 (2, height, width) of DensePose's U and V in [0, 1].
    """

    def __len__(self) -> int:
        """Frames of the film."""

    def __getitem__(self, frame: int) -> np.ndarray:
        """The pose of one frame, of its own size."""


Joints = tuple[np.ndarray, np.ndarray]  # (18, 2) in the film's pixels in OpenPose's order, and bool (18,): seen


@runtime_checkable
class Skeletons(PosePictures, Protocol):
    """Pose pictures that were drawn from keypoints, with what lies behind them."""

    def joints(self, frame: int) -> Joints | None:
        """Of who was drawn in one frame of the film; None where nobody was."""

    reference_joints: Joints | None  # of the reference fitted to the film, where it was looked for and found


@dataclass(frozen=True)
class Driving:
    """What a clip follows, one item for each frame that is drawn; None where there is none, or `facts` ask for none.

    What is asked for beside poses is there where the driving file is a filmed person.
    """

    poses: PosePictures | None = None
    frames: PosePictures | None = None  # uint8 (height, width, 3), of the driving video's own size
    keypoints: Sequence[People] | None = None  # of the one person who is followed, in pixels of those frames
    faces: Sequence[np.ndarray | None] | None = None  # that person's, uint8 (512, 512, 3); None: not seen so far
    masks: PosePictures | None = None  # uint8 (height, width): 255 where the person is whom a row has replaced


class Animator(Protocol):
    """One system with its weights loaded. A stage knows nothing else of it."""

    facts: Facts
    nbytes: int  # of all weights

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Lora | None = None) -> Animator:
        """Read the official layout, and add `lora` to its weights where `facts.lora` says that it can be.

        Raises `Problem` for a wrong, foreign or incomplete folder, `Rejected` for a LoRA that does not fit.
        """

    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        """Denoise one segment. It knows nothing of the ones before but what `segment.carry` holds.

        `clip` has every default resolved. `reference` is uint8 (height, width, 3); `driving` is the whole film's, and
        may be looked at beyond the segment. Pictures come in sizes of their own, to be fitted to the film's as the
        system does. Raises `Rejected` for what the loaded checkpoint cannot do.
        """

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        """Decode the whole film in batches: uint8 (n, height, width, 3), in order, each frame once.

        Memory is bounded by a segment and a batch.
        """


class ShowsModules(Animator, Protocol):
    """An animator whose networks `stages/diffusion/acceleration.py` can make faster. Others stay as they are loaded."""

    modules: Mapping[str, torch.nn.Module]  # all that hold weights, by what they are
    # optional: `cannot`, settings of `Acceleration` that it has nothing for, and why, told to whom asks for one


class Decodes(Protocol):
    """What draws latents as pictures."""

    decode_frames: int | None  # in one call; None: as suits the device


class SavesMemory(ShowsModules, Protocol):
    """An animator that can do with less of a device's memory."""

    images: Decodes
    waiting: Sequence[str]  # those of its `modules` that take no part in denoising steps
    together: bool  # branches of guidance go through the networks at once; set before the first film
    # optional: `streaming`, those of its `modules` that are larger than many a device: block by block where it is short


class Remembers(Animator, Protocol):
    """An animator that keeps on its device what it has made of one clip and later ones may need."""

    def forget(self) -> int:
        """Drop it, for another thing's sake → its bytes. It is made anew where it is needed."""


class DealsWindows(Animator, Protocol):
    """An animator whose replicas deal the windows of every step among themselves, with the result of one alone.

    `others` are the replicas of this one, each loaded on another device; set once, before the first film.
    """

    others: Sequence[Animator]
