"""How a run is configured: one YAML file, every field with its default, which is a laptop's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from manifests.consent.settings import ConsentSettings
from manifests.errors import WrongUsage
from manifests.field_error import closest
from manifests.review import ReviewLimits
from manifests.safety import SafetySettings
from manifests.yaml_file import read_yaml
from pipelines.time_limits import TimeLimits
from stages.diffusion.acceleration import Acceleration
from stages.node_cache import NodeCache
from stages.poses.motion.quality import QualityRules
from stages.poses.recipes import Estimators
from stages.provenance.settings import Provenance
from stages.video.encode import EncodeRecipe
from stages.video.limits import Limits

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CpuPool(_Section):
    """Workers of a stage that only reads and writes: so many at once."""

    size: int = Field(1, ge=1, description="workers; with max_size, the fewest")
    num_cpus: float = Field(0.25, ge=0, description="CPU cores reserved by each")
    memory_bytes: int | None = Field(
        None, ge=1, description="a worker that takes more is ended; left out, three quarters of its node's memory"
    )


class Pool(CpuPool):
    """Workers of a stage that loads models. `num_cpus` and `num_gpus` are what one of them reserves."""

    max_size: int | None = Field(None, ge=1, description="workers at most; left out, the pool is of fixed size")

    num_gpus: float = Field(0, ge=0, description="GPUs reserved by each")
    accelerator_type: str | None = Field(None, description="only on nodes with this accelerator, in Ray's naming")
    label_selector: dict[str, str] = Field({}, description="only on nodes with these labels, as Ray's selectors")

    @property
    def most(self) -> int:
        """Workers at most."""
        return self.max_size or self.size


class AnimatePool(Acceleration, Pool):
    """The workers that hold the models."""

    device: str = Field("auto", description="torch device; auto: cuda where there is one")
    gpus_per_clip: int = Field(
        1, ge=1, description="devices that make a film together, with the same result; on the CPU, replicas there"
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="auto: float32 on the CPU, on cuda the half precision that suits each animator"
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads of torch in each, or in each replica; left out, all cores but one, in `clip` all",
    )
    model_bytes: int = Field(24 * 2**30, ge=1, description="loaded models kept in each, in bytes, replicas counted")

    def threads_on(self, cores: int) -> int:
        """CPU threads of each replica of a worker, on a machine of so many cores that has the whole pool.

        Of what falls to a worker, one core is left to decoding and encoding.
        """
        return self.threads or max(1, (cores // self.size - 1) // self.gpus_per_clip)


class OwnPool(Acceleration, Pool):
    """Workers for one animator alone. What is left out is as in `animate_pool`; device and dtype always are."""

    gpus_per_clip: int = Field(1, ge=1, description="devices that make a film together, as in `animate_pool`")
    threads: int | None = Field(None, ge=1, description="CPU threads of torch in each")
    model_bytes: int = Field(24 * 2**30, ge=1, description="loaded models kept in each, in bytes")

    def laid_over(self, pool: AnimatePool) -> AnimatePool:
        """The pool with what this one says."""
        return pool.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


class NodeWeights(_Section):
    """Where each node keeps weights that it fetched, and from where it may."""

    folder: str | None = Field(None, description="on every node's disk; left out, a temporary one")
    bytes: int = Field(200 * 2**30, ge=1, description="kept there at most; the least recently used go first")
    allow_hub: bool = Field(False, description="fetch `hub:` checkpoints from the Hugging Face hub")

    def cache(self) -> NodeCache:
        """It, on this node."""
        return NodeCache(Path(self.folder) if self.folder else None, self.bytes, self.allow_hub)


class ClusterWait(_Section):
    """What to do while the cluster cannot yet give what the pools ask for."""

    seconds: float = Field(0, ge=0, description="how long to wait for a cluster that grows; 0: a fixed one")


class Logs(_Section):
    """What is written beside results: by the command on stderr, by workers into Ray's log files."""

    format: Literal["text", "json"] = Field("text", description="json: an object a line, with run, clip, segment")
    level: Literal["warning", "info"] = "warning"


class Price(_Section):
    """What the machines cost, for plans and summaries."""

    gpu_hour: float | None = Field(None, ge=0, description="of one GPU; left out, no costs are told")
    currency: str = "USD"


class RunConfig(_Section):
    """Everything about a run that is not in the manifest."""

    allowed_prefixes: list[str] = Field(
        [], description="where the manifest's URIs may point, beside its own folder and the current one"
    )
    checkpoints: dict[str, str] = Field(
        {}, description="folder of weights, or hub:ORGANISATION/NAME@COMMIT, by animator, or by a label used in rows"
    )
    checkpoint_digests: dict[str, Digest] = Field(
        {}, description="what `checkpoint_digest` of a result must be, by the same names; other weights are refused"
    )
    model_cache: NodeWeights = NodeWeights()
    animators: dict[str, str] = Field({}, description="animators from outside: my_package.mirror:Mirror, by name")
    cache: str | None = Field(None, description="shared cache; left out, OUTPUT/cache")
    keep_latents: bool = Field(True, description="keep latents, so that a change of encoding does not denoise again")
    limits: Limits = Limits()
    encode: EncodeRecipe = EncodeRecipe()
    estimators: Estimators = Estimators()
    pose_rules: QualityRules = QualityRules()
    review: ReviewLimits = ReviewLimits()
    provenance: Provenance = Provenance()
    consent: ConsentSettings = ConsentSettings()
    safety: SafetySettings = SafetySettings()
    validate_pool: CpuPool = CpuPool(size=2)
    pose_pool: Pool = Pool()
    inputs_pool: Pool = Pool()
    animate_pool: AnimatePool = AnimatePool()
    animate_pools: dict[str, OwnPool] = Field(
        {},
        description="workers for single animators, as on other GPUs, beside animate_pool for all others; each such "
        "pool comes with pose and inputs workers of its own",
    )
    attempts: int = Field(3, ge=1, description="deaths of a worker on one clip after which the clip is set aside")
    longest_row_seconds: float = Field(
        4 * 3600, gt=0, description="no row may take longer in one stage, whatever `time_limits` come to"
    )
    idle_seconds: float = Field(
        1800, gt=0, description="the run gives up after so long in which no worker had a row in hand"
    )
    time_limits: TimeLimits = TimeLimits()
    storage_retries: int = Field(
        1000, ge=0, description="calls to storage tried again in each process of a run, 5 tries each at most; 0: none"
    )
    grace_seconds: float = Field(20, ge=0, description="for rows in hand once the run has to end")
    cluster_wait: ClusterWait = ClusterWait()
    price: Price = Price()
    logs: Logs = Logs()
    on_end: str | None = Field(
        None, description="called when a run has ended: a command, or a URL that the summary is posted to"
    )

    @model_validator(mode="after")
    def _computes_on_one_kind_of_device(self) -> Self:
        for name in self.animate_pools:
            if bool(self.pool_of(name).num_gpus) != bool(self.animate_pool.num_gpus):
                # a film's key says what it is computed in, whoever computes it
                raise ValueError(f"animate_pools.{name}: its workers and those of animate_pool hold GPUs, or none do")
        return self

    def animating(self) -> list[AnimatePool]:
        """All pools that animate."""
        return [self.animate_pool, *map(self.pool_of, self.animate_pools)]

    def pool_of(self, animator: str) -> AnimatePool:
        """The workers that make an animator's films."""
        own = self.animate_pools.get(animator)
        return own.laid_over(self.animate_pool) if own else self.animate_pool

    @classmethod
    def load(cls, path: Path | None, overrides: dict[str, Any] | None = None) -> Self:
        """Read a YAML file (none: the defaults) and lay `overrides` (nested like the file) over it.

        Raises `WrongUsage` naming every field at fault.
        """
        given = {} if path is None else read_yaml(path, "configuration")
        try:
            return cls.model_validate(_overlaid(given, overrides or {}))
        except ValidationError as wrong:
            faults = "; ".join(map(_fault, wrong.errors()))
            raise WrongUsage(
                f"configuration {path or '(defaults)'}: {faults}", "see `catwalk config` for the fields"
            ) from None

    def to_yaml(self) -> str:
        """The whole configuration as a file that `load` reads."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def _fault(error: ErrorDetails) -> str:
    """One entry of pydantic's errors, with the field that an unknown one was most likely meant to be."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg']}"
    section, word = _section(error["loc"][:-1]), str(error["loc"][-1])
    near = section and closest(word, section.model_fields)
    return f"{place}: is not a field of the configuration" + (f", did you mean {near!r}?" if near else "")


def _section(place: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that describes a section of the configuration; None for one that holds names of the user's own."""
    section: type[BaseModel] = RunConfig
    for name in place:
        field = section.model_fields.get(str(name))
        kinds: Sequence[Any] = (get_args(field.annotation) or (field.annotation,)) if field else ()
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not models:
            return None
        section = models[0]
    return section


def _overlaid(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overlaid(merged[key], value) if nested else value
    return merged
