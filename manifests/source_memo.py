"""What was learned from sources, kept so that nothing is read twice."""

from __future__ import annotations

import json
from typing import Any

from manifests import storage
from manifests.storage import Stamp


class SourceMemo:
    """What was learned from a source, kept until its size or version changes: one small JSON per state in `folder`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def _uri(self, uri: str, stamp: Stamp) -> str:
        return storage.join(self.folder, storage.sha256_text(json.dumps([uri, *stamp])) + ".json")

    def get(self, uri: str, stamp: Stamp) -> dict[str, Any] | None:
        """The facts put for this very state of the source, or None."""
        return storage.read_json(self._uri(uri, stamp))

    def put(self, uri: str, stamp: Stamp, facts: dict[str, Any]) -> None:
        """Keep `facts` for this state of the source."""
        storage.publish_json(facts, self._uri(uri, stamp))


def memoised_digest(uri: str, memo: SourceMemo) -> str:
    """Hex SHA-256 of the file's bytes, read once per state of the file. Raises `FileNotFoundError`."""
    state = storage.stamp(uri)
    known = memo.get(uri, state)
    if known is None or "digest" not in known:
        known = {"digest": storage.digest(uri)}
        memo.put(uri, state, known)
    return known["digest"]
