"""By what address a page finds a film: relative to itself, on this machine, or by a link that its store signs."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from manifests import storage


@dataclass(frozen=True)
class Links:
    """Addresses for a page at `page` of what lies in or beside the folder `output`; both are resolved URIs.

    A page that lies in the output names everything relative to itself, so both may be moved or copied together.
    Any other one names local files in full, and objects by links that are good for `seconds`.
    """

    page: str
    output: str
    seconds: float

    @property
    def inside(self) -> bool:
        """Whether the page lies in the output."""
        return f"{self.page}/".startswith(f"{self.output.rstrip('/')}/")

    def of(self, uri: str) -> str | None:
        """The address of a file, percent-encoded; None where its store signs no links."""
        if self.inside and _store(uri) == _store(self.output):
            # './' keeps a name with a colon from being read as a scheme
            return "./" + quote(posixpath.relpath(_path(uri), posixpath.dirname(_path(self.page))))
        local = storage.local_path(uri)
        return local.absolute().as_uri() if local else storage.signed(uri, self.seconds)

    @staticmethod
    def origin(address: str) -> str | None:
        """Scheme and host of an address elsewhere, as a Content-Security-Policy names it; None of a file."""
        parts = urlsplit(address)
        return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else None


def _store(uri: str) -> str:
    """Scheme and bucket: what a relative address cannot lead out of."""
    if storage.is_local(uri):
        return "file"
    return "/".join(uri.split("/", 3)[:3])


def _path(uri: str) -> str:
    local = storage.local_path(uri)
    return str(local) if local else "/" + uri.partition("://")[2]
