"""Environment variables of a job that nobody reads in what Ray tells of the job: they travel as a package of their own.

Ray's `env_vars` stand in plain text in the job's record, in Ray's list of jobs, and in a log on every node. What is
packed here lies in the cluster's store of packages and, while the job's workers run, on its nodes' disks. The file is
copied into the package that it packs: it imports nothing else of this repository.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGE = "job_environment"
VALUES = "values.json"
MODULE = f"{PACKAGE}.applied"
HOOK = f"{MODULE}.set_up"  # for Ray's `worker_process_setup_hook`: workers call it first
DRIVER = ("python", "-m", MODULE)  # and the driver, which is no worker, is begun by this


def packed(values: Mapping[str, str], folder: Path) -> Path:
    """The package in `folder`, for Ray's `py_modules`."""
    package = folder / PACKAGE
    package.mkdir(mode=0o700)
    (package / "__init__.py").touch()
    shutil.copy(__file__, package / "applied.py")
    # Ray names a package by its content: with a nonce in it, the name is no fingerprint of the values
    content = {"values": dict(values), "nonce": secrets.token_hex(16)}
    (package / VALUES).write_text(json.dumps(content), encoding="utf-8")
    return package


def set_up() -> None:
    """Inside the package: put its values into this process's environment."""
    os.environ.update(json.loads(Path(__file__).with_name(VALUES).read_text(encoding="utf-8"))["values"])


if __name__ == "__main__":
    set_up()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (the job's own command, as submitted)
