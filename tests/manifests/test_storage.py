"""Storage: what is published is whole, what is read is fresh, and a manifest reaches only what it may."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from manifests import storage
from manifests.errors import Problem, Rejected
from manifests.partitions import manifest_files
from manifests.source_memo import SourceMemo
from manifests.storage import Allowed, Stamp, publishing, reading
from tests.conftest import CHECKOUT


@pytest.fixture(params=["local", "s3", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder on disk, then the same promise again in a bucket, and in a container."""
    return str(tmp_path / "store") if request.param == "local" else request.getfixturevalue(request.param) + "/store"


@pytest.fixture
def other_client(s3_endpoint: str) -> Any:
    """Somebody else who writes into the same buckets: boto, which shares no cache with us."""
    import boto3

    return boto3.client("s3", endpoint_url=s3_endpoint)


def bucket(s3: str) -> str:
    return s3.removeprefix("s3://")


# What is published is whole.


@pytest.mark.parametrize("before", [None, b"the film of last night"])
def test_an_upload_that_raises_publishes_nothing(place: str, before: bytes | None) -> None:
    film = storage.join(place, "film.mp4")
    if before:
        storage.publish_bytes(before, film)
    unreadable = Path("/proc/self/mem")  # opens, then fails to read: like a disk that dies half-way
    with pytest.raises(OSError, match=r"."):
        storage.publish(unreadable, film)
    assert storage.listing(place) == ({"film.mp4": len(before)} if before else {})
    if before:
        assert storage.read_bytes(film) == before
    elif storage.is_local(place):
        assert list(Path(place).iterdir()) == [], "the unfinished file is left lying about"


PUBLISH = "import sys, pathlib, manifests.storage as s; s.publish(pathlib.Path(sys.argv[1]), sys.argv[2])"


def publisher(source: Path, uri: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PUBLISH, str(source), uri]
    return subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, **environment})


def wait_for(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.02)


def test_a_killed_local_write_publishes_nothing(tmp_path: Path) -> None:
    film = tmp_path / "films" / "film.mp4"
    storage.publish_bytes(b"the film of last night", str(film))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = publisher(pipe, str(film))
    with open(pipe, "wb") as source:
        source.write(b"half a film" * 1000)
        source.flush()
        wait_for(lambda: any(file.name.endswith(storage.UNFINISHED) for file in film.parent.iterdir()))
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
    assert storage.listing(str(film.parent)) == {"film.mp4": 22}
    assert film.read_bytes() == b"the film of last night"
    assert len(list(film.parent.iterdir())) == 2, "the write was not killed half-way"


@pytest.fixture
def stalling_endpoint(s3_endpoint: str) -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """A way to the S3 server that stops after 2 MB, tells so by one event, and hangs up at the other."""
    stalled, killed = threading.Event(), threading.Event()
    host, port = s3_endpoint.removeprefix("http://").split(":")

    def answers(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):  # the client is dead
            while data := server.recv(65536):
                client.sendall(data)

    def forward(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server:
            threading.Thread(target=answers, args=(server, client), daemon=True).start()
            passed = 0
            while passed < 2_000_000 and (data := client.recv(65536)):
                server.sendall(data)
                passed += len(data)
            stalled.set()
            killed.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: forward(listener.accept()[0]), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", stalled, killed


def test_a_killed_upload_publishes_nothing(
    s3: str, stalling_endpoint: tuple[str, threading.Event, threading.Event], tmp_path: Path
) -> None:
    storage.publish_bytes(b"the film of last night", s3 + "/film.mp4")
    film = tmp_path / "film.mp4"
    film.write_bytes(bytes(20_000_000))
    endpoint, stalled, killed = stalling_endpoint
    writer = publisher(film, s3 + "/film.mp4", FSSPEC_S3_ENDPOINT_URL=endpoint)
    assert stalled.wait(30)
    writer.kill()
    assert writer.wait() == -signal.SIGKILL
    killed.set()
    time.sleep(0.2)  # the server notices
    assert storage.listing(s3) == {"film.mp4": 22}
    assert storage.read_bytes(s3 + "/film.mp4") == b"the film of last night"


def test_what_is_published_reads_back_and_replaces_what_was_there(place: str, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"frames")
    storage.publish(film, place + "/a/film.mp4")
    storage.publish_bytes(b"poster", place + "/a/poster.jpg")
    storage.publish_json({"seed": 1}, place + "/a/marker.json")
    storage.publish_json({"seed": 2}, place + "/a/marker.json")
    assert storage.read_bytes(place + "/a/film.mp4") == b"frames"
    assert storage.read_bytes(place + "/a/poster.jpg", max_bytes=6) == b"poster"
    assert storage.read_json(place + "/a/marker.json") == {"seed": 2}
    assert storage.read_json(place + "/a/absent.json") is None


def test_a_published_file_is_readable_by_others_as_the_umask_says(tmp_path: Path) -> None:
    storage.publish_bytes(b"", str(tmp_path / "published"))
    (tmp_path / "plain").touch()
    assert (tmp_path / "published").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("text", ["[1]", "{", "\xff"])
def test_a_marker_that_is_no_json_object_is_a_problem_with_a_remedy(place: str, text: str) -> None:
    storage.publish_bytes(text.encode("latin-1"), place + "/marker.json")
    with pytest.raises(Problem, match=r"marker\.json does not hold a JSON object → delete it"):
        storage.read_json(place + "/marker.json")


def one_of_eight_wins(uri: str) -> None:
    together = threading.Barrier(8)

    def claim(number: int) -> bool:
        together.wait()
        return storage.create_exclusive(uri, b'{"writer": %d}' % number)

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(claim, range(8)))
    assert won.count(True) == 1
    assert storage.read_json(uri)["writer"] == won.index(True)
    assert list(storage.listing(storage.parent(uri))) == ["claim"]


def test_exclusive_creation_has_one_winner(place: str) -> None:
    one_of_eight_wins(place + "/claim")


def test_exclusive_creation_has_one_winner_where_hard_links_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any) -> None:
        raise PermissionError("as FAT says")

    monkeypatch.setattr(os, "link", link)
    assert storage.create_exclusive(str(tmp_path / "claim"), b'{"claim": "first"}')
    assert not storage.create_exclusive(str(tmp_path / "claim"), b'{"claim": "second"}')
    assert storage.read_json(str(tmp_path / "claim"))["claim"] == "first"


def test_exclusive_creation_is_tried_again_where_what_was_there_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = tmp_path / "claim"
    claim.write_text('{"claim": "first"}')
    read = storage.read_bytes

    def just_gone(uri: str, max_bytes: int | None = None) -> bytes:
        claim.unlink()
        monkeypatch.setattr(publishing, "read_bytes", read)
        return read(uri, max_bytes)

    monkeypatch.setattr(publishing, "read_bytes", just_gone)
    assert storage.create_exclusive(str(claim), b'{"claim": "second"}')
    assert storage.read_json(str(claim))["claim"] == "second"


def test_exclusive_creation_that_cannot_write_is_an_error_and_no_lost_race(s3: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"."):
        storage.create_exclusive(str(tmp_path / "file" / "claim"), b"{}")
    with pytest.raises(FileNotFoundError):
        storage.create_exclusive(s3 + "-absent/claim", b"{}")


@pytest.mark.parametrize(("src", "dst"), [("local", "local"), ("local", "s3"), ("s3", "local"), ("s3", "s3")])
def test_copy_is_whole_or_not_at_all(src: str, dst: str, s3: str, tmp_path: Path) -> None:
    places = {"local": str(tmp_path), "s3": s3}
    source, target = places[src] + "/from/film.mp4", places[dst] + "/to/film.mp4"
    with pytest.raises(FileNotFoundError):
        storage.copy(source, target)
    assert storage.listing(storage.parent(target)) == {}
    storage.publish_bytes(b"frames", source)
    storage.copy(source, target)
    assert storage.read_bytes(target) == b"frames"
    assert storage.listing(storage.parent(target)) == {"film.mp4": 6}


# What is read is fresh, and limited.


def test_a_listing_shows_what_another_client_wrote_since(s3: str, other_client: Any) -> None:
    for key, size in {"night/a": 1, "night/deep/b": 2, "nightly": 3}.items():
        other_client.put_object(Bucket=bucket(s3), Key=key, Body=bytes(size))
    assert storage.listing(s3 + "/night") == {"a": 1}
    assert storage.listing(s3 + "/night/", recursive=True) == {"a": 1, "deep/b": 2}
    first = storage.stamp(s3 + "/night/a")

    other_client.put_object(Bucket=bucket(s3), Key="night/a", Body=b"22")
    other_client.put_object(Bucket=bucket(s3), Key="night/c", Body=b"333")
    other_client.delete_object(Bucket=bucket(s3), Key="night/deep/b")
    assert storage.listing(s3 + "/night") == {"a": 2, "c": 3}
    assert storage.listing(s3 + "/night", recursive=True) == {"a": 2, "c": 3}
    assert storage.exists(s3 + "/night/c")
    assert not storage.exists(s3 + "/night/deep/b")
    assert storage.stamp(s3 + "/night/a") != first
    assert storage.read_bytes(s3 + "/night/a") == b"22"


def test_an_empty_or_absent_folder_lists_nothing(place: str) -> None:
    assert storage.listing(place + "/absent") == {}
    assert storage.listing(place + "/absent", recursive=True) == {}
    storage.publish_bytes(b"", place + "/file")
    assert storage.listing(place + "/file") == {}


def test_the_folders_in_a_folder_and_a_table_partitioned_by_them(place: str) -> None:
    assert storage.subfolders(place) == []
    for path in ("m/night=3/a.parquet", "m/night=3/take=1/b.parquet", "m/plain/c.parquet", "m/_SUCCESS"):
        storage.publish_bytes(b"1", f"{place}/{path}")
    assert storage.subfolders(place + "/m") == ["night=3", "plain"]
    assert storage.subfolders(place + "/m/night=3/a.parquet") == []
    assert [file[1:] for file in manifest_files(place + "/m/")] == [
        ("night=3/a.parquet", {"night": "3"}),
        ("night=3/take=1/b.parquet", {"night": "3", "take": "1"}),
    ]
    assert [file.name for file in manifest_files(place + "/m/*/*.parquet")] == ["night=3/a.parquet", "plain/c.parquet"]
    assert [file.name for file in manifest_files(place + "/m/plain/c.parquet")] == ["c.parquet"]


def test_a_folder_object_of_the_console_is_no_file(s3: str, other_client: Any) -> None:
    other_client.put_object(Bucket=bucket(s3), Key="night/", Body=b"")
    assert storage.listing(s3 + "/night") == {}
    assert storage.listing(s3, recursive=True) == {}


def test_deleting_twice_is_no_error(place: str) -> None:
    storage.publish_bytes(b"", place + "/file")
    assert storage.exists(place + "/file")
    for _ in range(2):
        storage.delete(place + "/file")
        assert not storage.exists(place + "/file")


@pytest.mark.parametrize("absent", ["/absent.png", "/file.png/below.png", "/" + "n" * 300, ""])
def test_a_stamp_needs_a_file(place: str, absent: str) -> None:
    storage.publish_bytes(b"", place + "/file.png")
    with pytest.raises(FileNotFoundError, match=r"^no file at "):
        storage.stamp(place + absent)


def test_a_device_that_never_ends_is_not_read() -> None:
    with pytest.raises(FileNotFoundError, match="no file at /dev/zero"):
        storage.read_bytes("/dev/zero", max_bytes=10)  # bounded: a regression must not eat the machine


def test_a_remote_object_is_fetched_and_a_local_file_is_used_where_it_lies(s3: str, tmp_path: Path) -> None:
    data = os.urandom(storage.CHUNK + 1)  # more than one read
    storage.publish_bytes(data, s3 + "/walk.mp4")
    fetched = [storage.fetch(s3 + "/walk.mp4", tmp_path / "scratch", len(data)) for _ in range(2)]
    assert [file.read_bytes() for file in fetched] == [data, data]
    assert [file.suffix for file in fetched] == [".mp4", ".mp4"]
    assert len(set(fetched)) == 2, "two clips share a scratch file"

    own = tmp_path / "own.mp4"
    own.write_bytes(b"frames")
    assert storage.fetch(str(own), tmp_path / "unused", 6) == own
    assert storage.fetch(f"file://{own}", tmp_path / "unused", None) == own
    assert not (tmp_path / "unused").exists()


def test_fetch_refuses_what_is_too_large_before_it_downloads(place: str, tmp_path: Path) -> None:
    storage.publish_bytes(bytes(11), place + "/walk.mp4")
    with pytest.raises(Rejected, match=r"walk\.mp4 has 11 bytes or more, the limit is 10 → use a smaller file"):
        storage.fetch(place + "/walk.mp4", tmp_path / "scratch", 10)
    assert not (tmp_path / "scratch").exists(), "the download was begun"


def test_fetch_stops_when_the_object_has_grown_past_the_limit_since(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.publish_bytes(bytes(11), s3 + "/walk.mp4")
    monkeypatch.setattr(reading, "stamp", lambda uri: Stamp(1, "as it was a moment ago"))
    with pytest.raises(Rejected, match="the limit is 10"):
        storage.fetch(s3 + "/walk.mp4", tmp_path / "scratch", 10)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_object_replaced_while_it_is_read_is_never_a_mixture(s3: str, other_client: Any) -> None:
    storage.publish_bytes(bytes(storage.CHUNK + 1), s3 + "/walk.mp4")
    chunks = reading._chunks(s3 + "/walk.mp4", None)
    assert next(chunks) == bytes(storage.CHUNK)
    other_client.put_object(Bucket=bucket(s3), Key="walk.mp4", Body=b"\1" * (storage.CHUNK + 1))
    with pytest.raises(OSError, match=r"."):
        next(chunks)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc: a file larger than its size")
def test_reading_stops_at_the_limit_whatever_the_size_said() -> None:
    assert storage.stamp("/proc/self/maps").size == 0
    with pytest.raises(Rejected, match="the limit is 10"):
        storage.read_bytes("/proc/self/maps", max_bytes=10)


# What a manifest may reach, and what is told of it.


def test_a_prefix_allows_whole_path_components_only() -> None:
    allowed = Allowed(prefixes=["/data/a", "s3://catalogue/autumn/"])
    for uri in ("/data/a/x.png", "/data/a", "file:///data/a/x.png", "//data/a/x", "s3://catalogue/autumn/x.png"):
        allowed.check(uri, "reference")
    for uri in ("/data/ab/x.png", "/data", "s3://catalogue/autumn2/x.png", "s3://catalogue", "gs://catalogue/autumn/x"):
        with pytest.raises(Rejected, match=f"^reference '{uri}' lies outside the allowed folders → move it below"):
            allowed.check(uri, "reference")


@pytest.mark.parametrize("uri", ["/data/a/../b/x.png", "file:///data/a/../../etc/passwd", "s3://catalogue/autumn/../x"])
def test_two_dots_never_leave_an_allowed_folder(uri: str) -> None:
    with pytest.raises(Rejected, match=r"^driving "):
        Allowed(prefixes=["/data/a", "s3://catalogue/autumn"]).check(uri, "driving")


def test_a_symlink_out_of_an_allowed_folder_is_refused(tmp_path: Path) -> None:
    for folder in ("allowed", "secret"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").touch()
    (tmp_path / "allowed" / "link.png").symlink_to(tmp_path / "secret" / "x.png")
    (tmp_path / "allowed" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "allowed" / "inside.png").symlink_to(tmp_path / "allowed" / "x.png")
    (tmp_path / "alias").symlink_to(tmp_path / "allowed")
    for prefix in ("allowed", "alias"):
        allowed = Allowed(prefixes=[str(tmp_path / prefix)])
        allowed.check(str(tmp_path / "allowed" / "inside.png"), "reference")
        for name in ("link.png", "folder/x.png", "folder/../x.png"):
            with pytest.raises(Rejected, match="lies outside"):
                allowed.check(str(tmp_path / "allowed" / name), "reference")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://169.254.169.254/latest", "http:// is not allowed"),
        ("S3://catalogue/x.png", "S3:// is not allowed"),
        ("s3://catalogue/x::file:///etc/passwd", "contains '::'"),
        ("s3://key:secret@catalogue/x.png", "does not begin with a plain bucket name"),
        ("s3:///x.png", "does not begin with a plain bucket name"),
        ("file://host/x.png", "names a host"),
        ("/data/\0.png", "holds control characters"),
        ("/data/\ud800.png", "holds control characters"),
        ("", "is empty"),
    ],
)
def test_what_is_no_place_is_rejected_without_prefixes_too(uri: str, reason: str) -> None:
    with pytest.raises(Rejected, match=reason) as refused:
        Allowed().check(uri, "driving")
    assert refused.value.error.startswith("driving ")
    assert "secret" not in str(refused.value)


def test_a_store_whose_package_is_missing_names_the_extra() -> None:
    code = "import sys; sys.modules['s3fs'] = None; import manifests.storage as s; s.stamp('s3://b/x?sig=1')"
    ran = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert "manifests.errors.Problem: s3://b/x: " in ran.stderr
    assert "catwalk[s3]" in ran.stderr


def test_importing_storage_loads_no_cloud_package() -> None:
    code = "import sys, json, manifests.storage; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert not {"s3fs", "gcsfs", "adlfs", "aiohttp", "botocore", "torch", "ray"} & set(json.loads(ran.stdout))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://b.s3.amazonaws.com/x.mp4?X-Amz-Signature=SECRET#f", "https://b.s3.amazonaws.com/x.mp4"),
        ("b.s3.amazonaws.com/x.mp4?X-Amz-Signature=SECRET", "b.s3.amazonaws.com/x.mp4"),
        ("s3://AKIA:SE/CR+ET@catalogue/x.mp4", "s3://catalogue/x.mp4"),
        ("https://SECRET@host/a@b.png", "https://host/a@b.png"),
        ("https://user:SECRET?@host/x", "https://host/x"),
        ("abfs://films@account.dfs.core.windows.net/x?sig=SECRET", "abfs://films@account.dfs.core.windows.net/x"),
        ("s3://catalogue/a@b.png", "s3://catalogue/a@b.png"),
        ("/data/take#2?.png", "/data/take#2?.png"),
        ("file:///data/take#2.png", "file:///data/take#2.png"),
    ],
)
def test_messages_show_the_place_and_no_secret(uri: str, shown: str) -> None:
    assert storage.redact(uri) == shown


def test_a_query_that_a_client_took_for_a_part_of_the_path_is_not_shown_either() -> None:
    text = 'cannot connect to "http://host:9/bucket/x.mp4%3FX-Amz-Signature%3DSECRET/runs/a.json", twice'
    assert storage.redact_text(text) == 'cannot connect to "http://host:9/bucket/x.mp4 twice'


@pytest.mark.parametrize(
    ("uri", "base", "absolute"),
    [
        ("refs/x.png", "/data/night", "/data/night/refs/x.png"),
        ("./../x.png", "/data/night", "/data/x.png"),
        ("/data/./a/../x.png", "/elsewhere", "/data/x.png"),
        ("file:///data/x.png", "s3://catalogue", "/data/x.png"),
        ("x.png", "file:///data", "/data/x.png"),
        ("./refs//x.png", "s3://catalogue/night/", "s3://catalogue/night/refs/x.png"),
        ("x.png", "s3://catalogue", "s3://catalogue/x.png"),
        ("s3://other/x.png", "/data", "s3://other/x.png"),
        ("gs://other/x.png", "s3://catalogue", "gs://other/x.png"),
    ],
)
def test_a_path_in_a_manifest_is_relative_to_its_folder(uri: str, base: str, absolute: str) -> None:
    assert storage.resolve(uri, base) == absolute


@pytest.mark.parametrize("uri", ["../x.png", "a/../x.png", "s3://catalogue/night/../x.png", ""])
def test_a_remote_path_is_not_walked(uri: str) -> None:
    with pytest.raises(Rejected, match=r"contains '\.\.'|names no file"):
        storage.resolve(uri, "s3://catalogue/night")


def test_a_relative_base_is_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.resolve("x.png", "out") == str(tmp_path / "out" / "x.png")
    assert storage.resolve("x.png", storage.parent("night.parquet")) == str(tmp_path / "x.png")


def test_names_and_parents() -> None:
    assert storage.name("s3://catalogue/night/x.png") == storage.name("/data/x.png/") == "x.png"
    assert storage.parent("s3://catalogue/night/x.png") == "s3://catalogue/night"
    assert storage.parent("s3://catalogue/x.png") == storage.parent("s3://catalogue") == "s3://catalogue"
    assert [storage.parent(uri) for uri in ("/data/x.png", "/x.png", "x.png")] == ["/data", "/", "."]
    assert storage.join("/", "x.png") == "/x.png"


# Manifests and memos.


def test_a_manifest_is_a_file_a_folder_or_a_glob(place: str) -> None:
    files = ["b.parquet", "a.parquet", "notes.txt", "2026/c.parquet", "2027/c.parquet", "2027/deep/d.parquet"]
    for file in files:
        storage.publish_bytes(b"", storage.join(place, file))

    def expanded(what: str) -> list[str]:
        found = storage.expand(place + what)
        assert all(uri.startswith(place + "/") for uri in found)
        return [uri.removeprefix(place + "/") for uri in found]

    assert expanded("/b.parquet") == ["b.parquet"]
    assert expanded("") == expanded("/") == expanded("/*") == ["a.parquet", "b.parquet"]
    assert expanded("/[ax].par*") == ["a.parquet"]
    assert expanded("/202?/*.parquet") == ["2026/c.parquet", "2027/c.parquet"]
    assert expanded("/2027/**/*.parquet") == ["2027/c.parquet", "2027/deep/d.parquet"]
    for nothing in ("/absent.parquet", "/absent", "/x*.parquet", "/2027/deep/*.txt"):
        with pytest.raises(Problem, match=r"^no \.parquet file at "):
            storage.expand(place + nothing)
    with pytest.raises(Problem, match=r"notes\.txt is not a \.parquet file → build one"):
        storage.expand(place + "/notes.txt")


def test_a_local_glob_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.chdir(tmp_path)
    assert [storage.resolve(uri, ".") for uri in storage.expand("*.parquet")] == [str(tmp_path / "a.parquet")]


def test_a_memo_is_forgotten_when_its_source_changes(place: str) -> None:
    memo, source = SourceMemo(place + "/memo"), place + "/walk.mp4"
    storage.publish_bytes(b"12345", source)
    before = storage.stamp(source)
    assert memo.get(source, before) is None
    memo.put(source, before, {"frames": 5})
    assert memo.get(source, storage.stamp(source)) == {"frames": 5}
    assert memo.get(source, before._replace(size=6)) is None
    assert memo.get(source, before._replace(version="other")) is None
    assert memo.get(source + "2", before) is None

    storage.publish_bytes(b"54321", source)
    if storage.is_local(place):
        os.utime(source, ns=(0, 1))  # the two writes may fall into one tick of the disk's clock
    assert memo.get(source, storage.stamp(source)) is None


def test_digests_are_sha256_in_hex(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("naïve".encode())
    assert storage.sha256_file(tmp_path / "file") == storage.sha256_text("naïve")
    assert storage.sha256_text("abc").startswith("ba7816bf8f01cfea")
