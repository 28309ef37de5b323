"""RayCluster, RayJob and RayCronJob, as KubeRay's operator reads them (ray.io/v1)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Literal, get_args

import yaml

from cluster.kube.configuration import Group, KubeConfig, Machine, Placement
from cluster.kube.pod import Manifest, pod, unprivileged
from manifests.errors import WrongUsage

Kind = Literal["job", "cron", "cluster"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SUBMITTER = Machine(cpus=1, memory_gib=1)
SPOT_FIRST = 10  # priority of a group on the spot market; the others have 0


def rendered(config: KubeConfig, kinds: Sequence[Kind], files: Mapping[str, str]) -> dict[str, list[Manifest]]:
    """`{file name: documents}`, a file for each kind; `files` lie on the head, and are put into a ConfigMap before it.

    Raises `WrongUsage` for a job without a command.
    """
    makers = {"job": ray_job, "cron": ray_cron_job, "cluster": ray_cluster}
    documents = {}
    for kind in kinds:
        held = [config_map(config, files)] if files else []
        documents[f"{config.name}-{kind}.yaml"] = [*held, makers[kind](config, bool(files))]
    return documents


def as_yaml(documents: Sequence[Manifest]) -> str:
    """Documents of one file, for `kubectl apply -f`."""
    return yaml.dump_all(documents, Dumper=_Blocks, sort_keys=False, width=120)


class _Blocks(yaml.SafeDumper):
    """Writes texts of several lines as they are read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Blocks.add_representer(str, _text)


def ray_cluster(config: KubeConfig, files: bool = False) -> Manifest:
    """A cluster that stays, for commands that are submitted to it."""
    return _document("RayCluster", config, _cluster(config, files))


def ray_job(config: KubeConfig, files: bool = False) -> Manifest:
    """A command with a cluster of its own, made for it and given back after it."""
    return _document("RayJob", config, _job(config, files))


def ray_cron_job(config: KubeConfig, files: bool = False) -> Manifest:
    """The same every night."""
    nightly = config.nightly
    spec = {"schedule": nightly.cron, "timeZone": nightly.time_zone, "jobTemplate": _job(config, files)}
    return _document("RayCronJob", config, spec)


def config_map(config: KubeConfig, files: Mapping[str, str]) -> Manifest:
    """The files that a job finds on its head."""
    meta = {"name": _files(config), "namespace": config.namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(files)}


def _files(config: KubeConfig) -> str:
    return f"{config.name}-files"


def _document(kind: str, config: KubeConfig, spec: Manifest) -> Manifest:
    meta = {"name": config.name, "namespace": config.namespace}
    return {"apiVersion": "ray.io/v1", "kind": kind, "metadata": meta, "spec": spec}


def _job(config: KubeConfig, files: bool) -> Manifest:
    job = config.job
    if job is None:
        raise WrongUsage("the cluster's configuration has no job", "add `job: {command: [...]}`, or --kind cluster")
    spec: Manifest = {
        "entrypoint": shlex.join(job.command),
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": job.keep_seconds,
        "backoffLimit": job.retries,
        "rayClusterSpec": _cluster(config, files),
        "submitterPodTemplate": pod(config, "ray-job-submitter", SUBMITTER, [config.head], told=False),
        "submitterConfig": {"backoffLimit": 2},
    }
    if job.deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = job.deadline_seconds
    return spec


def _cluster(config: KubeConfig, files: bool) -> Manifest:
    head = config.head
    template = pod(
        config, "ray-head", head, [head], files=_files(config) if files else None, service_token=True
    )  # the autoscaler beside the head asks Kubernetes for pods
    spec: Manifest = {
        "rayVersion": version("ray"),
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": _autoscaler(config),
        "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": template},
        "workerGroupSpecs": [spec for group in config.groups for spec in _groups(config, group)],
    }
    if config.token:
        spec["authOptions"] = {"mode": "token"}
    return spec


def _autoscaler(config: KubeConfig) -> Manifest:
    resources = {"cpu": "1", "memory": "1Gi"}
    # a pod that finds no machine for so long is given up, and its group counts as not to be had for a while
    patience = {
        "name": "RAY_AUTOSCALER_RECONCILE_ALLOCATE_STATUS_TIMEOUT_S",
        "value": str(config.spot_patience_seconds),
    }
    return {
        "version": "v2",
        "idleTimeoutSeconds": min(group.idle_seconds for group in config.groups),
        "resources": {"requests": resources, "limits": dict(resources)},
        "env": [patience],
        "securityContext": unprivileged(),
    }


def _groups(config: KubeConfig, group: Group) -> Iterator[Manifest]:
    """One group of pods, or two that differ in how they are paid for: the spot market is asked first."""
    if group.market in ("spot", "spot_first"):
        yield _group(config, group, spot=True)
    if group.market in ("on_demand", "spot_first"):
        yield _group(config, group, spot=False)


def _group(config: KubeConfig, group: Group, spot: bool) -> Manifest:
    holds_models = group.gpus > 0 or not any(one.gpus for one in config.groups)
    places: list[Placement] = [group, config.spot] if spot else [group]
    cache = config.model_cache if holds_models else None
    always_there = 0 if spot and group.market == "spot_first" else group.min_nodes
    spec: Manifest = {
        "groupName": f"{group.name}-spot" if spot else group.name,
        "replicas": always_there,
        "minReplicas": always_there,
        "maxReplicas": group.max_nodes,
        "idleTimeoutSeconds": group.idle_seconds,
        "priority": SPOT_FIRST if spot else 0,
        "labels": {"ray.io/market-type": "spot" if spot else "on-demand", **group.labels},
        "rayStartParams": {},
        "template": pod(config, "ray-worker", group, places, gpus=group.gpus, cache=cache),
    }
    if group.accelerator_type:
        # Ray finds it on a node that is there; the autoscaler has to know it of a group that has none yet
        spec["resources"] = {f"accelerator_type:{group.accelerator_type}": "1"}
    return spec
