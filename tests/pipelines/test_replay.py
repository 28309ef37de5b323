"""A stage of a clip is done again from what the run stored, beside the run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from manifests.errors import Problem, WrongUsage
from manifests.results import Result
from pipelines import stage_of
from pipelines.keying import Keying
from pipelines.plan import Plan
from pipelines.planned_clip import planned_clip
from pipelines.planning.look import rows_of
from pipelines.replay import replay
from pipelines.running.record import RunRecord
from pipelines.settings import settled
from tests.made.sample_media import clip_row, config, write_manifest

CONFIG = config()


@pytest.fixture
def made(media: Path) -> Result:
    """The film of the second row, as a run of that manifest leaves it and its record."""
    manifest = write_manifest(media / "m.parquet", [clip_row("first"), clip_row("second", seed=5)])
    settings = settled(CONFIG, manifest, str(media / "out"), "night")
    rows = [Keying(settings)(stage_of.validate(settings)(*row)) for row in rows_of(manifest)]
    record = RunRecord(settings)
    record.claim(["a", "b"])
    record.write_plan(Plan(todo=list(map(planned_clip, rows))), [])
    stage_of.extract_pose(settings).for_driving(rows[1])
    stage_of.prepare_inputs(settings)(rows[1])
    return stage_of.animate(settings)(rows[1])


def everything(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


def again(
    media: Path, clip: str = "second", run: str = "night", stage: str = "animate", **given: Any
) -> dict[str, Any]:
    said: list[str] = []
    done = replay(CONFIG, str(media / "out"), run, clip, stage, given.get("into", media / "again"), said.append)
    return {**done, "said": said}


def test_the_film_is_made_again_from_stored_inputs_and_nothing_is_put_into_the_output(
    media: Path, made: Result
) -> None:
    before = everything(media / "out")
    done = again(media)
    assert everything(media / "out") == before
    assert Path(done["film"]).read_bytes() == Path(str(made.film)).read_bytes()
    assert Path(done["film"]).is_relative_to(media / "again")
    assert {"denoise", "encode", "all"} <= done["seconds"].keys()
    assert not any("note:" in line for line in done["said"])


def test_poses_and_inputs_are_made_again_where_they_are_asked_for(media: Path, made: Result) -> None:
    assert again(media, stage="pose")["stage"] == "pose"
    assert [path.parent.name for path in (media / "again" / "cache").rglob("*") if path.is_file()] == ["poses"]
    again(media, stage="inputs")
    assert list((media / "again" / "cache" / "references").iterdir())


def test_inputs_that_are_not_there_are_named_with_the_stage_that_makes_them(media: Path, made: Result) -> None:
    for path in (media / "out" / "cache" / "poses").iterdir():
        path.unlink()
    with pytest.raises(Problem, match="poses of second are not in the cache"):
        again(media)


def test_a_file_that_changed_since_is_told(media: Path, made: Result) -> None:
    reference = media / "reference.png"
    stamp = reference.stat()
    from tests.made.sample_media import write_reference

    write_reference(reference, seed=9)
    os.utime(reference, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 10**9))
    done = again(media, stage="inputs")
    assert any("latents_key, film_key are others now" in line for line in done["said"])


def test_what_is_not_there_is_named_with_what_is(media: Path, made: Result) -> None:
    with pytest.raises(WrongUsage, match="run 'nigth'") as wrong:
        again(media, run="nigth")
    assert "night" in wrong.value.remedy
    with pytest.raises(WrongUsage, match="clip 'secnd'") as wrong:
        again(media, clip="secnd")
    assert "second" in wrong.value.remedy
    beside = Path(os.path.relpath(media / "out" / "again"))
    for inside in (media / "out" / "again", media / "out", beside, media / "other" / ".." / "out"):
        with pytest.raises(WrongUsage, match="lies in the output"):
            again(media, into=inside)
    assert again(media, stage="inputs", into=media / "out-replay")["stage"] == "inputs"
