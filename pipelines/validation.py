"""Validation of a manifest's rows on CPU workers: many rows at a time, each file read by one of them.

First the files are asked for that rows name and that nothing is known of; they are read, each once, however many rows
name it; then every row is judged, and gets its keys, from what is known by then.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from manifests import results, storage, table
from manifests.errors import Rejected
from manifests.kept_results import KeptResults, text_of
from manifests.layout import KEY_LENGTH
from manifests.results import Result
from manifests.retries import RETRIES
from manifests.storage import Stamp
from manifests.work import Work
from pipelines import stage_of
from pipelines.boundary import ended, guarded, note_unforeseen, reasons, status_of, then
from pipelines.keying import Keying
from pipelines.manifest_reading import ManifestRows
from pipelines.planned_clip import CLIPS, PlannedClip, clips_of, planned_clip
from pipelines.pools import as_blocks, tasks
from pipelines.running.following import followed_tables
from pipelines.running.watch import Silence
from pipelines.running.workers import ledger_of, since
from pipelines.settings import RunSettings

if TYPE_CHECKING:
    from stages.validate import Asked, NamedFile

MOST_AT_ONCE = 2000  # rows of one task
LOOK_UPS = 32  # memos asked for at the same time: each is a small request to the store

# Something to read: a file of that kind, or ("weights") weights to digest; and the first row that names it.
SOURCES = pa.schema([("uri", pa.string()), ("kind", pa.string()), ("row", pa.int64()), ("id", pa.string())])
# A clip, or (JSON in `result`) what its row ended as.
JUDGED = CLIPS.append(pa.field("result", pa.string()))


class Call(NamedTuple):
    """One call of `validated`, as its workers are told of it: what a process has seen of files is good for this one."""

    settings: RunSettings
    token: str
    attempts: int  # deaths of a worker after which what killed it is not tried again


def validated(rows: ManifestRows, settings: RunSettings, silence: Silence) -> tuple[list[PlannedClip], KeptResults]:
    """Every row as a clip with its keys, or as its rejected or failed result. Duplicate ids are found here.

    `silence` says what is waited for when nothing has come back for a while.
    """
    if not len(rows):
        return [], KeptResults()
    call = Call(settings, secrets.token_hex(8), settings.config.attempts)
    size = min(MOST_AT_ONCE, 1 + len(rows) // (4 * settings.config.validate_pool.size))
    sources = distinct(mapped(rows.batches(size), validate_names, call, silence))
    waited = read(sources, call, silence)
    clips: list[PlannedClip] = []
    refused = KeptResults()
    for judged in mapped(annotated(rows, waited).batches(size), validate_rows, call, silence):
        good = judged["result"].is_null()
        clips += clips_of(judged.filter(good))
        bad = judged.filter(pc.invert(good))
        for row, text in zip(bad["row"].to_pylist(), bad["result"].to_pylist(), strict=True):
            refused.add(row, text)
    return sorted(clips, key=lambda clip: clip.row), refused


def read(sources: Sequence[dict[str, Any]], call: Call, silence: Silence) -> Counter[int]:
    """Read each source once; returns the seconds it took, under the number of the row that named it first.

    One whose worker died too often gets a last try alone, so that it is not condemned for its neighbours.
    """
    pool = call.settings.config.validate_pool
    waited: Counter[int] = Counter()
    for attempts, blocks in ((call.attempts, max(4 * pool.size, len(sources) // 16)), (call.attempts + 1, 1)):
        arguments = {"call": call._replace(attempts=attempts)}
        done = as_blocks(sources, blocks).map(validate_source, fn_kwargs=arguments, **tasks(pool)) if sources else None
        outcomes = [row for batch in (tables_of(done, call, silence) if done else ()) for row in batch.to_pylist()]
        for row in outcomes:
            RETRIES.hear(json.loads(row["retried"]))
        waited.update({row["row"]: row["seconds"] for row in outcomes})
        sources = [row for row in outcomes if row["then"] == "alone"]
    return waited


def mapped(
    batches: Sequence[pa.Table], work: Callable[..., pa.Table], call: Call, silence: Silence
) -> Iterator[pa.Table]:
    """What a function makes of every batch, in any order."""
    given = ray.data.from_arrow(batches)
    pool = tasks(call.settings.config.validate_pool)
    done = given.map_batches(work, batch_size=None, batch_format="pyarrow", fn_kwargs={"call": call}, **pool)
    return tables_of(done, call, silence)


def tables_of(dataset: ray.data.Dataset, call: Call, silence: Silence) -> Iterator[pa.Table]:
    """The blocks of a dataset as soon as they are finished."""
    for made in followed_tables(dataset, call.settings.config, silence):
        silence.broken()
        yield made


def distinct(tables: Iterable[pa.Table]) -> list[dict[str, Any]]:
    """Every source once, with the first row that names it; weights first, which may be large."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for source in (row for batch in tables for row in batch.to_pylist()):
        known = first.setdefault((source["kind"], source["uri"]), source)
        if source["row"] < known["row"]:
            first[source["kind"], source["uri"]] = source
    return sorted(first.values(), key=lambda source: (source["kind"] != "weights", source["row"]))


def annotated(rows: ManifestRows, waited: Mapping[int, float]) -> ManifestRows:
    """The rows with `same_id_as`, an earlier row that has the id already, and the seconds their files took to read."""
    numbers = rows.numbers
    first_of = {numbers[later]: numbers[first] for later, first in table.duplicate_rows(rows.ids).items()}
    same = pa.array([first_of.get(number) for number in numbers], pa.int64())
    seconds = pa.array([waited.get(number, 0.0) for number in numbers], pa.float64())
    return ManifestRows(rows.table.append_column("same_id_as", same).append_column("waited", seconds))


class Validation:
    """What a process needs to validate rows: the stage, which keeps what it has seen of files, keys and the ledger."""

    def __init__(self, call: Call) -> None:
        settings = call.settings
        self.keying = Keying(settings)
        self.stage = stage_of.validate(settings, self._probing)
        self._limits = settings.config.time_limits
        self._ledger = ledger_of(settings, "validate", call.attempts, settings.config.validate_pool)
        self._row: tuple[int, str | None] = (0, None)
        self._failed: dict[NamedFile, Exception] = {}

    @contextmanager
    def on_behalf_of(self, row: Mapping[str, Any]) -> Iterator[None]:
        """What is read meanwhile is tried in the name of that row."""
        self._row = row["row"], row["id"]
        yield

    def look_up(self, files: Collection[NamedFile]) -> list[NamedFile]:
        """Those files that nothing is known of; what is known of the others is at hand from now on."""

        def known(file: NamedFile) -> bool:
            try:
                return self.stage.is_known(file)
            except Exception:  # is met again where the row can be told
                return False

        with ThreadPoolExecutor(LOOK_UPS) as pool:
            return [file for file, there in zip(files, pool.map(known, files), strict=True) if not there]

    def digesting(self, source: Mapping[str, Any]) -> AbstractContextManager[int]:
        """The try at digesting weights, whose size nobody asks for first."""
        unit, what = storage.sha256_text(source["uri"])[:KEY_LENGTH], f"weights of {json.loads(source['uri'])[0]}"
        return self._ledger.trying(source["row"], source["id"], math.inf, unit, what)

    @contextmanager
    def _probing(self, file: NamedFile, stamp: Stamp) -> Iterator[None]:
        if file in self._failed:  # it was tried as often as helps: not once more for every row that names it
            raise self._failed[file].with_traceback(None)
        unit = storage.sha256_text(json.dumps([file.uri, *stamp]))[:KEY_LENGTH]
        what = f"{file.kind} {storage.redact(file.uri)}"
        try:
            with self._ledger.trying(*self._row, self._limits.probing(stamp.size), unit, what):
                yield
        except Exception as failed:
            self._failed[file] = failed
            raise


_OF_CALL: dict[tuple[str, int], Validation] = {}


def validation_of(call: Call) -> Validation:
    """The one of this process: Ray keeps processes between tasks and calls."""
    name = call.token, call.attempts
    if name not in _OF_CALL:
        _OF_CALL.clear()
        _OF_CALL[name] = Validation(call)
    return _OF_CALL[name]


def validate_names(batch: pa.Table, call: Call) -> pa.Table:
    """Rows → SOURCES they name that are still to be read, each once. Rows that can only be rejected name none."""
    of = validation_of(call)
    files: dict[NamedFile, dict[str, Any]] = {}
    weights: dict[str, dict[str, Any]] = {}
    for row in batch.to_pylist():
        with suppress(Exception):  # it is rejected for that when its turn comes
            asked = of.stage.asked(json.loads(row["fields"]))
            for file in asked.files.values():
                files.setdefault(file, row)
            weights.setdefault(json.dumps([asked.clip.animator, asked.checkpoint]), row)
    found = [(*file, files[file]) for file in of.look_up(files)]
    found += [(name, "weights", row) for name, row in weights.items()]
    return pa.Table.from_pylist(
        [{"uri": uri, "kind": kind, "row": row["row"], "id": row["id"]} for uri, kind, row in found], schema=SOURCES
    )


def validate_source(source: dict[str, Any], call: Call) -> dict[str, Any]:
    """A row of SOURCES → the same with `seconds` and `then`: what is found out goes into the memo. Never raises."""
    from stages.validate import NamedFile

    of, begun, after = validation_of(call), time.perf_counter(), ""
    try:
        if source["kind"] == "weights":
            with of.digesting(source):
                of.keying.digest(tuple(json.loads(source["uri"])))
        else:
            with of.on_behalf_of(source):
                of.stage.examine(NamedFile(source["uri"], source["kind"]))
    except Exception as error:  # is met again by the rows that name it, which can be told
        after = then(error)
    return {**source, "seconds": since(begun), "then": after, "retried": json.dumps(RETRIES.known())}


def validate_rows(batch: pa.Table, call: Call) -> pa.Table:
    """Rows as `annotated` → JUDGED. Never raises: what is wrong with a row is its result."""
    of, rows = validation_of(call), batch.to_pylist()
    asked: list[Asked | Exception] = []
    for row in rows:
        try:
            asked.append(of.stage.asked(json.loads(row["fields"])))
        except Exception as error:
            asked.append(error)
    of.look_up({file for one in asked if not isinstance(one, Exception) for file in one.files.values()})
    made = [judged(of, row, one) for row, one in zip(rows, asked, strict=True)]
    empty = (None,) * (len(CLIPS) - 1)
    cells = [(one.row, *empty, text_of(one)) if isinstance(one, Result) else (*planned_clip(one), None) for one in made]
    return pa.table([list(column) for column in zip(*cells, strict=True)], schema=JUDGED)


def judged(of: Validation, row: dict[str, Any], asked: Asked | Exception) -> Work | Result:
    """One row as a clip with its keys, or what it ended as."""
    number, begun = row["row"], time.perf_counter()
    try:
        if isinstance(asked, Exception):
            raise asked
        with of.on_behalf_of(row):
            work = of.stage.work(number, asked)
    except Exception as error:
        note_unforeseen(f"row {number} failed in validate", error)
        end = status_of(error)
        return results.of_row(number, json.loads(row["fields"]), end, stage="validate", **reasons(error))
    work = work.timed("validate", round(row["waited"] + since(begun), 3))
    if row["same_id_as"] is not None:
        fault = f"id {work.clip.id!r}: row {row['same_id_as']} has it already"
        return ended(work, "validate", Rejected(fault, "give every row its own id"))
    return guarded("plan", work, partial(of.keying, work))
