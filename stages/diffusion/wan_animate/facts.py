"""Wan-Animate before it is loaded: facts, options, and what the published pipeline has hard-coded. Imports no torch.

Source: SPEC.md; the sections named below are its.
"""

from __future__ import annotations

from fractions import Fraction
from math import sqrt
from typing import TYPE_CHECKING, Any

from pydantic import Field

from manifests.errors import Rejected
from stages.diffusion.animator import Facts, Segments, Shape
from stages.diffusion.chained_segments import PER_LATENT, ChainedOptions, refusal, segments
from stages.video.timing import EvenTimestamps, select

if TYPE_CHECKING:
    from manifests.clip import Clip

LONGEST = 77  # frames of a segment in training
CARRIED = (1, 5)
AREA = 1280 * 720
# The original's own prompt: "the person in the video is moving"; its authors recommend no other (section 3).
PROMPT = "视频中的人在做动作"


class WanAnimateOptions(ChainedOptions):
    """Wan-Animate's own options."""

    replace: bool = Field(False, description="whether the reference takes the person's place in the driving video")


def area_size(width: int, height: int, area: int, divisor: int = 16) -> tuple[int, int]:
    """(width, height) of that shape with about so many pixels, multiples of `divisor` (section 13.1)."""
    down = sqrt(area / (width / height))
    return int(area / down // divisor * divisor), int(down // divisor * divisor)


def published_frames(frames: int, video_fps: float, fps: float | None = 30.0) -> list[int]:
    """Which frames of a driving file the original's preprocessing takes, at `fps` or the file's own (section 13.1)."""
    fps = fps or video_fps
    return [min(round(number / fps * video_fps), frames - 1) for number in range(int(frames / video_fps * fps))]


def own_defaults(clip: Clip, shape: Shape | None) -> dict[str, Any]:
    """The original's prompt; in parity mode its size too, of the reference's `shape`.

    Driving videos of another shape than the film's are shown whole, as the original letterboxes them.
    """
    fields: dict[str, Any] = {"prompt": PROMPT}
    if clip.mode != "parity" and not clip.options.get("replace"):
        fields["fit"] = "contain"
    if clip.mode == "parity" and shape is not None:
        fields["width"], fields["height"] = area_size(shape["width"], shape["height"], AREA)
    return fields


def parity_frames(clip: Clip, frames: int, video_fps: Fraction) -> list[int]:
    """Which frames are drawn in parity mode, at the original's own rate: of the part asked for, cut out before.

    Raises `Rejected` where there are none.
    """
    start = Fraction(clip.start) if clip.start else None
    duration = None if clip.duration is None else Fraction(clip.duration)
    part = select(EvenTimestamps(frames, video_fps), video_fps, start, duration)
    chosen = [part[frame] for frame in published_frames(len(part), float(video_fps))]
    if not chosen:
        raise Rejected(
            f"duration: {len(part)} frames at {float(video_fps):g} a second last less than one of the 30 that are "
            "drawn, which parity mode leaves out",
            "follow a longer part, or use mode standard",
        )
    return chosen


def refused(clip: Clip) -> tuple[str, str] | None:
    """What the general rules let pass."""
    if clip.mode == "parity" and clip.retarget == "similarity":
        error = "retarget 'similarity': mode 'parity' fits all limbs, as published"
        return error, "use bone_length, or mode standard"
    return refusal(clip, LONGEST, CARRIED) or (replacing_refused(clip) if clip.options.get("replace") else None)


def replacing_refused(clip: Clip) -> tuple[str, str] | None:
    """Why nobody can be replaced in a film as a row asks for it, and what to do."""
    if clip.mode == "parity":
        return "options: replace: rows of mode 'parity' are of the published mode animate", "use mode standard"
    if clip.driving_kind != "video":
        error = f"options: replace: a file of {clip.driving_kind} shows no scene in which somebody could be replaced"
        return error, "drive by the video itself, driving_kind video"
    if clip.retarget != "none":
        error = f"options: replace: retarget {clip.retarget!r} would move the person away from where it is cut out"
        return error, "leave retarget out"
    return None


WAN_ANIMATE = Facts(
    name="wan_animate",
    implementation="stages.diffusion.wan_animate.animator:WanAnimate",
    pose="toes",
    reference=True,
    reference_whole=True,
    size_multiple=16,
    native_size=(1280, 720),
    window=LONGEST,
    window_limits=(5, LONGEST),
    overlap=1,
    steps=20,
    guidance=(1.0,),
    checkpoint=("transformer", "vae", "text_encoder", "tokenizer", "image_encoder", "image_processor", "scheduler"),
    licence="weights Apache-2.0",
    text=True,
    lora=True,
    lora_of="wan",
    loops=False,
    options=WanAnimateOptions,
    half=("bfloat16",),
    parameters=23_700,
    segments=Segments(LONGEST - 1, carried=1, per_latent=PER_LATENT),
    own_segments=segments,
    own_refusal=refused,
    own_defaults=own_defaults,
    parity_frames=parity_frames,
    retargets_as_published=True,
    shape_of="reference",
    native_fps=Fraction(30),
    asks=frozenset({"frames", "faces", "masks"}),
)
