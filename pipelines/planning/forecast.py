"""What a plan will take: work, time, memory, storage, money; and what was assumed to say so."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from manifests.work import Work
from pipelines.configuration import Price
from pipelines.plan import Plan
from pipelines.planned_clip import PlannedClip
from pipelines.planning.effort import Effort
from pipelines.planning.machine import Workers
from pipelines.planning.operations import operations_of
from pipelines.planning.pace import MEGAPIXEL, Pace, effort_of
from pipelines.planning.schedule import Job, Video, played
from pipelines.planning.times import Times

LATENT_BYTES = 4 / 64  # of a pixel and channel: float32 at an eighth of either side
POSE_BYTES = 2000.0  # of a driving frame's keypoints
HOUR = 3600.0


@dataclass
class Figures:
    """Of films that are to be made; those that are there, rows that are refused and copies take nothing."""

    films: int = 0
    encoded_anew: int = 0  # of them, from stored latents
    copies: int = 0
    finished: int = 0
    refused: int = 0
    frames: int = 0
    film_seconds: float = 0.0
    windows: int = 0  # of all steps
    segments: int = 0
    pflop: float = 0.0
    uncounted: dict[str, int] = field(default_factory=dict)  # films by animator, whose time nobody can tell
    pose_seconds: float = 0.0
    worker_seconds: float = 0.0  # of all animating workers
    cpu_seconds: float | None = None  # of their processors
    workers: int = 0
    gpus: float = 0.0
    gpu_hours: float = 0.0  # at work
    gpu_hours_held: float = 0.0  # from the beginning to the end
    start_seconds: float = 0.0
    wall_seconds: float = 0.0
    memory_bytes: dict[str, float] = field(default_factory=dict)  # at the peak, by animator
    card_bytes: int | None = None
    film_bytes: float = 0.0
    latents_bytes: float = 0.0
    pose_bytes: float = 0.0
    cost: float | None = None
    cost_per_film_second: float | None = None
    currency: str = ""
    assumptions: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}


class Forecast:
    """A plan played through, clip by clip."""

    def __init__(self, workers: Workers, times: Times, price: Price, keep_latents: bool) -> None:
        self._workers = workers
        self._times = times
        self._price = price
        self._keep_latents = keep_latents
        self._drawn_later: defaultdict[str, list[Job]] = defaultdict(list)  # by branch
        self._posed: set[str] = set()

    def of(self, plan: Plan, refused: int) -> Figures:
        """The figures of a plan, beside which so many rows were refused."""
        made = Figures(finished=len(plan.finished), refused=refused, copies=sum(map(len, plan.duplicates.values())))
        branches: defaultdict[str, list[Video]] = defaultdict(list)
        for group in plan.groups():
            for name, clips in self._split(group).items():
                branches[name].append(self._video(clips, plan, made))
        self._take_time(branches, made)
        self._take_money(made)
        made.assumptions = self._times.assumptions(made.uncounted)
        return made

    def _split(self, group: Sequence[PlannedClip]) -> dict[str, list[PlannedClip]]:
        """A group's clips by who animates them: the name of an animator with workers of its own, or ""."""
        parts: defaultdict[str, list[PlannedClip]] = defaultdict(list)
        for clip in group:
            parts[self._branch(clip)].append(clip)
        return parts

    def _branch(self, clip: PlannedClip) -> str:
        return clip.animator if clip.animator in self._workers.own else ""

    def _video(self, group: Sequence[PlannedClip], plan: Plan, made: Figures) -> Video:
        """One driving video with its clips, which are added to the figures."""
        first = group[0].work
        frames = first.driving.frames if first.driving else 0
        ready = first.pose_key is None or first.pose_key in plan.poses_ready or first.pose_key in self._posed
        if first.pose_key is not None:
            self._posed.add(first.pose_key)
        poses = 0.0 if ready else self._times.poses(first.pose_estimator, frames)
        made.pose_bytes += 0 if ready else frames * POSE_BYTES
        jobs, seen = [], set(plan.poses_ready)
        for clip in group:
            work, stored = clip.work, plan.denoised(clip)
            pace, effort = self._times.pace(work), effort_of(work)
            self._count(clip, work, effort, stored, made)
            preparing = self._times.inputs
            if (key := work.reference_pose_key) and key not in seen:
                seen.add(key)
                preparing += self._times.poses(work.pose_estimator, 1)
            if pace is None:
                made.uncounted[work.clip.animator] = made.uncounted.get(work.clip.animator, 0) + 1
            else:
                jobs += self._jobs(clip, pace, effort, stored, preparing)
                cpu = None if stored else pace.cpu_seconds(effort, clip.pixels)
                made.cpu_seconds = made.cpu_seconds if cpu is None else (made.cpu_seconds or 0.0) + cpu
        made.pose_seconds += poses
        return Video(poses, jobs)

    def _jobs(self, clip: PlannedClip, pace: Pace, effort: Effort, stored: bool, preparing: float) -> list[Job]:
        """The clip, or each of its segments where several workers share them; then it is drawn in a second pass."""
        denoising = 0.0 if stored else pace.denoising(effort, clip.pixels)
        drawing, loading = pace.drawing(effort, clip.pixels), self._times.loading(pace.animator)
        if stored or effort.segments == 1 or self._workers.of(clip.animator).animating == 1:
            return [Job(preparing, denoising + drawing, clip.model, loading)]
        self._drawn_later[self._branch(clip)].append(Job(0.0, drawing, clip.model, loading))
        part = Job(0.0, denoising / effort.segments, clip.model, loading)
        return [replace(part, preparing=preparing), *[part] * (effort.segments - 1)]

    def _count(self, clip: PlannedClip, work: Work, effort: Effort, stored: bool, made: Figures) -> None:
        area, animator = clip.pixels * work.frames / MEGAPIXEL, work.clip.animator
        made.films += 1
        made.encoded_anew += stored
        made.frames += work.frames
        made.film_seconds += float(work.frames / work.clip.fps) if work.clip.fps else 0.0
        made.film_bytes += area * self._times.film_bytes
        operations = operations_of(animator, clip.pixels, work.checkpoint)
        if not stored:
            made.windows += effort.windows
            made.segments += effort.segments
            channels = operations.stored_numbers if operations else 4
            made.latents_bytes += area * MEGAPIXEL * channels * LATENT_BYTES * self._keep_latents
        if operations is None:
            return
        made.pflop += (effort.draw_tflop if stored else effort.tflop) / 1000
        if memory := self._times.memory(work):
            made.memory_bytes[animator] = max(made.memory_bytes.get(animator, 0.0), memory.peak)

    def _take_time(self, branches: Mapping[str, Sequence[Video]], made: Figures) -> None:
        """Branches go on side by side; what is drawn in a second pass waits for all of the first."""
        first, later, on_cpu = 0.0, 0.0, 0.0
        for name, videos in branches.items():
            workers = self._workers.of(name)
            night = played(videos, workers.posing, workers.animating)
            second = played([Video(0.0, self._drawn_later[name])], 1, workers.animating)
            first, later, busy = max(first, night.wall), max(later, second.wall), night.busy + second.busy
            made.worker_seconds += busy
            made.workers += workers.animating
            made.gpus += workers.gpus * workers.animating
            made.gpu_hours += busy * workers.gpus / HOUR
            on_cpu += busy if workers.machine.device == "cpu" else 0.0
        cards = {self._workers.of(name).machine.memory_bytes for name in branches}
        made.card_bytes = cards.pop() if len(cards) == 1 else None
        if not made.films:
            return
        flowing = first + later
        if on_cpu:  # everybody shares the cores of this machine
            flowing = max(flowing, (on_cpu + made.pose_seconds) / (os.cpu_count() or 1))
        made.start_seconds = self._times.start
        made.wall_seconds = self._times.start + flowing + self._times.end
        made.gpu_hours_held = made.wall_seconds * made.gpus / HOUR

    def _take_money(self, made: Figures) -> None:
        made.currency = self._price.currency
        if self._price.gpu_hour is None or not made.gpus:
            return
        made.cost = made.gpu_hours_held * self._price.gpu_hour
        made.cost_per_film_second = made.cost / made.film_seconds if made.film_seconds else None
