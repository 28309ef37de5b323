"""CSV whose cells were made safe for a spreadsheet is read as what it was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.source_rows import read_source


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("'=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
        ("'-10% off", "-10% off"),
        ("'@home", "@home"),
        ("''=was so", "'=was so"),
        ("'  =1+1", "  =1+1"),
        ("'＝1+1", "＝1+1"),
        ("'70s disco", "'70s disco"),
        ("it's =", "it's ="),
        ("-3", "-3"),
    ],
)
def test_an_apostrophe_before_what_a_spreadsheet_would_run_is_no_part_of_the_cell(
    tmp_path: Path, cell: str, text: str
) -> None:
    source = tmp_path / "clips.csv"
    source.write_text(f'id,prompt\na,"{cell}"\n')
    assert read_source(source).rows == [(2, {"id": "a", "prompt": text})]
