"""A run and `catwalk manifest check` read the same rows of the same manifest, each with a reader of its own."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import table
from manifests.check import check
from manifests.clip import Clip, parse_clip
from pipelines.manifest_reading import read_manifest

pytestmark = pytest.mark.usefixtures("cluster")

DAY = datetime.datetime(2026, 11, 29, 8, 30, tzinfo=datetime.UTC)
ROW = {"id": "a", "animator": "magicanimate", "reference": "r.png", "driving": "d.mp4"}
MANIFESTS: dict[str, list[dict[str, Any]]] = {
    "plain": [{"columns": [ROW, {**ROW, "id": "b", "seed": 7}]}],
    "numbers that pandas made floating": [{"columns": [{**ROW, "seed": 3.0, "width": None, "steps": float("nan")}]}],
    "foreign values": [
        {"columns": [{**ROW, "price": decimal.Decimal("9.90"), "shot": DAY, "raw": b"\xff\x00", "sku": 12}]}
    ],
    "nested": [{"columns": [{**ROW, "options": {"context_stride": 2}, "metadata": {"a": [{"b": None}, {"b": 2}]}}]}],
    "text for objects": [{"columns": [{**ROW, "options": '{"context_stride": 2}', "metadata": "no object"}]}],
    "lists": [{"columns": [{**ROW, "guidance": [7.5]}, {**ROW, "id": "b", "guidance": None}]}],
    "rows that are wrong": [
        {"columns": [{**ROW, "width": 64, "fps": "many", "seed": -1, "start": 1.0, "frame_count": 3, "id": "../up"}]}
    ],
    "files of several kinds": [
        {"columns": [{**ROW, "seed": 1, "fps": 25, "colour": "red"}], "folder": "night=3"},
        {"columns": [{**ROW, "id": 12, "seed": "9", "fps": "30000/1001"}], "folder": "night=3"},
        {"columns": [{**ROW, "id": "c", "guidance": 7.5, "colour": 4}], "folder": "night=4"},
    ],
}


def write(folder: Path, files: list[dict[str, Any]]) -> str:
    for number, file in enumerate(files):
        path = folder / file.get("folder", "") / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(file["columns"]), path)
    return str(folder / "**" / "*.parquet")


def parsed(row: dict[str, Any]) -> tuple[Clip | None, list[str], set[str]]:
    """Clip, errors and names of metadata; of metadata, a check joins values of several types as text."""
    clip, errors = parse_clip(table.split_row(row))
    bare = clip and clip.model_copy(update={"metadata": {}})
    return bare, list(map(str, errors)), set(clip.metadata if clip else ())


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_run_and_a_check_see_the_same_clips_and_the_same_errors(name: str, tmp_path: Path) -> None:
    uri = write(tmp_path, MANIFESTS[name])
    checked = [parsed(row) for row in table.rows(table.read(uri))]
    manifest = read_manifest(uri)
    ran = [parsed(json.loads(row.fields)) for row in manifest.rows]
    assert len(ran) == sum(len(file["columns"]) for file in MANIFESTS[name])
    assert ran == checked
    # a check says of the manifest as a whole what a run says of its columns
    unknown = [str(column) for column in manifest.unknown]
    assert [text.partition(" → ")[0] for text in check(uri).problems] == unknown
