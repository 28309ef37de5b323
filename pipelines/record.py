"""The record of one run in `runs/<run id>/`: plan, results, summary, and `_SUCCESS` last."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import results, storage
from manifests.errors import Problem
from manifests.layout import claim_run
from manifests.results import Result
from pipelines.plan import Plan
from pipelines.progress import Say, clock
from pipelines.settings import RunSettings

MOST_KINDS = 20


@dataclass(frozen=True)
class RunResults:
    """What a run came to: one result per manifest row, its summary, and the folder that holds both."""

    run_id: str
    results: list[Result]
    summary: dict[str, Any]
    folder: str
    broke_off: str | None = None

    @property
    def exit_code(self) -> int:
        """0 every film is there, 1 the run itself broke off, 3 it finished but rows failed or were rejected."""
        return 1 if self.broke_off else results.exit_code(self.results)


class RunRecord:
    """Writes what happened. The files: run.json, plan.parquet, results.parquet, summary.json, _SUCCESS."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._began = time.monotonic()

    def claim(self, manifest_digest: str) -> bool:
        """Begin the run, or continue it under the same id; returns whether it is continued. Raises `Problem`."""
        settings = self._settings
        identity = {"manifest": settings.manifest, "manifest_digest": manifest_digest}
        try:
            continued = claim_run(settings.layout, settings.run_id, identity)
        except OSError as error:
            raise Problem(
                f"output {storage.redact(settings.output)} cannot be written: {error}",
                "choose a folder or bucket that you and the workers may write to",
            ) from None
        storage.delete(self._uri("_SUCCESS"))
        return continued

    def write_plan(self, plan: Plan, ended: Sequence[Result]) -> None:
        """One row per manifest row: its keys and what is going to happen to it."""
        rows: list[dict[str, Any]] = [
            {"row": work.row, "id": work.clip.id, "intent": intent, "frames": work.frames, "pose_key": work.pose_key,
             "latents_key": work.latents_key, "film_key": work.film_key,
             "reference_left_out": work.reference_left_out}
            for intent, works in (("make", plan.todo), ("share", chain.from_iterable(plan.duplicates.values())))
            for work in works
        ]  # fmt: skip
        rows += [
            {"row": one.row, "id": one.id, "intent": one.status, "frames": one.frames, "pose_key": one.pose_key,
             "latents_key": one.latents_key, "film_key": one.film_key,
             "reference_left_out": one.reference_left_out}
            for one in ended
        ]  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="catwalk-plan-") as folder:
            local = Path(folder) / "plan.parquet"
            pq.write_table(pa.Table.from_pylist(sorted(rows, key=lambda row: row["row"]), schema=_PLAN), local)
            storage.publish(local, self._uri("plan.parquet"))

    def dry(self, plan: Plan, ended: Sequence[Result], say: Say) -> RunResults:
        """What a run would begin with, said with every kind of rejection; nothing is written.

        Rows that would be made have no result.
        """
        for line in failure_lines(results.summarise(ended)["failures"]):
            say(line)
        return RunResults(self._settings.run_id, list(ended), {"to_make": len(plan.todo)}, self._uri())

    def finish(self, final: list[Result], broke_off: str | None, say: Say) -> RunResults:
        """Write results and summary; `_SUCCESS` only if the run came to its end."""
        results.write(final, self._uri("results.parquet"))
        summary = {
            "run_id": self._settings.run_id,
            "manifest": storage.redact(self._settings.manifest),
            "code": self._settings.code,
            "wall_seconds": round(time.monotonic() - self._began, 1),
            "broke_off": broke_off,
            **results.summarise(final),
        }
        storage.publish_json(summary, self._uri("summary.json"))
        if broke_off is None:
            storage.publish_bytes(b"", self._uri("_SUCCESS"))
        for line in summary_lines(summary):
            say(line)
        say(f"results: {self._uri('results.parquet')}")
        return RunResults(self._settings.run_id, final, summary, self._uri(), broke_off)

    def _uri(self, *parts: str) -> str:
        return self._settings.layout.run(self._settings.run_id, *parts)


_PLAN = pa.schema(
    [("row", pa.int64()), ("id", pa.string()), ("intent", pa.string()), ("frames", pa.int64())]
    + [(name, pa.string()) for name in ("pose_key", "latents_key", "film_key")]
    + [("reference_left_out", pa.float64())]
)


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The closing summary as a person reads it."""
    counts = ", ".join(f"{summary[status]} {status}" for status in ("done", "cached", "rejected", "failed"))
    lines = [f"{summary['rows']} rows: {counts}; {summary['frames']} frames, {summary['film_seconds']:.1f} s of film, "
             f"in {clock(summary['wall_seconds'])}", *failure_lines(summary["failures"])]  # fmt: skip
    if summary["warned"]:
        lines.append(f"  {summary['warned']} films with warnings: see the column of that name")
    if summary["broke_off"]:
        lines.append(f"the run broke off: {summary['broke_off']}; the same run id continues it")
    return lines


def failure_lines(failures: Sequence[dict[str, Any]]) -> list[str]:
    """What went wrong, from `results.summarise`: two lines for each of the most frequent kinds, with its first rows."""
    lines = []
    for failure in failures[:MOST_KINDS]:
        first, count = failure["first_rows"], failure["count"]
        rows = "row" if count == 1 else "rows"
        more = f" and {count - len(first)} more" if count > len(first) else ""
        lines += [f"  {failure['status']} in {failure['stage']} ({rows} {', '.join(map(str, first))}{more}): "
                  f"{failure['error']}", f"    → {failure['remedy']}"]  # fmt: skip
    if beyond := failures[MOST_KINDS:]:
        lines.append(f"  and {sum(failure['count'] for failure in beyond)} rows for {len(beyond)} more reasons")
    return lines
