"""Weights on one machine: several processes, a bound in bytes, and processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manifests.errors import Problem
from stages.node_cache import NodeCache, Sizes
from tests.conftest import CHECKOUT

# HOLD reads an entry until its stdin ends; FETCH is at it for ever, with one file done and one half done
PROCESS = """
import sys, time
from pathlib import Path
from stages.node_cache import NodeCache

folder, entry, what = sys.argv[1:]

def fetch(path, sizes):
    (path / "one").write_bytes(b"1" * sizes["one"])
    if what == "FETCH":
        (path / "tmpabc").write_bytes(b"2")
        print("fetching", flush=True)
        time.sleep(600)
    (path / "two").write_bytes(b"2" * sizes["two"])

with NodeCache(Path(folder), 1000).holding(entry, lambda: {"one": 100, "two": 300}, fetch):
    print("holding", flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(folder: Path, entry: str, what: str = "HOLD") -> Iterator[subprocess.Popen[str]]:
    """Another process, once it has got as far as it should; killed at the end."""
    command = [sys.executable, "-c", PROCESS, str(folder), entry, what]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as other:
        assert other.stdout.readline().strip() == ("fetching" if what == "FETCH" else "holding")
        try:
            yield other
        finally:
            other.kill()


def fetched(path: Path, sizes: Sizes) -> None:
    """Make the files, of one letter each."""
    for name, size in sizes.items():
        (path / name).write_bytes(name[:1].encode() * size)


def put(cache: NodeCache, entry: str, size: int = 400) -> None:
    with cache.holding(entry, lambda: {"weights": size}, fetched):
        pass


def total(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("weights"))


def test_a_killed_fetcher_leaves_no_lock_and_no_half_file(tmp_path: Path) -> None:
    with process(tmp_path, "checkpoints/a", "FETCH") as other:
        cache, got = NodeCache(tmp_path, 1000), []

        def want() -> None:
            with cache.holding("checkpoints/a", lambda: {"one": 100, "two": 300}, fetched) as path:
                got.extend(sorted(one.name for one in path.iterdir()))

        waiting = threading.Thread(target=want)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive(), "while another fetches, it is waited for"
        other.send_signal(signal.SIGKILL)
        begun = time.monotonic()
        waiting.join(20)
        assert time.monotonic() - begun < 10
    assert got == [".whole", "one", "two"]


def test_the_least_recently_used_goes_before_the_next_is_fetched(tmp_path: Path) -> None:
    cache, most = NodeCache(tmp_path, 1000), []

    def watched(path: Path, sizes: Sizes) -> None:
        fetched(path, sizes)
        most.append(total(tmp_path))

    for entry in ("checkpoints/a", "checkpoints/b"):
        put(cache, entry)
        time.sleep(0.02)
    put(cache, "checkpoints/a")  # used again
    time.sleep(0.02)
    with cache.holding("loras/c", lambda: {"weights": 500}, watched):
        pass
    assert cache.entries() == ["checkpoints/a", "loras/c"]
    assert most == [900], "never more than may be, also while it is fetched"


def test_what_another_process_reads_is_never_removed(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 1000)
    with process(tmp_path, "checkpoints/used"):
        time.sleep(0.02)
        put(cache, "checkpoints/newer")
        put(cache, "checkpoints/newest")
        assert cache.entries() == ["checkpoints/newest", "checkpoints/used"]
        with pytest.raises(Problem, match=r"of 0\.0 GB, 0\.0 GB are in use") as refused:
            put(cache, "checkpoints/large", 700)
        assert "raise model_cache.bytes" in refused.value.remedy
        assert not cache.remove("checkpoints/used")
    put(cache, "checkpoints/large", 700)  # now that its reader is gone
    assert cache.entries() == ["checkpoints/large"]


def test_room_that_another_will_need_is_not_given_away(tmp_path: Path) -> None:
    with process(tmp_path, "checkpoints/coming", "FETCH"), pytest.raises(Problem, match="find no room"):
        put(NodeCache(tmp_path, 1000), "checkpoints/b", 700)  # of 400 that will be there, 101 are


def test_a_try_that_failed_is_made_again(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 1000)

    def broken(path: Path, sizes: Sizes) -> None:
        (path / "weights").write_bytes(b"w")
        raise OSError("the store is away")

    with pytest.raises(OSError, match="away"), cache.holding("loras/a", lambda: {"weights": 400}, broken):
        pass
    assert not cache.holds("loras/a")
    put(cache, "loras/a")
    assert cache.holds("loras/a")
    assert total(tmp_path) == 400
