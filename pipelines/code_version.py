"""Which code made a film."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
PACKAGES = ("pipelines", "stages", "cluster", "manifests")
TRAINING = HOUSE / "pipelines" / "training"  # makes no film, and stays behind when a job is submitted


@functools.cache
def code_version() -> str:
    """Version and digest of our own source, as it stands in result rows: "0.1.0+3f2a91c04d5e". In no key."""
    summed = hashlib.sha256()
    sources = (path for package in PACKAGES for path in (HOUSE / package).rglob("*.py"))
    for path in sorted(path for path in sources if TRAINING not in path.parents):
        summed.update(path.relative_to(HOUSE).as_posix().encode() + b"\0" + path.read_bytes())
    try:
        number = version("catwalk")
    except PackageNotFoundError:  # run from a working directory that was shipped to a cluster
        number = "0"
    return f"{number}+{summed.hexdigest()[:12]}"


def commit() -> str | None:
    """The git commit of this checkout, "a9d8723f1c0e" or "a9d8723f1c0e-dirty"; None where there is none."""
    if not (HOUSE / ".git").exists():  # a folder above it may be another project's
        return None
    command = ["git", "-C", str(HOUSE), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 (words of ours)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None
