"""Environment variables that travel as a package: they are set for the command, and its name tells nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cluster import job_environment

VALUES = {"CATWALK_SECRET": "hush 'hush'\n$HOME", "OMP_NUM_THREADS": "3"}


def test_a_command_begun_with_the_package_has_its_values(tmp_path: Path) -> None:
    package = job_environment.packed(VALUES, tmp_path)
    assert package.name == job_environment.PACKAGE
    show = "import os; print(repr(os.environ['CATWALK_SECRET']), os.environ['OMP_NUM_THREADS'])"
    ended = subprocess.run(
        [sys.executable, *job_environment.DRIVER[1:], sys.executable, "-c", show],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.stdout, ended.stderr) == (f"{VALUES['CATWALK_SECRET']!r} 3\n", "")


def test_the_hook_of_workers_is_in_the_package(tmp_path: Path) -> None:
    job_environment.packed(VALUES, tmp_path)
    module, _, function = job_environment.HOOK.rpartition(".")
    show = f"import os, {module}; {module}.{function}(); print(os.environ['OMP_NUM_THREADS'])"
    shown = subprocess.run(
        [sys.executable, "-c", show], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert shown.stdout == "3\n"


def test_two_packages_of_the_same_values_differ(tmp_path: Path) -> None:
    """Ray names a package by its content: equal names would tell that values are equal."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        job_environment.packed(VALUES, tmp_path / name)
    first, second = (tmp_path / name / job_environment.PACKAGE / "values.json" for name in ("one", "two"))
    assert first.read_bytes() != second.read_bytes()
