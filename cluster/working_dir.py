"""The folder that a job takes along: which of its files Ray uploads, and whether that is reasonable."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manifests.errors import Problem, WrongUsage

MOST_BYTES = 200 * 2**20  # Ray takes 500 MiB, and keeps them in the head's memory
SHOWN = 5

_UNPACKED = re.compile(r".*/runtime_resources/working_dir_files/_ray_pkg_[0-9a-f]+/")


class WorkingDir:
    """A local folder and those of its files that a job finds in its current directory."""

    def __init__(self, folder: Path, excludes: Sequence[str] = ()) -> None:
        """`excludes` are patterns as in .gitignore, beside those in .gitignore, .rayignore and Ray's own.

        Raises `WrongUsage` where there is no such folder, `Problem` where too much lies in it.
        """
        self.folder = folder.resolve()
        self.excludes = tuple(excludes)
        if not self.folder.is_dir():
            raise WrongUsage(f"working directory {folder}: there is no such folder", "name the checkout")
        self.sizes = _sizes(self.folder, self.excludes)
        if (whole := sum(self.sizes.values())) > MOST_BYTES:
            raise Problem(
                f"working directory {folder}: {_mib(whole)} would be uploaded, of {_mib(MOST_BYTES)} at most; the "
                f"largest: {largest(self.sizes)}",
                "name what the job does not need in .rayignore, which reads as .gitignore does",
            )

    @property
    def runtime(self) -> dict[str, Any]:
        """Its part of Ray's runtime environment."""
        return {"working_dir": str(self.folder), "excludes": list(self.excludes)}

    def inside(self, path: str) -> str | None:
        """A local path as the job sees it, relative to the folder; None for one that is not taken along."""
        try:
            relative = Path(path).resolve().relative_to(self.folder).as_posix()
        except ValueError:
            return None
        return relative if any(f"{name}/".startswith(f"{relative}/") for name in self.sizes) else None

    def __str__(self) -> str:
        return f"{self.folder} ({len(self.sizes)} files, {_mib(sum(self.sizes.values()))})"


def _sizes(folder: Path, excludes: Sequence[str]) -> dict[str, int]:
    """Bytes of each file that Ray would upload, by its name relative to the folder: Ray's own walk."""
    from ray._private import ray_constants
    from ray._private.runtime_env import packaging

    sizes: dict[str, int] = {}

    def add(path: Path) -> None:
        if path.is_file():
            sizes[path.relative_to(folder).as_posix()] = path.stat().st_size

    patterns = [*ray_constants.get_runtime_env_default_excludes(), *excludes]
    gitignore = os.environ.get(ray_constants.RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
    quiet = logging.getLogger(f"{__name__}.walk")
    quiet.setLevel(logging.WARNING)
    packaging._dir_travel(folder, [packaging._get_excludes(folder, patterns)], add, gitignore, quiet)
    return sizes


def largest(sizes: Mapping[str, int]) -> str:
    """The folders and files in which the most bytes lie, in words."""
    bytes_in: Counter[str] = Counter()
    for name, size in sizes.items():
        first, slash, _ = name.partition("/")
        bytes_in[first + slash] += size
    return ", ".join(f"{name} {_mib(size)}" for name, size in bytes_in.most_common(SHOWN))


def without_upload(path: str) -> str:
    """A path in a job's unpacked working directory without that folder, whose name is another for each upload."""
    return _UNPACKED.sub("working directory: ", path)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
