"""Every URI of the system is read, written, named and judged here.

A URI is a plain local path, `file:///…` (not percent-encoded), or an object of a store that fsspec knows: `s3://`,
`gs://`, `az://`, `abfs://`. Endpoints and credentials come from the environment or fsspec's own configuration
(`FSSPEC_S3_ENDPOINT_URL`), never from a URI. What is published appears whole or not at all, and nothing is answered
from a cache of listings: other machines write into the same folders. What fails in passing is tried again.
"""

import errno
import functools
import glob
import hashlib
import json
import logging
import os
import posixpath
import re
import shutil
import stat
import tempfile
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import fsspec
from pydantic import BaseModel

from manifests.errors import Damaged, Problem, Rejected
from manifests.retries import RETRIES, tried
from manifests.temporary import temporary_folder
from manifests.transient import Truncated, is_transient

log = logging.getLogger(__name__)

CHUNK = 8 * 2**20
RACES = 10  # lost in a row to what has gone a moment later: something else is wrong then
CONNECT_SECONDS, SILENT_SECONDS = 10, 30  # after which a store that does not answer is given up
REQUEST_TRIES = 3  # of one request, by botocore
UNFINISHED = ".part"  # end of the name of a local file still being written; a killed writer leaves one behind
EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure", "abfs": "azure"}  # scheme: extra of our package that reads it

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
# The scheme is bounded, or a long word would be searched once from each of its letters.
_URI_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}://\S*")
_QUOTED_QUERY = re.compile("%3f|%23", re.IGNORECASE)  # '?' and '#' of a URI that became a part of another's path
# What stands behind these names and '=' or ':' is a secret in JSON, Python, a configuration or a header. Those behind
# which prose has such signs as well need '=' without a space, quotes around them, or a query to stand in.
_QUOTE = r"\\{0,4}['\"]"
_PLAIN_NAME = (
    r"AccountKey|(?:X-Amz|X-Goog)-[A-Za-z-]{0,24}(?:Token|Credential|Signature|Key)|passw(?:or)?d|x-api-key|api_?key"
    r"|secret_?(?:access_?)?key|(?:client|api|app)_?secret"
    r"|(?:session|security|access|refresh|auth|bearer|api|hf|id)_?token"
)
_AMBIGUOUS_NAME = (
    r"Shared[A-Za-z]{0,16}|(?:X-Amz|X-Goog)-[A-Za-z-]{1,24}|AWSAccessKeyId|Signature|secret_[a-z_]{1,24}"
    r"|(?:[a-z]{1,16}_)?token|secret"
)
_SECRET = re.compile(
    rf"((?<![A-Za-z0-9])(?:(?:{_PLAIN_NAME})(?:{_QUOTE})?[ \t]*[:=][ \t]*(?:b?{_QUOTE})?"
    rf"|(?:{_AMBIGUOUS_NAME})=(?:{_QUOTE})?)"
    rf"|{_QUOTE}(?:token|secret|signature|sig){_QUOTE}[ \t]*:[ \t]*{_QUOTE}|(?:[?&;]|%3F|%26)sig="
    rf"|\bAuthorization(?:{_QUOTE})?[ \t]*[:=][ \t]*(?:b?{_QUOTE})?(?:[A-Za-z0-9-]{{1,32}}[ \t]+)?"
    r"|\bBearer[ \t]+(?=\S{8})|\bBasic[ \t]+(?=[A-Za-z0-9+/]{6,400}=|[A-Za-z0-9+/]{16})|\bhf_(?=[A-Za-z0-9]{16}))"
    r"[^\s&;,'\"<>\\]+",
    re.IGNORECASE,
)
_BUCKET = re.compile(r"[A-Za-z0-9._-]+(@[A-Za-z0-9.-]+)?(/|$)")  # Azure: container@account
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


def redact(uri: str) -> str:
    """The URI as it may stand in messages and tables: without credentials, query and fragment."""
    match = _SCHEME.fullmatch(uri)
    scheme, rest = match.groups() if match else ("", uri)
    if scheme == "file" or uri.startswith("/"):
        return uri  # '?' and '#' are letters of a local file's name
    authority = rest.partition("/")[0]
    if ":" in authority:
        rest = rest.rpartition("@")[2]  # to the last '@': AWS secrets contain '/'
    elif scheme and EXTRAS.get(scheme) != "azure":  # abfs://container@account is a place, no secret
        rest = authority.rpartition("@")[2] + rest[len(authority) :]
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{rest}" if match else rest


def redact_text(text: str) -> str:
    """Any text with the URIs in it redacted, also those whose '?' a client has put into its own request's path.

    What stores' clients call a secret goes too, wherever it stands: signatures, keys of connection strings, tokens.
    """
    text = _URI_IN_TEXT.sub(lambda found: _QUOTED_QUERY.split(redact(found[0]), maxsplit=1)[0], text)
    return _SECRET.sub(r"\1…", text)


def _split(uri: str, field: str = "URI") -> tuple[str, str]:
    """`("file", path)` or `(scheme, "bucket/key")`. Raises `Rejected` for what no storage should be handed."""
    match = _SCHEME.fullmatch(uri)
    scheme, path = match.groups() if match else ("file", uri)
    wrong = None
    if not path or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", path):
        wrong = "is empty or holds control characters"
    elif scheme == "file" and match and not path.startswith("/"):
        wrong = "names a host: file:///absolute/path has three slashes"
    elif scheme != "file" and not _BUCKET.match(path):
        wrong = "does not begin with a plain bucket name"
    elif scheme != "file" and ".." in re.split(r"[/\\]", path):  # some stores take one for the other
        wrong = "contains '..', which an object store does not walk"
    elif scheme != "file" and "::" in path:  # fsspec opens a second filesystem behind it, past every check of the first
        wrong = "contains '::'"
    if wrong:
        raise Rejected(f"{field} {redact(uri)!r} {wrong}", "write a local path or scheme://bucket/key, in full")
    # POSIX keeps '//x' apart from '/x'; no comparison of prefixes should have to.
    return scheme, re.sub("^/+", "/", path) if scheme == "file" else path


def local_path(uri: str) -> Path | None:
    """The path of a URI on this machine's file system; None of one elsewhere."""
    scheme, path = _split(uri)
    return Path(path) if scheme == "file" else None


def _remote(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The store's file system, for calls that are `tried`, and the path in it."""
    scheme, _ = _split(uri)
    fs, path = _opened(uri, **_patience(scheme))
    if scheme == "s3":
        fs.retries = 1  # s3fs's own tries multiply botocore's, twice over while reading
        if fs.s3 not in _COUNTED:
            fs.s3.meta.events.register("needs-retry.s3", _counted)
            _COUNTED.add(fs.s3)
    return fs, path


_COUNTED: weakref.WeakSet[Any] = weakref.WeakSet()  # botocore's clients that tell of their tries


def _counted(attempts: int, **_: Any) -> None:
    if attempts > 1:
        RETRIES.count()


def _opened(uri: str, **options: Any) -> tuple[fsspec.AbstractFileSystem, str]:
    scheme, _ = _split(uri)
    try:
        return fsspec.url_to_fs(uri, use_listings_cache=False, **options)
    except ImportError as error:
        extra = EXTRAS.get(scheme, scheme)
        raise Problem(f"{redact(uri)}: {error}", f"install the package with its extra: catwalk[{extra}]") from error
    except ValueError as error:
        raise Rejected(f"{redact(uri)}: {error}", f"use a local path or one of {', '.join(EXTRAS)}") from error


def _patience(scheme: str) -> dict[str, Any]:
    """Options of a store's file system: how long it waits for a silent server, and its tries of a single request.

    A listing or an upload is many requests, so each is tried again where it is made, and the whole by `tried`.
    botocore's are set here. Azure's SDK has 4, 15 to 30 s apart, gcsfs 6, up to 32 s apart; neither can be set.
    """
    configured = fsspec.config.conf.get(scheme, {})
    if scheme == "s3":
        retries = {"mode": "standard", "total_max_attempts": 1 if RETRIES.spent else REQUEST_TRIES}
        own = {"connect_timeout": CONNECT_SECONDS, "read_timeout": SILENT_SECONDS, "retries": retries}
        return {"config_kwargs": {**own, **configured.get("config_kwargs", {})}}
    if scheme == "gs" and "requests_timeout" not in configured:
        from aiohttp import ClientTimeout

        return {"requests_timeout": ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)}
    if EXTRAS.get(scheme) == "azure":
        return {"connection_timeout": CONNECT_SECONDS, "read_timeout": SILENT_SECONDS, **configured}
    return {}


def join(base: str, *parts: str) -> str:
    """`parts` under the folder `base`."""
    return "/".join([base.rstrip("/"), *parts])


def name(uri: str) -> str:
    """The last component of the path."""
    return uri.rstrip("/").rpartition("/")[2]


def parent(uri: str) -> str:
    """The folder that holds `uri`; a bucket is its own."""
    if (match := _SCHEME.fullmatch(uri)) and match[1] != "file":
        head = match[2].rstrip("/").rpartition("/")[0]
        return f"{match[1]}://{head}" if head else uri
    return posixpath.dirname(uri.rstrip("/")) or "."


def resolve(uri: str, base: str) -> str:
    """`uri` made absolute: relative ones lie under the folder `base`; local ones lose `file://`, '.' and '..'.

    Raises `Rejected` for '..' in a remote URI: an object's key is not a path to walk.
    """
    if not _SCHEME.fullmatch(uri) and not uri.startswith("/"):
        parts = [part for part in uri.split("/") if part not in ("", ".")]
        if not parts and not uri:
            raise Rejected("an empty URI names no file", "write a path or URI")
        uri = join(base, *parts)
    local = local_path(uri)
    return uri if local is None else os.path.abspath(local)


class Allowed(BaseModel):
    """Where the URIs of a manifest may point. No prefixes: anywhere, within the schemes."""

    prefixes: list[str] = []
    schemes: set[str] = {"file", *EXTRAS}

    def check(self, uri: str, field: str) -> None:
        """Raise `Rejected` unless `uri` lies at or below a prefix: whole path components, symlinks followed."""
        scheme, _ = _split(uri, field)
        what = f"{field} {redact(uri)!r}"
        if scheme not in self.schemes:
            raise Rejected(f"{what}: {scheme}:// is not allowed", f"use one of {', '.join(sorted(self.schemes))}")
        if self.prefixes and not (self._place(uri) + "/").startswith(self._places):
            places = ", ".join(redact(prefix) for prefix in self.prefixes)
            raise Rejected(f"{what} lies outside the allowed folders", f"move it below one of: {places}")

    @functools.cached_property
    def _places(self) -> tuple[str, ...]:
        return tuple(self._place(prefix) + "/" for prefix in self.prefixes)

    @staticmethod
    def _place(uri: str) -> str:
        return (uri if (local := local_path(uri)) is None else os.path.realpath(local)).rstrip("/")


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
        fs, path = _remote(uri)
        return tried(fs.info, path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in _ABSENT:
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
    fs, path = _remote(uri)
    try:
        return tried(fs.modified, path).timestamp()
    except NotImplementedError:
        return None


def exists(uri: str) -> bool:
    """Whether a file or folder is there now. Errors of the store are raised, never taken for absence."""
    return _info(uri) is not None


def _check_size(uri: str, size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        error = f"{redact(uri)} has {size:,} bytes or more, the limit is {max_bytes:,}"
        raise Rejected(error, "use a smaller file, or raise the limit on bytes in the configuration")


def _chunks(uri: str, max_bytes: int | None) -> Iterator[bytes]:
    stream: Any
    if (local := local_path(uri)) is not None:
        stream, size = tried(open, local, "rb"), None
    else:
        fs, path = _remote(uri)
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
        fs, path = _remote(uri)
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


def _claim(part: Path, target: Path) -> None:
    """Give `part` the name `target` unless it is taken. Raises `FileExistsError`."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # FAT and some network mounts have no hard links
        with open(target, "xb") as stream:
            stream.write(part.read_bytes())


def publish(local: Path, uri: str) -> None:
    """Put the finished file `local` at `uri`, replacing what is there: wholly or not at all."""
    if (target := local_path(uri)) is None:
        tried(_upload, local, *_remote(uri))
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
        fs, path = _remote(uri)
        tried(fs.pipe_file, path, data)  # one request, whose length the store checks
    else:
        tried(_write, data, target)


def _write(data: bytes, target: Path, place: Callable[[Path, Path], None] = os.replace) -> None:
    with _finished(target, place) as stream:
        stream.write(data)


def publish_json(value: dict[str, Any], uri: str) -> None:
    """Put `value` at `uri` as JSON with sorted keys."""
    publish_bytes((json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n").encode(), uri)


def create_exclusive(uri: str, data: bytes) -> bool:
    """Put `data`, a JSON object, at `uri` only if nothing is there; of several writers exactly one gets True.

    A nonce is added to it, by which a race won whose answer was lost on its way is told from a race lost.
    """
    own = json.dumps({**json.loads(data), "nonce": uuid.uuid4().hex}, ensure_ascii=False, sort_keys=True).encode()
    refused: Exception = FileExistsError(uri)
    for _ in range(RACES):
        try:
            if (target := local_path(uri)) is None:
                fs, path = _remote(uri)
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


def copy(src: str, dst: str) -> None:
    """Put the bytes of `src` at `dst`, wholly or not at all; inside one store they do not pass through here."""
    scheme, _ = _split(src)
    if (local := local_path(src)) is not None:
        publish(local, dst)
    elif scheme == _split(dst)[0] and EXTRAS.get(scheme) != "azure":  # Azure's copy returns before it is done
        fs, path = _remote(src)
        tried(_copied, fs, path, _remote(dst)[1])
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
            fs, path = _remote(uri)
            tried(fs.rm_file, path)


def delete_empty(folder: str) -> None:
    """Remove the folder if nothing is in it; object stores have no empty ones."""
    if (local := local_path(folder)) is not None:
        with suppress(OSError):
            local.rmdir()


def listing(folder: str, recursive: bool = False) -> dict[str, int]:
    """`{name relative to folder: size in bytes}` of the files there now; empty if there is no such folder."""
    if (local := local_path(folder)) is not None:
        return _local_listing(local, recursive)
    fs, path = _remote(folder)
    try:
        found = tried(fs.find, path, detail=True).values() if recursive else tried(fs.ls, path, detail=True)
    except FileNotFoundError:
        return {}
    start = path.rstrip("/") + "/"
    files = {info["name"]: int(info["size"]) for info in found if info["type"] == "file"}
    # Consoles mark a folder by an empty object whose name ends in '/'.
    return {file[len(start) :]: size for file, size in files.items() if file.startswith(start) and file[-1] != "/"}


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
    fs, path = _remote(folder)
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
    scheme, path = _split(folder)
    if scheme != "s3":
        return []
    fs, path = _remote(folder)
    bucket, _, prefix = path.rstrip("/").partition("/")
    prefix += "/" if prefix else ""
    found = tried(fs.call_s3, "list_multipart_uploads", Bucket=bucket, Prefix=prefix).get("Uploads") or []
    return [Upload(f"s3://{bucket}/{one['Key']}", one["UploadId"], one["Initiated"].timestamp()) for one in found]


def abandon(upload: Upload) -> None:
    """Drop the parts of an upload; no error if it has ended since."""
    fs, path = _remote(upload.uri)
    bucket, _, key = path.partition("/")
    with suppress(FileNotFoundError):
        tried(fs.call_s3, "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload.id)


def _local_listing(folder: Path, recursive: bool) -> dict[str, int]:
    def fail(error: OSError) -> None:
        if error.errno not in _ABSENT:
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


def subfolders(folder: str) -> list[str]:
    """Names of the folders in `folder`, sorted; none if there is no such folder."""
    if (local := local_path(folder)) is not None:
        try:
            with os.scandir(local) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return []
    fs, path = _remote(folder)
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
    fs, path = _remote(folder)
    matches = tried(fs.glob, join(path, pattern), detail=True).items()
    return [join(folder, match[len(path) :].lstrip("/")) for match, info in matches if info["type"] == "file"]


def signed(uri: str, seconds: float) -> str | None:
    """A link by which whoever has it may read the object for so long; None where none can be signed."""
    scheme, _ = _split(uri)
    options = _patience(scheme)
    if scheme == "s3":  # botocore's own choice may be version 2, which newer buckets refuse
        options["config_kwargs"] = {**options["config_kwargs"], "signature_version": "s3v4"}
    fs, path = _opened(uri, **options)
    try:
        link = fs.sign(path, expiration=int(seconds))
    except Exception as error:  # NotImplementedError, and what each store says of credentials that cannot sign
        log.info("no link to %s can be signed: %s", redact(uri), type(error).__name__)
        return None
    return link if re.match("https?://", link) else None


def arrow_filesystem(uri: str) -> tuple[Any, str]:
    """A pyarrow file system and the path of `uri` in it, for readers that take those."""
    from pyarrow import fs as arrow

    if (local := local_path(uri)) is not None:
        return arrow.LocalFileSystem(), str(local)
    fs, path = _opened(uri)  # with the tries of its own: nobody tries again around it
    return arrow.PyFileSystem(arrow.FSSpecHandler(fs)), path


def is_local(uri: str) -> bool:
    """Whether the URI names a file of this machine's file system."""
    return local_path(uri) is not None


def is_folder(uri: str) -> bool:
    """Whether a folder (on an object store: anything below that prefix) is there."""
    info = _info(uri)
    return info is not None and (Path(uri).is_dir() if is_local(uri) else info["type"] == "directory")


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
