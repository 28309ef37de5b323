"""The order to take no new work: a file in a run's folder that its driver or a person writes and every worker sees."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from manifests import storage
from manifests.errors import Problem

log = logging.getLogger(__name__)

MARKER = "STOP"
INTERVAL_SECONDS = 2.0
LONGEST_REASON = 200  # bytes
CONTINUE = "run again under the same run id: it goes on where it stopped"


class NotReached(Problem):
    """The run takes no new work. The row ends as `not_reached`: nothing is wrong with it."""

    def __init__(self, reason: str, so_far: str = "not begun") -> None:
        super().__init__(f"{so_far}: {reason}", CONTINUE)


class Stopping:
    """Whether a run has been told to stop. Its storage is asked at most every `interval` seconds."""

    def __init__(self, folder: str, interval: float = INTERVAL_SECONDS) -> None:
        """`folder` is the run's."""
        self._uri = storage.join(folder, MARKER)
        self._interval = interval
        self._asked: float | None = None
        self._reason: str | None = None

    def reason(self) -> str | None:
        """Why no new work is taken; None while the run goes on. An order once seen stands."""
        now = time.monotonic()
        if self._reason is None and (self._asked is None or now - self._asked >= self._interval):
            self._asked = now
            self._reason = self._read()
        return self._reason

    def require_going(self) -> None:
        """Raise `NotReached` once the run has been told to stop."""
        if (reason := self.reason()) is not None:
            raise NotReached(reason)

    def order(self, reason: str) -> None:
        """Tell every worker, whatever process or machine it is in. An order given already keeps its reason."""
        self._reason = self._reason or reason
        if not storage.exists(self._uri):
            storage.publish_bytes(reason.encode(), self._uri)

    def clear(self) -> None:
        """Take the order back, as a run does when it begins."""
        storage.delete(self._uri)
        self._asked = self._reason = None

    def _read(self) -> str | None:
        try:
            if not storage.exists(self._uri):
                return None
        except Exception as error:  # a store that does not answer gives no orders
            log.warning("%s could not be looked for: %s", storage.redact(self._uri), error)
            return None
        text = b""
        with suppress(Exception):
            text = storage.read_bytes(self._uri)[:LONGEST_REASON]
        return " ".join(text.decode(errors="replace").split()) or f"there is a file {MARKER} in the run's folder"
