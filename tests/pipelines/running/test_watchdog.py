"""What ends a worker's process, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import CHECKOUT

SCRIPT = """
import ctypes, json, os, pathlib, subprocess, sys, time
from pipelines.running import watchdog
watchdog.GRACE_SECONDS = 1

def note(cause, detail):
    pathlib.Path("noted.json").write_text(json.dumps([cause, detail]))

with watchdog.watched({seconds}, note, {memory}):
    {work}
print("went on")
"""


def watch(folder: Path, work: str, seconds: float = 30, memory: int | None = None) -> tuple[int, list[str], str]:
    """Exit status of a process that does `work`, what was noted, and what it said."""
    script = SCRIPT.format(seconds=seconds, memory=memory, work=work)
    environment = {"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    noted = folder / "noted.json"
    return ended.returncode, json.loads(noted.read_text()) if noted.exists() else [], ended.stdout + ended.stderr


def test_work_that_ends_in_time_is_left_alone(tmp_path: Path) -> None:
    assert watch(tmp_path, "time.sleep(0.6)", seconds=20) == (0, [], "went on\n")


def test_work_without_end_is_ended_at_its_limit_and_its_traceback_is_in_the_log(tmp_path: Path) -> None:
    status, noted, said = watch(tmp_path, "time.sleep(500)", seconds=1)
    assert (status, noted) == (1, ["time", "no end after 1 s"])
    assert "most recent call first" in said


def test_what_never_lets_go_of_the_interpreter_is_ended_too(tmp_path: Path) -> None:
    begun = time.monotonic()
    status, noted, said = watch(tmp_path, "ctypes.PyDLL(None).sleep(500)", seconds=1)
    assert (status, noted) == (1, [])
    assert "Timeout" in said
    assert time.monotonic() - begun < 30


def test_memory_without_end_is_ended_at_its_limit(tmp_path: Path) -> None:
    grow = "held = []\n    while True: held.append(bytearray(os.urandom(1 << 20))); time.sleep(0.005)"
    status, (cause, detail), _ = watch(tmp_path, grow, memory=300_000_000)
    assert (status, cause) == (1, "memory")
    assert detail == "more than 0.3 GB of memory"


def test_a_program_that_the_work_waits_for_ends_with_it(tmp_path: Path) -> None:
    work = 'child = subprocess.Popen(["sleep", "321"]); print(child.pid, flush=True); child.wait()'
    status, (cause, _), said = watch(tmp_path, work, seconds=1)
    assert (status, cause) == (1, "time")
    child = int(said.splitlines()[0])
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("stalls", ["time.sleep(500)", "raise OSError('no storage')"])
def test_storage_that_does_not_take_the_cause_keeps_no_process_alive(tmp_path: Path, stalls: str) -> None:
    broken = f"def note(*cause): {stalls}\nwatchdog.NOTE_SECONDS = 0.5\nwith watchdog"
    script = SCRIPT.format(seconds=1, memory=None, work="time.sleep(500)").replace("with watchdog", broken)
    ended = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, timeout=60)
    assert ended.returncode == 1
