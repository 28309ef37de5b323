"""The command about a consent that ended: revoke."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from pipelines.commands.options import OK, SOME_FAILED, new_command, output_layout, speech_options
from pipelines.console import print_json, print_text


def add_revoke(commands: Any) -> None:
    """Add the command `revoke`."""
    text = "list every film that was made under a consent; mark its record as revoked, and withdraw the films"
    parser = new_command(commands, "revoke", revoke, text, SOME_FAILED)
    parser.add_argument("consent", help="id of the consent record")
    parser.add_argument("output", help="folder or bucket prefix that films were made into")
    parser.add_argument("--also", action="append", default=[], metavar="OUTPUT", help="another one; may be repeated")
    parser.add_argument(
        "--records",
        metavar="URI",
        help="mark the record as revoked there; left out, the configuration's consent.records",
    )
    parser.add_argument(
        "--withdraw",
        action="store_true",
        help="move the films to OUTPUT/withdrawn/films: no later run serves them, or makes them again",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--cache", metavar="FOLDER", help="the cache, where it is not in OUTPUT")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML configuration with `consent` and `cache`")
    speech_options(parser)


def revoke(arguments: argparse.Namespace) -> int:
    """`catwalk revoke`."""
    from manifests import storage
    from manifests.consent.record import named_consent
    from manifests.consent.records_file import mark_revoked
    from manifests.consent.register import utc_today
    from manifests.errors import Problem
    from pipelines.boundary import explained
    from pipelines.configuration import RunConfig
    from pipelines.revocation import films_under, withdraw

    name, dry = named_consent(arguments.consent), arguments.dry_run
    records = arguments.records or RunConfig.load(arguments.config).consent.records
    outputs = [arguments.output, *arguments.also]
    layouts = [output_layout(argparse.Namespace(**{**vars(arguments), "output": one})) for one in outputs]
    lines, problems, marked = [], [], None
    if records:
        records = storage.resolve(records, os.getcwd())
        try:
            before = mark_revoked(records, name, utc_today(), dry)
        except Problem as problem:
            problems.append(f"it could not be marked as revoked: {problem}")
        except Exception as error:  # of the store: the films are looked for all the same
            problems.append(f"consent records {storage.redact(records)} could not be written: {explained(error)[0]}")
        else:
            today = utc_today()
            marked = "already" if before.revoked_by(today) else ("would be" if dry else today.isoformat())
            said = {"already": "was revoked already", "would be": "would be marked as revoked"}
            lines.append(f"{storage.redact(records)}: {name} {said.get(marked, f'is revoked from {marked} on')}")
    elif not arguments.quiet:
        lines.append(f"no records are given: {name} is revoked nowhere")
    told = []
    for layout in layouts:
        found = films_under(layout, name)
        moved = withdraw(layout, found, name) if arguments.withdraw and not dry else 0
        lines += found.lines()
        lines += [f"{storage.redact(layout.output)}: withdrew {moved} films"] if moved else []
        told.append({"output": storage.redact(layout.output), "withdrew": moved, "runs_going_on": found.going_on,
                        "films": [one.to_dict() for one in found.films]})  # fmt: skip
        problems += found.problems
    if not records and not any(one["films"] for one in told):
        problems.append(f"consent {name!r}: nothing knows it, neither records, of which none are given, nor films")
    code = SOME_FAILED if problems else OK
    if arguments.json:
        facts = {"consent": name, "marked": marked, "dry_run": dry, "outputs": told, "problems": problems}
        print_json({"exit_code": code, **facts})
    else:
        print_text("\n".join([*lines, *(one for one in problems if f"  {one}" not in lines)]))
    return code
