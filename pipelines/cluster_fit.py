"""Whether a cluster on Kubernetes can give what a run's pools ask for, before either exists."""

from __future__ import annotations

from pathlib import Path

from cluster.kube.capacity import grows, largest
from cluster.kube.configuration import KubeConfig
from cluster.kube.pod import FILES
from cluster.preflight import shortage
from manifests.errors import WrongUsage
from pipelines.configuration import RunConfig
from pipelines.pools import demands


def require_fit(config: RunConfig, cluster: KubeConfig, file: Path) -> None:
    """Raise `WrongUsage` for a run that this cluster could never begin, or that would not read `file`, its own one."""
    for together in demands(config):
        found = [shortage(together, grows=True, nodes=largest(cluster, spot)) for spot in (False, True)]
        if None not in found:
            short = found[0]
            raise WrongUsage(
                f"{file}: with all groups at max_nodes, the cluster cannot give this: {short}",
                "raise max_nodes, cpus or gpus of a group, or make the pools smaller",
            )
    if grows(cluster) and not config.cluster_wait.seconds:
        raise WrongUsage(
            f"{file}: cluster_wait.seconds is 0, so that a run does not wait for nodes, and groups begin without them",
            "set it to what nodes take to come, such as `cluster_wait: {seconds: 1800}`",
        )
    folder = f"{FILES}/{file.name}"
    if cluster.job is not None and folder not in cluster.job.command:
        raise WrongUsage(f"{file} lies at {folder} on the head, which the job's command does not name", "name it there")
