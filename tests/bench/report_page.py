"""Seconds to make and to open the page of a night, and its size.

    python -m tests.bench.report_page [ROWS ...] [--own-references] [--s3] [--keep FOLDER]

Nights of 6, 500 and 10,000 rows, unless others are given, that share the media of the sample catalogue; with
--own-references each row has a reference of its own, 768×1024. With --s3 the night lies on a server of S3 on this
machine. Opened in Chromium without a window, until the page has drawn itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from manifests.layout import OutputLayout
from pipelines.demo import CATALOGUE
from pipelines.report.report import write_report
from stages.video.image import read_image
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.made.browser import NAMES, Browser
from tests.made.made_night import Media, in_bucket, make_night, typical


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="*", default=[6, 500, 10_000])
    parser.add_argument("--own-references", action="store_true")
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as scratch:
            folder = (arguments.keep or Path(scratch)) / str(rows)
            shutil.rmtree(folder, ignore_errors=True)
            media = catalogue_media(folder / "media", rows if arguments.own_references else 0)
            measure(make_night(folder, media, *typical(rows)), rows, arguments.s3)


def measure(layout: OutputLayout, rows: int, in_s3: bool) -> None:
    """Make the page of a night, open it, and print a line."""
    with storage_of(layout, in_s3) as (stored, page):
        begun, before = time.perf_counter(), time.process_time()
        made = write_report(stored, page=page, overwrite=True)
        seconds, spent = time.perf_counter() - begun, time.process_time() - before
    opened, heap = opening(Path(made))
    size = Path(made).stat().st_size / 1e6
    print(f"{rows:6} rows: made in {seconds:.1f} s ({spent:.1f} CPU s beside the pictures), {size:.1f} MB; "
          f"opened in {opened:.1f} s, {heap:.0f} MB of heap", flush=True)  # fmt: skip


@contextmanager
def storage_of(layout: OutputLayout, in_s3: bool) -> Iterator[tuple[OutputLayout, str | None]]:
    """The night as it is, or in a bucket, and where its page is to lie."""
    if not in_s3:
        yield layout, None
        return
    from tests.made.s3_server import s3_endpoint

    server = s3_endpoint.__wrapped__()  # the fixture's own function
    endpoint = next(server)
    import boto3

    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="night")
    yield in_bucket(layout, "s3://night"), f"{layout.output}/report.html"
    next(server, None)


def opening(page: Path) -> tuple[float, float]:
    """Seconds until the page has drawn itself, and MB of JavaScript's heap then."""
    program = next(filter(None, map(shutil.which, NAMES)))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(program, Path(folder, "profile"), Path(folder))
        try:
            begun = time.perf_counter()
            browser.open(page.absolute().as_uri())
            return time.perf_counter() - begun, browser.run("performance.memory.usedJSHeapSize") / 1e6
        finally:
            browser.close()


def catalogue_media(folder: Path, own_references: int) -> Media:
    """The sample catalogue's media, driving videos standing for films; and so many references, each another picture."""
    folder.mkdir(parents=True)
    drivings = sorted(CATALOGUE.glob("*.mp4"))
    references = sorted(CATALOGUE.glob("*.png"))
    films = []
    for driving in drivings:
        movie, poster = folder / driving.name, folder / f"{driving.stem}.jpg"
        shutil.copy(driving, movie)
        Image.fromarray(next(iter(Frames(driving, Limits()).read([0])))).save(poster)
        films.append((movie, poster))
    if own_references:
        pictures = [Image.fromarray(read_image(path, Limits())).resize((768, 1024)) for path in references]
        references = []
        for number in range(own_references):
            references.append(folder / f"reference-{number}.png")
            pixels = np.asarray(pictures[number % len(pictures)]).copy()
            pixels[:16, :16] = np.random.default_rng(number).integers(0, 256, (16, 16, 3))
            Image.fromarray(pixels).save(references[-1], compress_level=1)
    return Media(references, drivings, films)


if __name__ == "__main__":
    main()
