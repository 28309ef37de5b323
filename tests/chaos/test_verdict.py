"""What the onlooker and the verdict must not pass over: a check that finds nothing wrong proves nothing by itself."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.chaos.onlooker import Onlooker, decoded
from tests.chaos.verdict import Verdict
from tests.made.sample_media import write_driving

NAME = "a.0123.mp4"


@pytest.fixture
def film(tmp_path: Path) -> bytes:
    return write_driving(tmp_path / "film.mp4", frames=6).read_bytes()


@pytest.fixture
def onlooker(tmp_path: Path) -> Onlooker:
    (tmp_path / "films").mkdir()
    return Onlooker(str(tmp_path / "films"), fsspec.filesystem("file"), frames=6)


def put(onlooker: Onlooker, name: str, data: bytes) -> None:
    (Path(onlooker.films) / name).write_bytes(data)
    onlooker.look()


def test_a_whole_film_is_seen_with_its_frames(onlooker: Onlooker, film: bytes) -> None:
    put(onlooker, NAME, film)
    put(onlooker, "a.0123.json", b"{}")
    assert (onlooker.torn, onlooker.rewritten, onlooker.finished) == (set(), set(), 1)
    assert onlooker.digests() == {NAME: decoded(film)[0]}


@pytest.mark.parametrize("share", [0, 0.5, 0.95])
def test_a_film_that_is_there_before_it_is_whole_is_seen(onlooker: Onlooker, film: bytes, share: float) -> None:
    put(onlooker, NAME, film[: int(share * len(film))])
    put(onlooker, NAME, film)
    assert onlooker.torn == {NAME}


def test_a_marker_before_its_film_is_seen(onlooker: Onlooker) -> None:
    put(onlooker, "a.0123.json", b"{}")
    assert onlooker.torn == {"a.0123.json"}


def test_a_film_that_is_written_over_is_seen(onlooker: Onlooker, film: bytes) -> None:
    put(onlooker, NAME, film)
    (Path(onlooker.films) / NAME).unlink()
    put(onlooker, NAME, film)
    assert onlooker.rewritten == {NAME}


def faults(results: list[dict[str, Any]], films: dict[str, str | None]) -> list[str]:
    """What is wrong with results and films of rows a and b, whose frames should have the digests A and B."""
    verdict, table = Verdict(2), io.BytesIO()
    base = {"stage": None, "error": None, "film": None, "attempts": 1}
    pq.write_table(pa.Table.from_pylist([{**base, **result} for result in results]), table)
    verdict.judge_table(table.getvalue(), [{"id": "a"}, {"id": "b"}], set(films))
    verdict.judge_films(films, {"a": "A", "b": "B"})
    return verdict.faults


A = {"row": 0, "id": "a", "status": "done", "film": "out/films/a.01.mp4"}
B = {"row": 1, "id": "b", "status": "done", "film": "out/films/b.01.mp4"}
FILMS: dict[str, str | None] = {"a.01.mp4": "A", "b.01.mp4": "B"}


def test_a_night_without_fault_has_none() -> None:
    assert faults([A, B], FILMS) == []


@pytest.mark.parametrize(
    ("results", "films"),
    [
        ([A], FILMS),
        ([A, A, B], FILMS),
        ([A, {**B, "id": "a"}], FILMS),
        ([A, {**B, "status": "failed", "error": "its worker died"}], FILMS),
        ([A, {**B, "status": "not_reached"}], FILMS),
        ([A, B], {"a.01.mp4": "A"}),
        ([A, B], {**FILMS, "b.02.mp4": "B"}),
        ([A, B], {**FILMS, "c.01.mp4": "A"}),
        ([A, B], {**FILMS, "b.01.mp4": "A"}),
        ([A, B], {**FILMS, "b.01.mp4": None}),
    ],
    ids=[
        "lost",
        "twice",
        "another's",
        "condemned",
        "not reached",
        "no film",
        "two films",
        "foreign",
        "altered",
        "torn",
    ],
)
def test_whatever_is_wrong_with_a_night_is_told(results: list[dict[str, Any]], films: dict[str, str | None]) -> None:
    assert faults(results, films)
