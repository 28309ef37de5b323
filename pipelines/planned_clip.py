"""A clip as a plan sees it: the few facts that order and count it, and all else as text until it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple, cast

import pyarrow as pa

from manifests.layout import latents_name
from manifests.result_warnings import plan_warnings
from manifests.work import Work
from stages.latents_cache import segments

CLIPS = pa.schema(
    [("row", pa.int64()), ("id", pa.string()), ("frames", pa.int64()), ("pixels", pa.int64()), ("steps", pa.int64())]
    + [(name, pa.int64()) for name in ("priority", "drawn", "segments")]
    + [(name, pa.string()) for name in ("model", "pose_key", "latents_key", "film_key")]
    + [("reference_left_out", pa.float64()), ("warning", pa.string()), ("text", pa.string())]
)


class PlannedClip(NamedTuple):
    """A row of CLIPS. `pixels` are those of a frame, `text` is the `Work` as JSON: a third of what it is as objects."""

    row: int
    id: str
    frames: int
    pixels: int
    steps: int
    priority: int
    drawn: int  # frames that the animator draws for it
    segments: int  # that it is denoised in
    model: str  # what has to be loaded for it
    pose_key: str | None
    latents_key: str
    film_key: str
    reference_left_out: float | None
    warning: str | None
    text: str

    @property
    def work(self) -> Work:
        """The clip with everything that was found out about it, made anew each time."""
        return Work.model_validate_json(self.text)

    def latents_names(self) -> list[str]:
        """Names of the files that its latents are stored in."""
        numbers: list[int | None] = [None] if self.segments == 1 else [*range(self.segments)]
        return [latents_name(self.latents_key, number) for number in numbers]

    @property
    def animator(self) -> str:
        """Who draws it."""
        return self.model.partition(" ")[0]

    @property
    def cost(self) -> int:
        """That of `cost`, where nothing of it is ready."""
        return self.drawn * self.pixels * self.steps


def cost(work: Work, latents_ready: bool = False) -> int:
    """Relative cost of a clip: frames × pixels × steps; what is only encoded anew is a step at most."""
    width, height, steps = cast(tuple[int, int, int], (work.clip.width, work.clip.height, work.clip.steps))  # resolved
    return (work.drawn or work.frames) * width * height * (1 if latents_ready else steps)


def planned_clip(work: Work) -> PlannedClip:
    """What a plan is to know of a clip that has its keys."""
    width, height, steps = cast(tuple[int, int, int], (work.clip.width, work.clip.height, work.clip.steps))  # resolved
    return PlannedClip(
        row=work.row,
        id=work.clip.id,
        frames=work.frames,
        pixels=width * height,
        steps=steps,
        priority=work.clip.priority,
        drawn=work.drawn or work.frames,
        segments=len(segments(work)),
        model=model(work),
        pose_key=work.pose_key,
        latents_key=work.latents_key,
        film_key=work.film_key,
        reference_left_out=work.reference_left_out,
        warning=next(iter(plan_warnings(work)), None),
        text=work.model_dump_json(exclude_defaults=True),
    )


def model(work: Work) -> str:
    """What has to be loaded for a clip."""
    lora = f"{work.lora.digest} {work.clip.lora_scale}" if work.lora else ""
    return f"{work.clip.animator} {work.checkpoint_digest} {lora}"


def clips_of(table: pa.Table) -> Iterator[PlannedClip]:
    """The rows of a table of CLIPS. What many of them share is held once."""
    for batch in table.select(CLIPS.names).to_batches():
        for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            clip = PlannedClip(*cells)
            poses = clip.pose_key and sys.intern(clip.pose_key)
            yield clip._replace(model=sys.intern(clip.model), pose_key=poses)
