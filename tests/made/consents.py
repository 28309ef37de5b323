"""Consent records for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

USE = {"brand": "Acme", "channels": ["web"], "territories": ["DE"]}


def record(name: str, **fields: Any) -> dict[str, Any]:
    """A record that holds for USE since 2026; a field that is None is left out."""
    made = {
        "id": name,
        "subject": f"person of {name}",
        "role": "both",
        "brands": ["Acme"],
        "channels": ["web", "print"],
    }
    made |= {"territories": ["DE", "FR"], "starts": "2026-01-01", "minor": False, "document": "d" * 64, **fields}
    return {field: value for field, value in made.items() if value is not None}


def write_records(path: Path, *records: dict[str, Any]) -> str:
    """Records as JSON, a line each."""
    path.write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n", encoding="utf-8")
    return str(path)
