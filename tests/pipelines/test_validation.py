"""Validation of many rows: what their number costs, and what it does not."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest

from manifests.work import Work
from pipelines.manifest_reading import ROWS, ManifestRows
from pipelines.planned_clip import CLIPS, clips_of
from pipelines.settings import settled
from pipelines.validation import Call, annotated, distinct, validate_names, validate_rows, validate_source
from stages.validate import Validate
from tests.made.sample_media import clip_row, config


def rows_of(fields: list[dict]) -> ManifestRows:
    cells = [range(len(fields)), [one["id"] for one in fields], [json.dumps(one) for one in fields]]
    return ManifestRows(pa.table([list(column) for column in cells], schema=ROWS))


@pytest.fixture
def call(media: Path) -> Call:
    return Call(settled(config(), str(media / "m.parquet"), str(media / "out"), "night"), media.name, 3)


def test_a_file_is_read_once_however_many_rows_and_batches_name_it(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    examined = Validate._examined
    monkeypatch.setattr(Validate, "_examined", lambda self, *file: read.append(file[1]) or examined(self, *file))
    rows = rows_of([clip_row(f"c{number}", seed=number) for number in range(9)])
    sources = distinct(validate_names(batch, call) for batch in rows.batches(2))
    assert [source["kind"] for source in sources] == ["weights", "image", "video"]
    assert {source["row"] for source in sources} == {0}
    seconds = {0: sum(validate_source(source, call)["seconds"] for source in sources)}
    assert sorted(read) == ["image", "video"]

    judged = pa.concat_tables(validate_rows(batch, call) for batch in annotated(rows, seconds).batches(4))
    assert sorted(read) == ["image", "video"]
    assert not any(judged["result"].is_valid().to_pylist())
    spent = [clip.work.seconds["validate"] for clip in clips_of(judged)]
    assert spent[0] >= seconds[0] - 0.01 > max(spent[1:]), "the row that named them first carries their seconds"
    # and nothing is left to be read
    assert {source["kind"] for source in distinct([validate_names(rows.table, call)])} == {"weights"}


def test_a_file_that_cannot_be_read_is_not_tried_for_every_row_that_names_it(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def broken(self: Validate, uri: str, kind: str) -> dict:
        read.append(kind)
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(Validate, "_examined", broken)
    rows = annotated(rows_of([clip_row(f"c{number}", seed=number) for number in range(9)]), {})
    judged = validate_rows(rows.table, call)
    assert [json.loads(text)["status"] for text in judged["result"].to_pylist()] == ["failed"] * 9
    assert read == ["image"]


def test_what_is_wrong_with_a_row_is_its_own_result_and_no_neighbours(call: Call) -> None:
    rows = rows_of(
        [
            clip_row("a"),
            clip_row("b", steps=0),
            clip_row("a", seed=1),
            clip_row("c", driving="absent.mp4"),
            clip_row("d", checkpoint="nothing-here"),
        ]
    )
    judged = validate_rows(annotated(rows, {}).table, call)
    results = [json.loads(text) if text else None for text in judged["result"].to_pylist()]
    assert [one and (one["row"], one["status"], one["stage"]) for one in results] == [
        None,
        (1, "rejected", "validate"),
        (2, "rejected", "validate"),
        (3, "rejected", "validate"),
        (4, "failed", "plan"),
    ]
    assert "row 0 has it already" in results[2]["error"]
    assert [clip.id for clip in clips_of(judged.filter(judged["result"].is_null()))] == ["a"]


def test_a_planned_clip_costs_little_memory_and_is_the_whole_clip(call: Call) -> None:
    judged = validate_rows(annotated(rows_of([clip_row("a", metadata={"sku": "A-1"})]), {}).table, call)
    (clip,) = clips_of(judged)
    work = clip.work
    assert (work.clip.metadata, work.film_key, work.frames) == ({"sku": "A-1"}, clip.film_key, clip.frames)
    assert Work.model_validate_json(work.model_dump_json()) == work
    many = pa.concat_tables([judged.select(CLIPS.names)] * 2000).combine_chunks()
    tracemalloc.start()
    held = list(clips_of(many))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / len(held) < 2500  # bytes; as objects it takes three times as many
