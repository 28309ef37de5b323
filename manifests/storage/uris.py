"""URIs: taken apart, put together, and held to the places where they may point."""

import functools
import os
import posixpath
import re
from pathlib import Path

from pydantic import BaseModel

from manifests.errors import Rejected
from manifests.storage.redaction import redact
from manifests.storage.schemes import EXTRAS, SCHEME

_BUCKET = re.compile(r"[A-Za-z0-9._-]+(@[A-Za-z0-9.-]+)?(/|$)")  # Azure: container@account


def split(uri: str, field: str = "URI") -> tuple[str, str]:
    """`("file", path)` or `(scheme, "bucket/key")`. Raises `Rejected` for what no storage should be handed."""
    match = SCHEME.fullmatch(uri)
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
    scheme, path = split(uri)
    return Path(path) if scheme == "file" else None


def is_local(uri: str) -> bool:
    """Whether the URI names a file of this machine's file system."""
    return local_path(uri) is not None


def join(base: str, *parts: str) -> str:
    """`parts` under the folder `base`."""
    return "/".join([base.rstrip("/"), *parts])


def name(uri: str) -> str:
    """The last component of the path."""
    return uri.rstrip("/").rpartition("/")[2]


def parent(uri: str) -> str:
    """The folder that holds `uri`; a bucket is its own."""
    if (match := SCHEME.fullmatch(uri)) and match[1] != "file":
        head = match[2].rstrip("/").rpartition("/")[0]
        return f"{match[1]}://{head}" if head else uri
    return posixpath.dirname(uri.rstrip("/")) or "."


def resolve(uri: str, base: str) -> str:
    """`uri` made absolute: relative ones lie under the folder `base`; local ones lose `file://`, '.' and '..'.

    Raises `Rejected` for '..' in a remote URI: an object's key is not a path to walk.
    """
    if not SCHEME.fullmatch(uri) and not uri.startswith("/"):
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
        scheme, _ = split(uri, field)
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
