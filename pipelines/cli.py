"""The `catwalk` command. Importing it is light: what a subcommand needs is imported when it runs."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from manifests.errors import Problem, WrongUsage
from pipelines.commands.films import add_clip, add_measure, add_poses, add_preview, add_verify
from pipelines.commands.installation import add_clean, add_cluster, add_config, add_doctor, add_models
from pipelines.commands.jobs import add_logs, add_status, add_stop, add_submit
from pipelines.commands.manifests import add_manifest
from pipelines.commands.nights import add_animate, add_plan, add_replay, add_report
from pipelines.commands.options import BROKE_OFF, EXIT_CODES, OK, SOME_FAILED, WRONG_USAGE
from pipelines.commands.release import add_release
from pipelines.commands.revoke import add_revoke
from pipelines.console import Console, Terminated, print_json, told_to_end

__all__ = ["BROKE_OFF", "OK", "SOME_FAILED", "WRONG_USAGE", "build_parser", "main"]


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
    add_plan(commands)
    add_animate(commands)
    add_submit(commands)
    add_status(commands)
    add_stop(commands)
    add_logs(commands)
    add_report(commands)
    add_clip(commands)
    add_preview(commands)
    add_manifest(commands)
    add_poses(commands)
    add_measure(commands)
    add_verify(commands)
    add_models(commands)
    add_replay(commands)
    add_doctor(commands)
    add_release(commands)
    add_revoke(commands)
    add_clean(commands)
    add_cluster(commands)
    add_config(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
