"""The readers of a Linux without Landlock: what is left there is seccomp."""

from __future__ import annotations

from stages.sandbox import confinement, readers
from tests.stages.sandbox import attacks

confinement._landlock = lambda *_: ""
READERS = {**readers.READERS, **attacks.READERS}
