"""Jobs of a Ray cluster by way of its job API: a name has one living job at a time, and attempts one after the other.

What a job's command does is its submitter's business: here it is text with a name, and has a log and an exit code.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import ray
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.dashboard.utils import get_address_for_submission_client
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from manifests.errors import Problem, WrongUsage

HERE = "http://127.0.0.1:8265"  # where Ray's dashboard is on the head, and what a port is usually forwarded to
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
ATTEMPT = "-attempt-"
LATER = re.compile(rf"(.+){ATTEMPT}([1-9][0-9]{{0,8}})")  # id of a job that continues what the name stands for
LOST_SECONDS = 120.0  # without an answer, after which a job is no longer followed
ANSWER_SECONDS = 10.0
POLL_SECONDS = 1.0
CHATTY = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One attempt at what a name stands for, as the cluster knows it."""

    name: str
    attempt: int
    id: str  # Ray's submission id
    state: str  # PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED
    command: str
    about: Mapping[str, str]  # what its submitter noted
    begun: datetime | None = None
    ended: datetime | None = None
    exit_code: int | None = None  # of the command; None where it did not end by itself
    message: str = ""  # Ray's, why it failed

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("PENDING", "RUNNING")


class Submitted(NamedTuple):
    """A living job, and whether it had been going on already."""

    job: Job
    attached: bool


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str | None = None) -> None:
        """`address` is of the head's dashboard; left out, the environment's or this machine's.

        Raises `Problem` where no job API answers there, or it wants a token.
        """
        self.address = address_of(address)
        self._client = _connected(self.address)

    def require_version(self) -> None:
        """Raise `Problem` for a cluster whose Ray is of another release than the one here."""
        there = self._client._server_ray_version or "of an unknown version"
        if there.split(".")[:2] != ray.__version__.split(".")[:2]:
            raise Problem(
                f"the cluster at {self.address} runs Ray {there}, and here is Ray {ray.__version__}",
                "give both the version in constraints.txt: a job does not run under another",
            )

    def submit(
        self, name: str, command: Sequence[str], runtime: Mapping[str, Any], about: Mapping[str, str]
    ) -> Submitted:
        """Begin what `name` stands for, continue it as the next attempt, or find it going on.

        `runtime` is Ray's runtime environment, `about` is noted with the job. Raises `Problem`.
        """
        if not NAME.fullmatch(name):
            raise WrongUsage(f"{name!r} cannot name a job", "use up to 128 letters, digits, '.', '_' and '-'")
        if later := LATER.fullmatch(name):
            raise WrongUsage(
                f"{name!r} names a job of the run {later[1]!r}, one of its attempts", f"the run id is {later[1]!r}"
            )
        line = shlex.join(command)
        while True:
            before = self.named(name)
            if before and before[-1].alive:
                return Submitted(before[-1], attached=True)
            attempt = before[-1].attempt + 1 if before else 1
            job_id = f"{name}{ATTEMPT}{attempt}" if attempt > 1 else name
            try:
                with _asked(self.address):
                    self._client.submit_job(
                        entrypoint=line, submission_id=job_id, runtime_env=dict(runtime), metadata=dict(about)
                    )
            except Problem as refused:
                if "already exists" in refused.error and self._find(job_id):
                    continue  # somebody was quicker
                raise
            return Submitted(self.look(job_id), attached=False)

    def all(self) -> list[Job]:
        """Every job that was submitted to the cluster, the oldest first."""
        with _asked(self.address):
            found = [job for job in self._client.list_jobs() if job.submission_id]
        return sorted(map(_job, found), key=lambda job: (job.begun or datetime.min.replace(tzinfo=UTC), job.attempt))

    def named(self, name: str) -> list[Job]:
        """The attempts of that name, the first one first."""
        return sorted((job for job in self.all() if job.name == name), key=lambda job: job.attempt)

    def last(self, name: str) -> Job:
        """The last attempt of that name. Raises `WrongUsage` where there is none."""
        if not (attempts := self.named(name)):
            raise WrongUsage(f"the cluster at {self.address} knows no job {name!r}", "`catwalk status` lists its jobs")
        return attempts[-1]

    def look(self, job_id: str) -> Job:
        """How a job is now. Raises `Problem`."""
        with _asked(self.address):
            return _job(self._client.get_job_info(job_id))

    def stop(self, job: Job) -> None:
        """Have Ray end the job: SIGTERM, and SIGKILL a few seconds later."""
        with _asked(self.address):
            self._client.stop_job(job.id)

    def log(self, job: Job) -> str:
        """All that the job has written so far."""
        with _asked(self.address):
            return self._client.get_job_logs(job.id)

    def follow(self, job: Job, tell: Tell) -> Job:
        """Tell the job's log as it is written, from its beginning; returns how the job is once it has ended.

        A connection that breaks is made again. Raises `Problem` when nothing answers for a while.
        """
        log = _Log(tell)
        silent_since: float | None = None
        while True:
            whole = self._tail(job, log)
            if log.heard:
                silent_since = None
            try:
                seen = self.look(job.id)
                if not whole:
                    log.again()
                    log(self.log(job))
                job, silent_since = seen, None
            except Exception as error:  # requests and Ray have errors of their own
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > LOST_SECONDS:
                    raise Problem(
                        f"no word from {self.address} for {LOST_SECONDS:.0f} s ({error})",
                        f"the job {job.id} may go on without being followed: see that the head is there",
                    ) from None
            if not job.alive:
                return job
            log.again()
            time.sleep(POLL_SECONDS)

    def _tail(self, job: Job, log: _Log) -> bool:
        """Tell what the job writes; whether that ended by itself, and not by a connection that broke.

        One that breaks after hours says nothing about the head, which is asked next.
        """

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job.id):
                log(text)

        try:
            asyncio.run(tail())
        except Exception:  # of aiohttp and Ray
            return False
        return True

    def _find(self, job_id: str) -> Job | None:
        return next((job for job in self.all() if job.id == job_id), None)


class _Log:
    """A log that is read from its beginning again after a broken connection, and told once."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told = self._read = 0

    def __call__(self, text: str) -> None:
        """Take in what was read next."""
        self._read += len(text)
        if (new := self._read - self._told) > 0:
            self._told = self._read
            self._tell(text[-new:])

    @property
    def heard(self) -> bool:
        """Whether something came since it was last begun."""
        return self._read > 0

    def again(self) -> None:
        """It is read from its beginning."""
        self._read = 0


def address_of(given: str | None) -> str:
    """The URL of a head's dashboard: as given, else as the environment names it for Ray's own commands, else here."""
    if given:
        return (given if "://" in given else f"http://{given}").rstrip("/")
    if there := os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS"):
        if there.startswith(("http://", "https://")):
            return there.rstrip("/")
        try:
            return get_address_for_submission_client(None).rstrip("/")
        except Exception as error:
            raise Problem(
                f"RAY_ADDRESS {there} leads to no dashboard: {_first_line(error)}",
                "name the head's dashboard with --address, http://HEAD:8265",
            ) from None
    return HERE


def _connected(address: str) -> JobSubmissionClient:
    if find_spec("aiohttp") is None:
        raise Problem("Ray is installed without its job API", "install the extra: pip install 'catwalk[cluster]'")
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    _require_answer(address)
    try:
        return _client(address)
    except AuthenticationError as refused:
        # a token is shown to nobody who does not ask for it
        asked = "RAY_AUTH_MODE" not in os.environ and maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        if not asked:
            raise _no_token(address, refused) from None
    try:
        return _client(address)
    except AuthenticationError as refused:
        raise _no_token(address, refused) from None


def _client(address: str) -> JobSubmissionClient:
    # Ray lets these overrule what it is told
    overruling = {name: os.environ.pop(name, None) for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")}
    try:
        return JobSubmissionClient(address)
    except AuthenticationError:
        raise
    except Exception as error:  # not found, no JSON, an older Ray, a proxy's own page
        raise Problem(
            f"what answers at {address} is no job API of Ray ({_first_line(error)})",
            "name the head's dashboard, http://HEAD:8265; the head needs ray[default]",
        ) from None
    finally:
        os.environ.update({name: value for name, value in overruling.items() if value is not None})


def _require_answer(address: str) -> None:
    """Raise `Problem` unless something listens there: Ray itself would try for minutes."""
    parts = urlsplit(address)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
    except ValueError:
        raise WrongUsage(f"--address {address!r} is no URL of a dashboard", "write http://HEAD:8265") from None
    try:
        socket.create_connection((parts.hostname, port), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise Problem(
            f"no Ray cluster answers at {address}: {error}",
            "name the dashboard of its head with --address, http://HEAD:8265, and forward its port if it is private; "
            "`ray start --head` opens it where ray[default] is installed",
        ) from None


def _no_token(address: str, refused: AuthenticationError) -> Problem:
    wrong = "Invalid" in refused.message
    return Problem(
        f"the cluster at {address} " + ("does not take this token" if wrong else "asks for a token"),
        "put the cluster's token into RAY_AUTH_TOKEN, or into a file named by RAY_AUTH_TOKEN_PATH (~/.ray/auth_token), "
        "and set RAY_AUTH_MODE=token",
    )


@contextmanager
def _asked(address: str) -> Iterator[None]:
    """What the job API answers badly is raised as `Problem`."""
    try:
        yield
    except AuthenticationError as refused:
        raise _no_token(address, refused) from None
    except (RuntimeError, ValueError) as error:  # an answer that is none of the good ones, with Ray's traceback in it
        raise Problem(f"the job API at {address} refused: {_last_line(error)}", "look at the head's logs") from None
    except OSError as error:  # of requests
        raise Problem(f"{address} does not answer: {_first_line(error)}", "see that the head is there") from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _last_line(error: Exception) -> str:
    """What went wrong in a traceback that came as text."""
    lines = [line for line in str(error).strip().splitlines() if line.strip(" .")]
    return lines[-1].strip() if lines else type(error).__name__


def _job(details: JobDetails) -> Job:
    # by the id alone, whoever submitted it: what others note may be called as what is noted here
    later = LATER.fullmatch(details.submission_id)
    name, attempt = later.groups() if later else (details.submission_id, "1")
    return Job(
        name=name,
        attempt=int(attempt),
        id=details.submission_id,
        state=str(details.status),
        command=details.entrypoint,
        about=dict(details.metadata or {}),
        begun=_moment(details.start_time),
        ended=_moment(details.end_time),
        exit_code=details.driver_exit_code,
        message=details.message or "",
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
