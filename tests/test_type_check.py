"""The check of types lets nothing new through."""

from __future__ import annotations

from tests.type_check import GATED, KNOWN, changed, read_known

OLD = [
    'stages/one.py:3: error: Unsupported operand types for + ("int" and "None")  [operator]',
    "stages/one.py:3: note: Right operand is of type int | None",
    "stages/one.py:9: error: Name is not defined  [name-defined]",
]


def test_known_findings_pass_wherever_they_move_in_their_file() -> None:
    assert changed(OLD, {"stages/one.py": 2}) == []


def test_what_was_mended_does_not_come_back() -> None:
    left = changed(OLD[:1], {"stages/one.py": 2, "stages/two.py": 1})
    assert [line.partition(":")[0] for line in left] == ["stages/one.py", "stages/two.py"]
    assert all("--renew" in line for line in left)


def test_one_more_finding_in_a_file_is_listed_with_those_known() -> None:
    new = "stages/one.py:12: error: Incompatible return value  [return-value]"
    listed = changed([*OLD, new], {"stages/one.py": 2})
    assert listed == [*OLD, new, "stages/one.py: 3, not 2"]


def test_a_finding_in_another_file_is_not_known() -> None:
    new = "pipelines/two.py:1: error: Missing return  [return]"
    assert changed([*OLD, new], {"stages/one.py": 2}) == [new, "pipelines/two.py: 1, not 0"]


def test_no_finding_is_known_where_none_may_be() -> None:
    known = read_known(KNOWN.read_text(encoding="utf-8"))
    assert [file for file in known if file.startswith(GATED) or not known[file]] == []
