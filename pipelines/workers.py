"""The stages as Ray Data runs them: actors where there is something to load, tasks where there is not.

A row of the graph is metadata only: {"work": JSON of a clip, "result": JSON of its result, or "" while it goes on,
"then": what the run does with a row that came back: "" nothing, "alone" one last try alone, "again" once more}.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import ray

from manifests import results
from manifests.results import Result
from manifests.work import Work
from pipelines import stage_of
from pipelines.attempts import AttemptLedger
from pipelines.boundary import Then, ended, note_unforeseen, reasons, status_of, then
from pipelines.settings import RunSettings

Row = dict[str, Any]


def row_of(made: Work | Result, work: Work | None = None, then: Then = "") -> Row:
    """What a stage made of a clip as a row of the graph; `work` is the clip behind a result, if there was one."""
    if isinstance(made, Work):
        return {"work": made.model_dump_json(), "result": "", "then": then}
    return {"work": work.model_dump_json() if work else "", "result": made.model_dump_json(), "then": then}


def row_after(stage: str, work: Work, call: Callable[[], Work | Result], where: Mapping[str, Any] | None = None) -> Row:
    """The row of what `call` makes of a clip, or of what its exception means; `where` the clip failed, for its result.

    A film's result says itself where it was made.
    """
    try:
        return row_of(call(), work)
    except Exception as error:
        return row_of(ended(work, stage, error).model_copy(update=where or {}), work, then(error))


def outcome(row: Row) -> Result:
    """The result that a finished row carries."""
    return Result.model_validate_json(row["result"])


def validate_row(row: Row, settings: RunSettings) -> Row:
    """{"row", "fields"} → {"work", "result"}; a rejected row has no work. Never raises: what is wrong is the result."""
    fields, begun = json.loads(row["fields"]), time.perf_counter()
    try:
        work = stage_of.validate(settings)(row["row"], fields)
    except Exception as error:
        note_unforeseen(f"row {row['row']} failed in validate", error)
        return row_of(results.of_row(row["row"], fields, status_of(error), stage="validate", **reasons(error)))
    return row_of(work.timed("validate", since(begun)))


class PoseWorker:
    """{"works": clips of one driving video} → one row per clip, each with its poses stored, or ended.

    A row leaves as soon as its clip's poses are there, while the references of the next ones are looked at.
    """

    def __init__(self, settings: RunSettings) -> None:
        self._stage = stage_of.extract_pose(settings)

    def __call__(self, row: Row) -> Iterator[Row]:
        """Never raises: what goes wrong with the video ends every clip of it, with a reference only its own clip."""
        works, begun = [Work.model_validate_json(work) for work in row["works"]], time.perf_counter()
        try:
            made = self._stage.for_driving(works[0])
        except Exception as error:
            yield from (row_of(ended(work, "pose", error), work, then(error)) for work in works)
            return
        # the seconds belong to the video: the clip that waited for it carries them, its neighbours none
        waited = since(begun) if made else 0.0
        for work in works:
            yield row_after("pose", work, partial(self._with_reference, work, waited))
            waited = 0.0

    def _with_reference(self, work: Work, waited: float) -> Work:
        begun = time.perf_counter()
        made = self._stage.for_reference(work)
        return work.timed("pose", round(waited + since(begun), 3)) if made or waited else work


class InputsWorker:
    """A clip → the same clip with its reference (and its sound) stored as plain data.

    An actor, not a task: Ray would run a task inside the next stage's actor, and decode user media beside the model.
    """

    def __init__(self, settings: RunSettings) -> None:
        self._stage = stage_of.prepare_inputs(settings)

    def __call__(self, row: Row) -> Row:
        """Never raises; rows that have ended pass through."""
        if row["result"]:
            return row
        work, begun = Work.model_validate_json(row["work"]), time.perf_counter()

        def prepare() -> Work:
            self._stage(work)
            return work.timed("inputs", since(begun))

        return row_after("inputs", work, prepare)


class AnimateWorker:
    """A clip → its result. Holds the models."""

    def __init__(self, settings: RunSettings, attempts: int) -> None:
        import torch

        from stages.animate import Machine

        pool = settings.config.animate_pool
        if settings.device == "cpu" or pool.threads:
            # Ray allows an actor that reserves less than a core one thread; one core is left to decoding and encoding
            torch.set_num_threads(pool.threads or max(1, (os.cpu_count() or 1) // pool.size - 1))
        logging.getLogger("diffusers").setLevel(logging.ERROR)
        worker = ray.get_runtime_context().get_actor_id() or "no actor"
        self._machine = Machine(settings.device, pool.num_gpus, worker=worker)
        self._stage = stage_of.animate(settings, machine=self._machine)
        self._ledger = AttemptLedger(
            settings.layout.run(settings.run_id, "attempts", settings.session),
            attempts,
            ray.get_runtime_context().get_node_id(),
            lambda: {node["NodeID"] for node in ray.nodes() if node["Alive"]},
        )

    def __call__(self, row: Row) -> Row:
        """Never raises; rows that have ended pass through."""
        if row["result"]:
            return row
        work = Work.model_validate_json(row["work"])

        def animate() -> Result:
            attempt = self._ledger.begin(str(work.row))
            return self._stage(work).model_copy(update={"attempts": attempt})

        machine = self._machine
        where = {"device": machine.device, "host": machine.host, "worker": machine.worker}
        return row_after("animate", work, animate, where)


def since(begun: float) -> float:
    """Seconds since a moment of `time.perf_counter`."""
    return round(time.perf_counter() - begun, 3)
