"""What commands have in common: exit codes, options of several of them, configuration from the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manifests.errors import WrongUsage
from pipelines.console import Console

OK, BROKE_OFF, WRONG_USAGE, SOME_FAILED = 0, 1, 2, 3
EXIT_CODES = (
    "exit codes: 0 all done, 1 the run itself failed or was interrupted, 2 wrong usage, 3 finished, but some rows "
    "were rejected, failed or not reached"
)


def say(line: str) -> None:
    """One line for the person at the terminal."""
    Console().say(line)


def new_command(commands: Any, name: str, command: Callable[..., int], text: str, problem_code: int) -> Any:
    """A parser for a command of that name; `problem_code` is its exit code for a `Problem`."""
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=EXIT_CODES)
    parser.set_defaults(command=command, problem_code=problem_code, parser=parser)
    return parser


def config_options(parser: argparse.ArgumentParser) -> None:
    """Options that lay something over the configuration."""
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


def speech_options(parser: argparse.ArgumentParser) -> None:
    """Options about what is said, and how."""
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but why the command failed")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks of what failed")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON on stdout")
    parser.add_argument(
        "--log-format", choices=["text", "json"], help="json: what is said on stderr is one object a line, with ids"
    )


def overwrite_option(parser: argparse.ArgumentParser) -> None:
    """The option of commands that write files that a person names."""
    parser.add_argument("--overwrite", action="store_true", help="replace files to write that are there already")


def configured(arguments: argparse.Namespace, **overrides: Any) -> Any:
    """The configuration in force: the file, the options, `overrides`. Raises `WrongUsage`."""
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


def require_limit(arguments: argparse.Namespace) -> None:
    """Raise `WrongUsage` for a limit of no rows."""
    if arguments.limit is not None and arguments.limit < 1:
        raise WrongUsage(f"--limit {arguments.limit}", "give 1 or more")


def output_layout(arguments: argparse.Namespace) -> Any:
    """Where everything lies in an output folder that is there. Raises `WrongUsage` where it is not."""
    from manifests import storage
    from manifests.layout import OutputLayout
    from pipelines.configuration import RunConfig

    cache = arguments.cache or RunConfig.load(arguments.config).cache
    output, cache = storage.resolve(arguments.output, os.getcwd()), cache and storage.resolve(cache, os.getcwd())
    if not storage.is_folder(output):
        raise WrongUsage(f"output {storage.redact(output)}: there is no such folder", "name one that films are in")
    return OutputLayout(output, cache)


def know_animators(arguments: argparse.Namespace) -> None:
    """Make animators from outside known here, those of the configuration too where one is given."""
    from pipelines.configuration import RunConfig
    from pipelines.settings import require_animators

    require_animators(RunConfig.load(getattr(arguments, "config", None)))


def told_on(console: Console) -> Callable[[str, float, float], None]:
    """Shows how far a film is: on a terminal in a line that is written over."""
    from pipelines.progress import ClipProgress

    return ClipProgress(console.say, console.live if console.terminal else None)
