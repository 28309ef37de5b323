"""What a run has come to, read from its folder: while it goes on, after its end, on another machine than its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from manifests import results, storage
from manifests.errors import Damaged, Problem, WrongUsage
from manifests.field_error import choose
from manifests.layout import OutputLayout
from manifests.results import Result
from manifests.row_text import plain_cells, row_text, rows_digest
from manifests.table import read_files, row_id, rows
from stages.sandbox.reading import require_modest_table

Cells = dict[str, Any]


@dataclass(frozen=True)
class ReadRun:
    """One run: its results so far, and the rows of its manifest as their owner wrote them.

    `rows` is how many the manifest had when the run began; `base` is where its relative paths start; `notes` say what
    could not be read.
    """

    run_id: str
    results: list[Result]
    rows: int
    goes_on: bool
    manifest: str = ""
    base: str = ""
    cells: dict[int, Cells] = field(default_factory=dict)  # by row
    notes: list[str] = field(default_factory=list)


def read_run(layout: OutputLayout, run_id: str | None) -> ReadRun:
    """The run of that id, or the one that was written to last. Raises `WrongUsage` where there is none."""
    run_id = run_id or _last(layout)
    begun = _begun(layout, run_id)
    so_far, goes_on = _results(layout, run_id)
    if begun is None and not so_far:
        known = storage.subfolders(storage.join(layout.output, "runs"))
        raise WrongUsage(f"run {run_id!r}: there is none in {storage.redact(layout.output)}", choose(run_id, known))
    manifest = str((begun or {}).get("manifest") or "")
    known_rows = (begun or {}).get("rows")
    counted = known_rows if isinstance(known_rows, int) else len(so_far)
    found: dict[int, Cells] = {}
    notes = [] if begun else ["which manifest it was of is not known"]
    base = ""
    if manifest:
        try:
            base = manifest if storage.is_folder(manifest) else storage.parent(manifest)
            found, changed = _cells(manifest, begun or {}, so_far)
            notes += [changed] if changed else []
        except Exception as error:  # stores have errors of their own
            why = error.error if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
            notes.append(f"the manifest cannot be read here ({storage.redact_text(why)}): no row can be exported")
    return ReadRun(run_id, so_far, counted, goes_on, manifest, base, found, notes)


def _last(layout: OutputLayout) -> str:
    """The run whose results, or whose beginning, were written last."""
    runs = storage.join(layout.output, "runs")
    touched: dict[str, float] = {}
    for name, file in storage.written_files(runs).items():
        run, _, rest = name.partition("/")
        if rest in ("run.json", "results.parquet") or rest.startswith("results/"):
            touched[run] = max(file.seconds, touched.get(run, 0.0))
    if not touched:
        error = f"output {storage.redact(layout.output)}: no run is in it"
        raise WrongUsage(error, "name the folder or bucket prefix that `catwalk animate` was given")
    return max(touched, key=lambda run: (touched[run], run))


def _begun(layout: OutputLayout, run_id: str) -> dict[str, Any] | None:
    try:
        return storage.read_json(layout.run(run_id, "run.json"))
    except Damaged:
        return None


def _results(layout: OutputLayout, run_id: str) -> tuple[list[Result], bool]:
    """Every row that has ended, by number, and whether parts say that the run goes on, or that its driver died.

    The parts first: where a run ends meanwhile, they give way to a table that has all of them.
    """
    folder, latest = layout.run(run_id, "results"), {}
    parts = sorted(name for name in storage.listing(folder) if name.endswith(".parquet"))
    for part in parts:
        try:
            latest.update({one.row: one for one in results.stored(storage.join(folder, part))})
        except FileNotFoundError:
            continue
    try:
        # of an earlier session, or complete: either way what a part says of a row is the latest
        latest = {one.row: one for one in results.stored(layout.run(run_id, "results.parquet"))} | latest
    except FileNotFoundError:
        return [latest[row] for row in sorted(latest)], True
    return [latest[row] for row in sorted(latest)], bool(parts)


def _cells(manifest: str, begun: Mapping[str, Any], so_far: list[Result]) -> tuple[dict[int, Cells], str | None]:
    """Cells by row, and a note if the manifest is not the one that the run began with.

    Of a manifest that has changed, only rows count that still have the id of their result.
    """
    every = [
        plain_cells(file.partitions | row)
        for file, table in read_files(manifest, require_modest_table)
        for row in rows(table)
    ]
    count = begun.get("rows", len(every))
    unchanged = begun.get("manifest_digest") == rows_digest(row_text(row) for row in every[:count])
    if unchanged and count <= len(every):
        return dict(enumerate(every)), None
    found = {one.row: every[one.row] for one in so_far if one.row < len(every) and row_id(every[one.row]) == one.id}
    return found, "the manifest has changed since the run began: rows are exported as they stand in it now"
