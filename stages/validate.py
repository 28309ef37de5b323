"""Validation: a manifest row becomes the work it asks for, or the reasons it is rejected."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from manifests import storage, table
from manifests.clip import Clip, parse_clip, rejection
from manifests.errors import Rejected
from manifests.storage import Allowed, SourceMemo
from manifests.work import Source, Work
from stages.diffusion.animators import Facts
from stages.poses.keypoint_file import import_keypoints
from stages.poses.recipes import Estimators
from stages.suitability import check_suitable, driven, known_animator, native_size
from stages.video.image import read_image
from stages.video.limits import Limits
from stages.video.read import Frames
from stages.video.timing import select

# Raised by one when probing finds out more, or other things, about the same file.
PROBE_ALGORITHM = 1

Found = dict[str, Any]  # what the memo keeps of a file, as JSON


class Validate:
    """Checks one row against the animator's facts and the files it names. Decodes media: for CPU workers.

    What was found out about a file is kept in the cache until the file changes, so a second run decodes nothing.
    """

    def __init__(
        self,
        base: str,
        allowed: Allowed,
        limits: Limits,
        checkpoints: Mapping[str, str],
        sources: str,
        estimators: Estimators,
    ) -> None:
        """`base` is where relative paths of the manifest start; `checkpoints` names folders by animator or by label."""
        self._estimators = estimators
        self._base = base
        self._allowed = allowed
        self._limits = limits
        self._checkpoints = checkpoints
        self._memo = SourceMemo(sources)

    def __call__(self, row: int, fields: dict[str, Any]) -> Work:
        """The work of a manifest row, its defaults resolved. Raises `Rejected` naming field, value and remedy."""
        clip, errors = parse_clip(table.split_row(fields))
        if clip is None:
            raise rejection(errors)
        facts = known_animator(clip.animator)
        check_suitable(clip, facts, self._estimators)
        checkpoint = self._checkpoint(clip, facts)
        reference = self._source("reference", clip.reference, _probe_image) if facts.reference else None
        probe_driving = _probe_keypoints if clip.driving_kind == "keypoints" else _probe_video
        driving = self._source("driving", clip.driving, probe_driving) if driven(clip, facts) else None
        clip, frames = _resolved(clip, facts, reference, driving)
        if frames > self._limits.frames:
            raise Rejected(f"duration: {frames} frames, the limit is {self._limits.frames}", "make a shorter film")
        return Work(
            row=row,
            clip=clip,
            reference=reference and Source.model_validate(reference),
            driving=driving and Source.model_validate(driving),
            frames=frames,
            checkpoint=checkpoint,
        )

    def _checkpoint(self, clip: Clip, facts: Facts) -> str:
        """The folder of weights: a label of the configuration, a path or URI, or the animator's configured or own."""
        label = clip.checkpoint or clip.animator
        if label in self._checkpoints:
            return self._checkpoints[label]
        if clip.checkpoint is None:
            if facts.bundled:
                return facts.bundled
            raise Rejected(
                f"checkpoint: none is configured for {clip.animator}",
                f"set `checkpoints: {{{clip.animator}: FOLDER}}` in the configuration or --checkpoint "
                f"{clip.animator}=FOLDER, or fill in the row's checkpoint",
            )
        folder = storage.resolve(clip.checkpoint, self._base)
        self._allowed.check(folder, "checkpoint")
        return folder

    def _source(self, field: str, given: str, probe: Callable[[Path, Limits], Found]) -> Found:
        """Everything known of a file: from the memo if it is unchanged, else by reading and probing it."""
        uri = storage.resolve(given, self._base)
        self._allowed.check(uri, field)
        try:
            stamp = storage.stamp(uri)
        except FileNotFoundError:
            raise Rejected(
                f"{field} {storage.redact(uri)!r}: there is no such file", f"correct the path, relative to {self._base}"
            ) from None
        limits = self._limits.model_dump()
        known = self._memo.get(uri, stamp)
        if known is None or (known.get("probe"), known.get("limits")) != (PROBE_ALGORITHM, limits):
            known = {"probe": PROBE_ALGORITHM, "limits": limits, **self._examined(uri, probe)}
            self._memo.put(uri, stamp, known)
        if "error" in known:
            raise Rejected(f"{field} {storage.redact(uri)!r}: {known['error']}", known["remedy"])
        return {"uri": uri, **known["found"]}

    def _examined(self, uri: str, probe: Callable[[Path, Limits], Found]) -> Found:
        with tempfile.TemporaryDirectory(prefix="catwalk-validate-") as scratch:
            try:
                path = storage.fetch(uri, Path(scratch), self._limits.bytes)
                return {"found": {"digest": storage.sha256_file(path), **probe(path, self._limits)}}
            except Rejected as rejected:
                return {"error": rejected.error, "remedy": rejected.remedy}


def _probe_image(path: Path, limits: Limits) -> Found:
    height, width, _ = read_image(path, limits).shape
    return {"width": width, "height": height}


def _probe_video(path: Path, limits: Limits) -> Found:
    frames = Frames(path, limits)
    facts = frames.facts
    found = {
        "width": facts.width,
        "height": facts.height,
        "frames": facts.frames,
        "fps": str(facts.fps),
        "audio": facts.audio,
        "begin": float(facts.start),
    }
    if facts.variable:
        found["timestamps"] = [str(second) for second in frames.timestamps]
    return found


def _probe_keypoints(path: Path, limits: Limits) -> Found:
    keypoints, fps = import_keypoints(path, limits)
    found = {"width": keypoints.width, "height": keypoints.height, "frames": len(keypoints)}
    return found | ({"fps": str(fps)} if fps else {})


def _resolved(clip: Clip, facts: Facts, reference: Found | None, driving: Found | None) -> tuple[Clip, int]:
    """The clip with every default filled in, and the number of frames of its film."""
    shape = driving or reference
    width, height = (clip.width, clip.height) if clip.width else native_size(facts, shape)
    native_fps = Fraction(driving["fps"]) if driving and "fps" in driving else clip.fps
    fps = clip.fps or native_fps or (None if driving else facts.fps)
    if fps is None:
        raise Rejected("fps: the driving file does not state a frame rate", "fill in fps")
    window = clip.window or facts.window
    resolved = {
        "width": width,
        "height": height,
        "fit": clip.fit or ("stretch" if clip.mode == "parity" else "cover"),
        "fps": fps,
        "steps": clip.steps or facts.steps,
        "guidance": clip.guidance or facts.guidance,
        "window": window,
        # a window smaller than the animator's own keeps the proportion of its overlap
        "overlap": min(facts.overlap, window // 4) if clip.overlap is None else clip.overlap,
        "options": facts.options(**clip.options).model_dump(),
    }
    clip = clip.model_copy(update=resolved)
    if driving is None:
        return clip, clip.frame_count or max(1, round(clip.duration * fps))
    if "timestamps" in driving:
        seconds = [Fraction(second) for second in driving["timestamps"]]
    else:
        seconds = [number / native_fps for number in range(driving["frames"])]
    return clip, len(shown_frames(clip, seconds, native_fps))


def shown_frames(clip: Clip, seconds: list[Fraction], native_fps: Fraction) -> list[int]:
    """Which frame of the driving video each frame of the film shows. Raises `Rejected` when that is none."""
    return select(
        seconds,
        fps=clip.fps,
        start=Fraction(clip.start) if clip.start else None,
        duration=None if clip.duration is None else Fraction(clip.duration),
        first_frame=clip.first_frame,
        frame_count=clip.frame_count,
        native_fps=native_fps,
    )
