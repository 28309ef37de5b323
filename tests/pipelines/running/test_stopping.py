"""The order to take no new work, as workers and people give and see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.clip import Clip
from manifests.work import Work
from pipelines.boundary import guarded
from pipelines.running.stopping import NotReached, Stopping


def test_every_worker_hears_of_an_order_and_why(tmp_path: Path) -> None:
    worker, driver = (Stopping(str(tmp_path / "night"), interval=0) for _ in range(2))
    worker.require_going()
    driver.order("told to end (SIGTERM)")
    with pytest.raises(NotReached, match=r"told to end \(SIGTERM\)"):
        worker.require_going()


def test_a_person_gives_the_order_by_a_file_with_or_without_a_reason(tmp_path: Path) -> None:
    marker = tmp_path / "STOP"
    marker.touch()
    assert "STOP" in (Stopping(str(tmp_path)).reason() or "")
    marker.write_text("the power\nis needed elsewhere\n")
    assert Stopping(str(tmp_path)).reason() == "the power is needed elsewhere"


def test_the_first_order_keeps_its_reason(tmp_path: Path) -> None:
    (tmp_path / "STOP").write_text("by hand")
    Stopping(str(tmp_path)).order("SIGTERM")
    assert Stopping(str(tmp_path)).reason() == "by hand"


def test_the_store_is_asked_now_and_then_only_and_an_order_once_seen_stands(tmp_path: Path) -> None:
    slow, quick = Stopping(str(tmp_path), interval=60), Stopping(str(tmp_path), interval=0)
    assert (slow.reason(), quick.reason()) == (None, None)
    (tmp_path / "STOP").write_text("now")
    assert (slow.reason(), quick.reason()) == (None, "now")
    (tmp_path / "STOP").unlink()
    assert quick.reason() == "now"
    quick.clear()
    assert quick.reason() is None


def test_a_store_that_does_not_answer_gives_no_orders(tmp_path: Path) -> None:
    (tmp_path / "night").write_text("a file where the run's folder should be")
    assert Stopping(str(tmp_path / "night")).reason() is None
    assert Stopping("nonsense://bucket/runs/night").reason() is None


def test_a_row_that_was_not_begun_is_not_reached_and_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "STOP").write_text("the deadline 06:00 came")
    work = Work(row=3, clip=Clip(id="a", animator="drawn"), frames=1)
    ended = guarded("animate", work, Stopping(str(tmp_path)).require_going)
    assert (ended.status, ended.error) == ("not_reached", "not begun: the deadline 06:00 came")
    assert "same run id" in ended.remedy
