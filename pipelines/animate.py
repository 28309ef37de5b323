"""The graph: a manifest goes in, one film and one result row per clip come out.

`run` is the table of contents of the system; `python -m pipelines.animate` is `catwalk animate`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, cast

import ray
import ray.data

from cluster.connection import connect
from cluster.preflight import require
from manifests import results, table
from manifests.errors import Problem, Rejected, WrongUsage
from manifests.layout import Film
from manifests.results import Result
from manifests.work import Work
from pipelines.boundary import ended, guarded
from pipelines.configuration import RunConfig
from pipelines.disk_space import FILM, LATENTS, require_space
from pipelines.keying import Keying
from pipelines.last_tries import last_tries
from pipelines.lease import held
from pipelines.manifest_reading import Manifest, ManifestRow, look_at, read_manifest
from pipelines.output_files import require_apart, require_writable_folder
from pipelines.plan import Plan, make_plan, reused
from pipelines.pools import actors, as_blocks, demands, tasks
from pipelines.progress import Progress, Say
from pipelines.record import RunRecord, RunResults, bad_rows
from pipelines.settings import RunSettings, require_device, settled
from pipelines.waiting import Waiting
from pipelines.workers import AnimateWorker, InputsWorker, PoseWorker, outcome, validate_row

ROUNDS = 3  # how often a row is done at most, where a stage asks for it to be done once more


def run(
    config: RunConfig,
    manifest: str,
    output: str,
    *,
    run_id: str | None = None,
    limit: int | None = None,
    only: Collection[str] = (),
    only_failed: bool = False,
    dry_run: bool = False,
    strict: bool = False,
    say: Say = lambda line: None,
) -> RunResults:
    """Animate every row of a manifest into `output`.

    `limit` and `only` restrict the run to the first rows or to ids, `only_failed` to rows that have no film after the
    last run here (with `run_id`, that one); `dry_run` stops when the plan stands; `strict` refuses unknown columns.
    Raises `Problem` when the run cannot begin: what goes wrong later ends in the results.
    """
    settings = settled(config, manifest, output, run_id)
    require_possible(settings, only, dry_run)
    wanted = bad_rows(settings.layout, run_id) if only_failed else None
    if dry_run:
        incoming, rows = gathered(settings, limit, only, wanted, strict, say)
        return RunRecord(settings).dry(*planned(rows, settings, say), say)

    with held(settings.layout, settings.run_id, settings.session, say):
        incoming, rows = gathered(settings, limit, only, wanted, strict, say)
        record = RunRecord(settings)
        record.claim(incoming.texts)
        plan, settled_already = planned(rows, settings, say)
        require_room(plan, settings)
        record.write_plan(plan, settled_already)

        made, broke_off = in_rounds(plan, rows, settings, say)
        about = {work.row: {"id": work.clip.id, "metadata": work.clip.metadata} for work in plan.works()}
        final = results.reconcile([row.number for row in rows], settled_already + made, about)
        return record.finish(record.with_earlier(final, len(incoming.rows)), broke_off, say)


def graph(groups: Sequence[Sequence[Work]], settings: RunSettings, attempts: int) -> ray.data.Dataset:
    """One row is a driving video, then one row is a clip. One heavy row = one block = one task."""
    config = settings.config
    videos = as_blocks([{"works": [work.model_dump_json() for work in group]} for group in groups], len(groups))
    # a clip is a block of its own as soon as it leaves the pose worker; repartitioning would take tasks of a whole CPU,
    # which may never come free, and wait for the last clip of a video
    videos.context.target_max_block_size = 1
    return (
        videos.flat_map(PoseWorker, fn_constructor_args=[settings, attempts], **actors(config.pose_pool))
        .map(InputsWorker, fn_constructor_args=[settings, attempts], **actors(config.inputs_pool))
        .map(AnimateWorker, fn_constructor_args=[settings, attempts], **actors(config.animate_pool))
    )


def gathered(
    settings: RunSettings,
    limit: int | None,
    only: Collection[str],
    wanted: Callable[[ManifestRow], bool] | None,
    strict: bool,
    say: Say,
) -> tuple[Manifest, list[ManifestRow]]:
    """The manifest, read on a cluster that can hold the run, and those of its rows that the run is about."""
    say(f"run {settings.run_id} on {connect()}")
    require(demands(settings.config), settings.config.cluster_wait.seconds, say)
    incoming = read_manifest(settings.manifest)
    report_unknown(incoming.unknown, strict, say)
    return incoming, [row for row in incoming.selected(limit, only) if wanted is None or wanted(row)]


def planned(rows: Sequence[ManifestRow], settings: RunSettings, say: Say) -> tuple[Plan, list[Result]]:
    """What there is to do for rows, and the results of those that end here: refused, or finished already."""
    works, rejected = validated(rows, settings)
    works, refused = with_keys(works, settings)
    plan = make_plan(works, settings.layout, settings.run_id)
    say(plan.in_words(rejected + refused))
    for line in plan.warnings():
        say(line)
    return plan, rejected + refused + plan.finished


def require_possible(settings: RunSettings, only: Collection[str], dry_run: bool) -> None:
    """Raise `Problem` for what can be known to fail before Ray starts, which takes seconds."""
    require_apart(settings.manifest, settings.layout.run(settings.run_id))
    look_at(settings.manifest, only)
    if not (ray.is_initialized() or "RAY_ADDRESS" in os.environ):  # else the workers may have what is not here
        require_device(settings.device, settings.config.animate_pool.num_gpus)
    if not dry_run:
        require_writable_folder(settings.output)


def require_room(plan: Plan, settings: RunSettings) -> None:
    """Raise `Problem` where films and latents will not fit on the disk."""
    require_space(settings.layout.films, plan.todo, FILM)
    require_space(settings.layout.cache, plan.todo, LATENTS if settings.config.keep_latents else 0)


def report_unknown(unknown: Sequence[table.UnknownColumn], strict: bool, say: Say) -> None:
    """Say once which columns are carried as metadata; under `strict` refuse the manifest."""
    if unknown and strict:
        raise WrongUsage("; ".join(map(str, unknown)), "rename or drop the columns, or run without --strict")
    for note in table.unknown_notes(unknown):
        say(note)


def validated(rows: Sequence[ManifestRow], settings: RunSettings) -> tuple[list[Work], list[Result]]:
    """Every row as work, or as a rejected result. Media is probed on CPU workers; duplicate ids are found here."""
    pool, limit = settings.config.validate_pool, settings.config.attempts
    duplicates = table.duplicate_rows(row.id for row in rows)
    checked = list(checked_rows(rows, settings, max(4 * pool.size, len(rows) // 16), limit))
    condemned = {outcome(row).row for row in checked if row["then"] == "alone"}
    alone = checked_rows([row for row in rows if row.number in condemned], settings, 1, limit + 1)
    works, rejected = [], []
    for row in chain((row for row in checked if row["then"] != "alone"), alone):
        if row["result"]:
            rejected.append(outcome(row))
        else:
            works.append(Work.model_validate_json(row["work"]))
    first_of = {rows[later].number: rows[first].number for later, first in duplicates.items()}
    for work in [work for work in works if work.row in first_of]:
        fault = Rejected(f"id {work.clip.id!r}: row {first_of[work.row]} has it already", "give every row its own id")
        rejected.append(ended(work, "validate", fault))
    return sorted((work for work in works if work.row not in first_of), key=lambda work: work.row), rejected


def checked_rows(
    rows: Sequence[ManifestRow], settings: RunSettings, blocks: int, attempts: int
) -> Iterator[dict[str, Any]]:
    """Rows as `validate_row` makes them, in that many blocks."""
    if rows:
        given = as_blocks([{"row": row.number, "fields": row.fields} for row in rows], blocks)
        arguments = {"settings": settings, "attempts": attempts}
        checked = given.map(validate_row, fn_kwargs=arguments, **tasks(settings.config.validate_pool))
        yield from outcomes_of(checked, settings.config)


def with_keys(works: Sequence[Work], settings: RunSettings) -> tuple[list[Work], list[Result]]:
    """Every clip with its keys; clips whose weights are missing or incomplete end here."""
    keying = Keying(settings)
    keyed = [guarded("plan", work, partial(keying, work)) for work in works]
    refused = [one for one in keyed if isinstance(one, Result)]
    return [one for one in keyed if isinstance(one, Work)], refused


def in_rounds(
    plan: Plan, rows: Sequence[ManifestRow], settings: RunSettings, say: Say
) -> tuple[list[Result], str | None]:
    """Do the plan, and once more from validation on what a stage asks it for; every row `ROUNDS` times at most.

    Returns results, and why the run broke off if it did.
    """
    ended_so: dict[int, Result] = {}
    for round_number in range(1, ROUNDS + 1):
        made, again, broke_off = animated(plan, settings, say)
        made += shared_films(plan, made, settings)
        ended_so |= {result.row: result for result in made}
        if broke_off or not again or round_number == ROUNDS:
            break
        say(f"  once more: {len(again)} rows whose files changed or were damaged")
        plan, refused_or_finished = planned([row for row in rows if row.number in again], settings, say)
        ended_so |= {result.row: result for result in refused_or_finished}
    return list(ended_so.values()), broke_off


def animated(plan: Plan, settings: RunSettings, say: Say) -> tuple[list[Result], set[int], str | None]:
    """Run the graph over the plan; returns results, rows to do again, and why the run broke off if it did.

    A clip whose worker died too often gets one last try alone, so that a healthy one is not condemned for its
    neighbours. Rows that share the film of a row to do again are done again with it.
    """
    if not plan.todo:
        return [], set(), None
    limit = settings.config.attempts
    progress = Progress(len(plan.todo), sum(map(plan.cost, plan.todo)), say)
    by_row = {work.row: work for work in plan.todo}
    made: dict[int, Result] = {}
    again: set[int] = set()
    condemned: list[Work] = []
    attempts = settings.layout.run(settings.run_id, "attempts")
    waiting = Waiting(attempts, settings.session, settings.config.idle_seconds, say)

    def take(row: dict[str, Any], last_try: bool) -> None:
        waiting.row_came()
        result = outcome(row)
        work, made[result.row] = by_row[result.row], result
        if row["then"] == "alone" and not last_try:
            condemned.append(work)
            return
        progress.ended(result, plan.cost(work))
        if row["then"] == "again":
            again.update({work.row, *(sharing.row for sharing in plan.duplicates.get(work.film_key, ()))})

    try:
        for row in outcomes_of(graph(plan.groups(), settings, limit), settings.config):
            take(row, last_try=False)
        for work in condemned:
            say(f"  row {work.row} ({work.clip.id}): {made[work.row].error}; one last try alone")
        for row in last_tries(condemned, made, settings, waiting.look):
            take(row, last_try=True)
    except KeyboardInterrupt:
        return list(made.values()), again, "interrupted"
    except Exception as error:
        return list(made.values()), again, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return list(made.values()), again, None


def outcomes_of(dataset: ray.data.Dataset, config: RunConfig) -> Iterator[dict[str, Any]]:
    """Rows as soon as their blocks are finished."""
    # every try is bounded by its worker; for Ray a row that is tried again makes no progress
    dataset.context.execution_no_progress_timeout_s = (config.attempts + 2) * config.longest_row_seconds
    dataset.context.max_consecutive_actor_init_deaths = 5
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


def shared_films(plan: Plan, made: Sequence[Result], settings: RunSettings) -> Iterator[Result]:
    """Results of rows that asked for the very film another row was making: a copy of it under their own id."""
    by_key = {result.film_key: result for result in made}
    for key, works in plan.duplicates.items():
        first = by_key.get(key)
        for work in works:
            if first is None or not first.good:
                reason = first.error if first else "it did not come back"
                fault = Problem(f"row {plan.maker(key).row} was to make the same film: {reason}", "run again")
                yield ended(work, "animate", fault)
                continue

            film = Film(cast(str, first.id), key)
            (marker,) = settings.layout.read_film_markers([film])
            share = partial(reused, work, film, cast(dict, marker), settings.layout, settings.run_id)
            yield guarded("animate", work, share)


if __name__ == "__main__":
    from pipelines.cli import main

    sys.exit(main(["animate", *sys.argv[1:]]))
