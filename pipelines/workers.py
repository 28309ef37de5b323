"""The stages as Ray Data runs them: actors where there is something to load, tasks where there is not.

A row of the graph is metadata only: {"work": JSON of a clip, "result": JSON of its result, or "" while it goes on}.
"""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any

import ray

from manifests import storage, table
from manifests.results import Result
from manifests.work import Work
from pipelines.boundary import AttemptLedger, ended, explained, guarded, status_of
from pipelines.settings import RunSettings

Row = dict[str, Any]


def row_of(work: Work) -> Row:
    """A clip as a row of the graph."""
    return {"work": work.model_dump_json(), "result": ""}


def outcome(row: Row) -> Result:
    """The result that a finished row carries."""
    return Result.model_validate_json(row["result"])


def _advanced(row: Row, made: Work | Result) -> Row:
    if isinstance(made, Result):
        return {"work": row["work"], "result": made.model_dump_json()}
    return {"work": made.model_dump_json(), "result": row["result"]}


def validate_row(row: Row, settings: RunSettings) -> Row:
    """{"row", "fields"} → {"work", "result"}; a rejected row has no work. Never raises: what is wrong is the result."""
    from stages.validate import Validate

    config = settings.config
    allowed = storage.Allowed(prefixes=list(settings.allowed_prefixes))
    stage = Validate(
        settings.base, allowed, config.limits, config.checkpoints, settings.places.sources, config.estimators
    )
    fields, begun = json.loads(row["fields"]), time.perf_counter()
    try:
        work = stage(row["row"], fields).timed("validate", round(time.perf_counter() - begun, 3))
        return row_of(work)
    except Exception as error:
        text, remedy = explained(error)
        result = Result(
            row=row["row"],
            id=table.row_id(fields),
            status=status_of(error),
            stage="validate",
            error=text,
            remedy=remedy,
            metadata=table.row_metadata(fields),
        )
        return {"work": "", "result": result.model_dump_json()}


class PoseWorker:
    """{"works": clips of one driving video} → one row per clip, all with their poses stored, or all ended."""

    def __init__(self, settings: RunSettings) -> None:
        from stages.driving import recipe_of
        from stages.extract_pose import ExtractPose

        config = settings.config
        self._stage = ExtractPose(settings.places, config.limits, config.estimators)
        self._recipe_of = recipe_of

    def __call__(self, row: Row) -> list[Row]:
        """Never raises: what goes wrong with the video ends every clip of it."""
        works = [Work.model_validate_json(work) for work in row["works"]]
        first, begun = works[0], time.perf_counter()
        if first.pose_key is None:
            return [row_of(work) for work in works]
        try:
            made = self._stage(first.driving, self._recipe_of(first.clip), first.pose_key)
        except Exception as error:
            return [_advanced(row_of(work), ended(work, "pose", error)) for work in works]
        if made:  # the seconds belong to the video: the clip that waited for it carries them, its neighbours none
            works[0] = first.timed("pose", round(time.perf_counter() - begun, 3))
        return [row_of(work) for work in works]


class InputsWorker:
    """A clip → the same clip with its reference (and its sound) stored as plain data.

    An actor, not a task: Ray would run a task inside the next stage's actor, and decode user media beside the model.
    """

    def __init__(self, settings: RunSettings) -> None:
        from stages.prepare_inputs import PrepareInputs

        config = settings.config
        self._stage = PrepareInputs(settings.places, config.limits, config.estimators)

    def __call__(self, row: Row) -> Row:
        """Never raises; rows that have ended pass through."""
        if row["result"]:
            return row
        work, begun = Work.model_validate_json(row["work"]), time.perf_counter()

        def prepare() -> Work:
            self._stage(work)
            return work.timed("inputs", round(time.perf_counter() - begun, 3))

        return _advanced(row, guarded("inputs", work, prepare))


class AnimateWorker:
    """A clip → its result. Holds the models."""

    def __init__(self, settings: RunSettings, attempts: int) -> None:
        import torch

        from stages.animate import Animate
        from stages.diffusion.model_cache import ModelCache

        pool, places = settings.config.animate_pool, settings.places
        if settings.device == "cpu" or pool.threads:
            # Ray allows an actor that reserves less than a core one thread; one core is left to decoding and encoding
            torch.set_num_threads(pool.threads or max(1, (os.cpu_count() or 1) // pool.size - 1))
        logging.getLogger("diffusers").setLevel(logging.ERROR)
        models = ModelCache(settings.device, settings.dtype, pool.model_bytes)
        config = settings.config
        self._stage = Animate(
            places, models, config.encode, settings.run_id, settings.code, config.keep_latents, config.pose_rules
        )
        self._ledger = AttemptLedger(
            places.run(settings.run_id, "attempts", settings.session),
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

        return _advanced(row, guarded("animate", work, animate))
