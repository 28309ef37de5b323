"""Files that are the death of what tries them, for a session to notice. Imports little, for it is spawned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.specimen import Outcome, Specimen


class Deadly:
    """Tries files that do to it what their names say."""

    def __init__(self, folder: Path) -> None:
        self._tmp = folder.parent / "tmp"

    def __call__(self, specimen: Specimen) -> Outcome:
        if specimen.name == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        elif specimen.name == "hangs":
            time.sleep(600)
        elif specimen.name == "leaves":
            (self._tmp / "left").write_text("it")
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], start_new_session=True)
            time.sleep(0.5)
        return Outcome("accepted")
