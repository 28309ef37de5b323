"""The configuration's pools in Ray's words: blocks, actors, tasks, and what they reserve together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ray.data

from cluster.preflight import Demand
from pipelines.configuration import AnimatePool, CpuPool, Pool, RunConfig
from pipelines.planned_clip import PlannedClip

READING = 0.01  # CPUs reserved by Ray's tasks that read the manifest, which by default are one each


def as_blocks(rows: Iterable[dict[str, Any]], blocks: int) -> ray.data.Dataset:
    """Rows as a dataset of that many blocks: blocks are the parallelism."""
    rows = list(rows)
    return ray.data.from_items(rows, override_num_blocks=max(1, min(blocks, len(rows))))


def by_pool(
    config: RunConfig, groups: Sequence[Sequence[PlannedClip]]
) -> list[tuple[AnimatePool, list[list[PlannedClip]]]]:
    """Each pool that has clips to animate, and those of the groups that are its own, in their order."""
    parts: dict[str, list[list[PlannedClip]]] = {}
    for group in groups:
        split: dict[str, list[PlannedClip]] = {}
        for clip in group:
            split.setdefault(clip.animator if clip.animator in config.animate_pools else "", []).append(clip)
        for name, clips in split.items():
            parts.setdefault(name, []).append(clips)
    return [(config.pool_of(name), part) for name, part in parts.items()]


def actors(pool: Pool) -> dict[str, Any]:
    """A pool of the configuration as Ray Data takes it.

    A fixed pool has one row in flight per actor, so that none is parked behind a long one; a growing pool needs two to
    grow at all. Workers without a GPU go where none is, while there is room.
    """
    if pool.max_size is None:
        compute = ray.data.ActorPoolStrategy(size=pool.size, max_tasks_in_flight_per_actor=1)
    else:
        compute = ray.data.ActorPoolStrategy(
            min_size=pool.size, max_size=pool.max_size, max_tasks_in_flight_per_actor=2
        )
    asked: dict[str, Any] = {"num_gpus": pool.num_gpus} if pool.num_gpus else {"ray_remote_args_fn": _packed}
    asked |= {"label_selector": pool.label_selector} if pool.label_selector else {}
    return {"compute": compute, "num_cpus": pool.num_cpus, "accelerator_type": pool.accelerator_type, **asked}


def _packed() -> dict[str, str]:
    """In place of Ray Data's own way, which spreads actors over all nodes: Ray's, which fills nodes with GPUs last."""
    return {"scheduling_strategy": "DEFAULT"}


def tasks(pool: CpuPool) -> dict[str, Any]:
    """A stage without anything to load: Ray keeps the processes between rows and runs."""
    return {"compute": ray.data.TaskPoolStrategy(size=pool.size), "num_cpus": pool.num_cpus}


def demands(config: RunConfig) -> list[list[Demand]]:
    """What is reserved at the same time, in each phase of a run: validation by one task at least, then all actors."""
    # the manifest is read in tasks that reserve READING each, which any node has; a graph of actors alone has no others
    own = {f"animate_pools.{name}": config.pool_of(name) for name in config.animate_pools}
    pools = {name: pool for name, pool in config if isinstance(pool, Pool)} | own
    branches = {name: 1 if name.startswith("animate_pool") else 1 + len(own) for name in pools}
    return [
        [_demand("validate_pool", config.validate_pool, 1)],
        [_demand(name, pool, pool.size * branches[name]) for name, pool in pools.items()],
    ]


def computing_by(config: RunConfig, attention: str | None = None) -> list[Demand]:
    """What the animating pools reserve, all of them or those whose attention is computed in that way."""
    own = {f"animate_pools.{name}": config.pool_of(name) for name in config.animate_pools}
    pools = {"animate_pool": config.animate_pool} | own
    return [_demand(name, pool, pool.size) for name, pool in pools.items() if attention in (None, pool.attention)]


def _demand(name: str, pool: CpuPool, workers: int) -> Demand:
    resources, labels = {"CPU": pool.num_cpus}, {}
    if isinstance(pool, Pool):
        resources["GPU"], labels = pool.num_gpus, pool.label_selector
        if pool.accelerator_type:
            resources[f"accelerator_type:{pool.accelerator_type}"] = 0.001
    return Demand(name, workers, {key: value for key, value in resources.items() if value}, labels)
