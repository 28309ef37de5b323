"""Commands about manifests: build, check."""

from __future__ import annotations

import argparse
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pipelines.commands.options import (
    OK,
    SOME_FAILED,
    WRONG_USAGE,
    config_options,
    configured,
    know_animators,
    new_command,
    say,
)


def add_manifest(commands: Any) -> None:
    """Add the command `manifest`."""
    parser = commands.add_parser("manifest", help="make or check a manifest", description="Make or check a manifest.")
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    make = new_command(parts, "build", build, "make a Parquet manifest from CSV or JSON Lines", WRONG_USAGE)
    make.add_argument("--config", type=Path, metavar="FILE", help="YAML configuration with `animators` from outside")
    make.add_argument("source", type=Path, help="CSV with a header line, or one JSON object per line")
    make.add_argument("target", help="the .parquet file to write")
    make.add_argument("--all-or-nothing", action="store_true", help="write nothing if one row is bad")
    look = new_command(parts, "check", check, "report every bad row of a manifest", WRONG_USAGE)
    look.add_argument("manifest", help="Parquet file, folder of them, or glob")
    look.add_argument("--media", action="store_true", help="also look at files, sizes and frame ranges, as a run would")
    look.add_argument("--strict", action="store_true", help="take unknown columns for errors")
    config_options(look)


def build(arguments: argparse.Namespace) -> int:
    """`catwalk manifest build`."""
    know_animators(arguments)
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
    know_animators(arguments)
    from manifests.check import check as check_manifest
    from stages.diffusion.animators import ANIMATORS
    from stages.sandbox.reading import require_modest_table

    look: AbstractContextManager[Any] = nullcontext()
    config = configured(arguments)
    if arguments.media:
        from pipelines.media_check import media_examiner

        look = media_examiner(config, arguments.manifest)
    elif config.consent.mode == "required":
        from pipelines.media_check import consent_examiner

        look = consent_examiner(config)
    with look as examine:
        report = check_manifest(
            arguments.manifest, ANIMATORS.keys(), strict=arguments.strict, examine=examine, trial=require_modest_table
        )
    say("\n".join(report.lines()))
    return OK if report.ok else SOME_FAILED
