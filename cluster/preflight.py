"""Whether a cluster can give what a command will ask of it, found out in seconds instead of hung on for hours."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.labels import matches
from manifests.errors import Problem

POLL_SECONDS = 5
ASKED_SECONDS = 60  # for which nodes are waited for to start a process and answer
TINY = 1e-6  # what sums of fractions may be wrong by

Resources = dict[str, float]


@dataclass(frozen=True)
class Demand:
    """What `workers` workers reserve, each on one node: resources in Ray's names (CPU, GPU, accelerator_type:…)."""

    what: str
    workers: int
    resources: dict[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)  # selector of nodes; see `cluster/labels.py`


class Node(NamedTuple):
    """What a node has, in Ray's names, and its labels."""

    resources: Resources
    labels: Mapping[str, str] = {}


def require(demands: Sequence[Demand], wait_seconds: float, say: Callable[[str], None]) -> None:
    """Return once the cluster can hold all `demands` at the same time.

    With `wait_seconds` 0, a fixed cluster, raises `Problem` at once when it cannot. Otherwise the cluster is asked to
    grow, and `Problem` is raised when it has not within that time. (Ray 2.60 tells no driver how far a cluster could
    grow, nor reliably whether it would.)
    """
    short = shortage(demands, grows=wait_seconds > 0)
    if short is None:
        return
    if not wait_seconds:
        raise Problem(
            f"the cluster cannot give this: {short}",
            "make the pools smaller or their reservations lower (num_gpus: 0 runs on CPUs), use a larger cluster, or "
            "set cluster_wait.seconds for one that grows",
        )
    _wait(demands, short, wait_seconds, say)


def nodes_without(package: str, demands: Sequence[Demand]) -> list[str]:
    """Names of the nodes on which one of these workers would find a place, but not that package.

    They are asked, each in a process as a worker's is. One that does not answer in time may have it.
    """
    hosts = {
        node["NodeID"]: node["NodeManagerHostname"]
        for node in ray.nodes()
        if node["Alive"] and any(_could_host(Node(node["Resources"], node.get("Labels") or {}), one) for one in demands)
    }
    asked = {
        _finds.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(package): name
        for node, name in hosts.items()
    }
    if not asked:
        return []
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ASKED_SECONDS)
    return sorted(asked[answer] for answer in answered if _answer(answer) is False)


@ray.remote(num_cpus=0)
def _finds(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _answer(asked: ray.ObjectRef) -> bool | None:
    try:
        return ray.get(asked)
    except ray.exceptions.RayError:  # the node is gone, and its workers with it
        return None


def _could_host(node: Node, demand: Demand) -> bool:
    return _fits(_labelled(demand), _offering(node, [demand]))


def _wait(demands: Sequence[Demand], short: str | None, wait_seconds: float, say: Callable[[str], None]) -> None:
    from ray.autoscaler.sdk import request_resources

    bundles = [demand.resources for demand in demands for _ in range(demand.workers)]
    selectors = [dict(demand.labels) for demand in demands for _ in range(demand.workers)]
    request_resources(bundles=bundles, bundle_label_selectors=selectors)
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
            short = shortage(demands, grows=True)
    finally:
        request_resources(bundles=[])


def totals(demands: Sequence[Demand]) -> dict[str, float]:
    """All that is asked for, by resource."""
    summed: dict[str, float] = {}
    for demand in demands:
        for name, amount in demand.resources.items():
            summed[name] = summed.get(name, 0) + amount * demand.workers
    return {name: amount for name, amount in summed.items() if amount}


def shortage(demands: Sequence[Demand], grows: bool = False, nodes: Sequence[Node] | None = None) -> str | None:
    """What the cluster lacks now, or one of these `nodes` would, in words; None if nothing; see `missing`."""
    if nodes is None:
        nodes = [Node(node["Resources"], node.get("Labels") or {}) for node in ray.nodes() if node["Alive"]]
    return missing([_labelled(demand) for demand in demands], [_offering(node, demands) for node in nodes], grows)


def _labelled(demand: Demand) -> Demand:
    """Labels as a resource of the nodes that have them: of as much as Ray asks of an accelerator's type."""
    if not demand.labels:
        return demand
    return replace(demand, resources={**demand.resources, _label(demand): 0.001}, labels={})


def _offering(node: Node, demands: Sequence[Demand]) -> Resources:
    return node.resources | {_label(one): 1.0 for one in demands if one.labels and matches(one.labels, node.labels)}


def _label(demand: Demand) -> str:
    return "label " + ", ".join(f"{key}={value}" for key, value in sorted(demand.labels.items()))


def missing(demands: Sequence[Demand], nodes: Sequence[Resources], grows: bool = False) -> str | None:
    """What these nodes lack for `demands`, in sum and one by one; None if nothing.

    A worker lives on one node. Ray places workers as they come, not so that all will fit: of a cluster that does not
    grow, each kind of worker must find a place wherever the others went.
    """
    short = _in_sum(demands, nodes) or _one_by_one(demands, nodes)
    return short if short or grows else _crowded_out(demands, nodes)


def _in_sum(demands: Sequence[Demand], nodes: Sequence[Resources]) -> str | None:
    for name, need in totals(demands).items():
        there = sum(node.get(name, 0) for node in nodes)
        if need > there + TINY:
            asking = [demand for demand in demands if demand.resources.get(name)]
            wanting = ", ".join(f"{one.what} {one.workers} × {one.resources[name]:g}" for one in asking)
            return f"{name} {need:g} asked for ({wanting}), {there:g} there"
    return None


def _one_by_one(demands: Sequence[Demand], nodes: Sequence[Resources]) -> str | None:
    """The first worker that finds no place when the largest are placed first, each on the first node with room."""
    left = [dict(node) for node in nodes]
    for demand in _largest_first(demands, nodes):
        if not any(_fits(demand, node) for node in nodes):
            return f"no single node has room for one worker of {demand.what} ({_in_words(demand)})"
        for number in range(demand.workers):
            place = next((node for node in left if _fits(demand, node)), None)
            if place is None:
                found = f"only {number} of {demand.workers} workers of {demand.what} ({_in_words(demand)} each)"
                return f"{found} find a node with room for them"
            for name, need in demand.resources.items():
                place[name] -= need
    return None


def _crowded_out(demands: Sequence[Demand], nodes: Sequence[Resources]) -> str | None:
    """The first kind of worker that may find no node with room any more, once all others went where they could."""
    for demand in _largest_first(demands, nodes):
        hosts = [node for node in nodes if _fits(demand, node)]
        for name, need in demand.resources.items():
            rivals = [one for one in demands if one is not demand and any(_fits(one, node) for node in hosts)]
            others = [one for one in rivals if one.resources.get(name)]
            asked = sum(one.workers * one.resources[name] for one in others)
            if demand.resources.get("GPU"):  # such nodes Ray fills last with workers that need none
                asked -= sum(node.get(name, 0) for node in nodes if not node.get("GPU"))
            room = [node[name] - need for node in hosts]
            if asked > sum(room) + TINY and _most_filled(others, name, min(room)) >= len(hosts):
                worker = f"a worker of {demand.what} ({_in_words(demand)})"
                return f"no node may have room left for {worker} when Ray has spread the others over them"
    return None


def _most_filled(demands: Sequence[Demand], name: str, room: float) -> int:
    """On how many nodes these can take up more than `room`, at most: large workers alone, small ones together."""
    large = sum(one.workers for one in demands if one.resources[name] > room + TINY)
    small = sum(one.workers * one.resources[name] for one in demands if one.resources[name] <= room + TINY)
    return large + (max(0, math.ceil(small / room - TINY) - 1) if room > TINY else 0)


def _largest_first(demands: Sequence[Demand], nodes: Sequence[Resources]) -> list[Demand]:
    whole = {name: sum(node.get(name, 0) for node in nodes) for name in totals(demands)}

    def share(demand: Demand) -> float:
        return max((need / whole[name] for name, need in demand.resources.items()), default=0.0)

    return sorted(demands, key=share, reverse=True)


def _fits(demand: Demand, node: Resources) -> bool:
    return all(node.get(name, 0) >= need - TINY for name, need in demand.resources.items())


def _in_words(demand: Demand) -> str:
    return ", ".join(f"{name} {need:g}" for name, need in demand.resources.items())
