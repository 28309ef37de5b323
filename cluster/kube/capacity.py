"""What a cluster on Kubernetes can come to, in Ray's words, for holding a command's demands against it beforehand."""

from __future__ import annotations

from cluster.kube.configuration import Group, KubeConfig
from cluster.preflight import Node


def largest(config: KubeConfig, spot: bool = False) -> list[Node]:
    """Every node there is when all groups have grown to their largest; the head does no work.

    `spot`: what may be had on either market is had as spot.
    """
    return [_node(group, spot) for group in config.groups for _ in range(group.max_nodes)]


def grows(config: KubeConfig) -> bool:
    """Whether any group begins with fewer nodes than it can have."""
    return any(group.min_nodes < group.max_nodes for group in config.groups)


def _node(group: Group, spot: bool) -> Node:
    resources = {"CPU": float(group.cpus), "GPU": float(group.gpus)}
    if group.accelerator_type:
        resources[f"accelerator_type:{group.accelerator_type}"] = 1.0
    on_spot = group.market == "spot" or (group.market == "spot_first" and spot)
    return Node(resources, {"ray.io/market-type": "spot" if on_spot else "on-demand", **group.labels})
