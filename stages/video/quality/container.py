"""Whether a film's file is what players and shops can use. What its watermark and signature say belongs here too."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av

_TICK = Fraction(1, 1000)  # seconds by which lengths may differ: containers round


class Wanted(NamedTuple):
    """What a film is to be."""

    frames: int
    fps: Fraction
    width: int
    height: int


def container_faults(film: Path, wanted: Wanted | None = None) -> list[str]:
    """What is wrong with the file of an MP4, in words; nothing of it is decoded. Empty: nothing is."""
    try:
        with av.open(str(film), options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                return ["it has no picture"]
            stream = container.streams.video[0]
            if not getattr(stream, "width", 0):  # which PyAV leaves out where the head does not say
                return ["it cannot be opened: its head is damaged"]
            shown = [packet for packet in container.demux(stream) if packet.pts is not None]
            times = sorted(packet.pts * packet.time_base for packet in shown)
            rate, size = Fraction(stream.average_rate or 0), (stream.width, stream.height)
            length = None if container.duration is None else Fraction(container.duration, av.time_base)
    except (av.FFmpegError, OSError) as error:
        return [f"it cannot be opened: {error}"]
    found = [*_steadiness(times), *_index(film)]
    if wanted is not None:
        pairs = (
            ("frames", str(len(times)), str(wanted.frames)),
            ("frames per second", str(rate), str(wanted.fps)),
            ("pixels", "{}×{}".format(*size), f"{wanted.width}×{wanted.height}"),
        )
        found += [f"{has} {what} instead of {asked}" for what, has, asked in pairs if has != asked]
    if length is not None and rate and abs(length - len(times) / rate) > max(_TICK, 1 / rate):
        found.append(f"it says that it lasts {float(length):.3f} s, its frames {float(len(times) / rate):.3f} s")
    return found


def _steadiness(times: list[Fraction]) -> Iterator[str]:
    steps = [later - now for now, later in pairwise(times)]
    if steps and max(steps) - min(steps) > _TICK:
        yield f"its frames last {float(min(steps)):.3f} to {float(max(steps)):.3f} s each"


def _index(film: Path) -> Iterator[str]:
    """Whether a player can begin before it has all of the file: the index (moov) lies before the pictures (mdat)."""
    boxes = list(_boxes(film))
    if "moov" not in boxes or "mdat" not in boxes:
        yield "it is no MP4 with an index"
    elif boxes.index("moov") > boxes.index("mdat"):
        yield "its index is at the end (no faststart): players wait for the whole file"


def _boxes(film: Path) -> Iterator[str]:
    """Names of the boxes at the top of an MP4 (ISO/IEC 14496-12, 4.2)."""
    with film.open("rb") as file:
        while len(head := file.read(8)) == 8:
            size, kind = int.from_bytes(head[:4], "big"), head[4:].decode("latin-1")
            yield kind
            if size == 1:
                size = int.from_bytes(file.read(8), "big") - 8
            if size < 8:  # to the end of the file, or nonsense
                return
            file.seek(size - 8, 1)
