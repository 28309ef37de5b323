"""The last try of rows that were set aside: one after the other, with nothing else in hand anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ray
from ray.actor import ActorHandle

from manifests.results import Result
from pipelines.configuration import Pool
from pipelines.planned_clip import PlannedClip
from pipelines.pools import by_pool
from pipelines.running.following import TICK_SECONDS
from pipelines.running.workers import AnimateWorker, InputsWorker, PoseWorker, Row
from pipelines.settings import RunSettings


class StageAlone:
    """A worker of the graph as an actor by itself."""

    def __init__(self, worker: Callable[[RunSettings, int], Any], settings: RunSettings, attempts: int) -> None:
        self._worker = worker(settings, attempts)

    def rows(self, row: Row) -> list[Row]:
        """What the worker makes of a row."""
        made = self._worker(row)
        return [made] if isinstance(made, dict) else list(made)


def last_tries(
    condemned: Sequence[PlannedClip], made: Mapping[int, Result], settings: RunSettings, over: Callable[[], bool]
) -> Iterator[Row]:
    """The rows of condemned clips, which come back for good. `made` are the results that they were set aside with.

    `over` is asked every second or so, and ends them when it says so.
    """
    for pool, part in by_pool(settings.config, together(condemned, made)):
        yield from _in_pool(part, settings.with_pool(pool), over)


def _in_pool(groups: Sequence[Sequence[PlannedClip]], settings: RunSettings, over: Callable[[], bool]) -> Iterator[Row]:
    config, attempts = settings.config, settings.config.attempts + 1
    stages = {PoseWorker: config.pose_pool, InputsWorker: config.inputs_pool, AnimateWorker: config.animate_pool}
    workers = [_actor(worker, pool, settings, attempts) for worker, pool in stages.items()]
    try:
        for clips in groups:
            rows: list[Row] = [{"works": [clip.text for clip in clips]}]
            for worker in workers:
                answers = [_answer(worker.rows.remote(one), over) for one in rows]
                rows = [row for answer in answers for row in answer or ()]
                if None in answers:
                    return
            yield from rows
    finally:
        for worker in workers:
            ray.kill(worker)


def together(condemned: Sequence[PlannedClip], made: Mapping[int, Result]) -> list[list[PlannedClip]]:
    """Each clip by itself, but for those whose poses were a worker's death: they stand or fall with their video."""
    groups: dict[Any, list[PlannedClip]] = {}
    for clip in condemned:
        shared = made[clip.row].stage == "pose" and clip.pose_key
        groups.setdefault(shared or clip.row, []).append(clip)
    return list(groups.values())


def _actor(worker: type, pool: Pool, settings: RunSettings, attempts: int) -> ActorHandle:
    options: dict[str, Any] = {"num_cpus": pool.num_cpus, "num_gpus": pool.num_gpus}
    if pool.accelerator_type:
        options["accelerator_type"] = pool.accelerator_type
    if pool.label_selector:
        options["label_selector"] = pool.label_selector
    # as in the graph, Ray tries for ever and the ledger does not
    alone = ray.remote(StageAlone).options(max_restarts=-1, max_task_retries=-1, **options)
    return alone.remote(worker, settings, attempts)


def _answer(pending: ray.ObjectRef, over: Callable[[], bool]) -> list[Row] | None:
    """What comes back; None where it is over before."""
    while not ray.wait([pending], timeout=TICK_SECONDS)[0]:
        if over():
            return None
    return ray.get(pending)
