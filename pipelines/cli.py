"""The `catwalk` command. Importing it is light: what a subcommand needs is imported when it runs."""

from __future__ import annotations

import argparse
import difflib
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from manifests.errors import Problem, WrongUsage
from pipelines.console import Console, Terminated, print_json, print_part, print_text, told_to_end

OK, BROKE_OFF, WRONG_USAGE, SOME_FAILED = 0, 1, 2, 3
EXIT_CODES = (
    "exit codes: 0 all done, 1 the run itself failed or was interrupted, 2 wrong usage, 3 finished, but some rows "
    "were rejected, failed or not reached"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    # read when torch is imported: threads that spin while they wait cost many times their gain on a busy machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = build_parser()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        getattr(arguments, "parser", parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    if not hasattr(arguments, "command"):
        parser.print_help()
        return WRONG_USAGE
    quiet, verbose = (getattr(arguments, name, False) for name in ("quiet", "verbose"))
    form = getattr(arguments, "log_format", None)
    arguments.console = Console(quiet, verbose, structured=form == "json")
    if verbose or form:
        from pipelines.watching.logs import begin

        begin(form or "text", "info" if verbose else "warning")
    try:
        with told_to_end():
            return arguments.command(arguments)
    except Problem as problem:
        code = WRONG_USAGE if isinstance(problem, WrongUsage) else arguments.problem_code
        return _failed(arguments, code, problem.error, problem.remedy)
    except KeyboardInterrupt as order:
        return _failed(arguments, BROKE_OFF, "terminated" if isinstance(order, Terminated) else "interrupted")
    except Exception as error:
        from manifests.storage_fault import storage_fault
        from pipelines.boundary import explained

        if (fault := storage_fault(error)) is None:
            arguments.console.unforeseen()
            return _failed(arguments, BROKE_OFF, *explained(error))
        return _failed(arguments, arguments.problem_code, *fault)


def _failed(arguments: argparse.Namespace, code: int, error: str, remedy: str = "") -> int:
    arguments.console.failed(error, remedy)
    if getattr(arguments, "json", None) is True:
        print_json({"exit_code": code, "error": error, "remedy": remedy})
    return code


def say(line: str) -> None:
    """One line for the person at the terminal."""
    Console().say(line)


class _Version(argparse.Action):
    """Says which Catwalk this is, and ends; the sources are read only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """End the process with exit code 0."""
        from pipelines.code_version import code_version, commit

        print(f"catwalk {code_version()}" + (f", commit {commit()}" if commit() else ""))  # noqa: T201
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """A parser whose refusals name the word that a misspelt one was most likely meant to be."""

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2."""
        refused = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)|unrecognized arguments: (\S+)", message)
        if refused:
            word, choices, option = refused.groups()
            # as the help spells them: what begins with a dash is an option of this command
            known = re.findall(r"'([^']*)'", choices) if word else re.findall(r"(--[a-z-]+)", self.format_help())
            near = difflib.get_close_matches(word or option.partition("=")[0], known, n=1)
            message += f"; did you mean {near[0]!r}?" if near else ""
        super().error(message)


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = _Parser(
        prog="catwalk",
        description="Turns a table of (reference image, driving video) pairs into films.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version and commit this is")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _plan(commands)
    _animate(commands)
    _submit(commands)
    _status(commands)
    _stop(commands)
    _logs(commands)
    _report(commands)
    _clip(commands)
    _preview(commands)
    _manifest(commands)
    _poses(commands)
    _measure(commands)
    _models(commands)
    _replay(commands)
    _doctor(commands)
    _clean(commands)
    _cluster(commands)
    _config(commands)
    return parser


def _command(commands: Any, name: str, command: Callable[..., int], text: str, problem_code: int) -> Any:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=EXIT_CODES)
    parser.set_defaults(command=command, problem_code=problem_code, parser=parser)
    return parser


def _config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML configuration (`catwalk config` prints one)")
    parser.add_argument(
        "--checkpoint", action="append", default=[], metavar="NAME=FOLDER", help="weights of an animator, or of a label"
    )
    parser.add_argument(
        "--allow", action="append", default=[], metavar="PREFIX", help="a further place media may be read from"
    )
    parser.add_argument("--crf", type=int, metavar="N", help="quality of the films, 1 (best) to 51")
    parser.add_argument("--device", help="torch device of the animating workers: auto, cpu, cuda")
    parser.add_argument(
        "--dtype", choices=["auto", "float32", "float16", "bfloat16"], help="compute type of the networks"
    )


def _speech(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but why the command failed")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks of what failed")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON on stdout")
    parser.add_argument(
        "--log-format", choices=["text", "json"], help="json: what is said on stderr is one object a line, with ids"
    )


def _overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files to write that are there already")


def _configured(arguments: argparse.Namespace, **overrides: Any) -> Any:
    from pipelines.configuration import RunConfig

    pool = {"device": arguments.device, "dtype": arguments.dtype, **overrides.pop("animate_pool", {})}
    given = {
        **overrides,
        "checkpoints": dict(_pair(pair) for pair in arguments.checkpoint),
        "encode": {"crf": arguments.crf},
        "animate_pool": pool,
    }
    given["logs"] = {"format": getattr(arguments, "log_format", None)}
    given["logs"]["level"] = "info" if getattr(arguments, "verbose", False) else None
    config = RunConfig.load(arguments.config, _without_nones(given))
    if config.logs.format == "json":
        arguments.console.structured = True
    return config.model_copy(update={"allowed_prefixes": [*config.allowed_prefixes, *arguments.allow]})


def _pair(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise WrongUsage(f"--checkpoint {text!r}", "write NAME=FOLDER, such as magicanimate=/models/magicanimate")
    return name, folder


def _without_nones(given: dict[str, Any]) -> dict[str, Any]:
    kept = {key: _without_nones(value) if isinstance(value, dict) else value for key, value in given.items()}
    return {key: value for key, value in kept.items() if value is not None}


def _plan(commands: Any) -> None:
    text = "say what a manifest will take before anything is spent: time, memory, storage, cost"
    parser = _command(commands, "plan", plan, text, BROKE_OFF)
    parser.add_argument("manifest", help="Parquet file, folder of them, or glob")
    parser.add_argument(
        "output", nargs="?", help="where films will go: what is finished there takes nothing; rows are looked at on Ray"
    )
    _config_options(parser)
    parser.add_argument("--gpus", type=float, metavar="N", help="GPUs in all; left out, those of the configuration")
    parser.add_argument("--gpu-price", type=float, metavar="X", help="what one of them costs for an hour")
    parser.add_argument("--card", metavar="NAME", help="which card they are, such as h200, a100-80, l4")
    parser.add_argument("--tflops", type=float, metavar="X", help="TFLOP/s that a worker reaches, if you know better")
    parser.add_argument(
        "--calibrate", action="store_true", help="measure first: make a few short films of the manifest, and drop them"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N rows")
    _speech(parser)


def plan(arguments: argparse.Namespace) -> int:
    """`catwalk plan`."""
    _require_limit(arguments)
    config = _configured(arguments, price={"gpu_hour": arguments.gpu_price})
    from pipelines.planning.forecast_text import forecast_lines
    from pipelines.planning.preview import preview

    made = preview(
        config,
        arguments.manifest,
        arguments.output,
        gpus=arguments.gpus,
        card=arguments.card,
        tflops=arguments.tflops,
        limit=arguments.limit,
        calibrate=arguments.calibrate,
        say=arguments.console.say,
    )
    if arguments.json:
        print_json({"exit_code": SOME_FAILED if made.refused else OK, **made.to_dict()})
    else:
        print_text("\n".join(forecast_lines(made)))
    return SOME_FAILED if made.refused else OK


def _replay(commands: Any) -> None:
    text = "do one stage of one clip of a run again, in this process, to see what goes wrong"
    parser = _command(commands, "replay", replay, text, SOME_FAILED)
    parser.add_argument("output", help="folder or bucket prefix that the run made films into; nothing is put there")
    parser.add_argument("run", help="id of the run")
    parser.add_argument("clip", help="id of the clip")
    parser.add_argument(
        "--stage", choices=["pose", "inputs", "animate"], default="animate", help="what is done again (animate)"
    )
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="where what it makes goes; left out, a new folder")
    _config_options(parser)
    _speech(parser)


def replay(arguments: argparse.Namespace) -> int:
    """`catwalk replay`."""
    config, console = _configured(arguments), arguments.console
    console.verbose = not console.quiet  # where it goes wrong is what it is for
    from pipelines.replay import replay as again

    try:
        made = again(
            config,
            *(arguments.output, arguments.run, arguments.clip, arguments.stage, arguments.into),
            console.say,
            _told(console),
        )
    except WrongUsage:
        console.verbose = arguments.verbose
        raise
    if arguments.json:
        print_json({"exit_code": OK, **made})
    return OK


def _require_limit(arguments: argparse.Namespace) -> None:
    if arguments.limit is not None and arguments.limit < 1:
        raise WrongUsage(f"--limit {arguments.limit}", "give 1 or more")


def _animate(commands: Any) -> None:
    parser = _command(commands, "animate", animate, "make the film of every row of a manifest, on Ray", BROKE_OFF)
    _night(parser)
    _speech(parser)


def _night(parser: argparse.ArgumentParser) -> None:
    """What a night is about, for every command that begins one."""
    parser.add_argument("manifest", help="Parquet file, folder of them, or glob; local or s3://, gs://, az://")
    parser.add_argument("output", help="folder or bucket prefix for films, runs and (unless configured) the cache")
    _config_options(parser)
    parser.add_argument("--run-id", metavar="ID", help="name of the night: the same id continues it")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N rows")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="only this clip; may be repeated")
    parser.add_argument(
        "--only-failed",
        action="store_true",
        help="only rows without a film after the last run here (with --run-id, that one), those rejected too: for "
        "a manifest or media that were mended",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="the same without rejected rows: what failed or was not reached, for a cluster or store that was mended; "
        "deaths of workers are forgotten",
    )
    parser.add_argument(
        "--until", metavar="TIME", help="end by then, 06:00 or ISO 8601: no row is begun that would take longer"
    )
    parser.add_argument(
        "--max-gpu-hours", type=float, metavar="N", help="begin no row beyond so many GPU-hours of the run id"
    )
    parser.add_argument("--dry-run", action="store_true", help="validate and plan, make no film")
    parser.add_argument(
        "--ok-if",
        action="append",
        default=[],
        choices=["rejected", "failed", "not_reached"],
        help="exit with 0 in spite of rows that ended so; may be repeated (Ray calls a job that ends with 3 failed)",
    )
    parser.add_argument("--strict", action="store_true", help="refuse a manifest with unknown columns")
    parser.add_argument("--gpus", type=float, metavar="N", help="GPUs reserved by each animating worker")
    parser.add_argument("--workers", type=int, metavar="N", help="animating workers")


def animate(arguments: argparse.Namespace) -> int:
    """`catwalk animate`."""
    config, until = _night_config(arguments), _until(arguments)
    from pipelines.animate import run

    outcome = run(
        config,
        arguments.manifest,
        arguments.output,
        run_id=arguments.run_id,
        limit=arguments.limit,
        only=arguments.only,
        only_failed=arguments.only_failed,
        retry_failed=arguments.retry_failed,
        until=until,
        max_gpu_hours=arguments.max_gpu_hours,
        dry_run=arguments.dry_run,
        strict=arguments.strict,
        say=arguments.console.say,
        live=arguments.console.live if arguments.console.terminal else None,
    )
    if not arguments.dry_run:
        words = ["catwalk", "report", arguments.output, "--run", outcome.run_id]
        arguments.console.say(f"to look them through: {shlex.join(words)}")
    code = outcome.exit_code_if(arguments.ok_if)
    if code == SOME_FAILED:
        bad = {result.status for result in outcome.results if not result.good}
        options = " ".join(f"--ok-if {status}" for status in sorted(bad))
        arguments.console.say(f"exit code {code}, as rows ended badly; {options} would make it 0")
    if arguments.json:
        print_json({"exit_code": code, "folder": outcome.folder, "run_id": outcome.run_id, **outcome.summary})
    return code


def _night_config(arguments: argparse.Namespace) -> Any:
    """The configuration of a night, once its other options are seen to make sense."""
    _require_limit(arguments)
    if arguments.max_gpu_hours is not None and not 0 < arguments.max_gpu_hours < math.inf:
        raise WrongUsage(f"--max-gpu-hours {arguments.max_gpu_hours}", "give a number above 0")
    if arguments.only_failed and arguments.retry_failed:
        raise WrongUsage("--only-failed and --retry-failed", "give one: --only-failed is for rejected rows too")
    pool = {"num_gpus": arguments.gpus, "size": arguments.workers}
    return _configured(arguments, animate_pool=pool)


def _until(arguments: argparse.Namespace) -> datetime | None:
    from pipelines.deadline import moment

    return moment(arguments.until, datetime.now(UTC)) if arguments.until else None


def _submit(commands: Any) -> None:
    text = "make the films as a job of a cluster, through Ray's job API"
    parser = _command(commands, "submit", submit, text, BROKE_OFF)
    _night(parser)
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
    _speech(parser)


def _address(parser: Any) -> None:
    parser.add_argument(
        "--address",
        metavar="URL",
        help="dashboard of the cluster's head, http://HEAD:8265; left out, RAY_API_SERVER_ADDRESS, RAY_ADDRESS, or "
        "port 8265 here",
    )


def submit(arguments: argparse.Namespace) -> int:
    """`catwalk submit`."""
    config, until = _night_config(arguments), _until(arguments)
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
        options=tuple(_night_options(arguments, until)),
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
        if why:
            console.failed(*why)
    if arguments.json:
        told = {"run_id": job.name, "job": job.id, "attempt": job.attempt, "state": job.state.lower()}
        print_json({"exit_code": code, **told, "attached": attached})
    return code


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


def _night_options(arguments: argparse.Namespace, until: datetime | None) -> Iterator[str]:
    """A night's options as they were given, for the same command elsewhere."""
    parser = argparse.ArgumentParser(add_help=False)
    _night(parser)
    elsewhere = ("manifest", "output", "config", "checkpoint", "run_id", "until")
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


def _status(commands: Any) -> None:
    parser = _command(commands, "status", status, "list the nights that were submitted to a cluster", BROKE_OFF)
    parser.add_argument("run_id", nargs="?", metavar="RUN", help="only this one, with what its rows have come to")
    parser.add_argument("--output", metavar="URI", help="where the films are made: count the rows of every night there")
    _address(parser)
    parser.add_argument("--json", action="store_true", help="print the list as JSON on stdout")


def status(arguments: argparse.Namespace) -> int:
    """`catwalk status`."""
    from cluster.jobs import Jobs
    from manifests import storage
    from pipelines.night_jobs import states, table

    jobs = Jobs(arguments.address)
    wanted = [jobs.last(arguments.run_id)] if arguments.run_id else jobs.all()
    output = arguments.output and storage.resolve(arguments.output, os.getcwd())
    found = states(wanted, output, counted=bool(arguments.run_id or output))
    if arguments.json:
        print_json({"nights": found})
    else:
        print_text("\n".join(table(found)))
    return OK


def _stop(commands: Any) -> None:
    text = "end a night early: rows in hand are finished, and the same run id continues it"
    parser = _command(commands, "stop", stop, text, BROKE_OFF)
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


def _logs(commands: Any) -> None:
    parser = _command(commands, "logs", logs, "print what a night's job has said", BROKE_OFF)
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


def _report(commands: Any) -> None:
    parser = _command(commands, "report", report, "make a page to look a night's films through", BROKE_OFF)
    parser.add_argument("output", help="folder or bucket prefix that films were made into, or a run's folder in it")
    parser.add_argument("--run", metavar="ID", help="the run; left out, the one that was written to last")
    parser.add_argument(
        "-o",
        "--page",
        metavar="FILE.html",
        help="left out: report.html in the run's folder, or, of a bucket, report-ID.html in the current one",
    )
    parser.add_argument("--cache", metavar="FOLDER", help="the cache, where it is not in OUTPUT")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML configuration that says where the cache is")
    parser.add_argument("--no-thumbnails", action="store_true", help="read no driving video and no reference")
    parser.add_argument(
        "--link-hours", type=float, default=24, metavar="N", help="how long links into a bucket are good for (24)"
    )
    _overwrite(parser)
    _speech(parser)


def report(arguments: argparse.Namespace) -> int:
    """`catwalk report`."""
    from manifests import storage
    from pipelines.report.report import write_report

    if not 0 < arguments.link_hours <= 7 * 24:
        raise WrongUsage(f"--link-hours {arguments.link_hours:g}", "give up to 168: no store signs for longer")
    if arguments.page is not None and not arguments.page.endswith(".html"):
        raise WrongUsage(f"--page {storage.redact(arguments.page)}", "name a file that ends in .html")
    page = arguments.page and storage.resolve(arguments.page, os.getcwd())
    runs, run = storage.parent(given := storage.resolve(arguments.output, os.getcwd())), storage.name(given)
    if storage.name(runs) == "runs" and arguments.run is None:
        arguments.output, arguments.run = storage.parent(runs), run
    made = write_report(
        _output_layout(arguments),
        arguments.run,
        page,
        with_thumbnails=not arguments.no_thumbnails,
        link_hours=arguments.link_hours,
        overwrite=arguments.overwrite,
        say=arguments.console.say,
    )
    if arguments.json:
        print_json({"exit_code": OK, "page": storage.redact(made)})
    return OK


def _output_layout(arguments: argparse.Namespace) -> Any:
    """Where everything lies in an output folder that is there. Raises `WrongUsage` where it is not."""
    from manifests import storage
    from manifests.layout import OutputLayout
    from pipelines.configuration import RunConfig

    cache = arguments.cache or RunConfig.load(arguments.config).cache
    output, cache = storage.resolve(arguments.output, os.getcwd()), cache and storage.resolve(cache, os.getcwd())
    if not storage.is_folder(output):
        raise WrongUsage(f"output {storage.redact(output)}: there is no such folder", "name one that films are in")
    return OutputLayout(output, cache)


def _clip(commands: Any) -> None:
    parser = _command(commands, "clip", clip, "make one film without Ray, for trying things", SOME_FAILED)
    parser.add_argument("reference", help="reference image; '-' for animators that take none")
    parser.add_argument("driving", help="driving video; '-' for animators that take none")
    parser.add_argument("film", type=Path, help="the MP4 to write")
    parser.add_argument("--poster", type=Path, metavar="FILE", help="also write its sharpest frame, as a .jpg")
    _overwrite(parser)
    _clip_options(parser)
    parser.add_argument(
        "--cache", metavar="FOLDER", help="keep poses and latents there; left out, nothing is kept of a finished film"
    )
    _config_options(parser)
    _speech(parser)


def _clip_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--animator", metavar="NAME", help="system that draws; left out, the configured one, else the bundled one"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="any field of a manifest row; may be repeated"
    )


def _as_id(file: Path) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", file.stem).strip("-")[:128] or "clip"


def _media(reference: str, driving: str) -> dict[str, str]:
    """The files that a row names; "-" for none."""
    return {name: path for name, path in (("reference", reference), ("driving", driving)) if path != "-"}


def _set_fields(arguments: argparse.Namespace) -> dict[str, str]:
    """The fields of a row that options give."""
    fields = {"animator": arguments.animator} if arguments.animator else {}
    for text in arguments.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise WrongUsage(f"--set {text!r}", "write FIELD=VALUE, such as steps=10")
        fields[name] = value
    return fields


def clip(arguments: argparse.Namespace) -> int:
    """`catwalk clip`."""
    config = _configured(arguments)
    from pipelines.clip import make_clip

    # any name will do for a film on the command line; an id is held to more
    fields = {"id": _as_id(arguments.film)}
    fields |= _media(arguments.reference, arguments.driving) | _set_fields(arguments)
    console = arguments.console
    files = arguments.film, arguments.cache
    result = make_clip(config, fields, *files, console.say, arguments.poster, arguments.overwrite, _told(console))
    if arguments.json:
        print_json({"exit_code": OK, **result.model_dump(mode="json")})
    return OK


def _preview(commands: Any) -> None:
    text = "draw a few frames of a clip, and show them beside poses and reference, before its film is paid for"
    parser = _command(commands, "preview", preview, text, SOME_FAILED)
    parser.add_argument(
        "clip", nargs="+", metavar="CLIP", help="a manifest; or a reference image and a driving video, '-' for none"
    )
    parser.add_argument("--row", metavar="ROW", help="id or number of the manifest's row; left out, the first")
    parser.add_argument("-o", "--page", type=Path, metavar="FILE", default=Path("preview.html"), help="(preview.html)")
    parser.add_argument("--frames", type=int, default=6, metavar="N", help="frames to draw (6)")
    _overwrite(parser)
    _clip_options(parser)
    parser.add_argument("--cache", metavar="FOLDER", help="keep poses there; left out, nothing is kept")
    _config_options(parser)
    _speech(parser)


def preview(arguments: argparse.Namespace) -> int:
    """`catwalk preview`."""
    config, console, named = _configured(arguments), arguments.console, arguments.clip
    if len(named) > 2 or (len(named) == 2 and arguments.row):
        raise WrongUsage(
            f"preview {' '.join(named)!r}", "give a manifest (and --row), or a reference and a driving video"
        )
    from pipelines.preview import preview as draw
    from pipelines.preview import row_of

    manifest = named[0] if len(named) == 1 else None
    fields = row_of(manifest, arguments.row) if manifest else {"id": _as_id(Path(named[1])), **_media(*named)}
    made = draw(
        config,
        fields | _set_fields(arguments),
        arguments.page,
        console.say,
        manifest,
        arguments.frames,
        arguments.cache,
        arguments.overwrite,
        _told(console),
    )
    if arguments.json:
        facts = {"page": str(arguments.page), "frames": made.numbers, "seconds": round(made.seconds, 3)}
        print_json({"exit_code": OK, "clip": made.work.clip.id, **facts})
    return OK


def _manifest(commands: Any) -> None:
    parser = commands.add_parser("manifest", help="make or check a manifest", description="Make or check a manifest.")
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    make = _command(parts, "build", build, "make a Parquet manifest from CSV or JSON Lines", WRONG_USAGE)
    make.add_argument("--config", type=Path, metavar="FILE", help="YAML configuration with `animators` from outside")
    make.add_argument("source", type=Path, help="CSV with a header line, or one JSON object per line")
    make.add_argument("target", help="the .parquet file to write")
    make.add_argument("--all-or-nothing", action="store_true", help="write nothing if one row is bad")
    look = _command(parts, "check", check, "report every bad row of a manifest", WRONG_USAGE)
    look.add_argument("manifest", help="Parquet file, folder of them, or glob")
    look.add_argument("--media", action="store_true", help="also look at files, sizes and frame ranges, as a run would")
    look.add_argument("--strict", action="store_true", help="take unknown columns for errors")
    _config_options(look)


def build(arguments: argparse.Namespace) -> int:
    """`catwalk manifest build`."""
    _know_animators(arguments)
    from manifests import storage
    from manifests.build import build as build_manifest
    from pipelines.output_files import require_writable
    from stages.diffusion.animators import ANIMATORS

    if storage.is_local(target := storage.resolve(arguments.target, os.getcwd())):
        require_writable([Path(target)], [str(arguments.source)], overwrite=True)
    whole = arguments.all_or_nothing
    report = build_manifest(arguments.source.absolute(), target, ANIMATORS.keys(), all_or_nothing=whole)
    say("\n".join(report.lines()))
    return OK if report.ok else SOME_FAILED


def check(arguments: argparse.Namespace) -> int:
    """`catwalk manifest check`."""
    _know_animators(arguments)
    from manifests.check import check as check_manifest
    from stages.diffusion.animators import ANIMATORS

    look: AbstractContextManager[Any] = nullcontext()
    if arguments.media:
        from pipelines.media_check import media_examiner

        look = media_examiner(_configured(arguments), arguments.manifest)
    with look as examine:
        report = check_manifest(arguments.manifest, ANIMATORS.keys(), strict=arguments.strict, examine=examine)
    say("\n".join(report.lines()))
    return OK if report.ok else SOME_FAILED


def _know_animators(arguments: argparse.Namespace) -> None:
    """Make animators from outside known here, those of the configuration too where one is given."""
    from pipelines.configuration import RunConfig
    from pipelines.settings import require_animators

    require_animators(RunConfig.load(getattr(arguments, "config", None)))


def _poses(commands: Any) -> None:
    parser = _command(commands, "poses", poses, "draw the skeletons found in a video over it", SOME_FAILED)
    parser.add_argument("video", type=Path, help="video of people, or a picture")
    parser.add_argument("film", type=Path, help="the MP4 to write; of a picture also .jpg or .png")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the keypoints as OpenPose JSON")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="also write a page on how well a person is seen, and what to do",
    )
    _overwrite(parser)
    parser.add_argument(
        "--subject",
        choices=["persistent", "largest", "central"],
        help="follow one person, repaired as for a film, and report on the quality; left out, everyone as found",
    )
    parser.add_argument(
        "--estimator",
        choices=["people", "dwpose", "drawn"],
        help="networks that look; left out, dwpose where it is configured, else people",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML configuration with estimators")
    parser.add_argument("--detector", metavar="FILE", help="YOLOX as ONNX, published as yolox_l.onnx, or whole_image")
    parser.add_argument("--pose", metavar="FILE", help="RTMPose whole-body as ONNX, published as dw-ll_ucoco_384.onnx")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but why the command failed")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks of what failed")


def poses(arguments: argparse.Namespace) -> int:
    """`catwalk poses`."""
    from pipelines.configuration import RunConfig
    from pipelines.output_files import require_writable
    from pipelines.poses import Outputs, draw_poses

    if bool(arguments.detector) != bool(arguments.pose):
        raise WrongUsage("--detector and --pose belong together", "give both, or estimators.dwpose in --config")
    files = {"detector": arguments.detector, "pose": arguments.pose}
    given = {"estimators": {"dwpose": files}} if arguments.detector else {}
    config = RunConfig.load(arguments.config, given)
    outputs = Outputs(arguments.film, arguments.json, arguments.report)
    if arguments.config:
        require_writable(outputs.files[1:], [str(arguments.config)], overwrite=True)
    console, options = arguments.console, (arguments.overwrite, arguments.estimator, _told(arguments.console))
    draw_poses(config, arguments.video, outputs, arguments.subject, console.say, *options)
    return OK


def _told(console: Console) -> Callable[[str, float, float], None]:
    """Shows how far a film is: on a terminal in a line that is written over."""
    from pipelines.progress import ClipProgress

    return ClipProgress(console.say, console.live if console.terminal else None)


def _measure(commands: Any) -> None:
    text = "say what every metric finds in a film; exit with 3 where one is beyond its limit"
    parser = _command(commands, "measure", measure, text, SOME_FAILED)
    parser.add_argument("film", type=Path, help="the film, an MP4")
    for name, what in (
        ("reference", "the picture of who is in it"),
        ("driving", "the video that drove it"),
        ("truth", "the film that it should have become, of the same size"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=what)
    parser.add_argument(
        "--estimator", choices=["people", "dwpose", "drawn"], help="networks that find where the person is"
    )
    parser.add_argument("--animator", metavar="NAME", help="whose limits count, where it has some of its own")
    parser.add_argument("--loop", action="store_true", help="it is shown again and again: look at the join too")
    parser.add_argument(
        "--border", type=int, action="append", default=[], metavar="FRAME", help="first frame of a segment or window; "
        "may be repeated"
    )  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML configuration with `review` and estimators")
    _speech(parser)


def measure(arguments: argparse.Namespace) -> int:
    """`catwalk measure`."""
    from pipelines.configuration import RunConfig
    from pipelines.measure import Beside
    from pipelines.measure import measure as measure_film

    config = RunConfig.load(arguments.config)
    beside = Beside(arguments.reference, arguments.driving, arguments.truth, arguments.border, arguments.loop)
    found = measure_film(config, arguments.film, beside, arguments.estimator, _told(arguments.console))
    reasons = config.review.reasons(found.quality(), arguments.animator)
    code = SOME_FAILED if reasons else OK
    if arguments.json:
        quality = {name: one.model_dump() for name, one in found.quality().items()}
        print_json({"exit_code": code, "quality": quality, "skipped": found.skipped, "review": reasons})
    else:
        print_text("\n".join([*found.lines(config.review.of(arguments.animator)), *reasons]))
    return code


def _models(commands: Any) -> None:
    text = "say which weights are here, and what each animator and estimator still needs"
    parser = _command(commands, "models", models, text, BROKE_OFF)
    _config_options(parser)
    parser.add_argument("--json", action="store_true", help="print the list as JSON on stdout")
    parts = parser.add_subparsers(title="commands", metavar="COMMAND")
    fetching = _command(parts, "fetch", fetch, "fetch nets that find people, with pip", BROKE_OFF)
    fetching.add_argument("what", choices=["people"], help="people: MediaPipe's nets for body, hands and face")
    fetching.add_argument(
        "--to", metavar="FOLDER", help="folder or URI to unpack into; left out, this Python's environment"
    )


def models(arguments: argparse.Namespace) -> int:
    """`catwalk models`."""
    config = _configured(arguments)
    from pipelines.models import models as all_models

    found = list(all_models(config))
    if arguments.json:
        print_json({"models": [model.to_dict() for model in found]})
    else:
        print_text("\n".join(map(str, found)))
    return OK


def fetch(arguments: argparse.Namespace) -> int:
    """`catwalk models fetch people`."""
    from pipelines.fetch_people import fetch_people

    fetch_people(arguments.to, say)
    return OK


def _doctor(commands: Any) -> None:
    parser = _command(
        commands, "doctor", doctor, "check this installation: versions, encoder, storage, Ray, weights", BROKE_OFF
    )
    parser.add_argument("--output", metavar="URI", help="also write to, read from and delete in this folder or bucket")
    parser.add_argument("--no-ray", action="store_true", help="do not start or connect to Ray")
    _config_options(parser)


def doctor(arguments: argparse.Namespace) -> int:
    """`catwalk doctor`."""
    config = _configured(arguments)
    from pipelines.doctor import examine

    return OK if examine(config, arguments.output, not arguments.no_ray, say) else BROKE_OFF


def _clean(commands: Any) -> None:
    parser = _command(
        commands, "clean", clean, "find what dead runs left in an output folder, and remove it", BROKE_OFF
    )
    parser.add_argument("output", help="folder or bucket prefix that films were made into")
    parser.add_argument("--cache", metavar="FOLDER", help="the cache, where it is not in OUTPUT")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML configuration that says where the cache is")
    parser.add_argument(
        "--older-than", type=float, default=7, metavar="DAYS", help="age of latents and local weights that may go (7)"
    )
    parser.add_argument("--superseded", action="store_true", help="also films of a clip that has a newer one")
    parser.add_argument("--delete", action="store_true", help="remove it; left out, it is only told")
    _speech(parser)


def clean(arguments: argparse.Namespace) -> int:
    """`catwalk clean`."""
    from pipelines.clean import DAY
    from pipelines.clean import clean as clean_output
    from pipelines.configuration import RunConfig

    if arguments.older_than < 0:
        raise WrongUsage(f"--older-than {arguments.older_than:g}", "give 0 days or more")
    seconds, layout = arguments.older_than * DAY, _output_layout(arguments)
    weights = RunConfig.load(arguments.config).model_cache.cache()
    found = clean_output(layout, seconds, arguments.superseded, arguments.delete, arguments.console.say, weights)
    if arguments.json:
        print_json({"exit_code": OK, **found})
    return OK


def _cluster(commands: Any) -> None:
    parser = commands.add_parser("cluster", help="describe a cluster", description="Describe a cluster.")
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    text = "write KubeRay's resources for a job, a nightly job or a cluster that stays"
    one = _command(parts, "render", render, text, WRONG_USAGE)
    one.add_argument("cluster", type=Path, help="YAML file such as cluster/example.yaml")
    one.add_argument("--kind", choices=["job", "cron", "cluster", "all"], default="job", help="which of them (job)")
    one.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the run's configuration: it is laid into /etc/catwalk on the head, and its pools must fit the cluster",
    )
    one.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="write files there; left out, to stdout")


def render(arguments: argparse.Namespace) -> int:
    """`catwalk cluster render`."""
    from cluster.kube.configuration import KubeConfig
    from cluster.kube.custom_resources import KINDS, as_yaml, rendered

    described, files = KubeConfig.load(arguments.cluster), {}
    if arguments.config is not None:
        from pipelines.cluster_fit import require_fit
        from pipelines.configuration import RunConfig

        require_fit(RunConfig.load(arguments.config), described, arguments.config)
        files[arguments.config.name] = arguments.config.read_text(encoding="utf-8")
    kinds = KINDS if arguments.kind == "all" else [arguments.kind]
    documents = rendered(described, kinds, files)
    if arguments.output is None:
        print_text("---\n".join(map(as_yaml, documents.values())).rstrip("\n"))
        return OK
    from pipelines.output_files import require_writable_folder

    require_writable_folder(str(arguments.output))
    for name, parts in documents.items():
        (arguments.output / name).write_text(as_yaml(parts), encoding="utf-8")
        say(f"kubectl apply -f {arguments.output / name}")
    return OK


def _config(commands: Any) -> None:
    parser = _command(
        commands, "config", config, "print the configuration in force, as a file to start from", WRONG_USAGE
    )
    _config_options(parser)


def config(arguments: argparse.Namespace) -> int:
    """`catwalk config`."""
    print_text(_configured(arguments).to_yaml().rstrip("\n"))
    return OK


if __name__ == "__main__":
    sys.exit(main())
