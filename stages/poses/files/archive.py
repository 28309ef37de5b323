"""Zip files of users, opened without believing how many members they have or how far those unpack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

MOST_DIRECTORY = 8 * 2**20  # bytes that list the members; each of them takes ten times as much in memory
_END, _ZIP64 = b"PK\x05\x06", b"PK\x06\x07"
_END_LENGTH, _LONGEST_COMMENT, _ZIP64_LENGTH = 22, 2**16, 20


@contextmanager
def opened_archive(path: Path) -> Iterator[ZipFile]:
    """A zip file whose members unpack piece by piece. Raises `ValueError` for one of too many members.

    bzip2 and LZMA are refused: Python unpacks theirs whole, however little of it is asked for.
    """
    if (length := _directory_length(path)) > MOST_DIRECTORY:
        raise ValueError(f"a list of members of {length} bytes, at most {MOST_DIRECTORY} are read")
    with ZipFile(path) as archive:
        if odd := [one.filename for one in archive.infolist() if one.compress_type not in (ZIP_STORED, ZIP_DEFLATED)]:
            raise ValueError(f"{odd[0][:40]!r} is neither stored nor deflated")
        yield archive


def _directory_length(path: Path) -> int:
    """Bytes of the list of members as `zipfile` will find it; 0 where it will find none."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_LENGTH - _LONGEST_COMMENT - _ZIP64_LENGTH))
        tail = file.read()
    # zipfile looks at the very end first, where the record of a file without a comment lies
    end = len(tail) - _END_LENGTH
    if end < 0 or not (tail.startswith(_END, end) and tail.endswith(b"\0\0")):
        end = tail.rfind(_END)
    if end < 0:
        return 0
    if tail[max(0, end - _ZIP64_LENGTH) :].startswith(_ZIP64):
        raise ValueError("a zip64 archive, which holds more than this one may")
    return int.from_bytes(tail[end + 12 : end + 16], "little")
