"""The readers of a platform that has neither /proc, seccomp nor Landlock: what is left are POSIX's limits."""

from __future__ import annotations

from stages.sandbox import confinement
from tests.stages.sandbox import attacks

confinement._LINUX = False
confinement._PREPARED.clear()
READERS = attacks.READERS
