"""One stage of one clip of a run once more, in this process and without Ray: to see what goes wrong."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from manifests import storage
from manifests.errors import Problem, WrongUsage
from manifests.field_error import choose
from manifests.layout import OutputLayout, sound_key
from manifests.temporary import temporary_folder
from manifests.work import Work
from pipelines import stage_of
from pipelines.configuration import RunConfig
from pipelines.keying import Keying
from pipelines.planning.look import rows_of
from pipelines.progress import Say
from pipelines.settings import RunSettings, require_device, settled
from stages.driving import keeps_sound
from stages.progress import Told, silent

KEYS = ("pose_key", "latents_key", "film_key")


def replay(
    config: RunConfig,
    output: str,
    run_id: str,
    clip_id: str,
    stage: str,
    into: Path | None,
    say: Say,
    told: Told = silent,
) -> dict[str, Any]:
    """Do the `stage` pose, inputs or animate; returns the seconds that it took and where what it made lies.

    Its own inputs come from the run's cache; into `output` goes nothing but what is found out about files. Whatever it
    raises is raised. Raises `WrongUsage` for a run or clip that is not there, `Problem` for inputs that are not.
    """
    require_device(config.animate_pool.device)
    there = settled(config, _manifest_of(output, run_id), output, run_id)
    if into and _lies_in(into.absolute(), there.output):
        raise WrongUsage(f"--into {into}: lies in the output", "name a folder elsewhere")
    planned = _planned(there, clip_id)
    fields = next(islice(rows_of(there.manifest), planned["row"], None), None)
    if fields is None:
        raise WrongUsage(f"the manifest has no row {planned['row']} any more", "replay with the manifest of the run")
    work = Keying(there)(stage_of.validate(there)(*fields))
    if changed := [name for name in KEYS if planned[name] != getattr(work, name)]:
        say(f"note: {', '.join(changed)} are others now than in the run: a file, the weights or the configuration are")
    folder = into or Path(tempfile.mkdtemp(prefix="catwalk-replay-"))
    here = replace(there, output=str(folder.absolute()), config=there.config.model_copy(update={"cache": None}))
    begun = time.perf_counter()
    made = _done(stage, work, there.layout, here, say, told)
    seconds = {**made.pop("seconds", {}), "all": round(time.perf_counter() - begun, 3)}
    say(f"{stage} of {clip_id}: " + ", ".join(f"{part} {spent:.2f} s" for part, spent in seconds.items()))
    say(f"what it made is in {folder}")
    return {"clip": clip_id, "stage": stage, "seconds": seconds, "folder": str(folder), **made}


def _lies_in(folder: Path, output: str) -> bool:
    local = storage.local_path(output)
    return local is not None and Path(os.path.normpath(folder)).is_relative_to(os.path.normpath(local))


def _done(stage: str, work: Work, there: OutputLayout, here: RunSettings, say: Say, told: Told) -> dict[str, Any]:
    if stage == "pose":
        poses = stage_of.extract_pose(here, told)
        return {"made": [made for made in (poses.for_driving(work), poses.for_reference(work)) if made]}
    if stage == "inputs":
        stage_of.prepare_inputs(here)(work)
        return {}
    with temporary_folder("replay") as scratch:
        for what, uri, target in _inputs(work, there, here.layout):
            if not storage.exists(uri):
                raise Problem(
                    f"{what} of {work.clip.id} are not in the cache: {storage.redact(uri)}",
                    "they were removed, or the run did not come so far: look at the stage before with --stage",
                )
            storage.publish(storage.fetch(uri, scratch, None), target)
            say(f"  {what}: {storage.redact(uri)}")
    result = stage_of.animate(here, told)(work)
    return {"film": result.film, "seconds": result.seconds, "warnings": result.warnings}


def _inputs(work: Work, there: OutputLayout, here: OutputLayout) -> Iterator[tuple[str, str, str]]:
    """What the animating stage reads: what it is, where the run stored it, where it is read from here."""
    kinds = [
        ("poses", OutputLayout.poses, work.pose_key),
        ("frames of the driving video", OutputLayout.poses, work.frames_key),
        ("masks", OutputLayout.masks if work.mask is None else OutputLayout.poses, work.masks_key),
        ("poses of the reference", OutputLayout.poses, work.reference_pose_key),
    ]
    kinds.append(("pixels of the reference", OutputLayout.reference, work.reference_key))
    if work.driving and keeps_sound(work):
        kinds.append(("sound", OutputLayout.sound, sound_key(work.driving.content)))
    yield from ((what, place(there, key), place(here, key)) for what, place, key in kinds if key)


def _manifest_of(output: str, run_id: str) -> str:
    """The manifest that a run was begun with."""
    layout = OutputLayout(storage.resolve(output, str(Path.cwd())))
    begun = storage.read_json(layout.run(run_id, "run.json"))
    if begun is None:
        runs = storage.subfolders(storage.join(layout.output, "runs"))
        remedy = choose(run_id, runs) if runs else "name the folder that the run made films into"
        raise WrongUsage(f"run {run_id!r}: there is none in {storage.redact(layout.output)}", remedy)
    return begun["manifest"]


def _planned(settings: RunSettings, clip_id: str) -> dict[str, Any]:
    """What the run planned for a clip: its row and keys."""
    uri = settings.layout.run(settings.run_id, "plan.parquet")
    if not storage.exists(uri):
        raise WrongUsage(f"run {settings.run_id!r} has no plan", "it broke off before it had one: run it again")
    with temporary_folder("replay") as scratch:
        rows = pq.read_table(storage.fetch(uri, scratch, None), columns=["row", "id", *KEYS]).to_pylist()
    found = next((row for row in rows if row["id"] == clip_id), None)
    if found is None:
        raise WrongUsage(
            f"clip {clip_id!r}: run {settings.run_id!r} has none",
            choose(clip_id, [row["id"] for row in rows if row["id"]]),
        )
    return found
