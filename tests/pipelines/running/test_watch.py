"""When a night is told to end, and when it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import ray

from manifests.errors import Problem
from manifests.results import Result
from pipelines.configuration import RunConfig
from pipelines.console import Orders
from pipelines.running import waiting
from pipelines.running import watch as watching
from pipelines.running.attempts import Attempt, process_start
from pipelines.running.lease import Lease, held
from pipelines.running.watch import Budget, Ends, Order, Silence, Watch
from pipelines.settings import RunSettings, settled


def film(row: int, gpu_seconds: float, status: str = "done") -> Result:
    return Result(row=row, status=status, gpu_seconds=gpu_seconds, error="e", remedy="r")


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    config = RunConfig.load(None, {"animate_pool": {"num_gpus": 1, "device": "cpu"}, "grace_seconds": 5})
    return settled(config, str(tmp_path / "m.parquet"), str(tmp_path / "out"), "night")


@pytest.fixture
def lease(settings: RunSettings) -> Iterator[Lease]:
    with held(settings.layout, "night", settings.session, print) as lease:
        yield lease


@pytest.fixture
def given() -> list[Order]:
    """The orders that were acted on."""
    return []


@pytest.fixture
def folder(settings: RunSettings) -> Path:
    return Path(settings.layout.run("night"))


def watch(settings: RunSettings, lease: Lease, given: list[Order], ends: Ends, orders: Orders | None = None) -> Watch:
    return Watch(settings, lease, orders or Orders(), ends, print, given.append, lambda: None)


def test_a_spent_budget_lets_rows_in_hand_be_finished(
    cluster: str, settings: RunSettings, lease: Lease, given: list[Order], folder: Path
) -> None:
    one = watch(settings, lease, given, Ends(max_gpu_hours=0.01))
    one.begins({0: 10.0, 1: 10.0})
    assert not one.ending()
    one.heard(film(0, 30))
    assert one.ending()
    assert given == [Order("the budget of 0.01 GPU-hours is spent", None)]
    assert (folder / "STOP").read_text() == "the budget of 0.01 GPU-hours is spent", "for the workers"


def test_a_signal_goes_before_an_order_that_stands_already(
    cluster: str, settings: RunSettings, lease: Lease, given: list[Order], folder: Path
) -> None:
    orders = Orders()
    one = watch(settings, lease, given, Ends(until=datetime.now(UTC) + timedelta(hours=1)), orders)
    assert not one.ending()
    (folder / "STOP").write_text("by hand")
    one._stopping._asked = None  # two seconds later
    assert one.ending()
    orders.first = "SIGTERM"
    assert one.ending()
    assert given == [
        Order("the run was told to stop (by hand)", None),
        Order("the run was told to end (SIGTERM)", 5, interrupted=True),
    ]
    assert (folder / "STOP").read_text() == "by hand"


def test_a_deadline_that_came_gives_rows_in_hand_their_grace(
    cluster: str, settings: RunSettings, lease: Lease, given: list[Order]
) -> None:
    assert watch(settings, lease, given, Ends(until=datetime.now(UTC))).ending()
    assert (given[0].patience, given[0].interrupted) == (5, False)


def test_a_night_has_ended_once_nothing_is_in_hand_or_patience_is_over(
    cluster: str, settings: RunSettings, lease: Lease, given: list[Order], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TICK_SECONDS", "LOOK_SECONDS", "SEEN_SECONDS", "LAST_WORD_SECONDS"):
        monkeypatch.setattr(watching, name, 0.1)
    node = ray.get_runtime_context().get_node_id()
    attempt = Attempt("animate", 7, "dress", "", "", 1, node=node, session=settings.session, limit_seconds=60)
    (folder / "attempts").mkdir(parents=True)
    (folder / "attempts" / attempt.file).write_bytes(attempt.to_json())
    (folder / "STOP").touch()
    one = watch(settings, lease, given, Ends())

    def over_within(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if one():
                return True
            time.sleep(0.02)
        return False

    assert not over_within(2)
    assert one.begun() == {7: "animate"}
    (folder / "attempts" / attempt.file).unlink()
    assert over_within(10)

    (folder / "attempts" / attempt.file).write_bytes(attempt.to_json())
    orders = Orders()
    orders.first = "Ctrl-C"
    one = watch(settings, lease, given, Ends(), orders)
    assert not over_within(2)
    assert over_within(10), "after grace_seconds"


def has_frozen_worker(folder: Path, settings: RunSettings) -> subprocess.Popen:
    """A process that holds a row of the session beyond its limit, and does not end itself."""
    frozen = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(500)"])
    os.kill(frozen.pid, signal.SIGSTOP)
    attempt = Attempt(
        "animate",
        7,
        "dress",
        "",
        "",
        1,
        node=ray.get_runtime_context().get_node_id(),
        session=settings.session,
        limit_seconds=0.1,
        pid=frozen.pid,
        started=process_start(frozen.pid),
    )
    (folder / "attempts").mkdir(parents=True)
    (folder / "attempts" / attempt.file).write_bytes(attempt.to_json())
    return frozen


@pytest.mark.parametrize("told", [True, False])
def test_a_frozen_worker_is_ended_while_a_night_drains_and_while_other_rows_come(
    cluster: str,
    settings: RunSettings,
    lease: Lease,
    given: list[Order],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: bool,
) -> None:
    monkeypatch.setattr(watching, "QUIET_SECONDS", 0.3)
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.0)
    frozen = has_frozen_worker(folder, settings)
    if told:
        (folder / "STOP").touch()
    one = watch(settings, lease, given, Ends())
    one._silence._waiting._margin_seconds = 0.1
    until = time.monotonic() + 60
    while frozen.poll() is None and time.monotonic() < until:
        if not told:
            one.heard(film(8, 1))
        assert not one() or not told or frozen.poll() is not None
        time.sleep(0.1)
    if frozen.poll() is None:
        frozen.kill()
        pytest.fail("it lives")
    assert frozen.wait() == -signal.SIGKILL


def test_idle_time_is_looked_at_four_times_before_it_is_over(
    cluster: str, settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(settings, config=settings.config.model_copy(update={"idle_seconds": 1.0}))
    silence = Silence(short, print)
    begun = time.monotonic()

    def wait() -> None:
        while time.monotonic() - begun < 10:
            silence()
            time.sleep(0.05)

    with pytest.raises(Problem, match="no worker has had a row in hand"):
        wait()
    assert 1 <= time.monotonic() - begun < 5


def test_a_store_that_refuses_orders_and_looks_ends_no_night(
    cluster: str, settings: RunSettings, lease: Lease, given: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoreFault(Exception):
        """As stores raise them: no OSError."""

    def refuse(*given: object) -> None:
        raise StoreFault

    monkeypatch.setattr(watching, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "attempts_in", refuse)
    monkeypatch.setattr(watching.Stopping, "order", refuse)
    assert not Silence(settings, print)()
    one = watch(settings, lease, given, Ends(until=datetime.now(UTC)))
    assert one.ending()
    assert one.begun() == {}
    assert len(given) == 1


def test_a_budget_counts_what_is_in_hand_as_if_it_were_done_and_one_row_more() -> None:
    budget = Budget(hours=1, gpus=2)
    assert not budget.exhausted([])
    budget.ended(film(0, 1000), cost=10)
    budget.ended(film(1, 600, "failed"), cost=6)  # which holds a GPU too
    budget.ended(film(2, 9999, "cached"), cost=1)  # of another run
    assert not budget.exhausted([(10, 3.0)])  # 1600 + 1000, and 800 for one more
    assert budget.exhausted([(13, 3.0)])
    assert budget.exhausted([(10, 3.0), (0, 200.0)])  # 200 s on two GPUs already


def test_what_earlier_sessions_spent_counts() -> None:
    budget = Budget(hours=0.5, gpus=1)
    budget.ended(film(0, 700))
    assert not budget.exhausted([])
    assert budget.exhausted([(10, 0.0)]), "their rows tell how much one takes"
    budget.ended(film(1, 1101))
    assert budget.exhausted([])


def test_after_a_while_of_silence_it_is_said_what_is_waited_for_and_then_less_and_less_often(
    cluster: str, settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "QUIET_SECONDS", 0.3)
    said: list[str] = []
    silence = Silence(settings, said.append)
    assert not silence()
    assert said == []
    time.sleep(0.4)
    silence.broken()
    silence()
    assert said == []
    time.sleep(0.4)
    silence()
    silence()
    assert len(said) == 1
    assert "no worker has had a row in hand" in said[0]
    assert "CPU free" in said[0]
