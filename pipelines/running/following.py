"""Following a graph while it runs: its rows as they come, and now and then a look at everything else."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import pyarrow as pa
import ray.data
from ray._private import auto_init_hook
from ray.data._internal.execution.streaming_executor import StreamingExecutor

from manifests.retries import RETRIES
from pipelines.configuration import RunConfig

TICK_SECONDS = 1.0
END_SECONDS = 10.0

Row = dict[str, Any]


def followed(dataset: ray.data.Dataset, config: RunConfig, over: Callable[[Following], bool]) -> Iterator[Row]:
    """The rows of `followed_tables`, and what their workers tell of tries of storage."""
    for table in followed_tables(dataset, config, over):
        for row in table.to_pylist():
            RETRIES.hear(json.loads(row["retried"]))
            yield row


def followed_tables(
    dataset: ray.data.Dataset, config: RunConfig, over: Callable[[Following], bool]
) -> Iterator[pa.Table]:
    """Blocks as soon as they are finished.

    `over` is asked every second or so, be there rows or not. Once it says so the graph is ended: its workers are
    killed, and what they had in hand does not come back.
    """
    # every try is bounded by its worker; for Ray a row that is tried again makes no progress
    dataset.context.execution_no_progress_timeout_s = (config.attempts + 2) * config.longest_row_seconds
    dataset.context.max_consecutive_actor_init_deaths = 5
    following = Following(dataset)
    try:
        while not following.ended:
            yield from following.next(TICK_SECONDS)
            if over(following):
                break
    except KeyboardInterrupt:
        following.abandoned = True  # at once: the workers end with this process
        auto_init_hook.enable_auto_connect = False  # or the reader would start a cluster of its own meanwhile
        raise
    finally:
        if not following.abandoned:
            following.end()


class Following:
    """A thread that reads a dataset, so that the one that follows it is never held up."""

    def __init__(self, dataset: ray.data.Dataset) -> None:
        self.abandoned = False
        self._dataset = dataset
        self.ended = False  # all of it has been read
        self._read: SimpleQueue[pa.Table | BaseException | None] = SimpleQueue()
        self._reader = threading.Thread(target=self._follow, name="catwalk-following", daemon=True)
        self._reader.start()

    def next(self, seconds: float) -> list[pa.Table]:
        """The block that came within that time, if one did. Raises what the graph raised."""
        try:
            read = self._read.get(timeout=seconds)
        except Empty:
            return []
        if isinstance(read, BaseException):
            raise read
        self.ended = read is None
        return [] if read is None else [read]

    def end(self) -> None:
        """End the graph if it still runs."""
        until = time.monotonic() + END_SECONDS
        while self._reader.is_alive() and time.monotonic() < until:
            for executor in self._executors():
                executor.shutdown(force=True)
            self._reader.join(0.2)

    def in_words(self) -> str:
        """How many workers of each pool run, and how many are still to start; "" where Ray does not tell."""
        found = []
        with suppress(Exception):  # no part of Ray's interface
            for executor in self._executors():
                for operator in executor._topology or {}:
                    info = operator.get_actor_info()
                    if info.running + info.pending + info.restarting:
                        name = operator.name.rpartition("(")[2].rstrip(")")
                        found.append(f"{name}: {info.running} running, {info.pending + info.restarting} starting")
        return ", ".join(found)

    def _follow(self) -> None:
        try:
            batches = self._dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
            for batch in batches:
                self._read.put(batch)
        except BaseException as error:
            self._read.put(error)
        self._read.put(None)

    def _executors(self) -> list[StreamingExecutor]:
        """What runs the dataset: a thread that bears its name. (The dataset itself knows it after the first row.)"""
        threads = (thread for thread in threading.enumerate() if isinstance(thread, StreamingExecutor))
        return [thread for thread in threads if thread.name.endswith(self._dataset.get_dataset_id())]
