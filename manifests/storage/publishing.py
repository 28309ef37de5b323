"""Files put in their places, wholly or not at all, and taken away."""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from manifests.retries import tried
from manifests.storage.reading import CHUNK, fetch, read_bytes
from manifests.storage.redaction import redact
from manifests.storage.schemes import EXTRAS
from manifests.storage.stores import remote
from manifests.storage.uris import local_path, split
from manifests.temporary import temporary_folder
from manifests.transient import Truncated, is_transient

RACES = 10  # lost in a row to what has gone a moment later: something else is wrong then
UNFINISHED = ".part"  # end of the name of a local file still being written; a killed writer leaves one behind


def publish(local: Path, uri: str) -> None:
    """Put the finished file `local` at `uri`, replacing what is there: wholly or not at all."""
    if (target := local_path(uri)) is None:
        tried(_upload, local, *remote(uri))
    else:
        tried(_place, local, target)


def _place(local: Path, target: Path) -> None:
    with open(local, "rb") as source, _finished(target) as stream:
        shutil.copyfileobj(source, stream, CHUNK)


def _upload(local: Path, fs: fsspec.AbstractFileSystem, path: str) -> None:
    size = local.stat().st_size
    fs.put_file(str(local), path)
    _check_stored(fs, path, size)


def _check_stored(fs: fsspec.AbstractFileSystem, path: str, size: int) -> None:
    """Raise `Truncated` unless the object has `size` bytes."""
    if (stored := int(fs.info(path)["size"])) != size:
        raise Truncated(f"{redact(path)} was stored with {stored:,} bytes of {size:,}")


def publish_bytes(data: bytes, uri: str) -> None:
    """Put `data` at `uri`, replacing what is there: wholly or not at all."""
    if (target := local_path(uri)) is None:
        fs, path = remote(uri)
        tried(fs.pipe_file, path, data)  # one request, whose length the store checks
    else:
        tried(_write, data, target)


def publish_json(value: dict[str, Any], uri: str) -> None:
    """Put `value` at `uri` as JSON with sorted keys."""
    publish_bytes((json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n").encode(), uri)


def _write(data: bytes, target: Path, place: Callable[[Path, Path], None] = os.replace) -> None:
    with _finished(target, place) as stream:
        stream.write(data)


@contextmanager
def _finished(target: Path, place: Callable[[Path, Path], None] = os.replace) -> Iterator[BinaryIO]:
    """A stream beside `target` that is given its name only when all is written and on disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{uuid.uuid4().hex}{UNFINISHED}")
    try:
        with open(part, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        place(part, target)
    finally:
        part.unlink(missing_ok=True)


def create_exclusive(uri: str, data: bytes) -> bool:
    """Put `data`, a JSON object, at `uri` only if nothing is there; of several writers exactly one gets True.

    A nonce is added to it, by which a race won whose answer was lost on its way is told from a race lost.
    """
    own = json.dumps({**json.loads(data), "nonce": uuid.uuid4().hex}, ensure_ascii=False, sort_keys=True).encode()
    refused: Exception = FileExistsError(uri)
    for _ in range(RACES):
        try:
            if (target := local_path(uri)) is None:
                fs, path = remote(uri)
                tried(fs.pipe_file, path, own, mode="create")
            else:
                tried(_write, own, target, _claim)
            return True
        except Exception as error:
            # FileExistsError; a few S3 servers answer a lost race with a plain 409 or 412
            if not (isinstance(error, OSError) or is_transient(error)):
                raise
            refused = error
        try:
            return read_bytes(uri) == own
        except FileNotFoundError:
            if not isinstance(refused, FileExistsError):  # else what was there has gone meanwhile
                break
    raise refused


def _claim(part: Path, target: Path) -> None:
    """Give `part` the name `target` unless it is taken. Raises `FileExistsError`."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # FAT and some network mounts have no hard links
        with open(target, "xb") as stream:
            stream.write(part.read_bytes())


def copy(src: str, dst: str) -> None:
    """Put the bytes of `src` at `dst`, wholly or not at all; inside one store they do not pass through here."""
    scheme, _ = split(src)
    if (local := local_path(src)) is not None:
        publish(local, dst)
    elif scheme == split(dst)[0] and EXTRAS.get(scheme) != "azure":  # Azure's copy returns before it is done
        fs, path = remote(src)
        tried(_copied, fs, path, remote(dst)[1])
    else:
        with temporary_folder("copy") as folder:
            publish(fetch(src, folder, None), dst)


def _copied(fs: fsspec.AbstractFileSystem, path: str, target: str) -> None:
    fs.cp_file(path, target)
    _check_stored(fs, target, int(fs.info(path)["size"]))


def delete(uri: str) -> None:
    """Remove the file; no error if it is not there."""
    with suppress(FileNotFoundError):
        if (local := local_path(uri)) is not None:
            tried(local.unlink)
        else:
            fs, path = remote(uri)
            tried(fs.rm_file, path)


def delete_empty(folder: str) -> None:
    """Remove the folder if nothing is in it; object stores have no empty ones."""
    if (local := local_path(folder)) is not None:
        with suppress(OSError):
            local.rmdir()
