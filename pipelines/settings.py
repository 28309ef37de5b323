"""What is settled once, before a run begins: every worker is told the same."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from manifests import storage
from manifests.consent.register import Register
from manifests.errors import Problem, WrongUsage
from manifests.field_error import choose
from manifests.layout import OutputLayout, new_run_id
from manifests.retries import RETRIES
from pipelines.code_version import code_version
from pipelines.configuration import AnimatePool, RunConfig
from stages.bundled import SCHEME
from stages.diffusion.acceleration import GET_XFORMERS, xformers_is_here
from stages.diffusion.animators import ANIMATORS, UNUSABLE, add_animators
from stages.hub import on_hub, require_allowed
from stages.provenance.credentials.development import DevelopmentCertificate, development_certificate
from stages.provenance.credentials.film_signing import FilmSigning
from stages.provenance.safety import require_net

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class RunSettings:
    """Small and picklable: it travels with each actor."""

    config: RunConfig
    manifest: str
    output: str
    base: str  # where relative paths of the manifest start
    allowed_prefixes: tuple[str, ...]  # none: media may lie anywhere
    run_id: str
    session: str  # one per invocation; tries are counted within it
    device: str
    dtype: str  # of all networks, or "auto" for what suits each animator on the device
    code: str
    until: datetime | None = None  # when the run has to end
    development: DevelopmentCertificate | None = field(default=None, repr=False)  # where films are signed with it

    def with_pool(self, pool: AnimatePool) -> RunSettings:
        """The same for workers of another pool."""
        return replace(self, config=self.config.model_copy(update={"animate_pool": pool}))

    @property
    def layout(self) -> OutputLayout:
        """Where everything lies."""
        return OutputLayout(self.output, self.config.cache)

    def signing(self) -> FilmSigning:
        """Who signs films."""
        return FilmSigning(self.config.provenance, self.development)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that make a film together; of those that Ray gave a worker, the first ones."""
        together = self.config.animate_pool.gpus_per_clip
        if together == 1 or self.device == "cpu":
            return (self.device,) * together
        return tuple(f"{self.device}:{number}" for number in range(together))

    def undealt(self, animators: Iterable[str]) -> list[str]:
        """A line for each of these animators that makes films on one device, where several are to do it together."""
        together = {name: self.config.pool_of(name).gpus_per_clip for name in sorted(animators)}
        return [
            f"note: gpus_per_clip {count}: {name} cannot share a film and makes it on one"
            for name, count in together.items()
            if count > 1 and not ANIMATORS[name].deals_windows
        ]


def require_animators(config: RunConfig) -> None:
    """Make animators from outside known here. Raises `WrongUsage` for a configured one that cannot be used."""
    add_animators(config.animators)
    for name in config.animators:
        if name in UNUSABLE:
            raise WrongUsage(UNUSABLE[name].error, UNUSABLE[name].remedy)


def require_records(config: RunConfig) -> None:
    """Raise `WrongUsage` where a run asks for consents and their records cannot be read, naming every fault of them."""
    consent = config.consent.moved(lambda uri: storage.resolve(uri, os.getcwd()))
    if not consent.looks:
        return
    try:
        Register(consent).records()
    except Problem as problem:
        raise WrongUsage(problem.error, problem.remedy) from None


def require_device(device: str, num_gpus: float | None = None, together: int = 1) -> None:
    """Raise `WrongUsage` for a torch device that there is not on this machine, or not `together` times.

    With `num_gpus`, what a worker reserves, also for a CUDA device that Ray would hide from it.
    """
    if device in ("auto", "cpu"):
        return
    import torch

    try:
        kind = torch.device(device)
    except RuntimeError:
        raise WrongUsage(f"device {device!r} is no device of torch", choose(device, DEVICES)) from None
    if kind.type == "cuda" and num_gpus == 0:
        raise WrongUsage(f"device {device}: the workers reserve no GPU, and Ray shows them none", "add --gpus 1")
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        found = f"{torch.cuda.device_count()} CUDA device(s) are here"
        raise WrongUsage(f"device {device}: {found}", "leave --device out, or install a torch build for your driver")
    if kind.type == "cuda" and together > torch.cuda.device_count():
        found = f"{torch.cuda.device_count()} CUDA device(s) are here"
        raise WrongUsage(f"animate_pool.gpus_per_clip {together}: {found}", f"set it to {torch.cuda.device_count()}")


def _require_together(name: str, pool: AnimatePool, device: str) -> None:
    """Raise `WrongUsage` where a worker would not have as many devices as make a film together."""
    together = pool.gpus_per_clip
    if together == 1 or device == "cpu":
        return
    if device != "cuda":
        raise WrongUsage(
            f"{name}.gpus_per_clip {together}: {device} is a single device",
            "set animate_pool.device to cuda, or gpus_per_clip to 1",
        )
    if 0 < pool.num_gpus < together:
        gpus = f" (--gpus {together})" if name == "animate_pool" else ""
        raise WrongUsage(
            f"{name}.gpus_per_clip {together}: each worker reserves {pool.num_gpus:g} GPUs",
            f"set {name}.num_gpus to {together}{gpus}, or gpus_per_clip to {max(1, int(pool.num_gpus))}",
        )


def _require_operator(name: str, pool: AnimatePool, device: str) -> None:
    """Raise `WrongUsage` where xFormers, which knows CUDA alone, is to compute attention on another device."""
    if pool.attention == "xformers" and not device.startswith("cuda"):
        raise WrongUsage(
            f"{name}.attention xformers: it has no operator for device {device}",
            f"set {name}.attention to torch, or give workers GPUs (--gpus 1, --device cuda)",
        )


def require_packages(config: RunConfig) -> None:
    """Raise `WrongUsage` for settings whose package is not installed here, where animators will be loaded."""
    if any(pool.attention == "xformers" for pool in config.animating()) and not xformers_is_here():
        raise WrongUsage("animate_pool.attention xformers: the package is not installed here", GET_XFORMERS)
    require_net(config.safety)


def _weights(config: RunConfig, folder: str, here: str) -> str:
    """A configured checkpoint in full. Raises `WrongUsage` for one on the hub that may not be asked."""
    if repository := on_hub(folder):
        require_allowed(repository, config.model_cache.allow_hub)
        return folder
    return folder if folder.startswith(SCHEME) else storage.resolve(folder, here)


def settled(config: RunConfig, manifest: str, output: str, run_id: str | None) -> RunSettings:
    """Resolve what the user gave: absolute URIs, the run's id, the device.

    Raises `WrongUsage` as `require_animators` does, and for devices that a worker would not have.
    """
    require_animators(config)
    require_records(config)
    here, session = os.getcwd(), uuid.uuid4().hex[:12]
    RETRIES.begin(session, config.storage_retries)
    manifest, output = (storage.resolve(uri, here) for uri in (manifest, output))
    base = manifest if storage.is_folder(manifest) else storage.parent(manifest)
    cache = config.cache and storage.resolve(config.cache, here)
    checkpoints = {name: _weights(config, folder, here) for name, folder in config.checkpoints.items()}
    if loose := sorted(config.checkpoint_digests.keys() - checkpoints.keys()):
        raise WrongUsage(f"checkpoint_digests: no checkpoint is named {loose[0]!r}", "use the names of `checkpoints`")
    provenance = config.provenance.moved(lambda path: storage.resolve(path, here))
    prefixes = [storage.resolve(prefix, here) for prefix in config.allowed_prefixes]
    pool = config.animate_pool
    device = pool.device if pool.device != "auto" else ("cuda" if pool.num_gpus else "cpu")
    pools = {"animate_pool": pool} | {f"animate_pools.{name}": config.pool_of(name) for name in config.animate_pools}
    for name, one in pools.items():
        _require_together(name, one, device)
        _require_operator(name, one, device)
    return RunSettings(
        config=config.model_copy(
            update={
                "cache": cache,
                "checkpoints": checkpoints,
                "consent": config.consent.moved(lambda uri: storage.resolve(uri, here)),
                "provenance": provenance,
                "estimators": config.estimators.moved(lambda uri: storage.resolve(uri, here)),
            }
        ),
        manifest=manifest,
        output=output,
        base=base,
        allowed_prefixes=(base, here, *prefixes),
        run_id=run_id or new_run_id(),
        session=session,
        device=device,
        dtype=pool.dtype,
        code=code_version(),
        development=development_certificate() if provenance.credentials.development else None,
    )
