"""The ledger of tries, without Ray."""

from pathlib import Path

import pytest

from pipelines.attempts import AttemptLedger, WorkerDied


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
