"""What a cluster on Kubernetes is made of: one YAML file for a job, a nightly job, or a cluster that stays."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from manifests.errors import WrongUsage
from manifests.field_error import closest
from manifests.yaml_file import read_yaml

Name = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_SECRET = re.compile(r"secret|token|password|passwd|credential|api_?key|access_?key(?!_id)|private_?key", re.IGNORECASE)
_FIELD = r"(\*|[0-9]+(-[0-9]+)?)(/[0-9]+)?"
_CRON = re.compile(rf"{_FIELD}(,{_FIELD})*")


class _Part(BaseModel):
    # a string where a number belongs is a mistake in the file, as it would be in the manifest made of it
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Toleration(_Part):
    """A taint of nodes that pods put up with, in Kubernetes' words."""

    key: str = Field(description="of the taint")
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = Field(None, description="of the taint, with operator Equal")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class Placement(_Part):
    """On which machines pods may lie."""

    node_selector: dict[str, str] = Field({}, description="labels that a machine must have")
    tolerations: list[Toleration] = Field([], description="taints of machines that are put up with")


class Machine(Placement):
    """What one pod reserves: it is one node of the Ray cluster."""

    cpus: int = Field(ge=1, description="CPU cores")
    memory_gib: int = Field(ge=1, description="memory in GiB, of which Ray's object store takes 30 %")


class Head(Machine):
    """The head: it holds the cluster's state and the driver, and does no work."""

    cpus: int = Field(2, ge=1, description="CPU cores")
    memory_gib: int = Field(8, ge=1, description="memory in GiB")


class Group(Machine):
    """Nodes that are alike, as many as there is work for."""

    name: Name
    gpus: int = Field(0, ge=0, description="GPUs of each node")
    accelerator_type: str | None = Field(None, description="which GPU, in Ray's naming, such as H100 or L4")
    min_nodes: int = Field(0, ge=0, description="nodes that are always there")
    max_nodes: int = Field(ge=1, description="nodes at most")
    idle_seconds: int = Field(300, ge=1, description="after which a node without work is given back")
    market: Literal["on_demand", "spot", "spot_first"] = Field(
        "on_demand", description="spot_first: on demand for what is not to be had as spot"
    )
    labels: dict[str, str] = Field({}, description="Ray's labels of its nodes, for label_selector of a pool")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.accelerator_type and not self.gpus:
            raise ValueError(f"group {self.name}: accelerator_type without gpus")
        if self.min_nodes > self.max_nodes:
            raise ValueError(f"group {self.name}: min_nodes {self.min_nodes} above max_nodes {self.max_nodes}")
        return self


class ModelCache(_Part):
    """Where nodes that hold models keep downloaded weights."""

    path: str = Field("/var/cache/catwalk", description="in the container; the run's model_cache.folder")
    gib: int = Field(200, ge=1, description="space, of a folder that is the pod's own")
    host_path: str | None = Field(
        None, description="a folder of the machine, writable by user_id, which outlives the pod"
    )
    claim: str | None = Field(None, description="a PersistentVolumeClaim instead")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.host_path and self.claim:
            raise ValueError("give host_path or claim, not both")
        for path in filter(None, (self.path, self.host_path)):
            if not PurePosixPath(path).is_absolute():
                raise ValueError(f"{path!r} is no absolute path")
        return self


class SecretKey(_Part):
    """One value of a Secret of the namespace."""

    secret: str
    key: str


class Nightly(_Part):
    """When the nightly job begins."""

    cron: str = Field("0 20 * * *", description="minute, hour, day, month, weekday")
    time_zone: str = Field("UTC", description="such as Europe/Berlin")

    @field_validator("cron")
    @classmethod
    def _has_five_fields(cls, cron: str) -> str:
        if len(cron.split()) != 5 or not all(map(_CRON.fullmatch, cron.split())):
            raise ValueError(f"{cron!r} is no schedule of five numbers, ranges or *: minute hour day month weekday")
        return cron

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"{zone!r} is no time zone; write one such as Europe/Berlin")
        return zone


class Job(_Part):
    """The command, and how long it may go on."""

    command: list[str] = Field(min_length=1, description="what runs on the head, word by word")
    retries: int = Field(1, ge=0, description="how often it is run again, on a new cluster, after it failed")
    deadline_seconds: int | None = Field(None, ge=1, description="after which it is ended, whatever it is at")
    keep_seconds: int = Field(3600, ge=0, description="how long the cluster is kept after the end, for its logs")


class KubeConfig(_Part):
    """A cluster on Kubernetes, and what it is for."""

    name: Name
    namespace: Name = "default"
    image: str = Field(min_length=1, description="cluster/Dockerfile, built and pushed: REGISTRY/NAME:TAG")
    pull_secrets: list[str] = Field([], description="Secrets that the image is pulled with")
    service_account: str | None = Field(None, description="of all pods, such as one that may use the bucket")
    user_id: int = Field(1000, ge=1, description="user and group of all processes, never root")
    token: bool = Field(True, description="ask for Ray's token; KubeRay makes it and hands it out")
    secrets: list[str] = Field([], description="Secrets whose keys become environment variables")
    secret_environment: dict[Variable, SecretKey] = Field({}, description="variables, each from a key of a Secret")
    environment: dict[Variable, str] = Field({}, description="variables that are no secrets")
    head: Head = Head()
    groups: list[Group] = Field(min_length=1, description="kinds of nodes that do the work")
    spot: Placement = Field(Placement(), description="how machines on the spot market are found here")
    spot_patience_seconds: int = Field(900, ge=60, description="waited for a spot machine before one on demand")
    model_cache: ModelCache = ModelCache()
    job: Job | None = Field(None, description="left out, only a cluster that stays can be made")
    nightly: Nightly = Nightly()

    @field_validator("environment")
    @classmethod
    def _holds_no_secret(cls, environment: dict[str, str]) -> dict[str, str]:
        if told := [name for name in environment if _SECRET.search(name)]:
            raise ValueError(f"{', '.join(told)}: put it into a Secret, and name that under secret_environment")
        return environment

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        names = [name for group in self.groups for name in (group.name, f"{group.name}-spot")]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"groups: {', '.join(sorted(twice))} stands there twice")
        if any(group.market != "on_demand" for group in self.groups) and self.spot == Placement():
            raise ValueError("spot: say by node_selector or tolerations how spot machines are found")
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a YAML file. Raises `WrongUsage` naming every field at fault."""
        given = read_yaml(path, "cluster")
        try:
            return cls.model_validate(given)
        except ValidationError as wrong:
            faults = "; ".join(map(_fault, wrong.errors()))
            raise WrongUsage(f"cluster {path}: {faults}", "see cluster/example.yaml for the fields") from None


def _fault(error: ErrorDetails) -> str:
    """One entry of pydantic's errors, with the field that an unknown one was most likely meant to be."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg']}"
    near = closest(str(error["loc"][-1]), {name for part in _PARTS for name in part.model_fields})
    return f"{place}: is not a field of the cluster" + (f", did you mean {near!r}?" if near else "")


_PARTS: tuple[type[_Part], ...] = (KubeConfig, Head, Group, Placement, Toleration, ModelCache, SecretKey, Nightly, Job)
