"""Results while a run goes on: Parquet files that are only added to, and give way to the whole table at its end."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import results, storage
from manifests.kept_results import KeptResults
from manifests.results import FREE, Result
from manifests.temporary import temporary_folder

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 30.0
SHARE = 0.01  # of the time passed: so a long night of few rows does not end in thousands of files


class PartialResults:
    """`results/part-00000.parquet` and on, in a run's folder: every row that has ended so far, once.

    The columns are those of the whole table, but for metadata and pose, which are JSON text: one schema for all parts.
    """

    def __init__(self, folder: str, interval: float | None = None) -> None:
        self._folder = storage.join(folder, "results")
        self._interval = INTERVAL_SECONDS if interval is None else interval
        self._began = self._written = time.monotonic()
        self._waiting = KeptResults()
        self._parts = 0

    def add(self, ended: Iterable[Result]) -> None:
        """Take in results that will not change any more."""
        self._waiting.extend(ended)

    def write(self) -> None:
        """Write what has come since the last part, if that is a while ago. What cannot be written is kept for later."""
        now = time.monotonic()
        if not self._waiting or now - self._written < max(self._interval, SHARE * (now - self._began)):
            return
        self._written = now
        try:
            with temporary_folder("results") as scratch:
                local = scratch / "part.parquet"
                pq.write_table(as_text(self._waiting), local)
                storage.publish(local, storage.join(self._folder, f"part-{self._parts:05}.parquet"))
        except Exception as error:
            log.warning("partial results could not be written: %s", error)
            return
        self._parts += 1
        self._waiting = KeptResults()

    def clear(self) -> None:
        """Remove the parts, of earlier sessions too."""
        try:
            for name in storage.listing(self._folder):
                storage.delete(storage.join(self._folder, name))
        except Exception as error:  # stores have errors of their own
            log.warning("partial results could not be removed: %s", error)


def as_text(ended: KeptResults) -> pa.Table:
    """Results as a table whose types are the same whatever rows carry."""
    ended = ended.in_order()
    made = results.to_table(ended).drop_columns(list(FREE))
    for name in FREE:
        cells = [json.dumps(getattr(result, name), ensure_ascii=False) for result in ended]
        made = made.append_column(name, pa.array(cells, pa.string()))
    return made
