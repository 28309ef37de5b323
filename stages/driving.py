"""What a clip asks of its driving file: its recipe, the frames shown, its sound kept, its bytes unchanged."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, cast

from manifests import storage
from manifests.clip import Clip
from manifests.errors import Again
from manifests.source_memo import SourceMemo
from manifests.work import Source, Work
from stages.diffusion.animator import Facts
from stages.diffusion.animators import ANIMATORS
from stages.poses.recipes import Estimators, KeypointEstimator, Recipe, recipe_for
from stages.video.timing import select, selected_count


def driven(clip: Clip, facts: Facts) -> bool:
    """Whether the film follows a driving file."""
    return facts.pose != "none" and (facts.driving == "required" or clip.driving is not None)


def recipe_of(clip: Clip, estimators: Estimators, driving: Source | None = None) -> Recipe:
    """What is done to a clip's driving file. Raises `Rejected` when its animator cannot be driven by such a file.

    `driving` is what is known of that file: an animator that knows drawn people may be driven by a film of real ones.
    """
    facts = ANIMATORS[clip.animator]
    real = driving is not None and driving.people == "real"
    drawn = facts.keypoints == "drawn" and not real
    return recipe_for(facts.pose, clip, "drawn" if drawn else estimators.for_keypoints(clip.mode == "parity"))


def reference_estimator(facts: Facts, estimators: Estimators) -> KeypointEstimator:
    """Which estimator measures references that are retargeted to: the one that knows the animator's pictures.

    It is that of the driving film too, but where a real person drives a drawn one: measured by the net made for drawn
    people, their bones come out a quarter more exactly (tests/bench/RESULTS.md).
    """
    return "drawn" if facts.keypoints == "drawn" else estimators.for_keypoints()


def replaces(clip: Clip) -> bool:
    """Whether the reference takes the place of the person in the driving video."""
    return "masks" in ANIMATORS[clip.animator].asks and clip.options.get("replace") is True


def measures_reference(clip: Clip, facts: Facts, recipe: Recipe, estimators: Estimators) -> bool:
    """Whether the keypoints of a clip's reference are wanted: poses are retargeted to it, or the animator aligns it.

    An animator aligns where it gets keypoints of both, without having to: not where no estimator finds the reference's.
    In parity mode only those are that the published code retargets to.
    """
    if clip.mode == "parity":
        return clip.retarget != "none" and facts.retargets_as_published
    known = recipe.stored == "keypoints" and estimators.has(reference_estimator(facts, estimators))
    return clip.retarget != "none" or (facts.aligns and known)


def stored_as(clip: Clip) -> str:
    """In which form a clip's poses are stored, whichever estimator finds them."""
    return recipe_for(ANIMATORS[clip.animator].pose, clip).stored


def shown_frames(clip: Clip, seconds: Sequence[Fraction], native_fps: Fraction) -> list[int]:
    """Which frame of the driving file each frame of the film shows. Raises `Rejected` when that is none.

    `seconds` are those of the driving file's frames, `native_fps` is their (average) rate.
    """
    published = _as_published(clip, len(seconds), native_fps)
    return select(seconds, **_range(clip, native_fps)) if published is None else published


def shown_count(clip: Clip, seconds: Sequence[Fraction], native_fps: Fraction) -> int:
    """How many frames `shown_frames` returns, for the price of a few. Raises `Rejected` as it does."""
    published = _as_published(clip, len(seconds), native_fps)
    return selected_count(seconds, **_range(clip, native_fps)) if published is None else len(published)


def _as_published(clip: Clip, frames: int, native_fps: Fraction) -> list[int] | None:
    """The frames that the animator's published code shows, where its mode asks for those at its own rate."""
    facts = ANIMATORS[clip.animator]
    in_seconds = clip.first_frame is None and clip.frame_count is None
    as_published = facts.parity_frames if facts.native_fps in (None, clip.fps) else None
    return as_published(clip, frames, native_fps) if clip.mode == "parity" and in_seconds and as_published else None


def _range(clip: Clip, native_fps: Fraction) -> dict[str, Any]:
    return {
        "fps": clip.fps,
        "start": Fraction(clip.start) if clip.start else None,
        "duration": None if clip.duration is None else Fraction(clip.duration),
        "first_frame": clip.first_frame,
        "frame_count": clip.frame_count,
        "native_fps": native_fps,
    }


def as_drawn(work: Work) -> Work:
    """The clip at the rate that its animator draws at, which may be another than the film's."""
    if work.drawn is None:
        return work
    clip = work.clip.model_copy(update={"fps": ANIMATORS[work.clip.animator].native_fps})
    return work.model_copy(update={"clip": clip, "frames": work.drawn})


def frames_to_show(work: Work) -> list[int]:
    """Which of the frames that are drawn each frame of the film shows: the one that is on at its moment."""
    if work.drawn is None:
        return list(range(work.frames))
    rate = cast(Fraction, ANIMATORS[work.clip.animator].native_fps) / cast(Fraction, work.clip.fps)
    return [min(floor(frame * rate), work.drawn - 1) for frame in range(work.frames)]


def in_the_film(report: Mapping[str, Any], work: Work) -> dict[str, list[list[int]]]:
    """The stretches that a report on poses names, [first, last] of the frames that are drawn, in frames of the film."""
    if work.drawn is None:
        return {}
    drawn, found = frames_to_show(work), {}
    kinds = ("held", "bridged", "empty", *(["faceless"] if "faceless" in report else []))
    for kind in kinds:
        ends = ((bisect_left(drawn, first), bisect_right(drawn, last) - 1) for first, last in report.get(kind) or ())
        found[kind] = [[first, last] for first, last in ends if first <= last]
    return found


def keeps_sound(work: Work) -> bool:
    """Whether the film gets the driving video's sound: asked for, and there."""
    return work.clip.audio == "driving" and work.driving is not None and work.driving.audio


def fetch_unchanged(source: Source, scratch: Path, byte_limit: int, memo: SourceMemo) -> Path:
    """A copy of the file, whose bytes are those that were validated, whatever becomes of the file itself.

    Raises `Again` when they have changed since; what the memo holds of the file as it is now is forgotten, for size and
    time may be the same.
    """
    try:
        path, digest = storage.fetch_copy(source.uri, scratch, byte_limit)
    except FileNotFoundError as gone:
        raise Again(str(gone), "put it back, and run again") from None
    if digest != source.digest:
        memo.forget(source.uri)
        raise Again(f"{storage.redact(source.uri)} changed while the run was going on", "run again when it is at rest")
    return path
