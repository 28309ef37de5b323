"""The stores' clients: how they are opened, how long they wait, and how often they try."""

import logging
import re
import weakref
from typing import Any

import fsspec

from manifests.errors import Problem, Rejected
from manifests.retries import RETRIES
from manifests.storage.redaction import redact
from manifests.storage.schemes import EXTRAS
from manifests.storage.uris import local_path, split

log = logging.getLogger(__name__)

CONNECT_SECONDS, SILENT_SECONDS = 10, 30  # after which a store that does not answer is given up
REQUEST_TRIES = 3  # of one request, by botocore

_COUNTED: weakref.WeakSet[Any] = weakref.WeakSet()  # botocore's clients that tell of their tries


def remote(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The store's file system, for calls that are `tried`, and the path in it."""
    scheme, _ = split(uri)
    fs, path = _opened(uri, **_patience(scheme))
    if scheme == "s3":
        fs.retries = 1  # s3fs's own tries multiply botocore's, twice over while reading
        if fs.s3 not in _COUNTED:
            fs.s3.meta.events.register("needs-retry.s3", _counted)
            _COUNTED.add(fs.s3)
    return fs, path


def _counted(attempts: int, **_: Any) -> None:
    if attempts > 1:
        RETRIES.count()


def _opened(uri: str, **options: Any) -> tuple[fsspec.AbstractFileSystem, str]:
    scheme, _ = split(uri)
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


def signed(uri: str, seconds: float) -> str | None:
    """A link by which whoever has it may read the object for so long; None where none can be signed."""
    scheme, _ = split(uri)
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
