"""Hostile rows among good ones, by the whole way through Ray; and the table of attacks names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from pipelines.animate import run
from tests.conftest import CHECKOUT
from tests.fuzz.attackers import ROW, SECRET, attacks, write_media
from tests.made.sample_media import clip_row, config, write_manifest

TABLE = Path(__file__).with_name("ATTACKS.md")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.mark.usefixtures("cluster")
def test_hostile_rows_each_end_in_their_own_words_and_the_good_ones_are_done(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    write_media(media)
    hostile = attacks(media)
    rows = [attack.row for attack in hostile]
    for number in range(4):
        rows.insert(9 * number, clip_row(f"good{number}", seed=number, **ROW))
    settings = config(animators={"still": "tests.made.poison:Still"}, attempts=1)
    outcome = run(settings, write_manifest(media / "m.parquet", rows), str(tmp_path / "out"), run_id="night")
    by_id = {result.id: result for result in outcome.results}
    assert len(by_id) == len(rows)
    assert {by_id[f"good{number}"].status for number in range(4)} == {"done"}
    for row, status, said in hostile:
        result = by_id[row["id"]]
        assert (result.id, result.status) == (row["id"], status), result.error
        assert result.good or (said in (result.error or "") and result.remedy), result.error
    assert outcome.exit_code == 3
    written = [path for path in Path(outcome.folder).rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()], "a secret was written down"


def test_every_attack_of_the_table_is_held_by_a_test_that_there_is() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if re.match(r"\| \d+ ", line)]
    assert len(rows) >= 40
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, len(rows) + 1))
    named = [(row, _TEST.findall(row)) for row in rows]
    assert not [row for row, tests in named if not tests], "an attack without a test"
    known: dict[str, set[str]] = {}
    for _, tests in named:
        for file, name in tests:
            if file not in known:
                tree = ast.parse((CHECKOUT / file).read_text())
                known[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert name in known[file], f"{file} has no {name}"
