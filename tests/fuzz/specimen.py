"""A file that is tried, and how it ended."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Literal, NamedTuple

Status = Literal["accepted", "rejected", "failed", "fault"]


class Specimen(NamedTuple):
    """A file: what reads it (`kind`), the ending of its name, its bytes; of a checkpoint's, its place there."""

    kind: str
    name: str
    data: bytes
    place: str = ""


class Outcome(NamedTuple):
    """How a file ended. "fault": as it must not; `said` then tells what is to be mended."""

    status: Status
    said: str = ""


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files, deflated; always the same bytes, as none of them has a date."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # a name alone would be given the time of day
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return stream.getvalue()
