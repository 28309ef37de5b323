"""A manifest looked at in this process, for a plan: no Ray, no weights, nothing written but what the cache is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from manifests import results, storage
from manifests.kept_results import KeptResults
from manifests.layout import KEY_LENGTH
from manifests.table import read_files, rows
from manifests.work import Work
from pipelines import stage_of
from pipelines.boundary import reasons, status_of
from pipelines.plan import Plan
from pipelines.planned_clip import planned_clip
from pipelines.progress import Say
from pipelines.settings import RunSettings
from stages.diffusion.animators import ANIMATORS
from stages.driving import measures_reference, recipe_of
from stages.sandbox.reading import require_modest_table

ABSENT = "(not configured)"  # in place of weights: nobody opens them


def looked_at(settings: RunSettings, limit: int | None, say: Say) -> tuple[Plan, KeptResults]:
    """Every row as a clip to be made, or as it is refused.

    Keys stand for what is shared only: there is no output in which something could be finished.
    """
    named = {name: ABSENT for name, facts in ANIMATORS.items() if facts.checkpoint and not facts.bundled}
    config = settings.config.model_copy(update={"checkpoints": {**named, **settings.config.checkpoints}})
    validate = stage_of.validate(settings := replace(settings, config=config))
    plan, refused = Plan(), KeptResults()
    for number, fields in islice(rows_of(settings.manifest), limit):
        try:
            plan.todo.append(planned_clip(_keyed(validate(number, fields), settings)))
        except Exception as error:
            refused.extend([results.of_row(number, fields, status_of(error), stage="validate", **reasons(error))])
        if number and number % 500 == 0:
            say(f"  looked at {number:,} rows; with an OUTPUT many look at them together, on Ray")
    return plan, refused


def rows_of(manifest: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """A manifest's rows in this process, each with its number."""
    every = (file.partitions | row for file, table in read_files(manifest, require_modest_table) for row in rows(table))
    return enumerate(every)


def _keyed(work: Work, settings: RunSettings) -> Work:
    """With names in place of keys: the same for clips that share a driving video, or a reference's poses."""
    driving, reference, name = work.driving, work.reference, str(work.row)
    facts, estimators = ANIMATORS[work.clip.animator], settings.config.estimators
    recipe = recipe_of(work.clip, estimators, driving) if driving else None
    estimator = None if recipe is None or recipe.estimator == "none" else recipe.estimator
    measured = reference and recipe and measures_reference(work.clip, facts, recipe, estimators)
    return work.keyed(
        pose_key=storage.sha256_text(f"{driving.content} {recipe}")[:KEY_LENGTH] if driving else None,
        pose_estimator=estimator,
        reference_pose_key=reference.content if reference and measured else None,
        latents_key=name,
        film_key=name,
    )
