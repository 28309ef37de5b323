"""Nights on object stores as they are: on S3 that fails now and then, and on Azure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from manifests import results, storage
from pipelines import cli
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.conftest import CHECKOUT
from tests.made.faulty_proxy import faulty_proxy
from tests.made.outside_package import write_package
from tests.made.sample_media import clip_row, write_driving, write_manifest, write_reference

CLIPS = 4


def catalogue(folder: Path) -> str:
    """A manifest of clips on two driving videos, each with a reference of its own."""
    for number in range(CLIPS):
        write_reference(folder / f"{number}.png", seed=number)
    for number in range(2):
        write_driving(folder / f"{number}.mp4", seed=number)
    fields = {"animator": "mirror", "driving_kind": "skeleton", "steps": None}
    rows = [
        clip_row(f"clip-{number}", reference=f"{number}.png", driving=f"{number % 2}.mp4", **fields)
        for number in range(CLIPS)
    ]
    return write_manifest(folder / "manifest.parquet", rows)


def night(folder: Path, manifest: str, output: str, **environment: str) -> dict[str, Any]:
    """A night on a Ray of its own; what it says as JSON."""
    site = write_package(folder / "site")
    paths = os.pathsep.join([str(CHECKOUT), str(site)])
    ended = subprocess.run(
        [sys.executable, "-m", "pipelines.animate", manifest, output, "--run-id", "night", "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "RAY_ADDRESS": "local", **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == cli.OK, ended.stderr[-4000:]
    return json.loads(ended.stdout)


def alone(folder: Path) -> np.ndarray:
    """The frames of the first clip, made here without Ray and stores."""
    size = ["--set", "width=48", "--set", "height=64", "--set", "driving_kind=skeleton"]
    words = ["clip", "0.png", "0.mp4", "alone.mp4", "--animator", "mirror", "--overwrite", *size]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(folder / "site")])}
    subprocess.run([sys.executable, "-m", "pipelines.cli", *words], cwd=folder, env=environment, check=True)
    return np.stack(list(Frames(folder / "alone.mp4", Limits()).read())).astype(int)


def assert_films_are_those_of_the_catalogue(output: str, folder: Path) -> None:
    """Every film is whole and shows its reference mirrored, as `mirror` does; one is held against a film made alone."""
    made = results.read(f"{output}/runs/night/results.parquet")
    assert [result.status for result in made] == ["done"] * CLIPS
    for number, result in enumerate(made):
        film = storage.fetch(result.film, folder / "films", None)
        frames = np.stack(list(Frames(film, Limits()).read())).astype(int)
        expected = np.array(Image.open(folder / f"{number}.png")).astype(int)[:, ::-1]
        assert len(frames) == 6
        assert np.abs(frames - expected).mean() < 12
        if number == 0:
            assert np.array_equal(frames, alone(folder))
    names = storage.listing(output + "/films")
    assert len(names) == 3 * CLIPS
    assert all(names.values())


@contextmanager
def reader(s3: str, endpoint: str) -> Iterator[dict[str, set[str]]]:
    """Somebody who looks at the bucket all the while; every content that was seen under a name."""
    import boto3

    client, bucket = boto3.client("s3", endpoint_url=endpoint), s3.removeprefix("s3://")
    seen: dict[str, set[str]] = defaultdict(set)
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            found = {one["Key"]: one["ETag"] for one in client.list_objects_v2(Bucket=bucket).get("Contents", ())}
            for name, content in found.items():
                seen[name].add(content)
                film = name.replace(".json", ".mp4")
                if "/films/" in name and film not in found:
                    seen[film].add("absent although its marker is there")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_a_tenth_of_the_calls_failing_costs_no_film_and_shows_nobody_half_of_one(
    media: Path, s3: str, s3_endpoint: str
) -> None:
    manifest = catalogue(media)
    with (
        faulty_proxy(s3_endpoint, 0.1, seed=4, stall_seconds=1) as proxy,
        reader(s3, s3_endpoint) as seen,
    ):
        said = night(media, manifest, s3 + "/out", FSSPEC_S3_ENDPOINT_URL=proxy.endpoint)
    print(f"{proxy.done.total()} of {proxy.requests} requests failed: {dict(proxy.done)}; {said}")
    assert proxy.done.total() > 10
    assert said["storage_retries"] > 0
    assert_films_are_those_of_the_catalogue(s3 + "/out", media)
    films = {name: contents for name, contents in seen.items() if "/films/" in name}
    assert {len(contents) for contents in films.values()} == {1}, "a name held more than one content"
    whole = {f"out/films/{name}" for name in storage.listing(s3 + "/out/films")}
    assert films.keys() <= whole


def test_the_whole_path_runs_on_azure(media: Path, azure: str) -> None:
    said = night(media, catalogue(media), azure + "/out")
    assert said["done"] == CLIPS
    assert_films_are_those_of_the_catalogue(azure + "/out", media)
