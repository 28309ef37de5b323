"""How a night ends before all of it is done, what it leaves behind then, and that it goes on from there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from manifests import results, storage
from manifests.errors import WrongUsage
from manifests.layout import OutputLayout
from pipelines.animate import run
from pipelines.configuration import RunConfig
from pipelines.running import lease, partial_results
from pipelines.running.lease import Lost, held
from stages.diffusion.animators import ANIMATORS
from stages.poses.files import openpose_json
from tests.chaos.painted import IMPLEMENTATION, NAME
from tests.conftest import CHECKOUT
from tests.made.pose_motions import FPS, HEIGHT, WIDTH, Body, dancing
from tests.made.sample_media import write_manifest, write_reference

FRAMES = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where manifest, media and output lie."""
    write_reference(tmp_path / "reference.png")
    return tmp_path


def painted(clip_id: str, seconds: float = 0.0, **fields: Any) -> dict[str, Any]:
    """A row whose film takes that long to paint, whatever the machine has to do."""
    row = {"id": clip_id, "reference": "reference.png", "driving": "motion.json", "driving_kind": "keypoints"}
    row |= {"animator": NAME, "width": 48, "height": 64, "frame_count": FRAMES, "options": {"seconds": seconds}}
    return {**row, **fields}


@pytest.fixture(autouse=True)
def motion(folder: Path) -> None:
    people = dancing(Body(), FRAMES, seed=1).keypoints(seed=1)
    documents = [openpose_json.write(people.people(frame)) for frame in range(FRAMES)]
    written = {"width": WIDTH, "height": HEIGHT, "fps": str(int(FPS)), "frames": documents}
    (folder / "motion.json").write_text(json.dumps(written), encoding="utf-8")


@pytest.fixture
def config() -> Iterator[RunConfig]:
    yield RunConfig.load(None, {"animators": {NAME: IMPLEMENTATION}})
    ANIMATORS.pop(NAME, None)


def until(what: Callable[[], Any], seconds: float = 240) -> Any:
    """What is waited for, as soon as it is there."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
    return found


# A command of its own, as a person or a cluster ends it.


@contextmanager
def night(folder: Path, *words: str) -> Iterator[subprocess.Popen]:
    """`catwalk animate` on a manifest that is there already, in a process group of its own, as a terminal gives one."""
    (folder / "night.yaml").write_text(f"animators: {{{NAME}: {IMPLEMENTATION}}}\n")
    command = [sys.executable, "-m", "pipelines.animate", str(folder / "m.parquet"), str(folder / "out")]
    command += ["--run-id", "night", "--config", str(folder / "night.yaml"), *words]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "RAY_ADDRESS": "local"}
    with open(folder / "said.txt", "ab") as said:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stderr=said, stdout=said, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def films(folder: Path) -> set[str]:
    """Ids of the clips whose films are there."""
    return {path.name.partition(".")[0] for path in (folder / "out" / "films").glob("*.json")}


def in_hand(folder: Path, row: int) -> bool:
    return bool(list((folder / "out" / "runs" / "night" / "attempts").glob(f"animate.{row}.*.json")))


def table(folder: Path) -> list[results.Result]:
    return results.read(str(folder / "out" / "runs" / "night" / "results.parquet"))


def test_a_night_that_is_told_to_end_finishes_what_is_in_hand_and_goes_on_where_it_was(folder: Path) -> None:
    rows = [painted(f"c{number}", seconds=4, seed=number) for number in range(4)]
    write_manifest(folder / "m.parquet", [*rows, painted("bad", reference="gone.png")])
    with night(folder) as process:
        until(lambda: films(folder) and in_hand(folder, 1))
        os.killpg(process.pid, signal.SIGINT)  # as ctrl-C in a terminal, which every process of the group hears
        early = until((folder / "out" / "runs" / "night" / "summary.json").exists, 5)
        assert early, "the table is written at once, lest a kill follows"
        assert [one.status for one in table(folder)] == ["done", *["not_reached"] * 3, "rejected"]
        assert process.wait(60) == 1
    first = table(folder)
    assert [one.status for one in first] == ["done", "done", "not_reached", "not_reached", "rejected"], first
    assert first[2].error == "not begun: the run was told to end (Ctrl-C)"
    assert not (folder / "out" / "runs" / "night" / "_SUCCESS").exists()
    assert "Traceback" not in (folder / "said.txt").read_text()

    with night(folder) as process:
        until(lambda: in_hand(folder, 2))
        process.terminate()
        until(lambda: "told to end (SIGTERM)" in (folder / "said.txt").read_text(), 10)
        os.killpg(process.pid, signal.SIGKILL)  # while a row is in hand, and the lease is held
    with night(folder) as process:
        assert process.wait(240) == 3
    last = table(folder)
    assert [one.status for one in last] == ["done"] * 4 + ["rejected"], last
    assert last[:2] == first[:2], "films of earlier sessions keep their figures"
    assert [one.attempts for one in last[:4]] == [1, 1, 2, 1]
    assert (folder / "out" / "runs" / "night" / "_SUCCESS").exists()


# Within this process, on the session's cluster.


def meanwhile(what: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=what)
    thread.start()
    return thread


def test_a_night_is_stopped_by_a_file_or_a_deadline_and_its_rest_is_done_later(
    folder: Path, config: RunConfig, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_results, "INTERVAL_SECONDS", 0.0)
    rows = [painted("bad", reference="gone.png"), *(painted(f"c{n}", seconds=5, seed=n) for n in range(3))]
    manifest, out = write_manifest(folder / "m.parquet", rows), str(folder / "out")
    record = folder / "out" / "runs" / "night"
    read: list[Any] = []

    def stop() -> None:
        until(lambda: in_hand(folder, 1))
        read.append(pq.read_table(record / "results").to_pylist())
        (record / "STOP").write_text("the power is needed elsewhere")

    stopper = meanwhile(stop)
    stopped = run(config, manifest, out, run_id="night")
    stopper.join()
    assert [(row["row"], row["status"]) for row in read[0]] == [(0, "rejected")], "readable while the night runs"
    assert [one.status for one in stopped.results] == ["rejected", "done", "not_reached", "not_reached"], stopped
    assert "the power is needed elsewhere" in stopped.results[2].error
    assert [stopped.exit_code_if(ok) for ok in ((), ("rejected", "not_reached"))] == [3, 0]
    assert not (record / "_SUCCESS").exists()
    assert not list((record / "results").iterdir()), "the table takes their place"

    with pytest.raises(WrongUsage, match="no GPU"):
        run(config, manifest, out, run_id="night", max_gpu_hours=1)
    late = run(config, manifest, out, run_id="night", until=datetime.now(UTC) + timedelta(seconds=1), retry_failed=True)
    assert [one.status for one in late.results] == ["rejected", "done", "not_reached", "not_reached"], late.results
    assert "the deadline" in late.results[3].error

    def lose() -> None:
        until(lambda: in_hand(folder, 3))
        Path(stopped.results[1].film).unlink()

    loser = meanwhile(lose)
    ended = run(config, manifest, out, run_id="night", retry_failed=True)
    loser.join()
    assert [one.status for one in ended.results] == ["rejected", "failed", "done", "done"], ended.results
    assert "is not there at the end of the run" in ended.results[1].error
    assert not (record / "_SUCCESS").exists()
    assert results.read(str(record / "results.parquet")) == ended.results


def test_a_driver_whose_run_was_taken_over_breaks_off_and_writes_no_table(
    folder: Path, config: RunConfig, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    manifest = write_manifest(folder / "m.parquet", [painted("a", seconds=100)])
    record = folder / "out" / "runs" / "night"

    def take_over() -> None:
        until(lambda: in_hand(folder, 0))
        (record / "results.parquet").write_text("the other driver's")
        (record / "lease" / "3.json").write_text('{"host": "gpu-7", "pid": 41}')

    with (
        held(OutputLayout(str(folder / "out")), "night", "session", print),
        pytest.raises(WrongUsage, match="is alive"),
    ):
        run(config, manifest, str(folder / "out"), run_id="night")
    other = meanwhile(take_over)
    with pytest.raises(Lost, match="taken over by process 41 on gpu-7"):
        run(config, manifest, str(folder / "out"), run_id="night")
    other.join()
    assert (record / "results.parquet").read_text() == "the other driver's"
    assert not (record / "STOP").exists(), "or the other driver would stop too"


def test_an_order_to_stop_counts_from_the_moment_on_that_a_run_has_its_driver(
    folder: Path, config: RunConfig, cluster: str
) -> None:
    record = folder / "out" / "runs" / "night"
    record.mkdir(parents=True)
    (record / "STOP").write_text("meant for an earlier session")
    claimed: list[bool] = []

    def stop() -> None:
        until(lambda: not (record / "STOP").exists())
        claimed.append((record / "run.json").exists())
        (record / "STOP").write_text("before the manifest is read")

    stopper = meanwhile(stop)
    stopped = run(config, write_manifest(folder / "m.parquet", [painted("a")]), str(folder / "out"), run_id="night")
    stopper.join()
    assert claimed == [False], "there is nothing yet but the lease"
    assert [(one.status, one.error) for one in stopped.results] == [
        ("not_reached", "not begun: the run was told to stop (before the manifest is read)")
    ]


def test_a_film_that_another_living_run_is_making_is_waited_for_and_taken_over(
    folder: Path, config: RunConfig, cluster: str
) -> None:
    manifest = write_manifest(folder / "m.parquet", [painted("a"), painted("b", seed=1)])
    layout = OutputLayout(str(folder / "out"))
    first = run(config, manifest, layout.output, run_id="first", only=["a"]).results[0]
    hidden = folder / "hidden"
    Path(layout.films).rename(hidden)

    def finish() -> None:
        until(lambda: films(folder) == {"b"})
        for made in hidden.iterdir():
            made.rename(Path(layout.films) / made.name)
        storage.delete(layout.claim(first.film_key))

    with held(layout, "other", "session", print):
        storage.publish_json({"run": "other"}, layout.claim(first.film_key))
        other = meanwhile(finish)
        second = run(config, manifest, layout.output, run_id="second")
        other.join()
    assert [one.status for one in second.results] == ["cached", "done"], second.results
    assert second.results[0] == first.model_copy(update={"status": "cached"}), "as it was made"
    assert not storage.listing(layout.claims)
