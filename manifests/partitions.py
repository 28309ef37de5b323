"""Which files a manifest is, and the columns that lie in the names of their folders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from manifests import storage

_PARTITION = re.compile(r"([^=.][^=]*)=(.*)", re.DOTALL)
_NULL = "__HIVE_DEFAULT_PARTITION__"


class ManifestFile(NamedTuple):
    """One Parquet file of a manifest.

    `name` is its path below what the user named. `partitions` are the columns in its folders' names alone, as `night`
    of `night=3/`: Spark, pandas and others take a column by which they partition a table out of the files, and every
    reader of theirs puts it back. The values are text, as 007 may be no number; a column in the file itself wins.
    """

    uri: str
    name: str
    partitions: dict[str, str | None]


def manifest_files(uri: str) -> list[ManifestFile]:
    """The files that a user means by a `.parquet` file, a folder or a glob, sorted.

    A folder means its own files and those in its folders named `column=value`. Such folders count below the folder
    that was named, or below the part of a glob without wildcards: what lies above is where a file happens to be.
    Raises `Problem` if there are no files.
    """
    partitioned = list(_in_partitions(uri))
    own = storage.expand(uri) if not partitioned or _parquet(uri) else []
    if own == [uri]:
        return [ManifestFile(uri, storage.name(uri), {})]
    fixed = re.split(r"[*?[]", uri, maxsplit=1)[0]
    root = uri if storage.is_folder(uri) else fixed[: fixed.rfind("/") + 1] or "."
    start = len(root.rstrip("/")) + 1
    return [ManifestFile(file, file[start:], _partitions(file[start:])) for file in sorted([*own, *partitioned])]


def _in_partitions(folder: str) -> Iterator[str]:
    for name in storage.subfolders(folder):
        if _PARTITION.fullmatch(name):
            below = storage.join(folder, name)
            yield from _parquet(below)
            yield from _in_partitions(below)


def _parquet(folder: str) -> list[str]:
    return [storage.join(folder, file) for file in storage.listing(folder) if file.endswith(".parquet")]


def _partitions(path: str) -> dict[str, str | None]:
    found = [match.groups() for folder in path.split("/")[:-1] if (match := _PARTITION.fullmatch(folder))]
    return {unquote(name): None if value == _NULL else unquote(value) for name, value in found}
