"""Commands about films: clip, preview, poses, measure, verify."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from manifests.errors import WrongUsage
from pipelines.commands.options import (
    OK,
    SOME_FAILED,
    config_options,
    configured,
    new_command,
    overwrite_option,
    speech_options,
    told_on,
)
from pipelines.console import print_json, print_text


def add_clip(commands: Any) -> None:
    """Add the command `clip`."""
    parser = new_command(commands, "clip", clip, "make one film without Ray, for trying things", SOME_FAILED)
    parser.add_argument("reference", help="reference image; '-' for animators that take none")
    parser.add_argument("driving", help="driving video; '-' for animators that take none")
    parser.add_argument("film", type=Path, help="the MP4 to write")
    parser.add_argument("--poster", type=Path, metavar="FILE", help="also write its sharpest frame, as a .jpg")
    overwrite_option(parser)
    _clip_options(parser)
    parser.add_argument(
        "--cache", metavar="FOLDER", help="keep poses and latents there; left out, nothing is kept of a finished film"
    )
    config_options(parser)
    speech_options(parser)


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
    config = configured(arguments)
    from pipelines.clip import make_clip

    # any name will do for a film on the command line; an id is held to more
    fields = {"id": _as_id(arguments.film)}
    fields |= _media(arguments.reference, arguments.driving) | _set_fields(arguments)
    console = arguments.console
    files = arguments.film, arguments.cache
    result = make_clip(config, fields, *files, console.say, arguments.poster, arguments.overwrite, told_on(console))
    if arguments.json:
        print_json({"exit_code": OK, **result.model_dump(mode="json")})
    return OK


def add_preview(commands: Any) -> None:
    """Add the command `preview`."""
    text = "draw a few frames of a clip, and show them beside poses and reference, before its film is paid for"
    parser = new_command(commands, "preview", preview, text, SOME_FAILED)
    parser.add_argument(
        "clip", nargs="+", metavar="CLIP", help="a manifest; or a reference image and a driving video, '-' for none"
    )
    parser.add_argument("--row", metavar="ROW", help="id or number of the manifest's row; left out, the first")
    parser.add_argument("-o", "--page", type=Path, metavar="FILE", default=Path("preview.html"), help="(preview.html)")
    parser.add_argument("--frames", type=int, default=6, metavar="N", help="frames to draw (6)")
    overwrite_option(parser)
    _clip_options(parser)
    parser.add_argument("--cache", metavar="FOLDER", help="keep poses there; left out, nothing is kept")
    config_options(parser)
    speech_options(parser)


def preview(arguments: argparse.Namespace) -> int:
    """`catwalk preview`."""
    config, console, named = configured(arguments), arguments.console, arguments.clip
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
        told_on(console),
    )
    if arguments.json:
        facts = {"page": str(arguments.page), "frames": made.numbers, "seconds": round(made.stills.seconds, 3)}
        print_json({"exit_code": OK, "clip": made.work.clip.id, **facts})
    return OK


def add_poses(commands: Any) -> None:
    """Add the command `poses`."""
    parser = new_command(commands, "poses", poses, "draw the skeletons found in a video over it", SOME_FAILED)
    parser.add_argument("video", type=Path, help="video of people, or a picture")
    parser.add_argument("film", type=Path, help="the MP4 to write; of a picture also .jpg or .png")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the keypoints as OpenPose JSON")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="also write a page on how well a person is seen, and what to do",
    )
    overwrite_option(parser)
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
    console, options = arguments.console, (arguments.overwrite, arguments.estimator, told_on(arguments.console))
    draw_poses(config, arguments.video, outputs, arguments.subject, console.say, *options)
    return OK


def add_measure(commands: Any) -> None:
    """Add the command `measure`."""
    text = "say what every metric finds in a film; exit with 3 where one is beyond its limit"
    parser = new_command(commands, "measure", measure, text, SOME_FAILED)
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
    speech_options(parser)


def measure(arguments: argparse.Namespace) -> int:
    """`catwalk measure`."""
    from pipelines.configuration import RunConfig
    from pipelines.measure import Beside
    from pipelines.measure import measure as measure_film

    config = RunConfig.load(arguments.config)
    beside = Beside(arguments.reference, arguments.driving, arguments.truth, arguments.border, arguments.loop)
    found = measure_film(config, arguments.film, beside, arguments.estimator, told_on(arguments.console))
    reasons = config.review.reasons(found.quality(), arguments.animator)
    code = SOME_FAILED if reasons else OK
    if arguments.json:
        quality = {name: one.model_dump() for name, one in found.quality().items()}
        print_json({"exit_code": code, "quality": quality, "skipped": found.skipped, "review": reasons})
    else:
        print_text("\n".join([*found.lines(config.review.of(arguments.animator)), *reasons]))
    return code


def add_verify(commands: Any) -> None:
    """Add the command `verify`."""
    text = "say what films and pictures are: their signature, and the mark in them; exit with 3 where one is not ours"
    parser = new_command(commands, "verify", verify, text, SOME_FAILED)
    parser.add_argument("files", nargs="+", metavar="FILE", help="films, pictures, folders of them, or URIs")
    parser.add_argument(
        "--root", type=Path, action="append", default=[], metavar="PEM", help="root certificate to trust; with it, "
        "exit with 3 also where another signed; may be repeated"
    )  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML configuration, with the key of the watermark")
    parser.add_argument(
        "--in", dest="outputs", action="append", default=[], metavar="OUTPUT", help="folder of runs, among whose films "
        "the one is looked up that a watermark names; may be repeated"
    )  # fmt: skip
    parser.add_argument(
        "--allow", action="append", default=[], metavar="PREFIX", help="the only places in stores that may be read from"
    )
    speech_options(parser)


def verify(arguments: argparse.Namespace) -> int:
    """`catwalk verify`."""
    from pipelines.configuration import RunConfig
    from pipelines.verify import Verifier, as_wanted

    config, console = RunConfig.load(arguments.config), arguments.console
    config = config.model_copy(update={"allowed_prefixes": [*config.allowed_prefixes, *arguments.allow]})
    verifier, found = Verifier(config, arguments.root, arguments.outputs), []
    for file in verifier.files(arguments.files, console.say):
        found.append(verdict := verifier(file))
        if not arguments.json:
            print_text("\n".join(verdict.lines()))
    if not found:
        raise WrongUsage("there is no film and no picture", "name a file, or a folder that holds some")
    code = OK if all(as_wanted(one, bool(arguments.root)) for one in found) else SOME_FAILED
    if arguments.json:
        files = [{"summary": one.summary, **one.model_dump(mode="json")} for one in found]
        print_json({"exit_code": code, "files": files})
    return code
