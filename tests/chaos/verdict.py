"""What a night came to, and everything that is wrong with it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow.parquet as pq


@dataclass
class Verdict:
    """Counts of one night. `faults` is empty if nothing was lost, doubled, torn or altered."""

    clips: int
    wall_seconds: float = 0.0
    exit_code: int | None = None
    statuses: dict[str, int] = field(default_factory=dict)
    struck: dict[str, int] = field(default_factory=dict)
    unspent: bool = False  # the night was over before the storm was
    driver_starts: int = 1
    storage_faults: dict[str, int] = field(default_factory=dict)
    painted: int = 0  # frames, those of tries that were killed too
    encoded: int = 0
    needed: int = 0
    most_attempts: int = 0
    films_put_twice: int = 0  # the same film, whole each time
    left_processes: int = 0
    left_folders: int = 0
    left_parts: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def redone(self) -> float:
        """Percent of the frames that were painted more than once."""
        return 100 * (self.painted / self.needed - 1) if self.needed else 0.0

    def judge_table(self, table: bytes, rows: list[dict[str, Any]], films: set[str]) -> None:
        """One good result per row, whose film is there; no film beside them."""
        found = pq.read_table(io.BytesIO(table)).to_pylist()
        self.statuses = dict(Counter(one["status"] for one in found))
        self.most_attempts = max((one["attempts"] or 0 for one in found), default=0)
        if sorted(one["row"] for one in found) != list(range(len(rows))):
            self.faults.append(f"{len(found)} results for {len(rows)} rows, or not one for each")
        for one in found:
            if one["status"] not in ("done", "cached"):
                self.faults.append(f"row {one['row']} {one['status']} in {one['stage']}: {one['error']}")
            elif (one["film"] or "").rpartition("/")[2] not in films:
                self.faults.append(f"row {one['row']} {one['status']}: its film {one['film']} is not there")
            elif one["id"] != rows[one["row"]]["id"]:
                self.faults.append(f"row {one['row']}: its result is {one['id']}'s")

    def judge_films(self, digests: Mapping[str, str | None], expected: Mapping[str, str]) -> None:
        """Every film once, and of the very frames that an undisturbed run makes. `expected` goes by the clip's id."""
        made = Counter(name.rsplit(".", 2)[0] for name in digests)
        self.faults += [f"{clip}: {count} films" for clip, count in made.items() if count > 1]
        self.faults += [f"{clip}: a film that nobody asked for" for clip in made.keys() - expected.keys()]
        for name, digest in digests.items():
            if digest != expected.get(name.rsplit(".", 2)[0]):
                self.faults.append(f"{name}: other frames than in an undisturbed run")

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "redone_percent": round(self.redone, 1)}

    def lines(self) -> list[str]:
        """As a person reads it."""
        good = sum(self.statuses.get(status, 0) for status in ("done", "cached"))
        blows = ", ".join(f"{count} × {what}" for what, count in self.struck.items()) or "nothing"
        stored = ", ".join(f"{count} {what}" for what, count in self.storage_faults.items()) or "none"
        return [
            f"{good} of {self.clips} films in {self.wall_seconds:.0f} s, exit code {self.exit_code}: {self.statuses}",
            f"struck: {blows}; driver started {self.driver_starts} times{'; NOT ALL' if self.unspent else ''}",
            f"faults of storage: {stored}",
            f"frames painted {self.painted} and encoded {self.encoded} for {self.needed}: {self.redone:.1f} % redone",
            f"most tries of a clip {self.most_attempts}; films put twice {self.films_put_twice}",
            f"left behind: {self.left_processes} processes, {self.left_folders} temporary folders, {self.left_parts} "
            "unfinished files",
            *(f"FAULT {fault}" for fault in self.faults[:30]),
            f"{len(self.faults)} faults",
        ]
