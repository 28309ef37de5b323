"""One night, one driver: who may hold a run id, and who finds out that it is no longer his."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manifests import storage
from manifests.errors import WrongUsage
from manifests.layout import OutputLayout
from pipelines.running import lease
from pipelines.running.lease import Lost, Timing, alive, held
from tests.conftest import CHECKOUT

QUICK = Timing(beat=0.05, stale=60, watch=1.0)


def silent(line: str) -> None:
    """Nobody listens."""


def abandoned(layout: OutputLayout, generation: int = 1, **fields: Any) -> Path:
    """The lease of a driver on another machine that says nothing more."""
    file = Path(layout.run("night", "lease", f"{generation}.json"))
    file.parent.mkdir(parents=True, exist_ok=True)
    driver = {"host": "gpu-7", "machine": "another", "pid": 41, "process": "1", "since": "2026-11-29T22:00:00+00:00"}
    file.write_text(json.dumps({**driver, **fields}))
    return file


def seconds(call: Callable[[], None]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def take(layout: OutputLayout, timing: Timing = QUICK, session: str = "new") -> None:
    """Take the lease and give it back."""
    with held(layout, "night", session, silent, timing):
        pass


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


def test_a_run_id_that_is_alive_is_refused_at_once_by_name_and_free_once_it_has_ended(layout: OutputLayout) -> None:
    with held(layout, "night", "one", silent, QUICK):
        assert alive(layout, "night", QUICK)
        refused = pytest.raises(WrongUsage, match=rf"process {os.getpid()} on \S+ has had it since 20")
        with refused:
            assert seconds(lambda: take(layout)) < 0.5
        take(OutputLayout(layout.output + "-other"))
    assert not alive(layout, "night", QUICK)
    assert seconds(lambda: take(layout)) < 0.5


def test_the_lease_of_a_killed_process_of_this_machine_is_taken_over_at_once(layout: OutputLayout) -> None:
    hold = (
        "import sys, time\nfrom manifests.layout import OutputLayout\nfrom pipelines.running.lease import held\n"
        "with held(OutputLayout(sys.argv[1]), 'night', 'one', print):\n    print('held', flush=True)\n"
        "    time.sleep(60)"
    )
    command = [sys.executable, "-c", hold, layout.output]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(WrongUsage, match=f"process {process.pid} on"):
            take(layout)
        process.kill()
        process.wait()
    assert seconds(lambda: take(layout, Timing(watch=30))) < 5


def test_a_lease_that_the_store_calls_old_is_taken_over_at_once_whatever_the_clocks_say(layout: OutputLayout) -> None:
    file = abandoned(layout, since="2199-01-01T00:00:00+00:00")
    now = time.time()
    os.utime(file, (now - 181, now - 181))
    assert not alive(layout, "night")
    assert seconds(lambda: take(layout, Timing(watch=30))) < 5


def test_a_young_lease_of_another_machine_is_watched_and_taken_over_if_it_stays_as_it_is(layout: OutputLayout) -> None:
    abandoned(layout)
    said: list[str] = []
    with held(layout, "night", "new", said.append, QUICK):
        assert said == ["  process 41 on gpu-7 had this run; watching for 1 s whether it is still alive"]
        assert sorted(storage.listing(layout.run("night", "lease"))) == ["1.json", "2.json"]


def test_a_lease_of_another_machine_that_beats_is_refused(layout: OutputLayout) -> None:
    abandoned(layout)
    beat = threading.Timer(0.3, abandoned, [layout], {"beats": 1})
    beat.start()
    with pytest.raises(WrongUsage, match="process 41 on gpu-7 has had it since 2026-11-29T22:00"):
        take(layout, Timing(watch=20))
    beat.join()


def test_a_driver_that_was_taken_for_dead_finds_out_and_leaves_the_newer_lease_alone(layout: OutputLayout) -> None:
    with held(layout, "night", "old", silent, QUICK) as old:
        old.require()
        newer = abandoned(layout, generation=2)
        with pytest.raises(Lost, match="taken over by process 41 on gpu-7"):
            old.require()
        before = newer.read_text()
        until = time.monotonic() + 10
        while old.lost_to is None and time.monotonic() < until:
            time.sleep(0.05)
        assert old.lost_to == "process 41 on gpu-7"
    assert newer.read_text() == before
    assert "ended" not in json.loads(Path(layout.run("night", "lease", "1.json")).read_text())


def test_of_several_that_find_a_dead_lease_one_takes_it_over(layout: OutputLayout) -> None:
    abandoned(layout, ended="yes")
    begun, refused, taken = threading.Barrier(4), [], []

    def race(session: str) -> None:
        begun.wait()
        try:
            with held(layout, "night", session, silent, QUICK):
                taken.append(session)
                time.sleep(1)
        except WrongUsage as alive_already:
            refused.append(alive_already)

    racers = [threading.Thread(target=race, args=[str(number)]) for number in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert (len(taken), len(refused)) == (1, 3)


def test_a_living_driver_keeps_its_lease_fresh(layout: OutputLayout) -> None:
    with held(layout, "night", "one", silent, QUICK):
        file = Path(layout.run("night", "lease", "1.json"))
        first, until = file.read_text(), time.monotonic() + 10
        while file.read_text() == first and time.monotonic() < until:
            time.sleep(0.05)
        assert json.loads(file.read_text())["beats"] >= 1


def test_the_age_of_a_lease_is_known_on_object_storage(s3: str) -> None:
    layout = OutputLayout(f"{s3}/out")
    with held(layout, "night", "one", silent, QUICK):
        assert alive(layout, "night")
        assert 0 <= lease._age(layout.run("night", "lease"), 1) < 30
    assert not alive(layout, "night")
    take(layout)
