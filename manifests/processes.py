"""Telling processes and machines apart, so that what a dead one left is known as such."""

from __future__ import annotations

import os
from pathlib import Path


def machine() -> str:
    """Tells machines apart, and on one the places that number their processes apart (containers); "" if unknown."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def started(pid: int) -> str:
    """When that process of this machine began, in ticks since the boot; "" if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()  # the name before may hold anything
    return "" if state in "ZX" else fields[18]
