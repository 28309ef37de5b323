"""A file that takes its decoder over hurts nobody: not the worker, not the machine, not the next file."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.errors import Problem, Rejected
from stages.sandbox.child import Answer
from stages.sandbox.confinement import Bounds
from stages.sandbox.held_file import HeldFile
from stages.sandbox.process import Fault, Reading, Sandbox
from tests.conftest import CHECKOUT

ATTACKS = "tests.stages.sandbox.attacks"
GB = 10**9
LINUX = sys.platform.startswith("linux")
linux_only = pytest.mark.skipif(not LINUX, reason="seccomp and Landlock are Linux's")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(ATTACKS)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def unlocked() -> Iterator[Sandbox]:
    made = Sandbox("tests.stages.sandbox.unlocked")
    yield made
    made.stop()


def asking(
    reader: str,
    *files: HeldFile | Path,
    memory: int = GB,
    cpu: int = 30,
    silence: float = 60.0,
    most_bytes: int = 10**6,
    **arguments: Any,
) -> Reading:
    return Reading(reader, files, arguments, Bounds(memory, cpu), "file 'x.mp4'", silence, most_bytes)


def data(sandbox: Sandbox, reader: str, *files: HeldFile | Path, **asked: Any) -> Any:
    return sandbox.read(asking(reader, *files, **asked)).data


def rejection(sandbox: Sandbox, reader: str, **asked: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        sandbox.read(asking(reader, **asked))
    assert caught.value.remedy
    return caught.value


def test_more_memory_than_allowed_is_the_file_s_fault_and_says_how_much_that_is(sandbox: Sandbox) -> None:
    assert "more than 0.3 GB of memory" in rejection(sandbox, "fill", gigabytes=1, memory=3 * GB // 10).error
    assert data(sandbox, "fill", gigabytes=0.25, memory=GB) == 2, "what is within the limit is given"


def test_a_file_that_is_never_done_is_given_up_by_its_own_processor_time(sandbox: Sandbox) -> None:
    assert "more than 1 s of processor time" in rejection(sandbox, "spin", cpu=1).error


def test_a_file_over_which_nothing_happens_is_given_up_by_the_clock(sandbox: Sandbox) -> None:
    assert "nothing came of reading it for 0 s" in rejection(sandbox, "sleep", seconds=600, silence=0.3).error


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_of_the_decoder_costs_the_file_alone(sandbox: Sandbox, number: signal.Signals) -> None:
    assert f"crashes its reader ({number.name}" in rejection(sandbox, "signal", number=int(number)).error
    assert data(sandbox, "sleep", seconds=0) > 0


@linux_only
def test_a_reader_that_closes_its_answers_and_lives_on_costs_the_file_alone(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data(sandbox, "sleep", seconds=0)
    template = sandbox._template
    monkeypatch.setattr("stages.sandbox.process.END_SECONDS", 0.5)
    assert "close without an answer" in rejection(sandbox, "close").error
    assert sandbox._template is template
    assert template is not None
    assert template.poll() is None


@linux_only
def test_no_connection_leaves_the_sandbox(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        assert data(sandbox, "connect", port=server.getsockname()[1]) == "EPERM"
        with pytest.raises(TimeoutError):
            server.accept()
    assert data(sandbox, "datagram") == "EPERM"


@linux_only
def test_nothing_outside_can_be_written_removed_or_read(sandbox: Sandbox, tmp_path: Path) -> None:
    other, new = tmp_path / "other", tmp_path / "new"
    other.write_text("another tenant's")
    other.chmod(0o600)
    for attempt in ("write", "remove", "read", "change_mode"):
        assert data(sandbox, attempt, path=str(other)) in ("EACCES", "EPERM"), attempt
    assert data(sandbox, "write", path=str(new)) == "EPERM"
    assert data(sandbox, "read", path="/etc/passwd") == "EACCES"
    assert (other.read_text(), other.stat().st_mode & 0o777) == ("another tenant's", 0o600)
    assert not new.exists()


@linux_only
def test_a_file_that_was_handed_over_is_read_under_its_own_name_and_not_written(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "film.mov").write_text("frames")
    held = HeldFile(tmp_path / "film.mov")
    assert data(sandbox, "name", held) == ["film.mov", ".mov", "frames", True]
    assert data(sandbox, "write_to_input", held) == "EPERM"
    assert (tmp_path / "film.mov").read_text() == "frames"


@linux_only
def test_messages_call_a_file_by_its_name(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "film.mov").write_text("frames")
    with pytest.raises(Rejected) as caught:
        sandbox.read(asking("quote", HeldFile(tmp_path / "film.mov")))
    assert caught.value.error == "[mov @ 0x1] film.mov: Invalid data, see film.mov"


@linux_only
def test_what_is_held_is_read_whatever_its_name_has_come_to_stand_for(sandbox: Sandbox, tmp_path: Path) -> None:
    path, other = tmp_path / "film.mov", tmp_path / "secret"
    path.write_text("frames")
    other.write_text("outside")
    held, digest = HeldFile(path), HeldFile(path).sha256()
    path.unlink()
    path.symlink_to(other)
    assert data(sandbox, "name", held)[2] == "frames"
    assert held.sha256() == digest
    assert held.changed, "its name has gone, which the state of a file tells"


def test_a_file_that_is_written_to_while_it_is_held_is_known_as_changed(tmp_path: Path) -> None:
    path = tmp_path / "film.mov"
    path.write_text("frames")
    before = path.stat()
    held = HeldFile(path)
    assert not held.changed
    time.sleep(0.02)  # the kernel's clock of changes
    path.write_text("others")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert held.changed, "though size and time are as before"


@linux_only
def test_no_program_and_no_process_is_started_and_nobody_else_is_signalled(sandbox: Sandbox) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        assert data(sandbox, "run", program="/bin/true") in ("EPERM", "EACCES")
        assert data(sandbox, "fork") == "EPERM"
        assert data(sandbox, "kill", process=bystander.pid) == "EPERM"
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@linux_only
def test_without_landlock_nobody_is_reached_and_nothing_written_or_removed(unlocked: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("another tenant's")
    (tmp_path / "empty").mkdir()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        for reader, asked in (("reach", {"process": bystander.pid}), ("spoil", {"folder": str(tmp_path)})):
            became = data(unlocked, reader, **asked)
            assert became == dict.fromkeys(became, "EPERM")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert (tmp_path / "file").read_text() == "another tenant's"
    assert sorted(os.listdir(tmp_path)) == ["empty", "file"]


@linux_only
def test_limits_are_not_raised_again(sandbox: Sandbox) -> None:
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_CPU):
        assert data(sandbox, "raise_limit", kind=kind) == "refused"


def test_a_reading_process_knows_no_secret_of_the_worker_s(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "told-to-nobody")
    fresh = Sandbox(ATTACKS)
    try:
        seen = data(fresh, "look_around")
    finally:
        fresh.stop()
    assert "told-to-nobody" not in str(seen)
    assert "HOME" not in seen["environment"]
    assert seen["thread"] == ["thread"], "decoders have threads"
    if LINUX:
        assert seen["sockets"] == 1, "its own answers"


@linux_only
def test_libraries_that_are_named_by_the_environment_are_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libraries").mkdir()
    for name in ("libraries/libown.so", "other"):
        (tmp_path / name).write_text("own")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path / 'libraries'}:")
    fresh = Sandbox(ATTACKS)
    try:
        assert data(fresh, "look_around")["environment"]["LD_LIBRARY_PATH"] == os.environ["LD_LIBRARY_PATH"]
        assert data(fresh, "read", path=str(tmp_path / "libraries/libown.so")) == "done"
        assert data(fresh, "read", path=str(tmp_path / "other")) == "EACCES"
    finally:
        fresh.stop()


def test_readers_load_nothing_of_models_and_clusters(sandbox: Sandbox) -> None:
    assert data(sandbox, "imported") == []


@pytest.mark.parametrize(
    ("reader", "asked"),
    [
        ("claim", {"shape": [10**9, 10**9]}),
        ("claim", {"shape": [-1]}),
        ("claim", {"shape": [[1]]}),
        ("garbage", {"data": "ff" * 8}),
        ("garbage", {"data": "0000000000000004" + b"[[[[".hex()}),
        ("garbage", {"data": f"{100_000:016x}" + "5b" * 100_000}),
    ],
)
def test_what_is_no_answer_is_refused_before_memory_is_taken_for_it(
    sandbox: Sandbox, reader: str, asked: dict[str, Any]
) -> None:
    assert "answer nonsense" in rejection(sandbox, reader, **asked).error


def test_a_rejection_passes_as_it_is_but_for_control_characters(sandbox: Sandbox) -> None:
    assert rejection(sandbox, "reject", text="has \x1b[31m frames").error == "has ⟨U+001B⟩[31m frames"
    with pytest.raises(Fault, match="ZeroDivisionError: of a reader"):
        sandbox.read(asking("fail"))


def test_answers_come_one_by_one_and_wait_for_who_asked(sandbox: Sandbox) -> None:
    answers = sandbox.stream(asking("count", most=300, most_bytes=120_000))
    first = next(answers)
    assert (first.data, first.arrays[0].shape) == (0, (200, 200, 3))
    rest = list(answers)
    assert [answer.data for answer in rest] == [*range(1, 300), "all"]
    assert rest[-1] == Answer("all", (), last=True)
    assert all((answer.arrays[0] == answer.data % 256).all() for answer in rest[:-1])


def test_a_reader_is_told_a_million_numbers(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "film.mov").write_text("frames")
    asked = replace(asking("sum", HeldFile(tmp_path / "film.mov")), arrays=(np.arange(10**6),))
    assert sandbox.read(asked).data == ["frames", 10**6 * (10**6 - 1) // 2]


def test_whoever_stops_the_sandbox_ends_its_readings_also_where_the_kernel_does_not() -> None:
    bare = Sandbox("tests.stages.sandbox.elsewhere")
    answers = bare.stream(asking("process"))
    process = next(answers).data
    try:
        bare.stop()
        assert_gone(process)
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def test_each_way_of_ending_has_a_remedy_of_its_own(sandbox: Sandbox) -> None:
    large = rejection(sandbox, "fill", gigabytes=1, memory=3 * GB // 10).remedy
    assert "raise `limits.memory_bytes`" in large
    assert "raise `limits.cpu_seconds`" in rejection(sandbox, "spin", cpu=1).remedy
    assert "run again" in rejection(sandbox, "sleep", seconds=600, silence=0.3).remedy
    for reader, asked in (("signal", {"number": int(signal.SIGSEGV)}), ("garbage", {"data": "ff" * 8})):
        assert rejection(sandbox, reader, **asked).remedy == "write it anew with another program"


def test_whoever_gives_up_ends_the_reading(sandbox: Sandbox) -> None:
    answers = sandbox.stream(asking("process"))
    process = next(answers).data
    assert Path(f"/proc/{process}").exists()
    answers.close()
    assert_gone(process)


def test_many_threads_read_at_once(sandbox: Sandbox) -> None:
    found: list[int] = []

    def ask() -> None:
        found.extend(data(sandbox, "sleep", seconds=0.01) for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 40, "a process for each reading"


def test_when_the_template_dies_another_is_started(sandbox: Sandbox) -> None:
    assert data(sandbox, "sleep", seconds=0)
    template = sandbox._template
    assert template is not None
    answers = sandbox.stream(asking("process"))
    process = next(answers).data
    template.kill()
    with pytest.raises(Problem, match="the process that reads files has ended"):
        next(answers)
    assert_gone(process)
    assert data(sandbox, "sleep", seconds=0)


def test_nothing_outlives_a_worker_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from tests.stages.sandbox.test_sandbox import *\n"
        f"sandbox = Sandbox({ATTACKS!r}); answers = sandbox.stream(asking('process'))\n"
        "print(next(answers).data, sandbox._template.pid, flush=True); time.sleep(600)"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=CHECKOUT, text=True)
    assert worker.stdout is not None
    processes = [*map(int, worker.stdout.readline().split())]
    assert len(processes) == 2
    worker.kill()
    worker.wait()
    worker.stdout.close()
    for process in processes:
        assert_gone(process)


def test_a_worker_that_was_forked_has_a_sandbox_of_its_own(sandbox: Sandbox) -> None:
    assert data(sandbox, "sleep", seconds=0)
    child = os.fork()
    if not child:
        try:
            sandbox.read(asking("sleep", seconds=0))
            sandbox.stop()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert data(sandbox, "sleep", seconds=0), "and its own goes on here"


def assert_gone(process: int) -> None:
    until = time.monotonic() + 20
    while _status(process) not in (None, "Z"):
        assert time.monotonic() < until, f"{process} is still there"
        time.sleep(0.05)


def _status(process: int) -> str | None:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def test_without_seccomp_landlock_and_proc_the_limits_and_the_process_of_its_own_remain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.sandbox.process.PROC", False)
    (tmp_path / "film.mov").write_text("frames")
    bare = Sandbox("tests.stages.sandbox.elsewhere")
    try:
        held = HeldFile(tmp_path / "film.mov")
        assert data(bare, "name", held) == ["film.mov", ".mov", "frames", True]
        assert "more than 1 s of processor time" in rejection(bare, "spin", cpu=1).error
        assert "crashes its reader (SIGSEGV" in rejection(bare, "signal", number=11).error
        assert data(bare, "write", path=str(tmp_path / "new")) == "EFBIG", "of files nothing is written"
    finally:
        bare.stop()
