"""The readers of a platform that has neither /proc, seccomp nor Landlock: what is left are POSIX's limits."""

from __future__ import annotations

from stages.sandbox import confinement, system_calls
from tests.stages.sandbox import attacks

confinement._LINUX = False
system_calls._AUDIT.clear()
confinement._PREPARED.clear()
READERS = attacks.READERS
