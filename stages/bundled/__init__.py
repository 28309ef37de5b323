"""Weights that come with Catwalk: `bundled:drawn` names the folder `drawn` here, wherever this checkout lies."""

from __future__ import annotations

from pathlib import Path

SCHEME = "bundled:"


def bundled(uri: str) -> str:
    """The local path of a `bundled:` URI; any other URI as it is."""
    return str(Path(__file__).parent / uri.removeprefix(SCHEME)) if uri.startswith(SCHEME) else uri
