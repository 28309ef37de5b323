"""Whether a cluster can give what a command will ask of it, found out in seconds instead of hung on for hours."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ray

from manifests.errors import Problem

POLL_SECONDS = 5


@dataclass(frozen=True)
class Demand:
    """What `workers` workers reserve, each on one node: resources in Ray's names (CPU, GPU, accelerator_type:…)."""

    what: str
    workers: int
    resources: dict[str, float]


def require(demands: Sequence[Demand], wait_seconds: float, say: Callable[[str], None]) -> None:
    """Return once the cluster can hold all `demands` at the same time.

    With `wait_seconds` 0, a fixed cluster, raises `Problem` at once when it cannot. Otherwise the cluster is asked to
    grow, and `Problem` is raised when it has not within that time. (Ray 2.60 tells no driver how far a cluster could
    grow, nor reliably whether it would.)
    """
    short = shortage(demands)
    if short is None:
        return
    if not wait_seconds:
        raise Problem(
            f"the cluster cannot give this: {short}",
            "make the pools smaller or their reservations lower (num_gpus: 0 runs on CPUs), use a larger cluster, or "
            "set cluster_wait.seconds for one that grows",
        )
    _wait(demands, short, wait_seconds, say)


def _wait(demands: Sequence[Demand], short: str | None, wait_seconds: float, say: Callable[[str], None]) -> None:
    from ray.autoscaler.sdk import request_resources

    bundles = [demand.resources for demand in demands for _ in range(demand.workers)]
    request_resources(bundles=bundles)
    try:
        deadline = time.monotonic() + wait_seconds
        while short is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Problem(
                    f"the cluster has not grown within {wait_seconds:g} s: {short}",
                    "raise cluster_wait.seconds, look at the autoscaler's events, or ask for less",
                )
            say(f"waiting for the cluster to grow, {left:.0f} s left: {short}")
            time.sleep(min(POLL_SECONDS, left))
            short = shortage(demands)
    finally:
        request_resources(bundles=[])


def totals(demands: Sequence[Demand]) -> dict[str, float]:
    """All that is asked for, by resource."""
    summed: dict[str, float] = {}
    for demand in demands:
        for name, amount in demand.resources.items():
            summed[name] = summed.get(name, 0) + amount * demand.workers
    return {name: amount for name, amount in summed.items() if amount}


def shortage(demands: Sequence[Demand]) -> str | None:
    """What is missing now in words, None if nothing is: the sums, and a node large enough for every single worker."""
    there = ray.cluster_resources()
    for name, need in totals(demands).items():
        if need > there.get(name, 0) + 1e-6:
            wanting = ", ".join(
                f"{demand.what} {demand.workers} × {demand.resources[name]:g}"
                for demand in demands
                if demand.resources.get(name)
            )
            return f"{name} {need:g} asked for ({wanting}), {there.get(name, 0):g} there"
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for demand in demands:
        if not any(all(node.get(name, 0) >= need for name, need in demand.resources.items()) for node in nodes):
            asked = ", ".join(f"{name} {need:g}" for name, need in demand.resources.items())
            return f"no single node has room for one worker of {demand.what} ({asked})"
    return None
