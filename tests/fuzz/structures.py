"""Where the numbers and the parts of a file are, so that damage reaches what a parser believes."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["big", "little", "vint", "part"]

# ISO 14496-12: boxes that hold boxes, and how many bytes stand before the first one
_HOLDING = dict.fromkeys(b"moov trak mdia minf stbl edts dinf udta mvex moof traf mfra sinf schi ilst".split(), 0)
_HOLDING |= {b"meta": 4, b"stsd": 8, b"dref": 8, b"avc1": 78, b"hvc1": 78, b"hev1": 78, b"apcn": 78, b"av01": 78}
_HOLDING |= {b"mp4a": 28, b"vp09": 78}
# Matroska's elements that hold elements: Segment, SeekHead, Seek, Info, Tracks, TrackEntry, Video, Audio, Cluster, …
_MASTERS = {0x1A45DFA3, 0x18538067, 0x114D9B74, 0x4DBB, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1F43B675, 0xA0}
_MASTERS |= {0x1C53BB6B, 0xBB, 0xB7, 0x1254C367, 0x7373, 0x67C8, 0x55B0, 0x6D80}
_MOST = 4000  # spans that are kept of a file


@dataclass(frozen=True)
class Span:
    """Bytes start…stop: a number in that order of bytes, or a part; `around` are the lengths of what holds it."""

    start: int
    stop: int
    kind: Kind
    around: tuple[Span, ...] = ()

    def __len__(self) -> int:
        return self.stop - self.start

    def value(self, data: bytes | bytearray) -> int:
        """The number that stands there; of EBML's, without its marker of length."""
        raw = int.from_bytes(data[self.start : self.stop], "little" if self.kind == "little" else "big")
        return raw & ((1 << 7 * len(self)) - 1) if self.kind == "vint" else raw

    def write(self, data: bytearray, value: int) -> None:
        """Put a number there, cut to as many bytes."""
        size = len(self)
        if self.kind == "vint":
            value = (value & ((1 << 7 * size) - 1)) | 1 << 7 * size
        raw = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little" if self.kind == "little" else "big")
        data[self.start : self.stop] = raw


Find = Callable[[bytes], Iterator[Span]]


def spans(data: bytes) -> list[Span]:
    """What is known of a file by its first bytes; of one that is not known, nothing."""
    found: list[Span] = []
    find = _of(data)
    try:
        for span in find(data) if find else ():
            if 0 <= span.start < span.stop <= len(data):
                found.append(span)
            if len(found) >= _MOST:
                break
    except (struct.error, IndexError, ValueError):  # damaged before: what was found is enough
        pass
    return found


def mended(data: bytes) -> bytes:
    """The file with its checksums right, where it has any that a parser asks for first: PNG's."""
    if not data.startswith(_PNG):
        return data
    whole, at = bytearray(data), len(_PNG)
    while at + 12 <= len(whole):
        length = int.from_bytes(whole[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(whole):
            break
        whole[end : end + 4] = zlib.crc32(whole[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(whole)


_PNG = b"\x89PNG\r\n\x1a\n"


def _of(data: bytes) -> Find | None:
    if data.startswith(_PNG):
        return _png
    if data.startswith(b"\xff\xd8"):
        return _jpeg
    if data.startswith((b"II*\0", b"MM\0*")):
        return lambda whole: _tiff(whole, 0)
    if data.startswith(b"RIFF"):
        return lambda whole: _riff(whole, 0, len(whole), ())
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return lambda whole: _ebml(whole, 0, len(whole), ())
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide"):
        return lambda whole: _boxes(whole, 0, len(whole), ())
    if data.startswith(b"G") and data[188:189] == b"G":
        return _transport
    if data.startswith(b"PK"):
        return _zip
    if data.startswith(b"PAR1"):
        return _parquet
    if data.startswith(b"BM"):
        return lambda whole: _numbers(0, min(len(whole), 54), "little", 2, 4)
    if data.startswith(b"ARROW1"):
        return lambda whole: _numbers(8, len(whole), "little", 4, 8)
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        return _safetensors
    return _text if _is_text(data) else None


def _is_text(data: bytes) -> bool:
    try:
        return bool(data[:2000].decode("utf-8", "ignore").strip()) and b"\0" not in data
    except UnicodeDecodeError:
        return False


def _numbers(start: int, stop: int, order: Kind, *sizes: int, around: tuple[Span, ...] = ()) -> Iterator[Span]:
    for size in sizes:
        for at in range(start, stop - size + 1, size):
            yield Span(at, at + size, order, around)


def _boxes(data: bytes, start: int, stop: int, around: tuple[Span, ...]) -> Iterator[Span]:
    at = start
    while at + 8 <= stop:
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        head, length = 8, Span(at, at + 4, "big", around)
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
            length = Span(at + 8, at + 16, "big", around)
        end = stop if size == 0 else at + size
        if end > stop or end < at + head:
            return
        yield Span(at, end, "part", around)
        yield length
        yield Span(at + 4, at + 8, "big", around)
        inner = (*around, length)
        if name in _HOLDING:
            yield from _numbers(at + head, min(end, at + head + _HOLDING[name]), "big", 2, 4, around=inner)
            yield from _boxes(data, at + head + _HOLDING[name], end, inner)
        elif name != b"mdat":
            yield from _numbers(at + head, min(end, at + head + 96), "big", 4, around=inner)
        at = end


def _vint(data: bytes, at: int, marked: bool) -> tuple[int, int]:
    """(value, bytes) of EBML's number of variable length, with or without its marker."""
    size = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + size], "big")
    return (value if marked else value & ((1 << 7 * size) - 1)), size


def _ebml(data: bytes, start: int, stop: int, around: tuple[Span, ...]) -> Iterator[Span]:
    at = start
    while at + 2 <= stop and data[at]:
        name, name_size = _vint(data, at, marked=True)
        size, size_size = _vint(data, at + name_size, marked=False)
        head = at + name_size + size_size
        unknown = size == (1 << 7 * size_size) - 1
        end = stop if unknown else head + size
        if end > stop:
            return
        length = Span(at + name_size, head, "vint", around)
        yield Span(at, end, "part", around)
        yield length
        inner = around if unknown else (*around, length)
        if name in _MASTERS:
            yield from _ebml(data, head, end, inner)
        elif end - head in range(1, 9):
            yield Span(head, end, "big", inner)
        at = end


def _riff(data: bytes, start: int, stop: int, around: tuple[Span, ...]) -> Iterator[Span]:
    at = start
    while at + 8 <= stop:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        length, end = Span(at + 4, at + 8, "little", around), at + 8 + size
        if end > stop + 1:
            return
        yield Span(at, min(end, stop), "part", around)
        yield length
        inner = (*around, length)
        if data[at : at + 4] in (b"RIFF", b"LIST"):
            yield from _riff(data, at + 12, min(end, stop), inner)
        elif data[at : at + 4] != b"movi":
            yield from _numbers(at + 8, min(end, stop, at + 8 + 64), "little", 2, 4, around=inner)
        at = end + size % 2


def _png(data: bytes) -> Iterator[Span]:
    at = len(_PNG)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield Span(at, min(at + 12 + size, len(data)), "part")
        yield Span(at, at + 4, "big")
        head = at + 8
        yield from _numbers(head, min(head + size, head + 32, len(data)), "big", 4, 1)
        at += 12 + size


def _jpeg(data: bytes) -> Iterator[Span]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + size
        yield Span(at, min(end, len(data)), "part")
        yield Span(at + 2, at + 4, "big")
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            yield from _tiff(data, at + 10)
        else:
            yield from _numbers(at + 4, min(end, at + 40, len(data)), "big", 1, 2)
        if marker == 0xDA:  # what follows is the picture
            return
        at = end


def _tiff(data: bytes, base: int) -> Iterator[Span]:
    order: Kind = "little" if data[base : base + 2] == b"II" else "big"
    first = Span(base + 4, base + 8, order)
    yield first
    at = first.value(data)
    for _ in range(8):  # directories: a chain may be a circle
        if not 0 < at < len(data) - base - 2:
            return
        count = Span(base + at, base + at + 2, order)
        yield count
        entries = count.value(data)
        for number in range(min(entries, 64)):
            entry = base + at + 2 + 12 * number
            yield Span(entry, entry + 12, "part")
            yield from (Span(entry + begin, entry + end, order) for begin, end in ((0, 2), (2, 4), (4, 8), (8, 12)))
        following = Span(base + at + 2 + 12 * entries, base + at + 6 + 12 * entries, order)
        yield following
        at = following.value(data)


def _transport(data: bytes) -> Iterator[Span]:
    for at in range(0, len(data) - 187, 188):
        yield Span(at, at + 188, "part")
        yield from _numbers(at + 1, at + 24, "big", 1, 2)


def _zip(data: bytes) -> Iterator[Span]:
    shapes = {b"PK\x03\x04": (30, ((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)))}
    shapes[b"PK\x01\x02"] = (46, ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4)))
    shapes[b"PK\x05\x06"] = (22, ((8, 2), (10, 2), (12, 4), (16, 4), (20, 2)))
    for found in re.finditer(rb"PK(\x03\x04|\x01\x02|\x05\x06)", data):
        at, (size, fields) = found.start(), shapes[found[0]]
        yield Span(at, min(at + size, len(data)), "part")
        yield from (Span(at + offset, at + offset + width, "little") for offset, width in fields)
    for found in re.finditer(rb"\x93NUMPY", data):  # what lies in it unpacked
        yield from _numbers(found.start() + 6, found.start() + 10, "little", 1, 2)
        yield from _text(data, found.start() + 10, found.start() + 128)
    for found in re.finditer(rb"data\.pkl", data):
        yield from _numbers(found.end(), min(len(data), found.end() + 400), "little", 1)


def _parquet(data: bytes) -> Iterator[Span]:
    size = int.from_bytes(data[-8:-4], "little")
    yield Span(len(data) - 8, len(data) - 4, "little")
    footer = max(4, len(data) - 8 - size)
    yield Span(footer, len(data) - 8, "part")
    yield from _numbers(footer, len(data) - 8, "little", 1)  # thrift: numbers of seven bits a byte
    yield from _numbers(4, min(footer, 200), "little", 1)  # the first page's header


def _safetensors(data: bytes) -> Iterator[Span]:
    yield Span(0, 8, "little")
    yield from _text(data, 8, 8 + int.from_bytes(data[:8], "little"))


def _text(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Span]:
    """Numbers, words and brackets of JSON, YAML or Python's literals: each a part of its own."""
    for found in re.finditer(rb"-?\d+(\.\d+)?|\"[^\"\n]{0,80}\"|[\w.]+|[\[\]{}():,]", data[start:stop]):
        yield Span(start + found.start(), start + found.end(), "part")
