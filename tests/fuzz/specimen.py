"""A file that is tried, and how it ended."""

from __future__ import annotations

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
