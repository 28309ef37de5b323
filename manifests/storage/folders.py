"""What lies in a folder: its files, its folders, and uploads that were begun."""

import glob
import os
import re
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from manifests.errors import Problem
from manifests.retries import tried
from manifests.storage.publishing import UNFINISHED
from manifests.storage.reading import ABSENT, stamp
from manifests.storage.redaction import redact
from manifests.storage.stores import remote
from manifests.storage.uris import join, local_path, name, split


def listing(folder: str, recursive: bool = False) -> dict[str, int]:
    """`{name relative to folder: size in bytes}` of the files there now; empty if there is no such folder."""
    if (local := local_path(folder)) is not None:
        return _local_listing(local, recursive)
    fs, path = remote(folder)
    try:
        found = tried(fs.find, path, detail=True).values() if recursive else tried(fs.ls, path, detail=True)
    except FileNotFoundError:
        return {}
    start = path.rstrip("/") + "/"
    files = {info["name"]: int(info["size"]) for info in found if info["type"] == "file"}
    # Consoles mark a folder by an empty object whose name ends in '/'.
    return {file[len(start) :]: size for file, size in files.items() if file.startswith(start) and file[-1] != "/"}


def _local_listing(folder: Path, recursive: bool) -> dict[str, int]:
    def fail(error: OSError) -> None:
        if error.errno not in ABSENT:
            raise error

    sizes = {}
    for path, folders, files in os.walk(folder, onerror=fail):
        for file in files:
            if not (file.startswith(".") and file.endswith(UNFINISHED)):
                with suppress(FileNotFoundError):  # gone since
                    found = Path(path, file)
                    sizes[found.relative_to(folder).as_posix()] = found.stat().st_size
        if not recursive:
            folders.clear()
    return sizes


class Written(NamedTuple):
    """A file in a listing."""

    size: int
    seconds: float  # since 1970 by the clock of its store; now, where the store does not tell


def written_files(folder: str) -> dict[str, Written]:
    """`listing`, of subfolders too, with the time of each file; local files that are still being written as well."""
    if (local := local_path(folder)) is not None:
        found = {}
        for path, _, files in os.walk(local):
            for file in files:
                with suppress(FileNotFoundError):  # gone since
                    state = os.stat(where := Path(path, file))
                    found[where.relative_to(local).as_posix()] = Written(state.st_size, state.st_mtime)
        return found
    fs, path = remote(folder)
    try:
        infos = tried(fs.find, path, detail=True).values()
    except FileNotFoundError:
        return {}
    start = path.rstrip("/") + "/"
    # as s3fs, adlfs and gcsfs call it
    times = {info["name"]: info.get("LastModified") or info.get("last_modified") or info.get("mtime") for info in infos}
    return {
        info["name"][len(start) :]: Written(int(info["size"]), _seconds(times[info["name"]]))
        for info in infos
        if info["type"] == "file" and info["name"].startswith(start) and info["name"][-1] != "/"
    }


def _seconds(moment: Any) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else time.time()


class Upload(NamedTuple):
    """An upload in parts to S3 that was begun and not ended; its parts are paid for."""

    uri: str
    id: str
    seconds: float  # since 1970


def uploads(folder: str) -> list[Upload]:
    """Uploads in parts below `folder`. Other stores than S3 drop theirs by themselves after a week."""
    scheme, path = split(folder)
    if scheme != "s3":
        return []
    fs, path = remote(folder)
    bucket, _, prefix = path.rstrip("/").partition("/")
    prefix += "/" if prefix else ""
    found = tried(fs.call_s3, "list_multipart_uploads", Bucket=bucket, Prefix=prefix).get("Uploads") or []
    return [Upload(f"s3://{bucket}/{one['Key']}", one["UploadId"], one["Initiated"].timestamp()) for one in found]


def abandon(upload: Upload) -> None:
    """Drop the parts of an upload; no error if it has ended since."""
    fs, path = remote(upload.uri)
    bucket, _, key = path.partition("/")
    with suppress(FileNotFoundError):
        tried(fs.call_s3, "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload.id)


def subfolders(folder: str) -> list[str]:
    """Names of the folders in `folder`, sorted; none if there is no such folder."""
    if (local := local_path(folder)) is not None:
        try:
            with os.scandir(local) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            return []
    fs, path = remote(folder)
    try:
        found = tried(fs.ls, path, detail=True)
    except FileNotFoundError:
        return []
    return sorted(name(info["name"]) for info in found if info["type"] == "directory")


def expand(uri: str) -> list[str]:
    """The `.parquet` files a user means by a file, a folder (its own files only) or a glob, sorted.

    Raises `Problem` if there are none.
    """
    with suppress(FileNotFoundError):
        stamp(uri)
        if uri.endswith(".parquet"):
            return [uri]
        raise Problem(f"{redact(uri)} is not a .parquet file", "build one with `catwalk manifest build`")
    found = [join(uri, file) for file in listing(uri)] or _glob(uri)
    tables = sorted(file for file in found if file.endswith(".parquet"))
    if not tables:
        raise Problem(f"no .parquet file at {redact(uri)}", "name a .parquet file, a folder of them, or a glob")
    return tables


def _glob(uri: str) -> list[str]:
    magic = re.search(r"[*?[]", uri)
    if magic is None:
        return []
    cut = uri.rfind("/", 0, magic.start()) + 1
    folder, pattern = uri[:cut] or ".", uri[cut:]
    if (local := local_path(folder)) is not None:
        matches = glob.glob(pattern, root_dir=local, recursive=True)
        return [join(folder, match) for match in matches if Path(local, match).is_file()]
    fs, path = remote(folder)
    matches = tried(fs.glob, join(path, pattern), detail=True).items()
    return [join(folder, match[len(path) :].lstrip("/")) for match, info in matches if info["type"] == "file"]
