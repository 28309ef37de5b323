"""Retries: what passes by itself is tried again, within a budget; what comes again is raised at once."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest

from manifests import retries, storage
from manifests.retries import RETRIES, Retries, tried
from manifests.storage import stores
from manifests.transient import Truncated, is_transient
from tests.conftest import CHECKOUT
from tests.made.faulty_proxy import FAULTS, FaultyProxy, faulty_proxy


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries._retrying, "wait", lambda state: 0.01)
    monkeypatch.setattr(stores, "SILENT_SECONDS", 1)
    monkeypatch.setattr(stores, "REQUEST_TRIES", 1)  # botocore waits for seconds between its own


@pytest.fixture
def through(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Sends fsspec, here and in processes started from here, through a faulty proxy."""

    @contextmanager
    def begin(share: float, **options: Any) -> Iterator[FaultyProxy]:
        with (
            faulty_proxy(s3_endpoint, share, stall_seconds=3, **options) as proxy,
            monkeypatch.context() as environment,
        ):
            environment.setitem(fsspec.config.conf, "s3", {"endpoint_url": proxy.endpoint})
            environment.setenv("FSSPEC_S3_ENDPOINT_URL", proxy.endpoint)
            yield proxy

    return begin


def client_error(status: int, code: str = "") -> Exception:
    from botocore.exceptions import ClientError

    answer = {"Error": {"Code": code or str(status)}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutObject")


def named(name: str, **known: Any) -> Exception:
    """An exception of a library that need not be installed, as its class is called."""
    return type(name, (Exception,), known)("it says")


def wrapped(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


PASSES = [
    client_error(503, "SlowDown"),
    client_error(500, "InternalError"),
    client_error(429),
    client_error(400, "IncompleteBody"),
    client_error(400, "RequestTimeout"),
    wrapped(OSError(errno.EBUSY, "s3fs's word for it"), client_error(503)),
    named("ReadTimeoutError"),
    named("EndpointConnectionError"),
    named("ClientPayloadError"),
    # aiohttp calls a body cut short a 400
    wrapped(named("ClientPayloadError"), named("ContentLengthError", code=400)),
    named("ServiceResponseError"),
    named("HttpResponseError", status_code=503),
    named("HttpError", code="502"),
    TimeoutError(),
    ConnectionResetError(),
    Truncated("half"),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ETIMEDOUT, "Connection timed out"),
]
COMES_AGAIN = [
    client_error(404, "NoSuchKey"),
    client_error(403, "AccessDenied"),
    client_error(400, "InvalidArgument"),
    client_error(412, "PreconditionFailed"),
    wrapped(OSError(errno.EIO, "s3fs's word for what it does not know"), client_error(400, "Whatever")),
    wrapped(PermissionError("The provided token has expired."), client_error(400, "ExpiredToken")),
    named("NoCredentialsError"),
    named("ClientAuthenticationError", status_code=401),
    named("HttpError", code=404),
    FileNotFoundError("gone"),
    PermissionError("denied"),
    FileExistsError("taken"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EROFS, "Read-only file system"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    ValueError("503"),
]


@pytest.mark.parametrize("error", PASSES, ids=repr)
def test_what_passes_by_itself_is_tried_again(error: Exception) -> None:
    assert is_transient(error)
    left = [error]

    def call() -> str:
        if left:
            raise left.pop()
        return "done"

    before = RETRIES.used
    assert tried(call) == "done"
    assert RETRIES.used == before + 1


@pytest.mark.parametrize("error", COMES_AGAIN, ids=repr)
def test_what_comes_again_at_every_try_is_raised_at_once(error: Exception) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        tried(call)
    assert len(calls) == 1


def test_an_error_met_while_another_is_handled_is_judged_by_itself() -> None:
    error = named("ReadTimeoutError")
    error.__context__ = client_error(412)
    assert is_transient(error)


def test_a_call_is_not_tried_for_ever() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        tried(call)
    assert len(calls) == retries.TRIES


def test_a_budget_that_is_spent_ends_it_and_another_session_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Retries()
    budget.begin("night", 2)
    assert budget.help(TimeoutError())
    budget.used = 2
    budget.begin("night", 2)
    assert not budget.help(TimeoutError())
    budget.begin("next night", 2)
    assert budget.help(TimeoutError())
    budget.begin("careless night", 0)
    assert not budget.help(TimeoutError())


def test_what_processes_have_heard_of_each_other_adds_up_once() -> None:
    driver, worker, other = Retries(), Retries(), Retries()
    worker.used = 3
    other.hear({**worker.known(), "host 7": 2})
    worker.used = 4
    for known in (other.known(), worker.known(), other.known()):
        driver.hear(known)
    assert sum(driver.known().values()) == 6
    driver.begin("next night", 1)
    assert driver.known() == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_call_survives_a_store_that_fails_now_and_then(
    fault: str, s3: str, through: Callable[..., Any], tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(os.urandom(300_000))
    with through(0.15, seed=5, faults=[fault]) as proxy:
        for number in range(2 if fault == "stalled" else 6):
            folder = f"{s3}/{number}"
            assert not storage.exists(folder + "/film.mp4")
            storage.publish(film, folder + "/film.mp4")
            storage.publish_json({"number": number}, folder + "/marker.json")
            assert storage.create_exclusive(folder + "/claim.json", b"{}")
            assert not storage.create_exclusive(folder + "/claim.json", b"{}")
            storage.copy(folder + "/film.mp4", folder + "/copy.mp4")
            assert storage.read_bytes(folder + "/film.mp4") == film.read_bytes()
            assert storage.fetch(folder + "/copy.mp4", tmp_path / "fetched", None).read_bytes() == film.read_bytes()
            assert storage.digest(folder + "/film.mp4") == storage.sha256_file(film)
            assert storage.read_json(folder + "/marker.json") == {"number": number}
            storage.delete(folder + "/copy.mp4")
            assert sorted(storage.listing(folder)) == ["claim.json", "film.mp4", "marker.json"]
        assert proxy.done[fault] > 2, "the proxy did not do its worst"


def test_a_store_that_says_no_is_asked_once(s3: str, through: Callable[..., Any]) -> None:
    with through(0) as proxy:
        before = RETRIES.used
        with pytest.raises(FileNotFoundError):
            storage.read_bytes(s3 + "/absent")
        with pytest.raises(FileNotFoundError):
            storage.publish_bytes(b"", s3 + "-absent/film.mp4")
        assert RETRIES.used == before
        assert proxy.requests <= 4


def test_a_store_that_is_away_is_given_up_within_bounds(s3: str, through: Callable[..., Any]) -> None:
    with through(1, faults=["unavailable"]) as proxy:
        begun = time.monotonic()
        with pytest.raises(OSError, match="reduce your request rate"):
            storage.publish_bytes(b"", s3 + "/film.mp4")
        assert proxy.requests == retries.TRIES, "tries are multiplied by those of a library"
    assert time.monotonic() - begun < 60


def test_the_tries_of_the_library_count_too(
    s3: str, through: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "REQUEST_TRIES", 3)
    before = RETRIES.used
    with through(0.3, seed=2, faults=["unavailable"]) as proxy:
        for number in range(6):
            storage.publish_bytes(b"", f"{s3}/{number}")
        assert RETRIES.used - before == proxy.done.total() > 0


RACE = """
import sys, json
from manifests import retries, storage
from manifests.storage import stores
retries._retrying.wait = lambda state: 0.02
retries._retrying.stop = lambda state: state.attempt_number >= 20
stores.REQUEST_TRIES = 1
place, number = sys.argv[1], int(sys.argv[2])
storage.exists(place)
print("connected", flush=True)
input()
won = [storage.create_exclusive(f"{place}/{race}", b'{"writer": %d}' % number) for race in range(8)]
print(json.dumps([won, retries.RETRIES.used]))
"""


def race(place: str, writers: int = 8) -> list[list[bool]]:
    """Writers in processes of their own claim the same eight names; who won each, by writer."""
    command, pipe = [sys.executable, "-c", RACE, place], subprocess.PIPE
    processes = [
        subprocess.Popen([*command, str(number)], cwd=CHECKOUT, stdin=pipe, stdout=pipe, text=True)
        for number in range(writers)
    ]
    for process in processes:
        assert process.stdout.readline() == "connected\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [json.loads(process.communicate(timeout=180)[0]) for process in processes]
    print("tries after the first, by writer:", [used for _, used in said])
    return [won for won, _ in said]


def assert_one_winner_each(place: str, won: list[list[bool]]) -> None:
    for number, claims in enumerate(zip(*won, strict=True)):
        assert claims.count(True) == 1, f"name {number} has {claims.count(True)} winners"
        assert storage.read_json(f"{place}/{number}")["writer"] == claims.index(True)


def test_of_eight_racing_writers_exactly_one_wins_although_answers_are_lost(
    s3: str, through: Callable[..., Any]
) -> None:
    with through(0.2, seed=1, faults=["lost", "unavailable", "reset"]) as proxy:
        won = race(s3 + "/claims")
        print(f"{proxy.requests} requests, faults: {dict(proxy.done)}")
        assert proxy.done["lost"] > 5
    assert_one_winner_each(s3 + "/claims", won)


def test_of_eight_racing_writers_exactly_one_wins_on_azure(azure: str) -> None:
    won = race(azure + "/claims")
    assert_one_winner_each(azure + "/claims", won)


def test_a_race_won_whose_answer_was_lost_is_still_won_on_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def answer_lost(source: Path, target: Path) -> None:
        link(source, target)
        raise TimeoutError(errno.ETIMEDOUT, "the server's answer was lost")

    monkeypatch.setattr(os, "link", answer_lost)
    assert storage.create_exclusive(str(tmp_path / "claim"), b'{"same": "words"}')
    monkeypatch.setattr(os, "link", link)
    assert not storage.create_exclusive(str(tmp_path / "claim"), b'{"same": "words"}')


def test_an_upload_that_fails_half_way_leaves_nothing_and_readers_never_see_half(
    s3: str, s3_endpoint: str, through: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    film, over, sizes = tmp_path / "film.mp4", threading.Event(), set()
    film.write_bytes(os.urandom(1000) * 105_000)  # above 100 MB: in parts
    other = boto3.client("s3", endpoint_url=s3_endpoint)
    bucket = s3.removeprefix("s3://")

    def look() -> None:
        while not over.wait(0.05):
            sizes.update(one["Size"] for one in other.list_objects_v2(Bucket=bucket).get("Contents", ()))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        with through(0.3, seed=0, faults=["unavailable", "reset"], only="partNumber") as proxy:
            monkeypatch.setattr(stores, "REQUEST_TRIES", 4)
            monkeypatch.setattr(stores, "SILENT_SECONDS", 60)
            storage.publish(film, s3 + "/film.mp4")
            assert proxy.done.total() > 0
        monkeypatch.setattr(stores, "REQUEST_TRIES", 1)
        monkeypatch.setattr(retries._retrying, "stop", lambda state: state.attempt_number >= 2)
        with (
            through(1, faults=["unavailable"], only="partNumber=2") as proxy,
            pytest.raises(OSError, match="reduce your request rate"),
        ):
            storage.publish(film, s3 + "/other.mp4")
        assert proxy.done["unavailable"] == 2
    finally:
        over.set()
        reader.join()
    assert sizes <= {105_000_000}
    assert storage.listing(s3) == {"film.mp4": 105_000_000}
    assert not other.list_multipart_uploads(Bucket=bucket).get("Uploads")
