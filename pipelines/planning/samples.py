"""Short films that stand for those of a plan: the same size, animator and driving video, a window or two of frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from manifests import storage
from manifests.clip import Clip
from manifests.work import Work
from pipelines.configuration import RunConfig
from pipelines.plan import Plan
from pipelines.planned_clip import PlannedClip
from pipelines.planning.pace import effort_of
from stages.driving import replaces
from stages.sandbox.reading import Frames
from stages.video.encode import Encoder, EncodeRecipe
from stages.video.limits import Limits

MOST_SHAPES = 6
ALMOST_ALL = 0.9  # of the operations, which the shapes that are measured are to stand for
REPEATS = 2
ROOM = 60  # frames beside a window; a sample is as long as a window and a half at least


class Shape(NamedTuple):
    """What films that take the same time for the same frames and steps have in common."""

    animator: str
    checkpoint: str
    lora: str
    pixels: int
    window: int | None
    overlap: int | None
    mode: str
    guidance: tuple[float, ...] | None


@dataclass(frozen=True)
class Sample:
    """A short film: what is to be made, and which figure of its shape it is measured for."""

    clip: Clip
    shape: Shape
    part: str  # warm, few (steps), many (steps), long
    driving_frames: int  # of its driving video


def shapes(plan: Plan) -> dict[Shape, PlannedClip]:
    """The shapes that most of a plan's work has, heaviest first, each with a clip that has it."""
    weight: defaultdict[Shape, float] = defaultdict(float)
    example: dict[Shape, PlannedClip] = {}
    for clip in plan.todo:
        if not plan.denoised(clip):
            work = clip.work
            shape = shape_of(work)
            weight[shape] += effort_of(work).tflop
            example.setdefault(shape, clip)
    heaviest = sorted(weight, key=lambda shape: -weight[shape])
    chosen: list[Shape] = []
    for shape in heaviest:
        animators = {one.animator for one in chosen}
        covered = sum(weight[one] for one in chosen) >= ALMOST_ALL * sum(weight.values())
        if shape.animator not in animators or (not covered and len(chosen) < MOST_SHAPES):
            chosen.append(shape)
    return {shape: example[shape] for shape in chosen}


def shape_of(work: Work) -> Shape:
    """That of a clip whose defaults are resolved."""
    clip, lora = work.clip, work.lora.uri if work.lora else ""
    pixels = (clip.width or 0) * (clip.height or 0)
    guidance = clip.guidance and tuple(clip.guidance)
    return Shape(clip.animator, work.checkpoint, lora, pixels, clip.window, clip.overlap, clip.mode, guidance)


def samples(shape: Shape, work: Work, number: int, folder: str, scratch: Path, config: RunConfig) -> Iterator[Sample]:
    """The short films of a shape, made of one of its clips; cut driving videos are put into `folder`."""
    window = shape.window or 16
    few, many = (10, 20) if work.driving is None else (2, 6)
    short, long = window, window + max(ROOM, window // 2)
    files = {
        frames: _cut(work, frames, f"{number}-{frames}", folder, scratch, config.limits) for frames in (short, long)
    }

    def sample(part: str, frames: int, steps: int, file: str | None, repeat: int = 0) -> Sample:
        fields: dict[str, Any] = {
            "id": f"shape{number}-{part}{repeat}",
            "seed": 1000 * number + repeat,
            "steps": steps,
            "driving": file,
            "priority": 9 if part == "warm" else 0,
            **{"start": 0.0, "duration": None, "first_frame": None, "frame_count": frames},
            **{"audio": "drop", "metadata": {}},
        }
        return Sample(_given(work, fields, config.checkpoints), shape, part, short if part == "warm" else long)

    yield sample("warm", short, few, files[short])
    for repeat in range(1, REPEATS + 1):
        yield sample("few", short, few, files[long], repeat)
        yield sample("many", short, many, files[long], repeat)
        yield sample("long", long, few, files[long], repeat)


def _given(work: Work, fields: dict[str, Any], labels: Collection[str]) -> Clip:
    """The clip as a row gives it: with absolute paths, and every field that a default would otherwise fill in.

    `labels` are what the configuration calls weights by.
    """
    kept = work.clip.model_dump(exclude={"fps"} if work.driving else set())
    own = {"reference": work.reference and work.reference.uri, "lora": work.lora and work.lora.uri}
    if replaces(work.clip):  # the driving video is cut, its mask is not; without it a film takes as long
        own["mask"], kept["options"] = None, {**kept["options"], "replace": False}
    if kept["checkpoint"] and kept["checkpoint"] not in labels:
        own["checkpoint"] = work.checkpoint
    return Clip.model_validate({name: value for name, value in (kept | own | fields).items() if value is not None})


def _cut(work: Work, frames: int, name: str, folder: str, scratch: Path, limits: Limits) -> str | None:
    """So many frames of the driving video from the film's beginning on, as a video in `folder`; other kinds as is.

    A video that is too short is played again.
    """
    if work.driving is None:
        return None
    if work.clip.driving_kind in ("keypoints", "densepose_uv"):
        return work.driving.uri
    video = Frames(storage.fetch(work.driving.uri, scratch, limits.bytes), limits)
    rate = work.clip.fps or video.facts.fps
    first = min(round(work.begins * video.facts.fps), video.facts.frames - 1)
    indices = range(first, min(first + frames, video.facts.frames))
    target = scratch / f"{name}.mp4"
    even = video.facts.width // 2 * 2, video.facts.height // 2 * 2
    with Encoder(target, *even, rate, EncodeRecipe()) as encoder:
        for picture in _again(video, indices, frames):
            encoder.write(picture[None, : even[1], : even[0]])
    storage.publish(target, uri := storage.join(folder, target.name))
    return uri


def _again(video: Frames, indices: Sequence[int], frames: int) -> Iterator:
    while frames > 0:
        yield from islice(video.read(indices), frames)
        frames -= len(indices)
