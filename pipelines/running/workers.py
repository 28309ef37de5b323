"""The stages as Ray Data runs them: actors where there is something to load, tasks where there is not.

A row of the graph is metadata only: {"work": JSON of a clip, "result": JSON of its result, or "" while it goes on,
"then": what the run does with a row that came back: "" nothing, "alone" one last try alone, "again" once more,
"render" the whole clip once all of its segments are back,
"retried": how often processes have tried storage again, as JSON}.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import ray

from manifests import storage
from manifests.errors import NotFinite
from manifests.layout import sound_key
from manifests.log_context import about
from manifests.results import Result
from manifests.retries import RETRIES
from manifests.work import Work
from pipelines import stage_of
from pipelines.boundary import Then, ended, then
from pipelines.configuration import CpuPool
from pipelines.planned_clip import cost
from pipelines.running.attempts import AttemptLedger, Place
from pipelines.running.claims import Claims
from pipelines.running.deadline import Deadline
from pipelines.running.dealing import unit_of, units_of
from pipelines.running.stopping import NotReached, Stopping
from pipelines.running.watchdog import watched
from pipelines.settings import RunSettings
from stages.diffusion.animators import import_ahead
from stages.driving import keeps_sound
from stages.latents_cache import all_stored, segments

log = logging.getLogger(__name__)

Row = dict[str, Any]


def row_of(made: Work | Result, work: Work | None = None, then: Then = "") -> Row:
    """What a stage made of a clip as a row of the graph; `work` is the clip behind a result, if there was one."""
    if isinstance(made, Work):
        row = {"work": made.model_dump_json(), "result": ""}
    else:
        row = {"work": work.model_dump_json() if work else "", "result": made.model_dump_json()}
    return {**row, "then": then, "retried": json.dumps(RETRIES.known())}


def row_after(stage: str, work: Work, call: Callable[[], Work | Result], where: Mapping[str, Any] | None = None) -> Row:
    """The row of what `call` makes of a clip, or of what its exception means; `where` the clip failed, for its result.

    A film's result says itself where it was made.
    """
    with about(row=work.row, clip=work.clip.id, stage=stage):
        begun = time.perf_counter()
        try:
            row = row_of(call(), work)
        except Exception as error:
            return row_of(ended(work, stage, error).model_copy(update=where or {}), work, then(error))
        log.info("%s of row %d (%s) in %.1f s", stage, work.row, work.clip.id, since(begun))
        return row


def outcome(row: Row) -> Result:
    """The result that a finished row carries."""
    return Result.model_validate_json(row["result"])


def this_node() -> str:
    """The node of the cluster that this process runs on; "" outside of one."""
    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""


def ledger_of(settings: RunSettings, stage: str, deaths: int, pool: CpuPool) -> AttemptLedger:
    """The ledger of a stage in this worker: `deaths` set a row aside, `pool` bounds the memory of its processes."""
    return AttemptLedger(
        settings.layout.run(settings.run_id, "attempts"),
        stage,
        deaths,
        Place(this_node(), settings.session, lambda: {node["NodeID"]: node["Alive"] for node in ray.nodes()}),
        partial(watched, memory_bytes=pool.memory_bytes),
        settings.config.longest_row_seconds,
    )


class PoseWorker:
    """{"works": clips of one driving video} → one row per clip, each with its poses stored, or ended.

    A row leaves as soon as its clip's poses are there, while the references of the next ones are looked at. What is
    tried, and set aside where it kills its worker, is the driving file, and each reference by itself.
    """

    def __init__(self, settings: RunSettings, attempts: int) -> None:
        self._stage = stage_of.extract_pose(settings)
        self._limits = settings.config.time_limits
        self._ledger = ledger_of(settings, "pose", attempts, settings.config.pose_pool)
        self._stopping = Stopping(settings.layout.run(settings.run_id))

    def __call__(self, row: Row) -> Iterator[Row]:
        """Never raises: what goes wrong with the video ends every clip of it, with a reference only its own clip."""
        works, begun = [Work.model_validate_json(work) for work in row["works"]], time.perf_counter()
        try:
            made = self._driving(works[0])
        except Exception as error:
            yield from (row_of(ended(work, "pose", error), work, then(error)) for work in works)
            return
        # the seconds belong to the video: the clip that waited for it carries them, its neighbours none
        waited = since(begun) if made else 0.0
        for work in works:
            yield row_after("pose", work, partial(self._with_reference, work, waited))
            waited = 0.0

    def _driving(self, work: Work) -> bool:
        self._stopping.require_going()
        if work.driving is None or work.pose_key is None:
            return False
        what = f"driving {storage.redact(work.driving.uri)}"
        with self._ledger.trying(work.row, work.clip.id, self._limits.poses(work.driving), work.pose_key, what):
            return self._stage.for_driving(work)

    def _with_reference(self, work: Work, waited: float) -> Work:
        begun, made, reference, key = time.perf_counter(), False, work.reference, work.reference_pose_key
        if reference is not None and key is not None:
            self._stopping.require_going()
            what = f"reference {storage.redact(reference.uri)}"
            with self._ledger.trying(work.row, work.clip.id, self._limits.poses(reference), key, what):
                made = self._stage.for_reference(work)
        return work.timed("pose", round(waited + since(begun), 3)) if made or waited else work


class InputsWorker:
    """A clip → the same clip with its reference (and its sound) stored as plain data.

    An actor, not a task: Ray would run a task inside the next stage's actor, and decode user media beside the model.
    """

    def __init__(self, settings: RunSettings, attempts: int) -> None:
        self._stage = stage_of.prepare_inputs(settings)
        self._limits = settings.config.time_limits
        self._ledger = ledger_of(settings, "inputs", attempts, settings.config.inputs_pool)
        self._stopping = Stopping(settings.layout.run(settings.run_id))

    def __call__(self, row: Row) -> Row:
        """Never raises; rows that have ended pass through."""
        if row["result"]:
            return row
        work = Work.model_validate_json(row["work"])
        RETRIES.hear(json.loads(row["retried"]))
        return row_after("inputs", work, partial(self._prepared, work))

    def _prepared(self, work: Work) -> Work:
        self._stopping.require_going()
        begun, reference, driving = time.perf_counter(), work.reference, work.driving
        if reference is not None:
            what, seconds = f"reference {storage.redact(reference.uri)}", self._limits.reference(reference)
            with self._ledger.trying(work.row, work.clip.id, seconds, work.reference_key or "", what):
                self._stage.of_reference(work)
        if driving is not None and keeps_sound(work):
            what, seconds = f"sound of {storage.redact(driving.uri)}", self._limits.sound(driving)
            with self._ledger.trying(work.row, work.clip.id, seconds, sound_key(driving.content), what):
                self._stage.of_sound(work)
        return work.timed("inputs", since(begun))


class AnimateWorker:
    """A clip → its result. Holds the models."""

    def __init__(self, settings: RunSettings, attempts: int, animators: Sequence[str] = ()) -> None:
        """`animators` are imported already now, while the first clip's poses are made elsewhere."""
        import torch

        from stages.animate import Machine

        pool = settings.config.animate_pool
        if settings.device == "cpu" or pool.threads:
            # Ray allows an actor that reserves less than a core one thread
            torch.set_num_threads(pool.threads_on(os.cpu_count() or 1))
        logging.getLogger("diffusers").setLevel(logging.ERROR)
        worker = ray.get_runtime_context().get_actor_id() or "no actor"
        self._machine = Machine(settings.device, pool.num_gpus, worker=worker)
        self._limits = settings.config.time_limits
        self._ledger = ledger_of(settings, "animate", attempts, pool)
        self._stopping = Stopping(settings.layout.run(settings.run_id))
        self._stage = stage_of.animate(settings, machine=self._machine, going_on=self._stopping.require_going)
        self._deadline = Deadline(settings.until)
        self._claims = Claims(settings.layout, settings.run_id, settings.session)
        self._layout = settings.layout
        import_ahead(animators)

    def __call__(self, row: Row) -> Row:
        """Never raises; rows that have ended pass through."""
        if row["result"]:
            return row
        work = Work.model_validate_json(row["work"])
        RETRIES.hear(json.loads(row["retried"]))
        where: dict[str, Any] = {}  # filled once there is something to tell
        if work.segment is not None:
            with about(row=work.row, clip=work.clip.id, stage="animate", segment=work.segment):
                return self._segment(work, work.segment, where)
        return row_after("animate", work, partial(self._animated, work, where), where)

    def _segment(self, work: Work, number: int, where: dict[str, Any]) -> Row:
        """One segment of a long clip, stored; the clip is not finished by that, and its film is drawn later."""
        try:
            done = self._denoised(work, number, where)
        except NotFinite:
            done = work  # who draws the film makes it in float32
        except Exception as error:
            return row_of(ended(work, "animate", error).model_copy(update=where), work, then(error))
        stored = NotReached(f"segment {number} is stored, and the film not drawn yet", "not finished")
        return row_of(ended(done, "animate", stored).model_copy(update=where), done, "render")

    def _denoised(self, work: Work, number: int, where: dict[str, Any]) -> Work:
        self._stopping.require_going()
        segment = segments(work)[number]
        kind, effort = (work.clip.animator, False), cost(work) * len(segment) // (work.drawn or work.frames)
        self._deadline.require(kind, effort)
        limit = self._limits.film(work, self._machine.device, len(segment))
        trying = self._ledger.trying(work.row, work.clip.id, limit, unit_of(work), f"segment {number}")
        begun = time.perf_counter()
        with self._located(where), trying:
            self._claims.joined(work.film_key)
            done = self._stage.segment(work, number)
        self._deadline.took(kind, effort, since(begun) - done.seconds.get("load", 0.0))
        return done

    def _animated(self, work: Work, where: dict[str, Any]) -> Result:
        self._stopping.require_going()
        kind, effort = self._effort(work)
        self._deadline.require(kind, effort)
        begun, now = time.perf_counter(), datetime.now(UTC)
        limit = self._limits.film(work, self._machine.device)
        with (
            self._located(where),
            self._claims.held(work.film_key),
            self._ledger.trying(work.row, work.clip.id, limit, parts=units_of(work)) as attempt,
        ):
            result = self._stage(work, attempt)
        if result.started is not None and result.started >= now:  # else the film was there already
            self._deadline.took(kind, effort, since(begun) - result.seconds.get("load", 0.0))
        return result

    @contextmanager
    def _located(self, where: dict[str, Any]) -> Iterator[None]:
        """Where the block runs, and how long it holds a GPU."""
        machine, begun = self._machine, time.perf_counter()
        where |= {"device": machine.device, "host": machine.host, "worker": machine.worker}
        try:
            yield
        finally:
            where["gpu_seconds"] = round(since(begun) * machine.gpus, 3)

    def _effort(self, work: Work) -> tuple[tuple[str, bool], int]:
        """What rows are compared by where there is a deadline, and their cost."""
        stored = bool(self._deadline) and all_stored(self._layout, work)
        return (work.clip.animator, stored), cost(work, stored)


def since(begun: float) -> float:
    """Seconds since a moment of `time.perf_counter`."""
    return round(time.perf_counter() - begun, 3)
