"""Small pictures of references and driving videos, made when a page is: user media are read in processes of their own.

A process that a file kills, or that takes too long over it, is ended; what it had in hand is left out, with the reason.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

from manifests import storage
from manifests.clip import Clip
from manifests.errors import Problem
from manifests.temporary import temporary_folder
from pipelines.report.picture import inline
from stages.driving import shown_frames
from stages.video.image import read_image
from stages.video.limits import Limits
from stages.video.read import Frames

SECONDS_EACH = 60  # of one file, after which its process is ended
MOST_BYTES = 512 * 2**20  # of a driving video that is fetched for its thumbnails
QUALITY = 70
SIDES = ((1000, 224), (4000, 144), (10**9, 96))  # (pictures up to which, pixels of the longer side): pages stay small


class Reference(NamedTuple):
    """A reference in the cache, as plain pixels, and the rows that have it."""

    uri: str
    rows: list[int]
    kind: Literal["reference"] = "reference"


class Driving(NamedTuple):
    """A driving video, as it was when its clips were validated, and what to show of it for each of its rows."""

    uri: str
    digest: str  # hex SHA-256 of its bytes
    moments: list[tuple[Clip, int]]  # the clip, and a frame of its film
    rows: list[int]
    kind: Literal["driving"] = "driving"


class Left(NamedTuple):
    """Why there is no picture."""

    reason: str


@dataclass(frozen=True)
class Pictures:
    """One for each moment of a source, as data: addresses; `frames` are numbers in the driving video."""

    addresses: list[str]
    frames: list[int]


Source = Reference | Driving


def thumbnails(sources: Sequence[Source], seconds: float) -> list[Pictures | Left]:
    """Pictures of every source, or why there are none: the first are begun first, what takes longer is left out."""
    count = sum(1 if isinstance(source, Reference) else len(source.moments) for source in sources)
    side = next(pixels for most, pixels in SIDES if count <= most)
    until = time.monotonic() + seconds
    workers = min(8, os.cpu_count() or 1)
    made: dict[int, Pictures | Left] = {}
    while len(made) < len(sources) and time.monotonic() < until:
        waiting = {number: source for number, source in enumerate(sources) if number not in made}
        fatal = _in_processes(waiting, side, min(workers, len(waiting)), until, made)
        if fatal is not None and workers == 1:
            made[fatal] = Left(f"whoever reads it dies, or is not done within {SECONDS_EACH} s")
        workers = 1  # a process has died: with one at a time it is known of what
    return [made.get(number, Left("there was no time left for it")) for number in range(len(sources))]


def _in_processes(
    sources: Mapping[int, Source], side: int, workers: int, until: float, made: dict[int, Pictures | Left]
) -> int | None:
    """Put what becomes of the sources into `made`; returns the first that was not done when a process died."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    try:
        futures = {pool.submit(_made, source, side): number for number, source in sources.items()}
        for future in as_completed(futures, max(0.0, until - time.monotonic())):
            with suppress(BrokenProcessPool):
                made[futures[future]] = future.result()
    except TimeoutError:
        return None
    except BrokenProcessPool:  # while they were handed out
        return next(iter(sources))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return next((number for future, number in futures.items() if future.done() and number not in made), None)


def _made(source: Source, side: int) -> Pictures | Left:
    """In a process of its own: the pictures, or what is wrong with the file."""
    signal.alarm(SECONDS_EACH)  # it ends the process, whatever library is at work
    try:
        return _of_reference(source, side) if isinstance(source, Reference) else _of_driving(source, side)
    except Problem as problem:
        return Left(storage.redact_text(problem.error))
    except FileNotFoundError:
        return Left("it is not there any more")
    except Exception as error:  # stores and decoders have errors of their own
        return Left(storage.redact_text(f"{type(error).__name__}: {error}")[:300])
    finally:
        signal.alarm(0)


def _of_reference(source: Reference, side: int) -> Pictures:
    with temporary_folder("report") as folder:
        picture = read_image(storage.fetch(source.uri, folder, MOST_BYTES), Limits())
    return Pictures([inline(picture, side, QUALITY)], [0])


def _of_driving(source: Driving, side: int) -> Pictures | Left:
    with temporary_folder("report") as folder:
        path = storage.fetch(source.uri, folder, MOST_BYTES)
        if storage.sha256_file(path) != source.digest:
            return Left("the file has changed since")
        video = Frames(path, Limits(bytes=MOST_BYTES))
        shown = [_shown(clip, frame, video) for clip, frame in source.moments]
        some = sorted(set(shown))
        drawn = {frame: inline(picture, side, QUALITY) for frame, picture in zip(some, video.read(some), strict=True)}
    return Pictures([drawn[frame] for frame in shown], shown)


def _shown(clip: Clip, frame: int, video: Frames) -> int:
    """The frame of the driving video that a frame of the film shows; one that failed may have no rate of its own."""
    rated = clip if clip.fps else clip.model_copy(update={"fps": video.facts.fps})
    shown = shown_frames(rated, video.timestamps, video.facts.fps)
    return shown[min(frame, len(shown) - 1)]
