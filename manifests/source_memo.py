"""What was learned from sources, kept so that nothing is read twice."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from manifests import storage
from manifests.errors import Damaged
from manifests.storage import Stamp

_DIGEST = re.compile("[0-9a-f]{64}")


class SourceMemo:
    """What was learned from a source, kept until its size or version changes: one small JSON per state in `folder`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def _uri(self, uri: str, stamp: Stamp) -> str:
        return storage.join(self.folder, storage.sha256_text(json.dumps([uri, *stamp])) + ".json")

    def get(self, uri: str, stamp: Stamp) -> dict[str, Any] | None:
        """The facts put for this very state of the source, or None; a damaged entry is as good as none."""
        try:
            return storage.read_json(self._uri(uri, stamp))
        except Damaged:
            return None

    def put(self, uri: str, stamp: Stamp, facts: dict[str, Any]) -> None:
        """Keep `facts` for this state of the source."""
        storage.publish_json(facts, self._uri(uri, stamp))

    def forget(self, uri: str) -> None:
        """Know nothing any more of the source's present state: it holds other bytes than it did with the same stamp."""
        with suppress(FileNotFoundError):
            storage.delete(self._uri(uri, storage.stamp(uri)))


def memoised_digest(uri: str, memo: SourceMemo) -> str:
    """Hex SHA-256 of the file's bytes, read once per state of the file. Raises `FileNotFoundError`."""
    state = storage.stamp(uri)
    known = memo.get(uri, state)
    if known is None or not _DIGEST.fullmatch(str(known.get("digest"))):
        known = {"digest": storage.digest(uri)}
        memo.put(uri, state, known)
    return known["digest"]
