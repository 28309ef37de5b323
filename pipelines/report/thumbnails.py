"""Small pictures of references and driving videos, made when a page is; user media are read in the sandbox.

What takes too long is left out, with the reason.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Literal, NamedTuple

from manifests import storage
from manifests.clip import Clip
from manifests.errors import Problem
from manifests.temporary import temporary_folder
from pipelines.report.picture import inline
from stages.driving import shown_frames
from stages.sandbox.held_file import held
from stages.sandbox.reading import Frames, read_image
from stages.video.limits import Limits

MOST_BYTES = 512 * 2**20  # of a driving video that is fetched for its thumbnails
LIMITS = Limits(bytes=MOST_BYTES, cpu_seconds=20)
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
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(len(sources)):
        waiting.put(number)
    done: SimpleQueue[tuple[int, Pictures | Left]] = SimpleQueue()

    def work() -> None:
        while time.monotonic() < until:
            try:
                number = waiting.get_nowait()
            except Empty:
                return
            done.put((number, _made(sources[number], side)))

    for _ in range(min(8, os.cpu_count() or 1, len(sources))):
        Thread(target=work, name="thumbnails", daemon=True).start()  # nobody waits for one that a store keeps
    made: dict[int, Pictures | Left] = {}
    while len(made) < len(sources):
        try:
            number, pictures = done.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            break
        made[number] = pictures
    return [made.get(number, Left("there was no time left for it")) for number in range(len(sources))]


def _made(source: Source, side: int) -> Pictures | Left:
    """The pictures, or what is wrong with the file."""
    try:
        return _of_reference(source, side) if isinstance(source, Reference) else _of_driving(source, side)
    except Problem as problem:
        return Left(storage.redact_text(problem.error))
    except FileNotFoundError:
        return Left("it is not there any more")
    except Exception as error:  # stores have errors of their own
        return Left(storage.redact_text(f"{type(error).__name__}: {error}")[:300])


def _of_reference(source: Reference, side: int) -> Pictures:
    with temporary_folder("report") as folder:
        picture = read_image(storage.fetch(source.uri, folder, MOST_BYTES), LIMITS)
    return Pictures([inline(picture, side, QUALITY)], [0])


def _of_driving(source: Driving, side: int) -> Pictures | Left:
    with temporary_folder("report") as folder, held(storage.fetch(source.uri, folder, MOST_BYTES)) as file:
        if file.sha256() != source.digest:
            return Left("the file has changed since")
        video = Frames(file, LIMITS)
        shown = [_shown(clip, frame, video) for clip, frame in source.moments]
        some = sorted(set(shown))
        drawn = {frame: inline(picture, side, QUALITY) for frame, picture in zip(some, video.read(some), strict=True)}
        if file.changed:
            return Left("the file has changed since")
    return Pictures([drawn[frame] for frame in shown], shown)


def _shown(clip: Clip, frame: int, video: Frames) -> int:
    """The frame of the driving video that a frame of the film shows; one that failed may have no rate of its own."""
    rated = clip if clip.fps else clip.model_copy(update={"fps": video.facts.fps})
    shown = shown_frames(rated, video.timestamps, video.facts.fps)
    return shown[min(frame, len(shown) - 1)]
