"""A night that never was: films, markers, results and manifest of as many rows as are asked for, from a few media."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from manifests import results, storage
from manifests.layout import Film, OutputLayout, claim_run, reference_key
from manifests.results import Result
from manifests.row_text import plain_cells, row_text
from tests.made.sample_media import write_driving, write_manifest, write_reference

FRAMES, FPS = 30, 12
STARTED = datetime(2026, 11, 29, 22, 0, tzinfo=UTC)
_COLOURS = ("red", "green", "navy", "sand", "black")


@dataclass(frozen=True)
class Media:
    """Files that rows share: references, driving videos, and films with their posters."""

    references: Sequence[Path]
    drivings: Sequence[Path]
    films: Sequence[tuple[Path, Path]]


def small_media(folder: Path) -> Media:
    """Two of each, of 48×64 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    references = [write_reference(folder / f"reference-{seed}.png", seed) for seed in (0, 1)]
    drivings = [write_driving(folder / f"driving-{seed}.mp4", FRAMES, seed=seed) for seed in (0, 1)]
    films = []
    for seed, reference in enumerate(references):
        poster = folder / f"film-{seed}.jpg"
        Image.open(reference).convert("RGB").save(poster)
        films.append((write_driving(folder / f"film-{seed}.mp4", FRAMES, Fraction(FPS), seed + 5), poster))
    return Media(references, drivings, films)


def make_night(
    folder: Path, media: Media, rows: Sequence[dict[str, Any]], ended: Sequence[dict[str, Any]]
) -> OutputLayout:
    """`folder/out` with one run, `night`, of `folder/clips.parquet`: `rows` are its cells, `ended` fields of results.

    A row takes its reference and driving video from the media in turn where it names none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    layout = OutputLayout(str(folder / "out"))
    digests = {path: storage.sha256_file(path) for path in (*media.references, *media.drivings)}
    Path(layout.reference("x")).parent.mkdir(parents=True, exist_ok=True)
    Path(layout.films).mkdir(parents=True, exist_ok=True)
    for path in media.references:
        shutil.copy(path, layout.reference(reference_key(digests[path])))
    whole, made = [], []
    for number, (given, fields) in enumerate(zip(rows, ended, strict=True)):
        reference = media.references[number % len(media.references)]
        driving = media.drivings[number % len(media.drivings)]
        row = {
            "id": f"clip-{number}",
            "reference": str(reference),
            "driving": str(driving),
            "animator": "drawn",
            **given,
        }
        whole.append(row)
        end = {"status": "done", "animator": "drawn", "mode": "standard", "seed": row.get("seed", 0), **fields}
        end |= {"row": number, "id": row["id"], "metadata": row.get("metadata", {})}
        end |= {"reference": storage.redact(row["reference"]), "driving": storage.redact(row["driving"])}
        curves = end.pop("curves", {})
        if end["status"] in ("done", "cached"):
            end = {**_film(layout, str(row["id"]), number, media), **end}
            end |= {"reference_digest": digests[reference], "driving_digest": digests[driving]}
            marker = results.marker(Result.model_validate(end), "night", curves)
            place = layout.film_marker(Film(end["id"], end["film_key"]))
            Path(place).write_text(json.dumps(marker), encoding="utf-8")
        made.append(Result.model_validate(end))
    manifest = write_manifest(folder / "clips.parquet", whole)
    claim_run(layout, "night", manifest, [row_text(plain_cells(row)) for row in _as_stored(whole)])
    results.write(made, layout.run("night", "results.parquet"))
    return layout


def _as_stored(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}


def _film(layout: OutputLayout, clip_id: str, number: int, media: Media) -> dict[str, Any]:
    """The film's files, and what a result says of it."""
    film = Film(clip_id, f"{number:032x}")
    movie, poster = media.films[number % len(media.films)]
    os.link(movie, layout.film(film))  # a night of thousands is no heavier than its media
    os.link(poster, layout.poster(film))
    begun = STARTED + timedelta(seconds=9 * number)
    return {
        "film": layout.film(film),
        "poster": layout.poster(film),
        "poster_frame": 4,
        "film_key": film.key,
        "film_bytes": movie.stat().st_size,
        "frames": FRAMES,
        "fps": str(FPS),
        "width": 48,
        "height": 64,
        "steps": 2,
        "crf": 18,
        "seconds": {"pose": 0.4, "denoise": 6.1, "encode": 1.2},
        "gpu_seconds": 7.3,
        "device": "cuda",
        "host": f"gpu-{number % 8}",
        "started": begun,
        "finished": begun + timedelta(seconds=8),
        "attempts": 1,
    }


def typical(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Cells and ends of a night as they come: most films are fine, some are to be looked at, a few are not there."""
    rows = [
        {
            "id": f"look-{number:05}",
            "prompt": f"a person in a {_COLOURS[number % 5]} outfit, studio light",
            "metadata": {"sku": f"CW-{1000 + number}", "colour": _COLOURS[number % 5], "season": "spring 2027"},
        }
        for number in range(count)
    ]
    return rows, [_end(number) for number in range(count)]


def _end(number: int) -> dict[str, Any]:
    kind = number * 7919 % 100
    if kind < 2:
        remedy = "set dtype to float32 or bfloat16 in the configuration and run again"
        return {"status": "failed", "stage": "denoise", "error": "values that are not finite", "remedy": remedy}
    if kind < 5:
        error = f"driving '/media/{number}.mov' is truncated: it announces 240 frames and holds {number % 200}"
        return {"status": "rejected", "stage": "validate", "error": error, "remedy": "upload the complete file again"}
    if kind < 6:
        error, remedy = "not begun: the time given with --until had come", "the same run id continues it"
        return {"status": "not_reached", "error": error, "remedy": remedy}
    worst = number % FRAMES
    flicker = round(0.1 + 0.3 * (number % 97) / 97 + (0.4 if kind < 16 else 0), 3)
    curve = [round(flicker * (0.6 + 0.4 * math.cos((frame - worst) / 4)), 4) for frame in range(FRAMES)]
    seam = [round(1 + 0.1 * math.sin(frame * (1 + number % 3)), 4) for frame in range(FRAMES)]
    quality = {"flicker": {"value": flicker, "frame": worst}, "seam": {"value": 1.1, "frame": 3}, "black": {"value": 0}}
    end: dict[str, Any] = {"quality": quality, "curves": {"flicker": curve, "seam": seam}}
    if flicker > 0.5:
        end["review"] = [f"flicker {flicker:.3g} > 0.5 at frame {worst}"]
    if kind in (20, 21):
        end["warnings"] = [
            "frames 3–9 of the film show the nearest pose, as nobody is found there; choose another range"
        ]
    if kind > 90:
        end["status"] = "cached"
    return end


def in_bucket(layout: OutputLayout, bucket: str) -> OutputLayout:
    """The same output, copied into a bucket."""
    for name in storage.listing(layout.output, recursive=True):
        storage.copy(storage.join(layout.output, name), storage.join(bucket, "out", name))
    return OutputLayout(f"{bucket}/out")


def report_data(page: str) -> dict[str, Any]:
    """What the script of a report's page is given."""
    text = storage.read_bytes(page).decode()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])
