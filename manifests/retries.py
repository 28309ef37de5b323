"""Calls to stores and mounts, tried again where it helps: backoff with jitter, a budget for each process of a run."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from manifests.transient import is_transient

log = logging.getLogger(__name__)

BUDGET = 1000  # tries after the first, in each process of a run
TRIES = 5  # of one call
PATIENCE = 120  # seconds after which a call is not tried again
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0  # seconds at most before the second try, doubled each time; random below that

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Retries:
    """How often this process has tried again, and how often it still may in this run."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._lock = threading.Lock()
        self._session = ""
        self._budget = budget
        self._elsewhere: dict[str, int] = {}
        self.used = 0

    def begin(self, session: str, budget: int) -> None:
        """Count from nought for another session of a run; the same one goes on."""
        with self._lock:
            if session != self._session:
                self._session, self.used, self._elsewhere = session, 0, {}
            self._budget = budget

    @property
    def spent(self) -> bool:
        """Whether nothing may be tried again any more."""
        return self.used >= self._budget

    def help(self, error: BaseException) -> bool:
        """Whether to try again after this error."""
        return not self.spent and is_transient(error)

    def known(self) -> dict[str, int]:
        """How often each process of the run has tried again, as far as this one has heard."""
        own = {f"{socket.gethostname()} {os.getpid()}": self.used} if self.used else {}
        return {**self._elsewhere, **own}

    def hear(self, known: Mapping[str, int]) -> None:
        """Take note of what another process knew."""
        with self._lock:
            for process, used in known.items():
                self._elsewhere[process] = max(used, self._elsewhere.get(process, 0))

    def count(self) -> None:
        """One more try, here or in a store's own library."""
        with self._lock:
            self.used += 1

    def note(self, state: RetryCallState) -> None:
        """Count a call that is about to be tried again."""
        self.count()
        error = state.outcome and state.outcome.exception()
        said = (str(error).strip() or "no message").splitlines()[0][:200]
        log.info("storage: try %d failed (%s), again: %s", state.attempt_number, type(error).__name__, said)


RETRIES = Retries()

_retrying = Retrying(
    retry=retry_if_exception(RETRIES.help),
    stop=stop_after_attempt(TRIES) | stop_after_delay(PATIENCE),
    wait=wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
    before_sleep=RETRIES.note,
    reraise=True,
)


def tried(call: Callable[Given, Made], *args: Given.args, **kwargs: Given.kwargs) -> Made:
    """What `call` answers, tried again after errors that pass by themselves. Raises the last one.

    The call must be one that may be done twice.
    """
    return _retrying(call, *args, **kwargs)
