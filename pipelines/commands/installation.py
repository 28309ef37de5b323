"""Commands about what is installed and stored: models, doctor, clean, cluster, config."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from manifests.errors import WrongUsage
from pipelines.commands.options import (
    BROKE_OFF,
    OK,
    WRONG_USAGE,
    config_options,
    configured,
    new_command,
    output_layout,
    say,
    speech_options,
)
from pipelines.console import print_json, print_text


def add_models(commands: Any) -> None:
    """Add the command `models`."""
    text = "say which weights are here, and what each animator and estimator still needs"
    parser = new_command(commands, "models", models, text, BROKE_OFF)
    config_options(parser)
    parser.add_argument("--json", action="store_true", help="print the list as JSON on stdout")
    parser.add_argument(
        "--memory",
        nargs="*",
        metavar="WIDTHxHEIGHT",
        help="say instead what each animator takes of its device's memory, at its own size or at these",
    )
    parser.add_argument("--window", type=int, metavar="N", help="of so many frames, for --memory")
    parser.add_argument("--on", choices=["cpu", "cuda"], default="cuda", help="the device, for --memory")
    parts = parser.add_subparsers(title="commands", metavar="COMMAND")
    fetching = new_command(parts, "fetch", fetch, "fetch nets that find people, with pip", BROKE_OFF)
    fetching.add_argument("what", choices=["people"], help="people: MediaPipe's nets for body, hands and face")
    fetching.add_argument(
        "--to", metavar="FOLDER", help="folder or URI to unpack into; left out, this Python's environment"
    )


def models(arguments: argparse.Namespace) -> int:
    """`catwalk models`."""
    config = configured(arguments)
    if arguments.memory is not None:
        from pipelines.planning.memory_text import memory_lines

        sizes = [_size(text) for text in arguments.memory]
        print_text("\n".join(memory_lines(sizes, arguments.window, config.animate_pool.dtype, arguments.on)))
        return OK
    from pipelines.models import models as all_models

    found = list(all_models(config))
    if arguments.json:
        print_json({"models": [model.to_dict() for model in found]})
    else:
        print_text("\n".join(map(str, found)))
    return OK


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.replace("×", "x").partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise WrongUsage(f"--memory {text}", "give sizes like 512x768, in pixels")
    return int(width), int(height)


def fetch(arguments: argparse.Namespace) -> int:
    """`catwalk models fetch people`."""
    from pipelines.fetch_people import fetch_people

    fetch_people(arguments.to, say)
    return OK


def add_doctor(commands: Any) -> None:
    """Add the command `doctor`."""
    parser = new_command(
        commands, "doctor", doctor, "check this installation: versions, encoder, storage, Ray, weights", BROKE_OFF
    )
    parser.add_argument("--output", metavar="URI", help="also write to, read from and delete in this folder or bucket")
    parser.add_argument("--no-ray", action="store_true", help="do not start or connect to Ray")
    config_options(parser)


def doctor(arguments: argparse.Namespace) -> int:
    """`catwalk doctor`."""
    config = configured(arguments)
    from pipelines.doctor import examine

    return OK if examine(config, arguments.output, not arguments.no_ray, say) else BROKE_OFF


def add_clean(commands: Any) -> None:
    """Add the command `clean`."""
    parser = new_command(
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
    speech_options(parser)


def clean(arguments: argparse.Namespace) -> int:
    """`catwalk clean`."""
    from pipelines.clean import DAY
    from pipelines.clean import clean as clean_output
    from pipelines.configuration import RunConfig

    if arguments.older_than < 0:
        raise WrongUsage(f"--older-than {arguments.older_than:g}", "give 0 days or more")
    seconds, layout = arguments.older_than * DAY, output_layout(arguments)
    weights = RunConfig.load(arguments.config).model_cache.cache()
    found = clean_output(layout, seconds, arguments.superseded, arguments.delete, arguments.console.say, weights)
    if arguments.json:
        print_json({"exit_code": OK, **found})
    return OK


def add_cluster(commands: Any) -> None:
    """Add the command `cluster`."""
    parser = commands.add_parser("cluster", help="describe a cluster", description="Describe a cluster.")
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    text = "write KubeRay's resources for a job, a nightly job or a cluster that stays"
    one = new_command(parts, "render", render, text, WRONG_USAGE)
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


def add_config(commands: Any) -> None:
    """Add the command `config`."""
    parser = new_command(
        commands, "config", config, "print the configuration in force, as a file to start from", WRONG_USAGE
    )
    config_options(parser)


def config(arguments: argparse.Namespace) -> int:
    """`catwalk config`."""
    print_text(configured(arguments).to_yaml().rstrip("\n"))
    return OK
