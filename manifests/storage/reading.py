"""Files as they are now: whether they are there, which state they are in, and their bytes."""

import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from manifests.errors import Damaged, Rejected
from manifests.retries import tried
from manifests.storage.redaction import redact
from manifests.storage.stores import remote
from manifests.storage.uris import is_local, local_path
from manifests.transient import Truncated

CHUNK = 8 * 2**20
ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


class Stamp(NamedTuple):
    """What tells one state of a file from the next without reading it."""

    size: int
    version: str  # the store's etag, or the local mtime in nanoseconds


def _info(uri: str) -> dict[str, Any] | None:
    """What fsspec tells of a file or folder, in its words; None if there is neither."""
    try:
        if (local := local_path(uri)) is not None:
            found = tried(os.stat, local)
            kind = "file" if stat.S_ISREG(found.st_mode) else "other"  # a folder; or a device, which may never end
            return {"type": kind, "size": found.st_size, "etag": str(found.st_mtime_ns)}
        fs, path = remote(uri)
        return tried(fs.info, path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in ABSENT:
            return None
        raise


def stamp(uri: str) -> Stamp:
    """Size and version of the file as they are now. Raises `FileNotFoundError` if no regular file is there."""
    info = _info(uri)
    if info is None or info["type"] != "file":
        raise FileNotFoundError(f"no file at {redact(uri)}")
    return Stamp(int(info["size"]), str(info.get("ETag") or info.get("etag") or sorted(info.items())).strip('"'))


def written(uri: str) -> float | None:
    """When the file was written, in seconds since 1970 by the clock of its store; None if the store does not tell.

    Raises `FileNotFoundError` if nothing is there.
    """
    if (local := local_path(uri)) is not None:
        return tried(os.stat, local).st_mtime
    fs, path = remote(uri)
    try:
        return tried(fs.modified, path).timestamp()
    except NotImplementedError:
        return None


def exists(uri: str) -> bool:
    """Whether a file or folder is there now. Errors of the store are raised, never taken for absence."""
    return _info(uri) is not None


def is_folder(uri: str) -> bool:
    """Whether a folder (on an object store: anything below that prefix) is there."""
    info = _info(uri)
    return info is not None and (Path(uri).is_dir() if is_local(uri) else info["type"] == "directory")


def _check_size(uri: str, size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        error = f"{redact(uri)} has {size:,} bytes or more, the limit is {max_bytes:,}"
        raise Rejected(error, "use a smaller file, or raise the limit on bytes in the configuration")


def _chunks(uri: str, max_bytes: int | None) -> Iterator[bytes]:
    stream: Any
    if (local := local_path(uri)) is not None:
        stream, size = tried(open, local, "rb"), None
    else:
        fs, path = remote(uri)
        # s3fs binds every range to the etag seen here: an object replaced meanwhile is an error, never a mixture.
        stream = tried(fs.open, path, "rb", block_size=CHUNK, cache_type="none")
        size = stream.size
    done = 0
    with stream:
        while chunk := tried(_chunk, stream, done, size):
            done += len(chunk)
            _check_size(uri, done, max_bytes)
            yield chunk


def _chunk(stream: BinaryIO, start: int, size: int | None) -> bytes:
    """The bytes from `start` on, none at the end of the file. Raises `Truncated` where there should be more."""
    stream.seek(start)  # a try that failed may have moved it
    chunk = stream.read(CHUNK)
    if not chunk and size is not None and start < size:
        raise Truncated(f"the store answered with {start:,} bytes of {size:,}")
    return chunk


def read_bytes(uri: str, max_bytes: int | None = None) -> bytes:
    """The whole file. Raises `FileNotFoundError`, and `Rejected` above `max_bytes`."""
    if max_bytes is None and local_path(uri) is None:
        fs, path = remote(uri)
        return tried(fs.cat_file, path)
    _check_size(uri, stamp(uri).size, max_bytes)
    return b"".join(_chunks(uri, max_bytes))


def read_json(uri: str) -> dict[str, Any] | None:
    """The JSON object in the file, None where there is no file. Raises `Damaged` if it holds anything else."""
    try:
        value = json.loads(read_bytes(uri))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Damaged(f"{redact(uri)} does not hold a JSON object", "delete it: the next run writes it again")
    return value


def fetch(uri: str, folder: Path, max_bytes: int | None) -> Path:
    """A local file with the object's bytes: a local URI's own, or a download into `folder`, which the caller clears.

    Raises `FileNotFoundError`, and `Rejected` as soon as the size or the download exceeds `max_bytes`.
    """
    if (local := local_path(uri)) is not None:
        _check_size(uri, stamp(uri).size, max_bytes)
        return local
    return fetch_copy(uri, folder, max_bytes)[0]


def fetch_copy(uri: str, folder: Path, max_bytes: int | None) -> tuple[Path, str]:
    """A copy in `folder`, of a local file too, and the hex SHA-256 of the copy's bytes. Raises as `fetch`."""
    _check_size(uri, stamp(uri).size, max_bytes)
    suffix = "".join(re.findall(r"\.[A-Za-z0-9]{1,8}$", redact(uri)))  # decoders look at it
    folder.mkdir(parents=True, exist_ok=True)
    summed = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=folder, suffix=suffix, delete=False) as target:
        try:
            for chunk in _chunks(uri, max_bytes):
                target.write(chunk)
                summed.update(chunk)
        except BaseException:
            os.unlink(target.name)
            raise
    return Path(target.name), summed.hexdigest()


def digest(uri: str) -> str:
    """Hex SHA-256 of the file's bytes, streamed. Raises `FileNotFoundError`."""
    summed = hashlib.sha256()
    for chunk in _chunks(uri, None):
        summed.update(chunk)
    return summed.hexdigest()


def sha256_text(text: str) -> str:
    """Hex SHA-256 of the text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a local file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
