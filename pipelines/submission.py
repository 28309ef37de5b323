"""`catwalk submit`: a night as a job of a cluster. The run id is the job's name, so that a night is begun only once."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster import job_environment
from cluster.jobs import Job, Jobs, Submitted
from cluster.working_dir import WorkingDir
from manifests import storage
from manifests.errors import WrongUsage
from manifests.layout import OutputLayout
from pipelines.night_jobs import MANIFEST, OUTPUT
from pipelines.progress import Say
from pipelines.running.stopping import CONTINUE
from stages.bundled import SCHEME

PROGRAM = ("python", "-m", "pipelines.animate")
CODE = "pipelines/animate.py"


@dataclass(frozen=True)
class NightOrder:
    """What `catwalk animate` would be told, with paths as they are meant here."""

    run_id: str
    manifest: str
    output: str
    config: Path | None = None
    cache: str | None = None  # as configured
    checkpoints: tuple[str, ...] = ()  # NAME=FOLDER
    options: tuple[str, ...] = ()  # all others
    allow: tuple[str, ...] = ()  # further places of media

    @property
    def layout(self) -> OutputLayout:
        """Where its films and its record lie, seen from here."""
        return OutputLayout(storage.resolve(self.output, os.getcwd()))


def submit(jobs: Jobs, order: NightOrder, folder: Path | None, names: Sequence[str], say: Say) -> Submitted:
    """Begin a night on a cluster, continue it there, or find it going on.

    `folder` is the checkout to take along, None where the cluster's image holds it; `names` are of environment
    variables to hand on. Raises `WrongUsage` for what can be known to be wrong before anything is uploaded.
    """
    values = values_of(names)
    with tempfile.TemporaryDirectory(prefix="catwalk-submit-") as scratch:
        taken = _taken(folder, order, Path(scratch), say)
        command = [*PROGRAM, *_arguments(order, taken, say)]
        before = jobs.named(order.run_id)
        if before and before[-1].alive:
            submitted = Submitted(before[-1], attached=True)
        else:
            jobs.require_version()
            runtime: dict[str, Any] = {}
            if taken.dir is not None:
                runtime |= taken.dir.runtime
                say(f"taking along {taken.dir}")
            wrapped = command
            if values:
                runtime["py_modules"] = [str(job_environment.packed(values, Path(scratch)))]
                runtime["worker_process_setup_hook"] = job_environment.HOOK
                wrapped = [*job_environment.DRIVER, *command]
            about = {MANIFEST: storage.redact(order.manifest), OUTPUT: storage.redact(order.layout.output)}
            submitted = jobs.submit(order.run_id, wrapped, runtime, about)
    job = submitted.job
    if not submitted.attached:
        say(f"run {job.name} is job {job.id} on {jobs.address}" + (", continued" if job.attempt > 1 else ""))
        return submitted
    say(f"run {job.name} is going on already, as job {job.id} on {jobs.address}; nothing new was begun")
    if not job.command.endswith(shlex.join(command)):
        say(f"  its command is another than this one, {job.command}; what you asked for is done when it has ended")
    return submitted


def ended_as(job: Job) -> tuple[int, tuple[str, str] | None]:
    """The exit code of a job that has ended, and error and remedy where the command has not said itself why."""
    if job.exit_code is not None and 0 <= job.exit_code <= 3:
        return job.exit_code, None
    if job.state == "STOPPED":
        return 1, (f"job {job.id} was stopped", CONTINUE)
    if job.exit_code is not None:
        killed = f"job {job.id} ended with exit code {job.exit_code}"
        return 1, (f"{killed}: it was killed, or could not be begun", f"look at its log above; {CONTINUE}")
    reason = next(iter(job.message.strip().splitlines()), "no reason given")
    return 1, (f"job {job.id} failed before its command had ended: {reason}", f"see to it; {CONTINUE}")


def values_of(names: Sequence[str]) -> dict[str, str]:
    """The values of environment variables. Raises `WrongUsage` for those that are not set here."""
    if odd := [name for name in names if "=" in name]:
        name = odd[0].partition("=")[0]
        raise WrongUsage(f"--env {name}=…: a value", f"give the name alone, --env {name}: its value here is handed on")
    if absent := [name for name in names if name not in os.environ]:
        raise WrongUsage(f"--env {' '.join(absent)}: not set here", "export it, or leave it out")
    return {name: os.environ[name] for name in names}


@dataclass(frozen=True)
class _Taken:
    """What a job takes along, and where it finds the configuration."""

    dir: WorkingDir | None
    config: str | None = None

    def seen(self, uri: str, what: str, say: Say) -> str:
        """A path or URI as the job is to be told it. Says what every node has to see."""
        if uri.startswith(SCHEME) or not storage.is_local(uri):
            return uri
        path = storage.resolve(uri, os.getcwd())
        if self.dir is not None and (inside := self.dir.inside(path)):
            return inside
        say(f"{what} {path} is no URI and not taken along: every node of the cluster must see it under that path")
        return path


def _taken(folder: Path | None, order: NightOrder, scratch: Path, say: Say) -> _Taken:
    """A checkout; of a night whose code is in the image only its configuration, or nothing."""
    config = order.config
    if folder is None:
        if config is None:
            return _Taken(None)
        alone = scratch / "configuration"
        alone.mkdir()
        shutil.copy(config, alone)
        return _Taken(WorkingDir(alone), config.name)
    if not (folder / CODE).is_file():
        raise WrongUsage(
            f"working directory {folder}: no Catwalk lies in it",
            "run from the checkout, name it with --working-dir, or give --image-only where the cluster's image has it",
        )
    taken = _Taken(WorkingDir(folder, _outputs(folder, order)))
    return taken if config is None else replace(taken, config=taken.seen(str(config), "configuration", say))


def _outputs(folder: Path, order: NightOrder) -> list[str]:
    """Patterns for films and cache of this very night that lie in the folder: they are not its input."""
    found = []
    for uri in (order.output, order.cache):
        if uri and storage.is_local(path := storage.resolve(uri, os.getcwd())):
            with suppress(ValueError):
                found.append(f"/{Path(path).resolve().relative_to(folder.resolve()).as_posix()}/")
    return [pattern for pattern in found if pattern != "/./"]


def _arguments(order: NightOrder, taken: _Taken, say: Say) -> list[str]:
    """Of the command, with paths as the job sees them."""
    output = order.layout.output
    if storage.is_local(output):
        say(f"output {output} is no URI: every node of the cluster must see that folder, to read and to write")
    arguments = [taken.seen(order.manifest, "manifest", say), output, f"--run-id={order.run_id}"]
    if taken.config:
        arguments.append(f"--config={taken.config}")
    for pair in order.checkpoints:
        name, _, place = pair.partition("=")
        if not place.startswith("/") and os.path.exists(place):  # else it is on the nodes, or no path at all
            place = taken.seen(place, f"checkpoint {name}", say)
        arguments.append(f"--checkpoint={name}={place}")
    for place in order.allow:
        seen = place if place.startswith("/") else taken.seen(place, "allowed place", say)  # absolute: on the nodes
        arguments.append(f"--allow={seen}")
    return [*arguments, *order.options]
