"""The ledger of tries, without Ray: a death is a try that is entered and never left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from pipelines.running.attempts import AttemptLedger, Place, WorkerDied, attempts_in, broken_device, forgive, note_cause
from tests.conftest import CHECKOUT

HERE = {"n1": True}
_NEVER_LEFT: list[AbstractContextManager[int]] = []


def ledger(
    folder: Path, limit: int = 3, node: str = "n1", session: str = "first", nodes: Mapping[str, bool] = HERE
) -> AttemptLedger:
    return AttemptLedger(str(folder), "pose", limit, Place(node, session, lambda: nodes), node_loss_seconds=0)


def begun(book: AttemptLedger, row: int, unit: str = "") -> AbstractContextManager[int]:
    return book.trying(row, f"clip{row}", 60.0, unit, f"driving {unit}.mp4" if unit else "")


def dies(book: AttemptLedger, row: int, unit: str = "", cause: tuple[str, str] | None = None) -> int:
    """Number of a try whose process does not live to see its end."""
    entered = begun(book, row, unit)
    _NEVER_LEFT.append(entered)
    number = entered.__enter__()
    if cause:
        (attempt,) = attempts_in(book._folder, f"pose.{unit}-{row}.{number}." if unit else f"pose.{row}.{number}.")
        note_cause(book._folder, attempt, *cause)
    return number


def set_aside(book: AttemptLedger, row: int, unit: str = "") -> WorkerDied | None:
    try:
        with begun(book, row, unit):
            return None
    except WorkerDied as died:
        return died


def test_a_row_is_set_aside_after_as_many_deaths_as_allowed_and_its_neighbours_are_not(tmp_path: Path) -> None:
    assert [dies(ledger(tmp_path), 7) for _ in range(3)] == [1, 2, 3]
    for _ in range(2):  # being set aside is no death
        assert "its worker died 3 times in pose" in str(set_aside(ledger(tmp_path), 7))
    assert set_aside(ledger(tmp_path), 8) is None
    assert set_aside(ledger(tmp_path), 77) is None


def test_a_row_that_was_set_aside_gets_one_last_try(tmp_path: Path) -> None:
    for _ in range(2):
        dies(ledger(tmp_path, limit=2), 7)
    assert set_aside(ledger(tmp_path, limit=2), 7)
    assert dies(ledger(tmp_path, limit=3), 7) == 3
    assert set_aside(ledger(tmp_path, limit=3), 7).deaths == 3


def test_a_try_that_ended_well_or_by_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    for _ in range(5):
        assert set_aside(ledger(tmp_path), 7) is None
    for _ in range(5):
        with pytest.raises(ValueError, match="wrong"), begun(ledger(tmp_path), 7):
            raise ValueError("wrong")
    assert attempts_in(str(tmp_path)) == []


def test_the_loss_of_a_node_is_not_held_against_its_rows(tmp_path: Path) -> None:
    for number in range(1, 6):
        assert dies(ledger(tmp_path, node="spot", nodes={"n1": True, "spot": False}), 7) == number
    after = ledger(tmp_path, node="n1", nodes={"n1": True, "spot": False})
    assert dies(after, 7) == 6
    assert set_aside(ledger(tmp_path, session="second", nodes={"n9": True}), 7) is None, "a new cluster knows neither"


def test_a_node_that_is_missed_only_later_is_waited_for_before_a_row_is_condemned(tmp_path: Path) -> None:
    answers = iter([{"n1": True, "spot": True}, *[{"n1": True, "spot": False}] * 9])
    for _ in range(3):
        dies(ledger(tmp_path, node="spot", nodes={"spot": True}), 7)
    place = Place("n1", "first", lambda: next(answers))
    assert set_aside(AttemptLedger(str(tmp_path), "pose", 3, place, node_loss_seconds=0), 7) is None


def test_deaths_are_counted_over_the_sessions_of_a_run_but_the_last_try_of_one_ended_with_its_driver(
    tmp_path: Path,
) -> None:
    for _ in range(2):
        dies(ledger(tmp_path, session="first"), 7)
    assert dies(ledger(tmp_path, session="second", node="n2", nodes={"n2": True}), 7) == 3, "1 counted, 1 with driver"
    assert dies(ledger(tmp_path, session="second", node="n2", nodes={"n2": True}), 7) == 4
    died = set_aside(ledger(tmp_path, session="second", node="n2", nodes={"n2": True}), 7)
    assert died.deaths == 3
    for _ in range(9):  # a driver that is killed again and again condemns nobody
        dies(ledger(tmp_path, session=f"s{_}"), 8)
    assert set_aside(ledger(tmp_path, session="last"), 8) is None


def test_a_death_that_was_foreseen_counts_whatever_comes_after(tmp_path: Path) -> None:
    for session in ("first", "second", "third"):
        dies(ledger(tmp_path, session=session), 7, cause=("time", "no end after 60 s"))
    died = set_aside(ledger(tmp_path, session="fourth", nodes={"n1": False}), 7)
    assert died.error == "its worker was ended 3 times: no end after 60 s in pose"
    assert "time_limits" in died.remedy


def test_rows_that_share_what_kills_their_workers_share_its_deaths(tmp_path: Path) -> None:
    for _ in range(3):
        dies(ledger(tmp_path), 7, unit="bad")
    assert set_aside(ledger(tmp_path), 7, unit="bad")
    assert set_aside(ledger(tmp_path), 8, unit="bad").error.startswith("driving bad.mp4: its worker died 3 times")
    assert set_aside(ledger(tmp_path, session="second"), 9, unit="bad").deaths == 3
    assert set_aside(ledger(tmp_path), 8, unit="good") is None


def test_what_another_worker_has_in_hand_is_no_death(tmp_path: Path) -> None:
    with (
        begun(ledger(tmp_path), 1, "shared"),
        begun(ledger(tmp_path), 2, "shared"),
        begun(ledger(tmp_path), 3, "shared"),
    ):
        assert [attempt.row for attempt in attempts_in(str(tmp_path))] == [1, 2, 3]
        assert set_aside(ledger(tmp_path, limit=1), 4, "shared") is None


def test_different_causes_are_all_named(tmp_path: Path) -> None:
    dies(ledger(tmp_path), 7, cause=("memory", "more than 8.0 GB of memory"))
    dies(ledger(tmp_path), 7, cause=("memory", "more than 8.0 GB of memory"))
    dies(ledger(tmp_path), 7)
    died = set_aside(ledger(tmp_path), 7)
    assert died.error.endswith("in pose: more than 8.0 GB of memory (2), killed, or crashed (1)")
    assert "memory_bytes" in died.remedy


def test_a_run_that_is_told_to_try_again_what_failed_forgets_its_deaths(tmp_path: Path) -> None:
    for _ in range(3):
        dies(ledger(tmp_path), 7)
    forgive(str(tmp_path))
    assert set_aside(ledger(tmp_path), 7) is None


def test_only_errors_that_no_call_survives_are_a_broken_device() -> None:
    sticky = RuntimeError("CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA")
    wrapped = ValueError("the clip failed")
    wrapped.__cause__ = sticky
    assert broken_device(sticky) == broken_device(wrapped) == "CUDA error: device-side assert triggered"
    assert broken_device(torch.AcceleratorError("an illegal memory access"))
    assert not broken_device(RuntimeError("CUDA error: out of memory"))
    assert not broken_device(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not broken_device(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not broken_device(torch.AcceleratorError("CUDA error: out of memory"))
    assert not broken_device(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not broken_device(RuntimeError("size mismatch"))


def test_a_broken_device_ends_the_process_and_says_so(tmp_path: Path) -> None:
    script = f"""
from pipelines.running.attempts import AttemptLedger, Place
book = AttemptLedger({str(tmp_path)!r}, "animate", 3, Place("n1", "first", lambda: {{"n1": True}}))
with book.trying(7, "a", 60.0):
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    (attempt,) = attempts_in(str(tmp_path))
    assert (attempt.cause, attempt.detail) == ("device", "CUDA error: an illegal memory access was encountered")
