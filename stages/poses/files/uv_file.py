"""DensePose's U and V of a driving file, as users hand them in: one NumPy .npz file.

`uv` holds floats (frames, 2, height, width): U and V of the person in [0, 1], zeros where no body is, as DreamPose's
published code keeps them in one `frame_<n>_densepose.npy` per frame. `fps` may state the frame rate.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np

from manifests.errors import Rejected
from stages.poses.files.archive import opened_archive
from stages.poses.files.array_file import read_header, read_rate
from stages.video.limits import Limits

_REMEDY = (
    "give an .npz file with `uv`, floats (frames, 2, height, width) in 0 … 1, and perhaps `fps`; "
    "see stages/poses/README.md, 'DensePose U and V'"
)


@dataclass(frozen=True)
class UVFacts:
    """What a file says it holds."""

    frames: int
    width: int
    height: int
    fps: Fraction | None


def probe_uv(path: Path, limits: Limits) -> UVFacts:
    """Sizes and rate from the headers alone. Raises `Rejected` for another file, or one over `limits`."""
    with _opened(path) as archive:
        with archive.open("uv.npy") as member:
            (frames, _, height, width), _ = _header(path, member)
        fps = read_rate(archive)
    for found, allowed, what in ((frames, limits.frames, "frames"), (width * height, limits.frame_pixels, "pixels")):
        if found > allowed:
            raise _rejected(path, f"has {found} {what}, allowed are {allowed}", "cut it or scale it down")
    if not frames * width * height:
        raise _rejected(path, "has no frames")
    return UVFacts(frames, width, height, fps)


def read_uv(path: Path, limits: Limits) -> Iterator[np.ndarray]:
    """float32 (2, height, width) of every frame, one in memory at a time. Raises `Rejected` for a damaged file."""
    facts = probe_uv(path, limits)
    with _opened(path) as archive, archive.open("uv.npy") as member:
        (_, *shape), dtype = _header(path, member)
        length = int(np.prod(shape)) * dtype.itemsize
        for number in range(facts.frames):
            data = member.read(length)
            if len(data) < length:
                raise _rejected(path, f"ends in frame {number} of {facts.frames}")
            frame = np.frombuffer(data, dtype).reshape(shape)
            if not (np.abs(frame - 0.5) <= 1.5).all():  # the network's own values leave 0 … 1 a little
                raise _rejected(path, f"has values outside 0 … 1 in frame {number}")
            yield frame.astype(np.float32)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with opened_archive(path) as archive:
            yield archive
    except Rejected:
        raise
    except Exception as broken:  # whatever zipfile, zlib and NumPy make of hostile bytes
        raise _rejected(path, f"cannot be read: {type(broken).__name__}: {broken}") from None


def _header(path: Path, member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array; the member is left at its first value."""
    header = read_header(member)
    shape, dtype = header.shape, header.dtype
    if len(shape) != 4 or shape[1] != 2 or dtype.kind != "f" or header.fortran:
        order = " in Fortran order" if header.fortran else ""
        raise _rejected(path, f"holds {dtype} {list(shape)}{order}")
    return shape, dtype


def _rejected(path: Path, found: str, remedy: str = _REMEDY) -> Rejected:
    return Rejected(f"U/V file {path.name!r} {found}", remedy)
