"""A summary tells what a second of film took, and how far off the plan was."""

from __future__ import annotations

from typing import Any

import pytest

from manifests.result_summary import summarise
from manifests.results import Result
from pipelines.configuration import Price
from pipelines.planning.forecast import Figures
from pipelines.watching.comparison import compared, economy, economy_lines


def film(row: int, frames: int, **fields: Any) -> Result:
    made = {
        "row": row,
        "id": f"c{row}",
        "status": "done",
        "frames": frames,
        "fps": "25",
        "seconds": {"denoise": row + 1.0},
    }
    return Result.model_validate({**made, **fields})


def test_a_second_that_somebody_has_to_look_at_is_not_accepted() -> None:
    rows = [film(0, 250), film(1, 250, review=["flicker 0.41 > 0.30 at frame 17"]), film(2, 250, status="cached")]
    summary = {**summarise(rows), "gpu_hours_held": 2.0}
    assert (summary["film_seconds"], summary["film_seconds_made"], summary["film_seconds_accepted"]) == (30, 20, 10)
    found = economy(summary, Price(gpu_hour=3, currency="EUR"))
    assert found == {
        **{"film_seconds_per_gpu_hour": 10, "cost": 6, "currency": "EUR", "cost_per_film_second": 0.3},
        "cost_per_accepted_second": 0.6,
    }


def test_money_is_left_out_without_a_price_and_all_of_it_without_gpus() -> None:
    summary = {**summarise([film(0, 250)]), "gpu_hours_held": 2.0}
    assert economy(summary, Price()) == {"film_seconds_per_gpu_hour": 5}
    assert economy({**summary, "gpu_hours_held": 0.0}, Price(gpu_hour=3)) == {}


def test_the_slowest_rows_and_the_stages_are_told() -> None:
    summary = summarise([film(row, 25) for row in range(30)])
    assert [one["row"] for one in summary["slowest"]] == list(range(29, 19, -1))
    assert summary["stages"] == {"denoise": {"rows": 30, "mean": 15.5, "longest": 30.0}}


def test_the_plan_stands_beside_what_came_of_it() -> None:
    planned = Figures(films=2, frames=100, wall_seconds=100, worker_seconds=80, cpu_seconds=40)
    session = {"done": 2, "frames": 100, "film_seconds": 4, "worker_seconds": 88, "cpu_seconds": 38}
    session |= {"gpu_hours": 0.0, "gpu_hours_held": 0.0, "busy": 0.8}
    plan = compared(planned, session, 120)
    assert plan["wall_seconds"] == {"planned": 100, "actual": 120, "ratio": pytest.approx(1.2)}
    assert "gpu_hours" not in plan
    lines = economy_lines({"session": session, "slowest": [], "plan": plan})
    assert "against the plan: wall seconds 1.20, worker seconds 1.10, cpu seconds 0.95 times" in " ".join(lines)
