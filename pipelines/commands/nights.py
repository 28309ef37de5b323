"""Commands about whole nights: plan, animate, report, replay."""

from __future__ import annotations

import argparse
import math
import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from manifests.errors import WrongUsage
from pipelines.commands.options import (
    BROKE_OFF,
    OK,
    SOME_FAILED,
    config_options,
    configured,
    new_command,
    output_layout,
    overwrite_option,
    require_limit,
    speech_options,
    told_on,
)
from pipelines.console import print_json, print_text


def add_plan(commands: Any) -> None:
    """Add the command `plan`."""
    text = "say what a manifest will take before anything is spent: time, memory, storage, cost"
    parser = new_command(commands, "plan", plan, text, BROKE_OFF)
    parser.add_argument("manifest", help="Parquet file, folder of them, or glob")
    parser.add_argument(
        "output", nargs="?", help="where films will go: what is finished there takes nothing; rows are looked at on Ray"
    )
    config_options(parser)
    parser.add_argument("--gpus", type=float, metavar="N", help="GPUs in all; left out, those of the configuration")
    parser.add_argument("--gpu-price", type=float, metavar="X", help="what one of them costs for an hour")
    parser.add_argument("--card", metavar="NAME", help="which card they are, such as h200, a100-80, l4")
    parser.add_argument("--tflops", type=float, metavar="X", help="TFLOP/s that a worker reaches, if you know better")
    parser.add_argument(
        "--calibrate", action="store_true", help="measure first: make a few short films of the manifest, and drop them"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N rows")
    speech_options(parser)


def plan(arguments: argparse.Namespace) -> int:
    """`catwalk plan`."""
    require_limit(arguments)
    config = configured(arguments, price={"gpu_hour": arguments.gpu_price})
    from pipelines.planning.forecast_text import forecast_lines
    from pipelines.planning.look_ahead import look_ahead

    made = look_ahead(
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


def add_replay(commands: Any) -> None:
    """Add the command `replay`."""
    text = "do one stage of one clip of a run again, in this process, to see what goes wrong"
    parser = new_command(commands, "replay", replay, text, SOME_FAILED)
    parser.add_argument("output", help="folder or bucket prefix that the run made films into; nothing is put there")
    parser.add_argument("run", help="id of the run")
    parser.add_argument("clip", help="id of the clip")
    parser.add_argument(
        "--stage", choices=["pose", "inputs", "animate"], default="animate", help="what is done again (animate)"
    )
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="where what it makes goes; left out, a new folder")
    config_options(parser)
    speech_options(parser)


def replay(arguments: argparse.Namespace) -> int:
    """`catwalk replay`."""
    config, console = configured(arguments), arguments.console
    console.verbose = not console.quiet  # where it goes wrong is what it is for
    from pipelines.replay import replay as again

    try:
        made = again(
            config,
            *(arguments.output, arguments.run, arguments.clip, arguments.stage, arguments.into),
            console.say,
            told_on(console),
        )
    except WrongUsage:
        console.verbose = arguments.verbose
        raise
    if arguments.json:
        print_json({"exit_code": OK, **made})
    return OK


def add_animate(commands: Any) -> None:
    """Add the command `animate`."""
    parser = new_command(commands, "animate", animate, "make the film of every row of a manifest, on Ray", BROKE_OFF)
    night_options(parser)
    speech_options(parser)


def night_options(parser: argparse.ArgumentParser) -> None:
    """What a night is about, for every command that begins one."""
    parser.add_argument("manifest", help="Parquet file, folder of them, or glob; local or s3://, gs://, az://")
    parser.add_argument("output", help="folder or bucket prefix for films, runs and (unless configured) the cache")
    config_options(parser)
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
    config, until = night_config(arguments), until_of(arguments)
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
        ok_if=arguments.ok_if,
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


def night_config(arguments: argparse.Namespace) -> Any:
    """The configuration of a night, once its other options are seen to make sense."""
    require_limit(arguments)
    if arguments.max_gpu_hours is not None and not 0 < arguments.max_gpu_hours < math.inf:
        raise WrongUsage(f"--max-gpu-hours {arguments.max_gpu_hours}", "give a number above 0")
    if arguments.only_failed and arguments.retry_failed:
        raise WrongUsage("--only-failed and --retry-failed", "give one: --only-failed is for rejected rows too")
    pool = {"num_gpus": arguments.gpus, "size": arguments.workers}
    return configured(arguments, animate_pool=pool)


def until_of(arguments: argparse.Namespace) -> datetime | None:
    """The moment that --until means."""
    from pipelines.running.deadline import moment

    return moment(arguments.until, datetime.now(UTC)) if arguments.until else None


def add_report(commands: Any) -> None:
    """Add the command `report`."""
    parser = new_command(commands, "report", report, "make a page to look a night's films through", BROKE_OFF)
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
    overwrite_option(parser)
    speech_options(parser)


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
        output_layout(arguments),
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
