"""Commands about nights as jobs of a cluster: submit, status, stop, logs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from manifests.errors import Problem
from pipelines.commands.nights import night_config, night_options, until_of
from pipelines.commands.options import BROKE_OFF, OK, SOME_FAILED, new_command, speech_options
from pipelines.console import Console, print_json, print_part, print_text

LAST_LINES = 20  # of a job's log, said of one that failed where the log is not told


def add_submit(commands: Any) -> None:
    """Add the command `submit`."""
    text = "make the films as a job of a cluster, through Ray's job API"
    parser = new_command(commands, "submit", submit, text, BROKE_OFF)
    night_options(parser)
    job = parser.add_argument_group("the job")
    _address(job)
    code = job.add_mutually_exclusive_group()
    code.add_argument(
        "--working-dir", type=Path, default=Path(), metavar="FOLDER", help="checkout that the job takes along (.)"
    )
    code.add_argument("--image-only", action="store_true", help="take nothing along: the cluster's image holds Catwalk")
    job.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME",
        help="hand on this environment variable; its value is neither said nor shown; may be repeated",
    )
    waiting = job.add_mutually_exclusive_group()
    waiting.add_argument("--follow", action="store_true", help="tell its log until it ends (unless --detach is given)")
    waiting.add_argument("--detach", action="store_true", help="end as soon as the cluster has taken it")
    speech_options(parser)


def _address(parser: Any) -> None:
    parser.add_argument(
        "--address",
        metavar="URL",
        help="dashboard of the cluster's head, http://HEAD:8265; left out, RAY_API_SERVER_ADDRESS, RAY_ADDRESS, or "
        "port 8265 here",
    )


def submit(arguments: argparse.Namespace) -> int:
    """`catwalk submit`."""
    config, until = night_config(arguments), until_of(arguments)
    from cluster.jobs import Jobs
    from manifests.layout import new_run_id
    from pipelines.submission import NightOrder, ended_as
    from pipelines.submission import submit as submit_night

    console = arguments.console
    order = NightOrder(
        run_id=arguments.run_id or new_run_id(),
        manifest=arguments.manifest,
        output=arguments.output,
        config=arguments.config,
        cache=config.cache,
        checkpoints=tuple(arguments.checkpoint),
        allow=tuple(arguments.allow),
        options=tuple(as_options(arguments, until)),
    )
    jobs = Jobs(arguments.address)
    folder = None if arguments.image_only else arguments.working_dir
    job, attached = submit_night(jobs, order, folder, arguments.env, console.say)
    code = OK
    if arguments.detach:
        console.say(_go_on(jobs, order))
    else:
        with _left_to_itself(jobs, order, console):
            code, why = ended_as(job := jobs.follow(job, console.pass_on))
        if console.quiet and code not in (OK, SOME_FAILED) and (end := _end_of_log(jobs, job)):
            console.failed(f"the log of job {job.id} ends so:\n{end}")
        if why:
            console.failed(*why)
    if arguments.json:
        told = {"run_id": job.name, "job": job.id, "attempt": job.attempt, "state": job.state.lower()}
        print_json({"exit_code": code, **told, "attached": attached})
    return code


def _end_of_log(jobs: Any, job: Any) -> str:
    """The last lines of what a job has said, in which stands why it failed; nothing where they are not to be had."""
    with suppress(Problem):
        return "\n".join(jobs.log(job).rstrip().splitlines()[-LAST_LINES:])
    return ""


@contextmanager
def _left_to_itself(jobs: Any, order: Any, console: Console) -> Iterator[None]:
    """Whoever goes away from a job in the block is told how to come back to it."""
    try:
        yield
    except KeyboardInterrupt:
        console.say(f"the job goes on; {_go_on(jobs, order)}")
        raise


def _go_on(jobs: Any, order: Any) -> str:
    there = f"{order.run_id} --address {jobs.address}"
    stopping = f"{order.run_id} {order.layout.output} --address {jobs.address}"
    return f"`catwalk logs -f {there}` follows it, `catwalk stop {stopping}` ends it"


def as_options(arguments: argparse.Namespace, until: datetime | None) -> Iterator[str]:
    """A night's options as they were given, for the same command elsewhere."""
    parser = argparse.ArgumentParser(add_help=False)
    night_options(parser)
    elsewhere = ("manifest", "output", "config", "checkpoint", "allow", "run_id", "until")
    for action in parser._actions:
        value, option = getattr(arguments, action.dest), action.option_strings[-1:]
        if action.dest in elsewhere or not option or value == action.default:
            continue
        if value is True:
            yield from option
        else:
            yield from (f"{option[0]}={one}" for one in (value if isinstance(value, list) else [value]))
    if until is not None:
        yield f"--until={until.isoformat()}"  # a time of day is meant by the clock here
    yield from (f"--{name}" for name in ("quiet", "verbose") if getattr(arguments, name))
    if arguments.log_format:
        yield f"--log-format={arguments.log_format}"


def add_status(commands: Any) -> None:
    """Add the command `status`."""
    parser = new_command(commands, "status", status, "list the nights that were submitted to a cluster", BROKE_OFF)
    parser.add_argument("run_id", nargs="?", metavar="RUN", help="only this one, with what its rows have come to")
    parser.add_argument("--output", metavar="URI", help="where the films are made: count the rows of every night there")
    _address(parser)
    parser.add_argument("--json", action="store_true", help="print the list as JSON on stdout")


def status(arguments: argparse.Namespace) -> int:
    """`catwalk status`."""
    from cluster.jobs import Jobs
    from manifests import storage
    from pipelines.night_jobs import nights, states, table

    jobs = Jobs(arguments.address)
    wanted = [jobs.last(arguments.run_id)] if arguments.run_id else nights(jobs.all())
    output = arguments.output and storage.resolve(arguments.output, os.getcwd())
    found = states(wanted, output, counted=bool(arguments.run_id or output))
    if arguments.json:
        print_json({"nights": found})
    else:
        print_text("\n".join(table(found)))
    return OK


def add_stop(commands: Any) -> None:
    """Add the command `stop`."""
    text = "end a night early: rows in hand are finished, and the same run id continues it"
    parser = new_command(commands, "stop", stop, text, BROKE_OFF)
    parser.add_argument("run_id", metavar="RUN", help="its run id")
    parser.add_argument("output", nargs="?", help="where its films are made; left out, the cluster is asked")
    parser.add_argument("--now", action="store_true", help="have the cluster end the job, with the rows in hand")
    _address(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but why the command failed")


def stop(arguments: argparse.Namespace) -> int:
    """`catwalk stop`."""
    from functools import cache

    from pipelines.night_jobs import stop as stop_night

    @cache
    def connect() -> Any:
        from cluster.jobs import Jobs

        return Jobs(arguments.address)

    stop_night(arguments.run_id, arguments.output, connect, arguments.now, arguments.console.say)
    return OK


def add_logs(commands: Any) -> None:
    """Add the command `logs`."""
    parser = new_command(commands, "logs", logs, "print what a night's job has said", BROKE_OFF)
    parser.add_argument("run_id", metavar="RUN", help="its run id: the last attempt is meant")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it ends; the exit code is the job's")
    _address(parser)


def logs(arguments: argparse.Namespace) -> int:
    """`catwalk logs`."""
    from cluster.jobs import Jobs

    jobs = Jobs(arguments.address)
    job = jobs.last(arguments.run_id)
    if not arguments.follow:
        print_text(jobs.log(job).rstrip("\n"))
        return OK
    from pipelines.submission import ended_as

    code, why = ended_as(jobs.follow(job, print_part))
    if why:
        arguments.console.failed(*why)
    return code
