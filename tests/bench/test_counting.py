"""What the bench beside the baseline counts."""

from __future__ import annotations

from tests.bench.side_by_side.contenders import Task
from tests.bench.side_by_side.counting import decoding, denoising
from tests.bench.side_by_side.widths import WIDTHS


def test_operations_are_counted_on_networks_that_hold_no_values() -> None:
    configs, task = WIDTHS["tiny"], Task(16, 64, 64, 1)
    assert denoising(["ours"], configs, task)["ours"] > 0
    assert all(count > 0 for count in decoding(configs, task).values())
