"""Clips of several segments, through Ray: dealt to workers, one film whoever made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.animate import run
from pipelines.running.record import RunResults
from tests.made.sample_media import clip_row, config, write_driving, write_manifest
from tests.made.segmented import IMPLEMENTATION, made

pytestmark = pytest.mark.usefixtures("cluster")

FRAMES = 35  # four segments, the last of 11 frames


@pytest.fixture
def manifest(media: Path) -> str:
    (media / "made").mkdir()
    write_driving(media / "long.mp4", FRAMES)
    row = {"animator": "segmented", "driving": "long.mp4", "driving_kind": "skeleton", "steps": None}
    options = {"folder": str(media / "made"), "seconds": 0.3}
    return write_manifest(media / "m.parquet", [clip_row("long", **row, options=options)])


def animated(manifest: str, output: Path, workers: int, **fields: Any) -> RunResults:
    pools = {"animate_pool": {"size": workers, "num_cpus": 0.1, "device": "cpu"}}
    made_of = config(animators={"segmented": IMPLEMENTATION}, **pools, **fields)
    return run(made_of, manifest, str(output), run_id="night")


def film(done: RunResults) -> bytes:
    (result,) = done.results
    assert (result.status, result.frames) == ("done", FRAMES), result.error
    return Path(result.film).read_bytes()


def test_a_long_clip_is_dealt_to_the_workers_and_its_film_is_that_of_one_worker(media: Path, manifest: str) -> None:
    notes = media / "made"
    one = animated(manifest, media / "one", 1)
    numbers, processes = made(notes)
    assert (numbers, len(processes)) == ([0, 1, 2, 3], 1)
    for note in notes.iterdir():
        note.unlink()

    two = animated(manifest, media / "two", 2, keep_latents=False)
    numbers, processes = made(notes)
    assert (numbers, len(processes)) == ([0, 1, 2, 3], 2)
    assert film(one) == film(two)
    (result,) = two.results
    assert result.seconds["denoise"] >= 4 * 0.3, "the film tells what its segments took"
    assert not list((media / "two" / "cache" / "latents").iterdir())
    assert len(list((media / "one" / "cache" / "latents").iterdir())) == 4


def test_a_segment_that_overflows_or_fails_decides_for_its_clip_once_the_others_are_back(
    media: Path, manifest: str
) -> None:
    notes = media / "made"
    row = {"animator": "segmented", "driving": "long.mp4", "driving_kind": "skeleton", "steps": None}
    asked = {"overflows": {"overflows": 1}, "fails": {"fails": 0, "folder": str(notes)}}
    rows = [clip_row(name, **row, options=options) for name, options in asked.items()]
    manifest = write_manifest(media / "two.parquet", rows)
    pools = {"animate_pool": {"size": 2, "num_cpus": 0.1, "device": "cpu", "dtype": "float16"}}
    done = run(config(animators={"segmented": IMPLEMENTATION}, **pools), manifest, str(media / "out"), run_id="night")
    overflown, failed = done.results
    assert (overflown.status, overflown.frames) == ("done", FRAMES), overflown.error
    assert any("made in float32" in warning for warning in overflown.warnings)
    assert (failed.status, failed.stage) == ("failed", "animate")
    assert "this segment cannot be made" in failed.error
    assert made(notes)[0] == [0, 1, 2, 3], "the others were in hand, and are stored for the next run"
