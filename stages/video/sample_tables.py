"""The tables of an MP4 file, held against its size before any decoder believes them.

A few bytes may claim 2³² samples, for which libav takes memory while it opens the file. Only where boxes lie and how
much they claim is looked at (ISO 14496-12); what they hold is for the decoder.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from manifests.errors import Rejected

MOST_BOXES = 400_000  # ten in a fragment, fragments of one frame, two tracks
MOST_UNLISTED = 1_000_000  # samples of fragments, of which nothing but their number is said
SLACK = 10_000  # samples that tables of one track may disagree in
DEEPEST = 8

_FIRST = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp", b"moof", b"pnot", b"sidx", b"uuid")
# All in which libav looks for boxes, wherever they stand.
_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta", b"tref", b"mfra")
_ENTRY = {b"stts": 8, b"ctts": 8, b"stsc": 12, b"stco": 4, b"co64": 8, b"stss": 4, b"stps": 4, b"elst": 12, b"stsd": 8}
_COUNTED = (b"stts", b"ctts")  # an entry is a number of samples, and what they have in common
_AT_ONCE = 2**16  # entries
_REMEDY = "upload it again, or convert it: ffmpeg -i INPUT -c:v libx264 -pix_fmt yuv420p OUTPUT.mp4"


class _Box(NamedTuple):
    kind: bytes
    start: int  # of what it holds
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def check_tables(path: Path) -> None:
    """Raise `Rejected` for a file of MP4's family whose tables claim more than it has room for."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(4)
        if file.read(4) not in _FIRST:
            return
        try:
            _check(file, size)
        except ValueError as wrong:
            raise Rejected(f"video {path.name!r} is damaged or truncated: {wrong}", _REMEDY) from None


def _check(file: BinaryIO, size: int) -> None:
    samples: int | None = None  # of the track that is being looked at, once it was said
    claimed = unlisted = 0
    for number, box in enumerate(_boxes(file, 0, size, 0)):
        if number == MOST_BOXES:
            raise ValueError(f"it has more than {MOST_BOXES} boxes")
        if box.kind == b"cmov":
            raise ValueError("its header is compressed")
        if box.kind == b"trak":
            samples, claimed = None, 0
        elif box.kind == b"stsz":
            samples = _sizes(file, box, size)
        elif box.kind == b"trun":
            unlisted += _unlisted(file, box)
        elif box.kind in _ENTRY:
            entries = _entries(file, box)
            claimed = max(claimed, _sum(file, box, entries) if box.kind in _COUNTED else 0)
        if samples is not None and claimed > samples + SLACK:
            raise ValueError(f"a table tells of {claimed} samples, and there are {samples}")
        if unlisted > MOST_UNLISTED:
            raise ValueError(f"its fragments claim {unlisted} samples and say nothing of them")


def _boxes(file: BinaryIO, start: int, end: int, depth: int) -> Iterator[_Box]:
    """All boxes from `start` to `end`, parents before what is in them, as far as they can be told apart."""
    while start + 8 <= end and depth < DEEPEST:
        length, head = _number(file, start), 8
        kind = file.read(4)
        if length == 1:
            length, head = int.from_bytes(file.read(8), "big"), 16
        elif length == 0:
            length = end - start
        if length < head:
            return
        box = _Box(kind, start + head, min(start + length, end))
        yield box
        if kind in _PARENTS:
            yield from _boxes(file, box.start, box.end, depth + 1)
        start += length


def _number(file: BinaryIO, place: int) -> int:
    file.seek(place)
    return int.from_bytes(file.read(4), "big")


def _entries(file: BinaryIO, box: _Box) -> int:
    """How many entries a table has. Raises `ValueError` where it has no room for as many as it says."""
    count = _number(file, box.start + 4)
    if count * _ENTRY[box.kind] > box.length - 8:
        raise ValueError(f"{box.kind.decode()} claims {count} entries in {box.length} bytes")
    return count


def _sizes(file: BinaryIO, box: _Box, size: int) -> int:
    """How many samples a track has. Raises `ValueError` where neither their sizes nor they themselves have room."""
    same, count = _number(file, box.start + 4), _number(file, box.start + 8)
    if count * same > size or (not same and count * 4 > box.length - 12):
        raise ValueError(f"stsz claims {count} samples in a file of {size} bytes")
    return count


def _sum(file: BinaryIO, box: _Box, entries: int) -> int:
    """The samples that all entries together tell of."""
    file.seek(box.start + 8)
    found = 0
    for first in range(0, entries, _AT_ONCE):
        numbers = array("I", file.read(8 * min(_AT_ONCE, entries - first)))
        numbers.byteswap()
        found += sum(numbers[::2])
    return found


def _unlisted(file: BinaryIO, box: _Box) -> int:
    """How many samples a fragment's run says nothing more of. Raises `ValueError` where it has no room for the rest."""
    flags, count = _number(file, box.start), _number(file, box.start + 4)
    each = 4 * (flags & 0xF00).bit_count()  # duration, size, flags, offset in time
    if count * each > box.length - 8 - 4 * (flags & 0x5).bit_count():
        raise ValueError(f"trun claims {count} samples in {box.length} bytes")
    return 0 if each else count
