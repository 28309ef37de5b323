"""The row-level boundary, without Ray."""

import errno

import pytest

from manifests.clip import Clip
from manifests.errors import Again, Problem, Rejected
from manifests.results import Result
from manifests.work import Work
from pipelines.boundary import guarded, then
from pipelines.running.attempts import Attempt, WorkerDied

ATTEMPT = Attempt("pose", 3, "a", "", "", number=1, node="n1", session="s", limit_seconds=60)
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
        (OSError(errno.ENOSPC, "No space left on device"), "failed", "free space"),
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


def test_what_becomes_of_a_row_is_known_by_the_kind_of_its_fault_not_by_words() -> None:
    assert fail(WorkerDied("pose", [ATTEMPT] * 3)).worker_deaths == 3
    assert fail(Problem("its worker died 3 times", "look")).worker_deaths == 0
    faults = (
        WorkerDied("pose", [ATTEMPT] * 3),
        Again("latents were damaged", "none is needed"),
        Problem("its worker died", "look"),
    )
    assert [then(fault) for fault in faults] == ["alone", "again", ""]
