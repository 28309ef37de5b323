"""The row-level boundary and the ledger of tries, without Ray."""

from pathlib import Path

import pytest

from manifests.clip import Clip
from manifests.errors import Problem, Rejected
from manifests.results import Result
from manifests.work import Work
from pipelines.boundary import AttemptLedger, WorkerDied, guarded

WORK = Work(row=3, clip=Clip(id="a", animator="magicanimate", metadata={"sku": 1}), frames=1)


def fail(error: Exception) -> Result:
    def call() -> None:
        raise error

    return guarded("animate", WORK, call)


@pytest.mark.parametrize(
    ("error", "status", "remedy"),
    [
        (Rejected("bad", "mend it"), "rejected", "mend it"),
        (Problem("broken", "repair it"), "failed", "repair it"),
        (MemoryError(), "failed", "memory"),
        (ConnectionResetError("reset"), "failed", "run again"),
        (PermissionError("denied"), "failed", "access"),
        (ValueError(""), "failed", "report it"),
    ],
)
def test_every_exception_ends_as_a_result_with_reason_and_remedy(error: Exception, status: str, remedy: str) -> None:
    result = fail(error)
    assert (result.row, result.id, result.status, result.stage) == (3, "a", status, "animate")
    assert result.error
    assert remedy in result.remedy
    assert result.metadata == {"sku": 1}


def test_no_secret_of_a_uri_reaches_a_result() -> None:
    result = fail(OSError("cannot read s3://bucket/key?X-Amz-Signature=abc123"))
    assert "abc123" not in result.model_dump_json()


def ledger(folder: Path, limit: int = 3, node: str = "n1", alive: tuple[str, ...] = ("n1",)) -> AttemptLedger:
    return AttemptLedger(str(folder), limit, node, lambda: set(alive))


def test_a_clip_is_set_aside_after_as_many_deaths_as_allowed(tmp_path: Path) -> None:
    assert [ledger(tmp_path).begin("7") for _ in range(3)] == [1, 2, 3]
    for _ in range(2):  # being set aside is no death
        with pytest.raises(WorkerDied, match="died 3 times"):
            ledger(tmp_path).begin("7")
    assert ledger(tmp_path).begin("8") == 1


def test_a_clip_that_was_set_aside_gets_one_last_try(tmp_path: Path) -> None:
    for _ in range(2):
        ledger(tmp_path, limit=2).begin("7")
    with pytest.raises(WorkerDied):
        ledger(tmp_path, limit=2).begin("7")
    assert ledger(tmp_path, limit=3).begin("7") == 3
    with pytest.raises(WorkerDied):
        ledger(tmp_path, limit=3).begin("7")


def test_the_loss_of_a_node_is_not_held_against_its_clips(tmp_path: Path) -> None:
    for _ in range(5):
        ledger(tmp_path, node="spot").begin("7")
    assert ledger(tmp_path, node="n1", alive=("n1",)).begin("7") == 6
