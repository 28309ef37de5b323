"""`catwalk status`, `stop` and `logs`: nights that were submitted to a cluster."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import pyarrow.parquet as pq

from manifests import storage
from manifests.errors import Problem, WrongUsage
from manifests.layout import OutputLayout
from manifests.results import Status
from pipelines.progress import Say, clock
from pipelines.running.lease import alive
from pipelines.running.stopping import CONTINUE, Stopping

if TYPE_CHECKING:  # a night that goes on is stopped without a word to its cluster
    from cluster.jobs import Job, Jobs

# what is noted with a night's job, beside whatever others note with theirs
MANIFEST, OUTPUT = "catwalk.manifest", "catwalk.output"


def nights(jobs: Sequence[Job]) -> list[Job]:
    """Those of a cluster's jobs that belong to nights which were submitted, with all their attempts."""
    submitted = {job.name for job in jobs if OUTPUT in job.about}
    return [job for job in jobs if job.name in submitted]


def states(jobs: Sequence[Job], output: str | None, counted: bool) -> list[dict[str, Any]]:
    """The last attempt of every night, the latest last; `counted`, with how many of its rows ended as what.

    `output` is where they are made, if it is not what each job was told.
    """
    last: dict[str, Job] = {}
    for job in sorted(jobs, key=lambda job: job.attempt):
        last[job.name] = job
    found = []
    for job in sorted(last.values(), key=lambda job: job.begun or datetime.min.replace(tzinfo=UTC)):
        where = output or job.about.get(OUTPUT)
        rows = counts(OutputLayout(where), job.name) if counted and where else None
        found.append(
            {
                "run_id": job.name,
                "attempt": job.attempt,
                "job": job.id,
                "state": job.state.lower(),
                "exit_code": job.exit_code,
                "begun": job.begun and job.begun.isoformat(timespec="seconds"),
                "seconds": round(((job.ended or datetime.now(UTC)) - job.begun).total_seconds()) if job.begun else None,
                "output": where,
                "rows": rows,
            }
        )
    return found


def counts(layout: OutputLayout, run_id: str) -> dict[str, int] | None:
    """Rows of a night by what they ended as so far, and `rows`, all of them; None where nothing is known of it."""
    folder = layout.run(run_id)
    parts = [name for name in storage.listing(storage.join(folder, "results")) if name.endswith(".parquet")]
    tables = [storage.join(folder, "results", name) for name in parts] or [storage.join(folder, "results.parquet")]
    ended: Counter[str] = Counter()
    for table in tables:
        with suppress(FileNotFoundError):  # the whole table has taken the parts' place meanwhile
            ended.update(_column(table, "status"))
    try:
        whole = len(_column(storage.join(folder, "plan.parquet"), "row"))
    except FileNotFoundError:
        return None
    return {"rows": max(whole, ended.total()), **{status: ended[status] for status in get_args(Status)}}


def _column(uri: str, name: str) -> list[Any]:
    storage.stamp(uri)  # raises FileNotFoundError, whatever the store
    filesystem, path = storage.arrow_filesystem(uri)
    return pq.read_table(path, columns=[name], filesystem=filesystem)[name].to_pylist()


def table(found: Sequence[dict[str, Any]]) -> list[str]:
    """Nights as lines for a person."""
    if not found:
        return ["no night has been submitted to this cluster"]
    lines = [["run", "attempt", "state", "begun (UTC)", "took", "rows"]]
    for one in found:
        code = "" if one["exit_code"] is None else f", exit code {one['exit_code']}"
        begun = (one["begun"] or "")[:16].replace("T", " ")
        took = "" if one["seconds"] is None else clock(one["seconds"])
        lines.append([one["run_id"], str(one["attempt"]), one["state"] + code, begun, took, _in_words(one["rows"])])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _in_words(rows: dict[str, int] | None) -> str:
    if rows is None:
        return ""
    ended = [f"{rows[status]} {status.replace('_', ' ')}" for status in get_args(Status) if rows[status]]
    return f"of {rows['rows']}: {', '.join(ended) or 'none has ended'}"


def stop(run_id: str, output: str | None, connect: Callable[[], Jobs], now: bool, say: Say) -> None:
    """Have a night end: once the rows in hand are finished, or `now`, as its cluster ends a job.

    The cluster is asked for what is not known without it. Raises `WrongUsage` where no such night goes on.
    """
    job = connect().last(run_id) if now or output is None else None
    if now:
        _stop_job(connect(), job, f"run {run_id!r} does not go on", say)
        return
    if not (where := output or (job and job.about.get(OUTPUT))):
        raise WrongUsage(f"run {run_id!r}: its job does not say where it makes its films", "give OUTPUT too")
    layout = OutputLayout(storage.resolve(where, os.getcwd()))
    if alive(layout, run_id):
        Stopping(layout.run(run_id)).order("catwalk stop")
        say(f"run {run_id} takes no new work, and ends when the rows in hand are finished; {CONTINUE}")
        return
    absent = f"run {run_id!r} does not go on in {storage.redact(layout.output)}"
    try:
        jobs = connect()
        attempts = jobs.named(run_id)
    except Problem as unknown:
        raise WrongUsage(f"{absent}, and its job cannot be looked for: {unknown.error}", unknown.remedy) from None
    _stop_job(jobs, attempts[-1] if attempts else None, absent, say)  # it may not have begun its rows yet


def _stop_job(jobs: Jobs, job: Job | None, absent: str, say: Say) -> None:
    if job is None or not job.alive:
        ended = f"; its job {job.id} has ended: {job.state.lower()}" if job else ""
        raise WrongUsage(absent + ended, "`catwalk status` lists what goes on")
    jobs.stop(job)
    say(f"job {job.id} is told to end; {CONTINUE}")
