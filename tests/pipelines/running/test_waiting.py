"""What a run does while no row comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from manifests import storage
from manifests.errors import Problem
from pipelines.running.attempts import Attempt, attempts_in, process_start
from pipelines.running.waiting import Waiting

TRY = Attempt("animate", 7, "dress", "", "", number=1, node="n1", session="now", limit_seconds=0.3, host="box")


def has_in_hand(folder: Path, attempt: Attempt) -> None:
    assert storage.create_exclusive(str(folder / attempt.file), attempt.to_json())


def test_what_is_in_hand_is_named_with_its_limit(cluster: str, tmp_path: Path) -> None:
    has_in_hand(tmp_path, replace(TRY, limit_seconds=600))
    has_in_hand(tmp_path, replace(TRY, row=8, session="an earlier one"))
    has_in_hand(tmp_path, replace(TRY, row=9, cause="memory"))
    said: list[str] = []
    has_in_hand(tmp_path, replace(TRY, row=10))  # died before the try that ended the row
    waiting = Waiting(str(tmp_path), "now", 0.2, said.append)
    waiting.row_came(10)
    time.sleep(0.3)
    waiting.look()
    assert said == ["  waiting for row 7 (dress) in animate on box, 0:00 of at most 10:00"]


def test_a_cluster_without_any_worker_at_work_ends_the_run(cluster: str, tmp_path: Path) -> None:
    said: list[str] = []
    waiting = Waiting(str(tmp_path), "now", 0.5, said.append)
    waiting.look("AnimateWorker: 0 running, 2 starting")
    assert "row in hand for 0:00: AnimateWorker: 0 running, 2 starting, 1 nodes, " in said[0]
    time.sleep(0.6)
    waiting.row_came(1)
    waiting.look()
    time.sleep(0.6)
    with pytest.raises(Problem, match=r"no worker has had a row in hand for 0:01: 1 nodes, .* CPU free"):
        waiting.look()


def test_a_frozen_worker_is_ended_on_its_node_and_its_death_has_a_cause(cluster: str, tmp_path: Path) -> None:
    frozen = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(500)"])
    os.kill(frozen.pid, signal.SIGSTOP)
    here = ray.get_runtime_context().get_node_id()
    has_in_hand(tmp_path, replace(TRY, node=here, pid=frozen.pid, started=process_start(frozen.pid)))
    has_in_hand(tmp_path, replace(TRY, row=8, node=here, pid=os.getpid(), started="1"))  # a pid that is used again
    has_in_hand(tmp_path, replace(TRY, row=9, node="f" * 56))  # of a node that is gone
    waiting = Waiting(str(tmp_path), "now", 5, lambda line: None, margin_seconds=0.1)
    waiting.look()
    time.sleep(0.6)
    waiting.look()
    assert frozen.wait(30) == -signal.SIGKILL
    assert {attempt.cause for attempt in attempts_in(str(tmp_path))} == {"time"}
