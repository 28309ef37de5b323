"""When a night would end: the order of a run, played through with the seconds that its rows are expected to take."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Job:
    """One film: seconds of its reference's poses and plain data, then of an animating worker that has `model`."""

    preparing: float
    animating: float
    model: str
    loading: float  # the model, in a worker that does not have it yet


@dataclass(frozen=True)
class Video:
    """One driving video with its clips, in the order of the run."""

    poses: float
    jobs: Sequence[Job]


@dataclass
class Pass:
    """What playing a night through comes to, in seconds."""

    wall: float = 0.0
    busy: float = 0.0  # of all animating workers, loading included
    finished: list[float] = field(default_factory=list)


def played(videos: Sequence[Video], pose_workers: int, animators: int) -> Pass:
    """Pose workers take videos in order; whoever is free animates what is ready, the first of it first."""
    posing = [0.0] * pose_workers
    ready: list[tuple[float, int, Job]] = []
    for video in videos:
        now = heapq.heappop(posing) + video.poses
        for job in video.jobs:
            now += job.preparing
            ready.append((now, len(ready), job))
        heapq.heappush(posing, now)
    free = [(0.0, number) for number in range(animators)]
    loaded: list[set[str]] = [set() for _ in free]
    night = Pass()
    for at, _, job in sorted(ready):
        now, number = heapq.heappop(free)
        took = job.animating + (0.0 if job.model in loaded[number] else job.loading)
        loaded[number].add(job.model)
        end = max(now, at) + took
        night.busy += took
        night.finished.append(end)
        heapq.heappush(free, (end, number))
    night.wall = max(night.finished, default=0.0)
    return night
