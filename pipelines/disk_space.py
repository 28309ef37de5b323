"""Whether a disk has room for what is about to be made: asked before hours are spent on it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from manifests import storage
from manifests.errors import Problem
from manifests.work import Work

# Bytes for each pixel of each frame, too few rather than too many: what is refused could not have been done.
FILM = 0.01  # of a flat film
LATENTS = 0.25  # four channels of float32 at 1/8 size


def require_space(folder: str, works: Sequence[Work], bytes_per_pixel: float) -> None:
    """Raise `Problem` unless the disk that `folder` lies on has room for films of `works`. Object stores have."""
    if not storage.is_local(folder):
        return
    there = next(place for place in (Path(folder), *Path(folder).absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    pixels = sum(work.frames * (work.clip.width or 0) * (work.clip.height or 0) for work in works)
    needed = pixels * bytes_per_pixel
    if free < needed:
        raise Problem(
            f"{folder}: {megabytes(free)} are free, and {len(works)} film(s) with what is stored for them need "
            f"{megabytes(needed)} or more",
            "free space, or write to another disk",
        )


def megabytes(size: float) -> str:
    """A size in bytes as a person reads it."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
