"""Pods of a Ray cluster: not root, what they request is their limit, secrets by reference only."""

from __future__ import annotations

from typing import Any

from cluster.kube.configuration import KubeConfig, Machine, ModelCache, Placement

FILES = "/etc/catwalk"  # where a job's files lie on the head
_CACHE, _FILES = "model-cache", "files"

Manifest = dict[str, Any]


def pod(
    config: KubeConfig,
    container: str,
    machine: Machine,
    places: list[Placement],
    *,
    gpus: int = 0,
    cache: ModelCache | None = None,
    files: str | None = None,
    service_token: bool = False,
    told: bool = True,
) -> Manifest:
    """A pod template with one container. `files` names a ConfigMap; `service_token`: the pod talks to Kubernetes.

    `told`: its processes get the configured variables, and with them the secrets.
    """
    resources: Manifest = {"cpu": str(machine.cpus), "memory": f"{machine.memory_gib}Gi"}
    if gpus:
        resources["nvidia.com/gpu"] = str(gpus)
    main: Manifest = {
        "name": container,
        "image": config.image,
        "resources": {"requests": resources, "limits": dict(resources)},
        "securityContext": unprivileged(),
    }
    if told and (environment := _environment(config)):
        main["env"] = environment
    if told and config.secrets:
        main["envFrom"] = [{"secretRef": {"name": name}} for name in config.secrets]
    volumes: list[Manifest] = []
    if cache is not None:
        volumes.append({"name": _CACHE, **_volume(cache)})
        main.setdefault("volumeMounts", []).append({"name": _CACHE, "mountPath": cache.path})
    if files is not None:
        volumes.append({"name": _FILES, "configMap": {"name": files}})
        main.setdefault("volumeMounts", []).append({"name": _FILES, "mountPath": FILES, "readOnly": True})
    spec: Manifest = {
        "containers": [main],
        "restartPolicy": "Never",  # a node that died comes back as another one; the autoscaler counts on it
        "automountServiceAccountToken": service_token,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": config.user_id,
            "runAsGroup": config.user_id,
            "fsGroup": config.user_id,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if config.service_account:
        spec["serviceAccountName"] = config.service_account
    if config.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in config.pull_secrets]
    if selector := {key: value for place in places for key, value in place.node_selector.items()}:
        spec["nodeSelector"] = selector
    tolerations = [one.model_dump(exclude_none=True) for place in places for one in place.tolerations]
    if gpus:  # a taint by which clouds keep other pods off machines with GPUs
        tolerations.insert(0, {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"})
    if tolerations:
        spec["tolerations"] = tolerations
    if volumes:
        spec["volumes"] = volumes
    return {"spec": spec}


def unprivileged() -> Manifest:
    """A container's security context: no way to more rights."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _environment(config: KubeConfig) -> list[Manifest]:
    plain: list[Manifest] = [{"name": name, "value": value} for name, value in config.environment.items()]
    return plain + [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": one.secret, "key": one.key}}}
        for name, one in config.secret_environment.items()
    ]


def _volume(cache: ModelCache) -> Manifest:
    if cache.host_path:
        return {"hostPath": {"path": cache.host_path, "type": "Directory"}}
    if cache.claim:
        return {"persistentVolumeClaim": {"claimName": cache.claim}}
    return {"emptyDir": {"sizeLimit": f"{cache.gib}Gi"}}
