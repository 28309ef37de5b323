"""Runs that go on at the same time make each film once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from manifests import storage
from manifests.layout import OutputLayout
from pipelines.running.claims import Claims, Elsewhere
from pipelines.running.lease import held

KEY = "k" * 32


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


def claims(layout: OutputLayout, run: str) -> Claims:
    return Claims(layout, run, "session")


def test_a_film_that_a_living_run_is_making_is_waited_for(layout: OutputLayout) -> None:
    with held(layout, "one", "session", lambda line: None), claims(layout, "one").held(KEY):
        other = claims(layout, "other")
        with pytest.raises(Elsewhere, match="run 'one' is making the same film"), other.held(KEY):
            pass
        assert other.elsewhere(KEY) == "one"
        assert claims(layout, "one").elsewhere(KEY) is None
    assert other.elsewhere(KEY) is None
    assert not storage.listing(layout.claims)


def test_the_claim_of_a_dead_run_or_of_a_killed_worker_of_this_run_is_taken_over(layout: OutputLayout) -> None:
    with held(layout, "dead", "session", lambda line: None):
        pass
    for before in ("dead", "never begun", "this"):
        storage.publish_json({"run": before}, layout.claim(KEY))
        with claims(layout, "this").held(KEY):
            assert storage.read_json(layout.claim(KEY))["run"] == "this"
    storage.publish_bytes(b"damaged", layout.claim(KEY))
    with claims(layout, "this").held(KEY):
        pass


def test_a_claim_ends_with_the_row_however_that_ends(layout: OutputLayout) -> None:
    with pytest.raises(ValueError, match="broken"), claims(layout, "one").held(KEY):
        raise ValueError("broken")
    assert not storage.listing(layout.claims)


def test_what_killed_workers_left_is_removed_and_other_runs_claims_are_not(layout: OutputLayout) -> None:
    storage.publish_json({"run": "one"}, layout.claim(KEY))
    storage.publish_json({"run": "other"}, layout.claim("o" * 32))
    claims(layout, "one").clear()
    assert list(storage.listing(layout.claims)) == ["o" * 32 + ".json"]


def test_of_several_runs_that_want_a_film_one_makes_it(layout: OutputLayout) -> None:
    begun, makers, waiting = threading.Barrier(4), [], []

    def race(run: str) -> None:
        with held(layout, run, "session", lambda line: None):
            begun.wait()
            try:
                with claims(layout, run).held(KEY):
                    makers.append(run)
                    claimed.wait(10)
            except Elsewhere:
                waiting.append(run)
                if len(waiting) == 3:
                    claimed.set()

    claimed = threading.Event()
    racers = [threading.Thread(target=race, args=[f"run-{number}"]) for number in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert (len(makers), len(waiting)) == (1, 3)


def test_a_claim_that_another_run_took_over_meanwhile_stays_its_own(layout: OutputLayout) -> None:
    with claims(layout, "one").held(KEY):
        storage.publish_json({"run": "other", "nonce": "n"}, layout.claim(KEY))
    assert storage.read_json(layout.claim(KEY)) == {"run": "other", "nonce": "n"}
