"""Cells hold what no library promised they would not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from manifests import cell
from manifests.errors import Problem
from manifests.shown_text import visible


@pytest.mark.parametrize(
    ("given", "null", "plain"),
    [
        (Decimal("NaN"), True, None),
        (Decimal("sNaN"), True, None),
        (Decimal("-sNaN123"), True, None),
        (Decimal("Infinity"), False, "Infinity"),
        (Decimal("-Infinity"), False, "-Infinity"),
        (Decimal("2.5"), False, 2.5),
        (Decimal("3.00"), False, 3),
    ],
)
def test_a_decimal_that_is_no_number_is_null_or_text(given: Decimal, null: bool, plain: Any) -> None:
    assert cell.is_null(given) is null
    assert cell.plain(given) == plain
    assert cell.plain({"in": [given]}) == {"in": [plain]}


def test_what_a_terminal_would_act_on_stands_in_no_message() -> None:
    given = "type \x0e, \x1b[31mred, \u202egnp.exe, half \ud800\nnext\tline, naïve, 日本, 👩‍🔬"
    problem = Problem(given, given)
    assert problem.error == problem.remedy == visible(given)
    shown = "type ⟨U+000E⟩, ⟨U+001B⟩[31mred, ⟨U+202E⟩gnp.exe, half ⟨U+D800⟩\nnext\tline, naïve, 日本, 👩‍🔬"
    assert problem.error == shown
