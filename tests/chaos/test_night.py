"""A small night under fire; the large one is run by hand (`python -m tests.chaos.night`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.conftest import CHECKOUT

CLIPS = 6


def test_a_night_under_fire_ends_with_every_film_whole_once_and_as_ever() -> None:
    words = ["--clips", str(CLIPS), "--nodes", "2", "--small", "--interval", "0.5", "--seconds", "1", "--json"]
    # a process of its own: its cluster has several nodes, and this session's is left alone
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    night = subprocess.run(
        [sys.executable, "-m", "tests.chaos.night", *words],
        cwd=CHECKOUT,
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert night.returncode == 0, night.stderr
    verdict = json.loads(night.stdout.splitlines()[-1])
    assert verdict["faults"] == []
    assert verdict["statuses"] == {"done": CLIPS}
    wanted = {f"{stage} worker": 1 for stage in ("validate", "pose", "inputs", "animate")}
    assert verdict["struck"] == {**wanted, "node lost": 1}, "the night was over before the storm"
    assert verdict["left_processes"] == 0
    assert verdict["redone_percent"] < 100
