"""Whether a disk has room for what is about to be made: asked before hours are spent on it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from manifests import storage
from manifests.errors import Problem
from pipelines.planned_clip import PlannedClip

# Bytes for each pixel of each frame, too few rather than too many: what is refused could not have been done.
FILM = 0.01  # of a flat film
LATENTS = 0.25  # four channels of float32 at 1/8 size


def require_space(folder: str, clips: Sequence[PlannedClip], bytes_per_pixel: float) -> None:
    """Raise `Problem` unless the disk that `folder` lies on has room for films of `clips`. Object stores have."""
    if not storage.is_local(folder):
        return
    there = next(place for place in (Path(folder), *Path(folder).absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    pixels = sum(clip.frames * clip.pixels for clip in clips)
    needed = pixels * bytes_per_pixel
    if free < needed:
        raise Problem(
            f"{folder}: {megabytes(free)} are free, and {len(clips)} film(s) with what is stored for them need "
            f"{megabytes(needed)} or more",
            "free space, or write to another disk",
        )


def megabytes(size: float) -> str:
    """A size in bytes as a person reads it."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
