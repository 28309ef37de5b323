"""The command that a night is: started, killed by others, started again with the same run id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.conftest import CHECKOUT

MOST_STARTS = 6


class Driver:
    """`catwalk animate` as a process. Whoever wants it dead calls `kill`; then it is started again.

    `night` is its thread: when it has ended, `over` is set, and `code` is the exit code of the last start, that nobody
    killed.
    """

    def __init__(self, words: list[str], log: Path, environment: dict[str, str]) -> None:
        self._words = words
        self._log = log
        self._environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **environment}
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()
        self._killed = False
        self.starts = 0
        self.code: int | None = None
        self.over = threading.Event()

    def night(self) -> None:
        """Run to the end, however often it is killed."""
        try:
            self.code = self._run()
        finally:
            self.over.set()

    def _run(self) -> int | None:
        while self.starts < MOST_STARTS:
            with self._lock, open(self._log, "ab") as log:
                self._killed = False
                self.starts += 1
                command = [sys.executable, "-m", "pipelines.animate", *self._words]
                # a group of its own: nothing that it starts outlives a kill
                self._process = subprocess.Popen(
                    command, cwd=CHECKOUT, env=self._environment, stdout=log, stderr=log, start_new_session=True
                )
            code = self._process.wait()
            if not self._killed:
                return code
        return None

    def kill(self) -> None:
        """SIGKILL, with all that it has started."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._killed = True
                os.killpg(self._process.pid, signal.SIGKILL)
