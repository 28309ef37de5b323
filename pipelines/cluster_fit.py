"""Whether a cluster on Kubernetes can give what a run's pools ask for, before either exists."""

from __future__ import annotations

from pathlib import Path

from cluster.kube.capacity import grows, largest
from cluster.kube.configuration import KubeConfig
from cluster.kube.pod import FILES
from cluster.preflight import shortage
from manifests import storage
from manifests.errors import WrongUsage
from pipelines.configuration import RunConfig
from pipelines.pools import demands
from stages.hub import on_hub


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
    _require_cache(config, cluster, file)
    folder = f"{FILES}/{file.name}"
    if cluster.job is not None and folder not in cluster.job.command:
        raise WrongUsage(f"{file} lies at {folder} on the head, which the job's command does not name", "name it there")


def _require_cache(config: RunConfig, cluster: KubeConfig, file: Path) -> None:
    """Raise `WrongUsage` where fetched weights would not lie on the volume that is there for them, or could fill it."""
    kept, volume = config.model_cache, cluster.model_cache
    if all(on_hub(uri) is None and storage.is_local(uri) for uri in config.checkpoints.values()):
        return
    if kept.folder != volume.path:
        raise WrongUsage(
            f"{file}: weights are fetched into {kept.folder or 'a temporary folder'}, the volume is at {volume.path}",
            f"write `model_cache: {{folder: {volume.path}}}` there",
        )
    if not (volume.host_path or volume.claim) and kept.bytes > volume.gib * 2**30:  # Kubernetes would end the pod
        raise WrongUsage(
            f"{file}: model_cache.bytes is {kept.bytes:,}, more than the {volume.gib} GiB of the cluster's volume",
            "make it smaller, or model_cache.gib of the cluster larger",
        )
