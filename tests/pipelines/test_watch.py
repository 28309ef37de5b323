"""How much of its budget a run has spent."""

from __future__ import annotations

import pytest

from manifests.results import Result
from pipelines.watch import Budget


def film(row: int, gpu_seconds: float, status: str = "done") -> Result:
    return Result(row=row, status=status, gpu_seconds=gpu_seconds, error="e", remedy="r")


def test_a_budget_counts_what_is_in_hand_as_if_it_were_done_and_one_row_more() -> None:
    budget = Budget(hours=1, gpus=2)
    assert not budget.exhausted([])
    budget.ended(film(0, 1000), cost=10)
    budget.ended(film(1, 600, "failed"), cost=6)  # which holds a GPU too
    budget.ended(film(2, 9999, "cached"), cost=1)  # of another run
    assert not budget.exhausted([(10, 3.0)])  # 1600 + 1000, and 800 for one more
    assert budget.exhausted([(13, 3.0)])
    assert budget.exhausted([(10, 3.0), (0, 200.0)])  # 200 s on two GPUs already


def test_what_earlier_sessions_spent_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(hours=0.5, gpus=1)
    budget.ended(film(0, 1801))
    assert budget.exhausted([])
