"""The command about films that were set aside: release."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipelines.commands.options import OK, SOME_FAILED, new_command, output_layout, speech_options
from pipelines.console import print_json, print_text


def add_release(commands: Any) -> None:
    """Add the command `release`."""
    text = "publish films that content safety set aside, once a person has looked at them; without --only, list them"
    parser = new_command(commands, "release", release, text, SOME_FAILED)
    parser.add_argument("output", help="folder or bucket prefix that films were made into")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ID",
        help="the clip whose film may be published; may be repeated",
    )
    parser.add_argument("--cache", metavar="FOLDER", help="the cache, where it is not in OUTPUT")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML configuration with a `consent` to use instead of the run's"
    )
    speech_options(parser)


def release(arguments: argparse.Namespace) -> int:
    """`catwalk release`."""
    from pipelines.configuration import RunConfig
    from pipelines.set_aside import release as publish
    from pipelines.set_aside import waiting_films
    from pipelines.settings import require_records

    layout, config = output_layout(arguments), RunConfig.load(arguments.config)
    require_records(config)
    if not arguments.only:
        waiting = waiting_films(layout)
        if arguments.json:
            print_json({"exit_code": OK, "waiting": [one.to_dict() for one in waiting]})
        else:
            print_text("\n".join([f"{one.film.clip_id}: {one.reason}; {one.uri}" for one in waiting] or ["none waits"]))
        return OK
    own = config.consent if "consent" in config.model_fields_set else None
    released, problems = publish(layout, arguments.only, own)
    code = SOME_FAILED if problems else OK
    if arguments.json:
        facts = {"released": [one.to_dict() for one in released], "problems": problems}
        print_json({"exit_code": code, **facts})
    else:
        print_text("\n".join([*(f"{one.film.clip_id}: published" for one in released), *problems]))
    return code
