"""`make demo`: the sample catalogue animated offline, from manifest to films and a contact sheet."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from manifests.build import build
from manifests.consent.settings import ConsentSettings
from manifests.errors import Problem
from manifests.layout import OutputLayout
from manifests.results import Result
from pipelines.code_version import HOUSE
from pipelines.configuration import AnimatePool, RunConfig
from pipelines.progress import Say
from pipelines.report.report import write_report
from stages.diffusion.animators import ANIMATORS
from stages.sandbox.reading import Frames, read_image
from stages.video.contact_sheet import SheetRow, contact_sheet
from stages.video.limits import Limits
from stages.video.moving_sheet import moving_sheet

CATALOGUE = HOUSE / "manifests" / "sample" / "catalogue"
NOTE = "drawn people, animated by the small bundled model: it knows this style only, no photographs"

MOVING, SECONDS = 4, 2.5  # clips that the moving sheet shows, and how long their films are


def demo(output: Path, say: Say) -> int:
    """Animate the six clips of the sample catalogue into `output`; returns the run's exit code.

    Raises `Problem` when the run cannot begin.
    """
    from pipelines.animate import run  # takes seconds, as it imports Ray

    os.environ.pop("RAY_ADDRESS", None)  # another machine would not find the catalogue of this one
    clips = demo_clips()
    manifest = write_manifest(clips, output)
    say(f"demo: {len(clips)} clips of {manifest}; {NOTE}")
    outcome = run(demo_config(), str(manifest), str(output), say=say)

    sheet, moving = output / "contact_sheet.png", output / "contact_sheet.webp"
    rows = [sheet_row(clip, one) for clip, one in zip(clips, outcome.results, strict=True)]
    contact_sheet(rows, sheet, note=NOTE)
    if made := [row for row in rows if row.result is not None]:
        moving_sheet(made[:MOVING], moving, SECONDS)
        say(f"contact sheet that moves: {moving}")
    films = [one.film for one in outcome.results if one.good]
    if films and all(one.status == "cached" for one in outcome.results):
        say("everything is cached: all films were there already, and nothing was made again")
    for film in films:
        say(f"film: {film}")
    say(f"contact sheet: {sheet}")
    write_report(OutputLayout(str(output)), outcome.run_id, say=say)
    return outcome.exit_code


def demo_config() -> RunConfig:
    """How the sample catalogue is animated: with the consents that its records hold."""
    # two threads: on two cores the six films take three quarters of the time that one needs
    pool, records = AnimatePool(device="cpu", threads=2), str(CATALOGUE / "consents.json")
    use = ConsentSettings(mode="required", records=records, brand="Catwalk", channels=("demo",), territories=("DE",))
    return RunConfig(allowed_prefixes=[str(CATALOGUE)], animate_pool=pool, consent=use)


def demo_clips() -> list[dict]:
    """The rows of the sample catalogue, with absolute paths."""
    rows = map(json.loads, (CATALOGUE / "clips.jsonl").read_text(encoding="utf-8").splitlines())
    return [{**row, **{field: str(CATALOGUE / row[field]) for field in ("reference", "driving")}} for row in rows]


def write_manifest(clips: Sequence[dict], folder: Path) -> Path:
    """The rows as JSON Lines and, built from those, as a Parquet manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    source, manifest = folder / "clips.jsonl", folder / "manifest.parquet"
    source.write_text("".join(json.dumps(clip) + "\n" for clip in clips), encoding="utf-8")
    report = build(source, str(manifest), ANIMATORS)
    if not report.ok:
        raise Problem("; ".join(report.lines()), "restore the sample catalogue: git checkout manifests/sample")
    return manifest


def sheet_row(clip: dict, result: Result) -> SheetRow:
    """One clip as it stands on the contact sheet."""
    reference = read_image(Path(clip["reference"]), Limits())
    film = _pictures(Path(result.film)) if result.good and result.film else None
    title = clip["id"] if result.good else f"{clip['id']} ({result.status})"
    return SheetRow(title, reference, _pictures(Path(clip["driving"])), film)


def _pictures(film: Path) -> np.ndarray:
    return np.stack(list(Frames(film, Limits()).read()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo as a command; returns its exit code."""
    from pipelines.commands.options import BROKE_OFF, say

    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description="Animate the sample catalogue.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out/demo"), help="where films and sheet go")
    try:
        return demo(parser.parse_args(argv).folder.absolute(), say)
    except Problem as problem:
        say(f"demo: {problem.error}\n  → {problem.remedy}")
        return BROKE_OFF
    except KeyboardInterrupt:
        say("demo: interrupted; the same command goes on from there")
        return BROKE_OFF


if __name__ == "__main__":
    sys.exit(main())
