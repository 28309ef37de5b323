"""`catwalk doctor`: whether this installation can do its work, one line per check, each fault with its remedy."""

from __future__ import annotations

import os
import platform
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib import metadata
from typing import Literal

import numpy as np

from manifests import storage
from manifests.consent.register import Register
from manifests.errors import Problem
from manifests.temporary import temporary_folder
from pipelines.code_version import code_version
from pipelines.configuration import RunConfig
from pipelines.models import REINSTALL, checkpoint, estimator
from pipelines.progress import Say
from stages.diffusion.acceleration import GET_COMPILER, GET_XFORMERS, compiler_fault, xformers_is_here
from stages.diffusion.animators import ANIMATORS, OWN, UNUSABLE, add_animators
from stages.poses.recipes import Estimators
from stages.poses.wholebody import WHOLE_IMAGE

SHOWN = ("ray", "torch", "diffusers", "transformers", "av", "pyarrow", "fsspec", "pydantic")


Verdict = Literal["ok", "warning", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """What one check found. A warning is something to know; only FAIL stands in the way of work."""

    verdict: Verdict
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"\n{'':<8}→ {self.remedy}" if self.remedy else ""
        return storage.redact_text(f"{self.verdict:<8}{self.text}{remedy}")


Findings = Iterator[Finding]


def examine(config: RunConfig, output: str | None, with_ray: bool, say: Say) -> bool:
    """Say what every check finds; returns whether nothing failed.

    `output` is a folder or bucket prefix to write to, read from and delete in; `with_ray` starts or joins a cluster.
    """
    checks: dict[str, Callable[[], Findings]] = {
        "Python": python,
        "packages": packages,
        "video": video,
        "sandbox": sandbox,
        "credentials": lambda: credentials(config),
        "people": lambda: people(config),
        "torch": lambda: torch_devices(config),
        "attention": lambda: attention(config),
        "compile": lambda: compilation(config),
        "animators": lambda: animators(config),
        "checkpoints": lambda: checkpoints(config),
        "estimators": lambda: estimators(config),
    }
    if output is not None:
        checks["storage"] = lambda: round_trip(output)
    if with_ray:
        checks["Ray"] = lambda: cluster_and_pools(config)
    whole = True
    for name, check in checks.items():
        for finding in _guarded(name, check):
            say(str(finding))
            whole = whole and finding.verdict != "FAIL"
    say("all is well" if whole else "something is wrong: see FAIL above")
    return whole


def _guarded(name: str, check: Callable[[], Findings]) -> Findings:
    """The findings of a check; what it raises is one more."""
    try:
        yield from check()
    except Problem as problem:
        yield Finding("FAIL", f"{name}: {problem.error}", problem.remedy)
    except Exception as error:
        said = (str(error).strip() or "no message").splitlines()[0]
        yield Finding("FAIL", f"{name}: {type(error).__name__}: {said}", REINSTALL)


def python() -> Findings:
    """Python and Catwalk themselves."""
    machine = f"{platform.system()} {platform.machine()}"
    yield Finding("ok", f"Python {platform.python_version()} on {machine}, Catwalk {code_version()}")


def packages() -> Findings:
    """Every package that Catwalk requires, held against the required version."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(text) for text in metadata.requires("catwalk") or []]
    except metadata.PackageNotFoundError:
        yield Finding("warning", "catwalk is not installed as a package: versions are not checked", REINSTALL)
        required = [Requirement(name) for name in SHOWN]
    found: dict[str, str] = {}
    for one in required:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            found[one.name] = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            yield Finding("FAIL", f"package {one.name} is not installed", REINSTALL)
            continue
        if not one.specifier.contains(found[one.name], prereleases=True):
            yield Finding("FAIL", f"{one.name} {found[one.name]} is installed, required is {one.specifier}", REINSTALL)
    yield Finding("ok", ", ".join(f"{name} {found[name]}" for name in SHOWN if name in found))


def video() -> Findings:
    """A film of two frames is encoded, and read back as driving videos are."""
    import imageio_ffmpeg

    from stages.sandbox.reading import Frames
    from stages.video.encode import Encoder, EncodeRecipe
    from stages.video.limits import Limits

    program = imageio_ffmpeg.get_ffmpeg_exe()
    with temporary_folder("doctor") as folder:
        film = folder / "film.mp4"
        try:
            with Encoder(film, 64, 64, Fraction(25), EncodeRecipe()) as encoder:
                encoder.write(np.full((2, 64, 64, 3), 128, np.uint8))
        except (Problem, OSError) as error:
            reason = error.error if isinstance(error, Problem) else str(error)
            yield Finding(
                "FAIL", f"{program} does not encode H.264: {reason}", f"unset IMAGEIO_FFMPEG_EXE, or {REINSTALL}"
            )
            return
        yield Finding("ok", f"{_version(program)} encodes H.264 (libx264)")
        count = len(list(Frames(film, Limits()).read()))
        yield Finding("ok" if count == 2 else "FAIL", f"reads {count} of 2 frames back with PyAV")


def sandbox() -> Findings:
    """What a process that reads a stranger's file tries on this machine, and is denied."""
    from stages.sandbox.reading import protections

    found = protections()
    if found.denied:
        by = f" ({'; '.join(found.by)})"
        yield Finding("ok", f"whoever takes over a decoder is denied: {', '.join(found.denied)}{by}")
    if found.allowed:
        remedy = "run on Linux 5.13 or later, whose seccomp and Landlock the container allows, or see SECURITY.md"
        yield Finding("warning", f"whoever takes over a decoder is not denied: {', '.join(found.allowed)}", remedy)


def credentials(config: RunConfig) -> Findings:
    """Who signs films: a picture is signed."""
    from stages.provenance.credentials.film_signing import NOBODY, FilmSigning

    try:
        signing = FilmSigning(config.provenance)
        name, soon = signing.tried(), signing.ends_soon()
    except Problem as problem:
        yield Finding("FAIL", problem.error, problem.remedy)
        return
    if name == NOBODY:
        yield Finding("warning", "films are not signed", "leave provenance.credentials.sign out of the configuration")
    else:
        yield Finding("ok", f"films are signed by {name!r}")
    if soon is not None:
        yield Finding("warning", *soon)


def people(config: RunConfig) -> Findings:
    """Whether consents and films are looked at: the records are read, a grey picture is scored."""
    from stages.provenance.safety import require_net, score

    consent = config.consent
    if consent.looks:
        found = Register(consent.moved(lambda uri: storage.resolve(uri, os.getcwd()))).records()
        yield Finding("ok", f"consent {consent.mode}: {len(found)} records can be read")
    else:
        yield Finding("ok", "consents are not looked at (consent.mode off)")
    require_net(config.safety)
    if config.safety.enabled:
        scored = score(np.full((256, 256, 3), 128, np.uint8))
        yield Finding(
            "ok", f"content safety is on: a grey picture scores {scored:.2g}, the limit is {config.safety.limit:g}"
        )
    else:
        yield Finding("ok", "nobody looks at what films show (safety.enabled false)")


def _version(program: str) -> str:
    # S603: the program that the environment names, which runs our films anyway
    said = subprocess.run(  # noqa: S603
        [program, "-version"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    return said.stdout.partition("Copyright")[0].strip()


def torch_devices(config: RunConfig) -> Findings:
    """torch, its devices, and the one that is configured."""
    import torch

    yield Finding("ok", f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")
    there = torch.cuda.is_available()
    for number in range(torch.cuda.device_count() if there else 0):
        facts = torch.cuda.get_device_properties(number)
        yield Finding("ok", f"cuda:{number} {facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    pool = config.animate_pool
    wants = pool.device.startswith("cuda") or (pool.device == "auto" and pool.num_gpus > 0)
    if wants and not there:
        elsewhere = "RAY_ADDRESS" in os.environ
        yield Finding(
            "warning" if elsewhere else "FAIL",
            f"device {pool.device} with num_gpus {pool.num_gpus:g} is configured, and no CUDA device is here",
            "the cluster's nodes need one" if elsewhere else "set animate_pool.device to cpu and num_gpus to 0, or "
            "install a torch build for this machine's driver",
        )  # fmt: skip
    elif not there:
        yield Finding("ok", "no CUDA device: films are made on the CPU")
    elif wants and pool.gpus_per_clip > torch.cuda.device_count():
        yield Finding(
            "warning" if "RAY_ADDRESS" in os.environ else "FAIL",
            f"gpus_per_clip {pool.gpus_per_clip} is configured, {torch.cuda.device_count()} CUDA device(s) are here",
            "set animate_pool.gpus_per_clip to no more than a node of the cluster has",
        )


def attention(config: RunConfig) -> Findings:
    """Who computes attention: torch, or where it is configured xFormers, which is tried."""
    import torch

    if not any(pool.attention == "xformers" for pool in config.animating()):
        yield Finding("ok", "attention is torch's own (animate_pool.attention)")
        return
    elsewhere = "RAY_ADDRESS" in os.environ
    fault: Verdict = "warning" if elsewhere else "FAIL"
    if not xformers_is_here():
        remedy = "the cluster's nodes need it: catwalk[gpu]" if elsewhere else GET_XFORMERS
        yield Finding(fault, "attention xformers is configured, and the package is not installed here", remedy)
        return
    version = metadata.version("xformers")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        from xformers.ops import memory_efficient_attention

        probe = torch.zeros(1, 8, 1, 40, device=device, dtype=torch.float16 if device == "cuda" else torch.float32)
        memory_efficient_attention(probe, probe, probe)
    except Exception as error:
        remedy = "set animate_pool.attention to torch, or install the release built for this torch"
        remedy = "the cluster's GPUs decide" if elsewhere and device == "cpu" else remedy
        yield Finding(fault, f"xformers {version} does not work on {device} ({type(error).__name__})", remedy)
    else:
        yield Finding("ok", f"attention is that of xformers {version}, which works on {device}")


def compilation(config: RunConfig) -> Findings:
    """Whether torch can compile here, where that is configured."""
    import torch

    if not any(pool.compile for pool in config.animating()):
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if fault := compiler_fault(device):
        yield Finding("warning" if "RAY_ADDRESS" in os.environ else "FAIL", fault, GET_COMPILER)
    else:
        yield Finding("ok", f"torch.compile works on {device}")


def animators(config: RunConfig) -> Findings:
    """Each animator from outside: where its code is."""
    add_animators(config.animators)
    for name, facts in ANIMATORS.items():
        if name not in OWN:
            yield Finding("ok", f"animator {name}: {facts.implementation}; licence: {facts.licence}")
    for problem in UNUSABLE.values():
        yield Finding("FAIL", problem.error, problem.remedy)


def checkpoints(config: RunConfig) -> Findings:
    """Each configured or bundled folder of weights: whether all parts that are read are there. No contents are read."""
    own = {facts.name: facts.bundled for facts in ANIMATORS.values() if facts.bundled}
    if not config.checkpoints:
        remedy = "see stages/diffusion/README.md, and set `checkpoints` or --checkpoint NAME=FOLDER"
        text = f"no checkpoints are configured: rows must name their own, except for {', '.join(own)}"
        yield Finding("warning", text, remedy)
    for label, given in (own | config.checkpoints).items():
        yield from _guarded(f"checkpoint {label}", partial(_checkpoint, label, given, config.model_cache.allow_hub))


def _checkpoint(label: str, given: str, allow_hub: bool) -> Findings:
    found = checkpoint(label, given, allow_hub)
    text = f"checkpoint {label}: {found.place or given}"
    if found.lacks and not found.place:
        yield Finding("FAIL", f"checkpoint {label} needs {', '.join(found.lacks)}", found.remedy)
    elif found.lacks:
        yield Finding("FAIL", f"{text} lacks {', '.join(found.lacks)} of {found.animator}", found.remedy)
    elif not found.sizes:
        yield Finding("ok", f"{text}, {found.note}; licence: {found.licence}")
    else:
        size = f"{sum(found.sizes.values()) / 2**20:,.0f} MiB"
        yield Finding("ok", f"{text} has all parts of {found.animator}, {size}; licence: {found.licence}")


def estimators(config: RunConfig) -> Findings:
    """Each estimator that is set: whether its files are there, and the package that runs them."""
    for name, settings in config.estimators:
        if settings is None:
            continue
        found = estimator(name, config)
        if found.lacks:
            # what is set by default, nobody has asked for: only rows that need it cannot be made
            unasked = name == "people" and settings == Estimators().people
            verdict: Verdict = "warning" if unasked else "FAIL"
            yield Finding(verdict, f"estimator {name}: {', '.join(found.lacks)} missing", found.remedy)
        else:
            whole = getattr(settings, "detector", None) == WHOLE_IMAGE
            note = f" (detector {WHOLE_IMAGE}: every frame is one person's box)" if whole else ""
            yield Finding("ok", f"estimator {name}: {', '.join(found.sizes)}{note}")


def round_trip(output: str) -> Findings:
    """Storage as a run uses it: write, read, claim a name once, list, delete."""
    folder = storage.resolve(output, os.getcwd())
    shown = storage.redact(folder)
    name = f"catwalk-doctor-{uuid.uuid4().hex}"
    uri, begun = storage.join(folder, name), time.perf_counter()
    try:
        storage.publish_bytes(b"first", uri)
        faults = [] if storage.read_bytes(uri) == b"first" else ["other bytes are read than were written"]
        faults += ["a name can be claimed twice"] if storage.create_exclusive(uri, b'{"claim": "second"}') else []
        faults += [] if name in storage.listing(folder) else ["a new file is missing from the listing"]
        storage.delete(uri)
        faults += ["a deleted file is still there"] if storage.exists(uri) else []
    except Problem:
        raise
    except Exception as error:
        raise Problem(
            f"output {shown}: {type(error).__name__}: {error}",
            "choose a place you may write to; credentials and endpoint come from the environment",
        ) from None
    finally:
        with suppress(Exception):
            storage.delete(uri)
    took = f"({time.perf_counter() - begun:.2f} s)"
    if faults:
        yield Finding("FAIL", f"output {shown}: {'; '.join(faults)}", "use storage with consistent reads and listings")
    else:
        yield Finding("ok", f"output {shown}: write, read, claim, list and delete work {took}")


def cluster_and_pools(config: RunConfig) -> Findings:
    """Ray: what it is connected to, and whether the pools of the configuration find room there."""
    import ray

    from cluster.connection import connect
    from cluster.preflight import shortage
    from pipelines.pools import demands

    ours, address = not ray.is_initialized(), os.environ.get("RAY_ADDRESS")
    try:
        there = connect()
    except Exception as error:
        remedy = "check RAY_ADDRESS, and that the cluster runs" if address else "look into Ray's logs in /tmp/ray"
        raise Problem(f"Ray {ray.__version__} cannot be reached: {error}", remedy) from None
    try:
        yield Finding("ok", f"Ray {ray.__version__}: {there}")
        short = next((short for together in demands(config) if (short := shortage(together))), None)
        if short is None:
            yield Finding("ok", "the configured pools find room")
        else:
            # a cluster that is not ours may grow when a run asks it to
            verdict: Verdict = "warning" if address else "FAIL"
            remedy = "make the pools smaller or lower num_cpus and num_gpus; a cluster that grows may still fit them"
            yield Finding(verdict, f"the configured pools find no room now: {short}", remedy)
    finally:
        if ours:
            ray.shutdown()
