"""Rows whose cells are hostile, from Parquet's own types up: each becomes a clip, or a result that helps its owner."""

from __future__ import annotations

import decimal
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from manifests import results, table
from manifests.check import Place, judge
from manifests.clip import Clip
from manifests.errors import Problem
from manifests.field_error import shown
from manifests.kept_results import text_of
from manifests.results import Result
from manifests.row_text import as_text, plain_cells, row_text
from manifests.work import Work
from pipelines import stage_of
from pipelines.boundary import ended, reasons, status_of
from pipelines.configuration import RunConfig
from pipelines.keying import Keying
from pipelines.planned_clip import planned_clip
from pipelines.settings import settled
from stages.diffusion.animators import ANIMATORS
from tests.fuzz.trials import STILL, said
from tests.made.sample_media import write_driving, write_reference

BATCH = 500  # examples under one seed
_PAYLOADS = [
    *("../../../etc/passwd", "/etc/passwd", "/proc/self/environ", "/dev/zero", "/dev/stdin", "outside.png", "loop.png"),
    *("file:///etc/hostname", "file://localhost/etc/hostname", "file:relative", "FILE:///etc/hostname", "~root/.ssh"),
    *("http://169.254.169.254/latest/meta-data", "https://u:SECRET@host/a.png?X-Amz-Signature=SECRET", "ftp://h/a"),
    *(
        "s3://KEY:SECRET@bucket/a.png",
        "s3://bucket/../other/a.png",
        "s3://bucket/a.png?sig=SECRET#x",
        "s3:///",
        "gs://",
    ),
    *(
        "az://c@account/x?sv=SECRET",
        "zip://a.png::s3://bucket/a.zip",
        "memory://a",
        "simplecache::s3://b/a",
        "s3://b::c/a",
    ),
    *(
        "concat:reference.png|driving.mp4",
        "pipe:0",
        "-i",
        "data:image/png;base64,AA",
        "reference.png\n",
        "reference.png\0",
    ),
    *(
        "%2e%2e/%2e%2e/etc/passwd",
        "..\\..\\windows",
        "C:\\a.png",
        "\\\\host\\share\\a",
        "fifo",
        ".",
        "..",
        "/",
        "//a//b",
    ),
    *(
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "<script>alert(1)</script>",
        "${jndi:ldap://a}",
    ),
    *(
        "os:system",
        "tests.made.poison:Still",
        "hub:a/b@main",
        "hub:../..@x",
        "{{7*7}}",
        "%s%n",
        "'; DROP TABLE",
        "\u202egnp",
    ),
    *("a" * 5000, "a/" * 3000, "é" * 300, "[" * 3000, "9" * 5000, "1e400", "1" + "0" * 400, "NaN", "inf", "-0", "0x10"),
    *(
        "1/0",
        "30000/0",
        "1/" + "9" * 400,
        "1e-400",
        "29.97",
        "-1",
        "true",
        "null",
        "\ud800",
        "\ufeff",
        "‮",
        "\x1b[31m",
        "﷽",
    ),
    *(
        '{"a": ' * 40 + "1" + "}" * 40,
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"": {"": []}}',
        '{"a": "\\ud800"}',
        "{",
        "[[1,2]]",
    ),
]
_text = st.one_of(st.sampled_from(_PAYLOADS), st.text(max_size=40), st.text(st.characters(codec=None), max_size=12))
_numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-3, 5000),
    st.sampled_from([10**400, -(10**400), 2**53, 2**63, 2**64, 0, -1]),
    st.floats(),
    st.decimals(),
    st.fractions().map(float),
)
_plain = st.one_of(st.none(), st.booleans(), _numbers, _text, st.binary(max_size=12))
_nested = st.recursive(
    _plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4), max_leaves=12
)
# cells as Arrow has them, of types whose values Python's own cannot hold
_extreme = st.integers(-(2**63), 2**63 - 1)
_ARROW: list[st.SearchStrategy[pa.Array]] = [
    *(_extreme.map(lambda n, unit=unit: pa.array([n], pa.timestamp(unit))) for unit in ("s", "ms", "us", "ns")),
    _extreme.map(lambda n: pa.array([n], pa.timestamp("s", "Europe/Berlin"))),
    _extreme.map(lambda n: pa.array([n], pa.duration("s"))),
    _extreme.map(lambda n: pa.array([n], pa.int64()).cast(pa.uint64(), safe=False)),
    st.integers(-(2**31), 2**31 - 1).map(lambda n: pa.array([n], pa.date32())),
    st.integers(0, 86_399_999).map(lambda n: pa.array([n], pa.time32("ms"))),
    st.binary(max_size=20).map(
        lambda raw: pa.array([raw]).cast(pa.string(), safe=False) if _is_utf8(raw) else _raw(raw)
    ),
    st.binary(max_size=20).map(lambda raw: pa.array([raw], pa.large_binary())),
    st.text(max_size=9).map(lambda text: pa.array([text]).dictionary_encode()),
    st.floats(width=16).map(lambda value: pa.array([value], pa.float32())),
    st.lists(_extreme, max_size=3).map(lambda ns: pa.array([ns], pa.list_(pa.timestamp("s")))),
    st.dictionaries(st.text(max_size=4), _extreme, max_size=3).map(
        lambda found: pa.array([list(found.items())], pa.map_(pa.string(), pa.duration("ns")))
    ),
    st.integers(-(10**37), 10**37).map(lambda n: pa.array([decimal.Decimal(n)], pa.decimal256(76, 10))),
    _extreme.map(lambda n: pa.array([{"a": n, "b": None}], pa.struct({"a": pa.timestamp("ns"), "b": pa.null()}))),
]


def _is_utf8(raw: bytes) -> bool:
    try:
        return raw.decode() is not None
    except UnicodeDecodeError:
        return False


def _raw(raw: bytes) -> pa.Array:
    """Text that is not UTF-8, as a careless writer leaves it in Parquet."""
    offsets = pa.array([0, len(raw)], pa.int32()).buffers()[1]
    return pa.StringArray.from_buffers(1, offsets, pa.py_buffer(raw))


GOOD: list[dict[str, Any]] = [
    {"id": "good", "reference": "reference.png", "driving": "driving.mp4", **STILL},
    {"id": "text", "animator": "text2video_zero", "prompt": "a dancer", "frame_count": 8, "checkpoint": "none"},
    {"id": "drawn", "animator": "drawn", "reference": "reference.png", "driving": "driving.mp4"},
    {
        "id": "uv",
        "animator": "dreampose",
        "driving_kind": "densepose_uv",
        "driving": "uv.npz",
        "reference": "reference.png",
    },
]
_names = st.sampled_from(sorted(Clip.model_fields)) | st.sampled_from(["price", "metadata ", "", "ID", "=1", "a\nb"])


@st.composite
def hostile_rows(draw: st.DrawFn) -> dict[str, Any]:
    """A good row with up to four cells that are hostile: Python's values, or Arrow arrays of one cell."""
    row = dict(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(0, 4))):
        name = draw(_names | _text.filter(lambda text: not _is_broken(text)))
        row[name] = draw(st.one_of(_plain, _text, _nested, st.one_of(_ARROW)))
    return row


def _is_broken(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


class Rows:
    """Judges rows as a run does, each in every way that a run has of looking at it."""

    def __init__(self, folder: Path) -> None:
        write_reference(folder / "reference.png")
        write_driving(folder / "driving.mp4")
        outside = folder.with_name(f"{folder.name}-outside")
        outside.mkdir(exist_ok=True)
        write_reference(outside / "secret.png")
        for name, target in (("outside.png", outside / "secret.png"), ("loop.png", folder / "loop.png")):
            with suppress(FileExistsError):
                (folder / name).symlink_to(target)
        with suppress(FileExistsError):
            os.mkfifo(folder / "fifo")
        self._folder, here = folder, os.getcwd()
        os.chdir(folder)  # rows may name what lies below the current folder too
        try:
            config = RunConfig.load(None, {"animators": {"still": "tests.made.poison:Still"}})
            run = settled(config, str(folder / "manifest.parquet"), str(folder / "out"), "fuzz")
        finally:
            os.chdir(here)
        self._validate, self._keying = stage_of.validate(run), Keying(run)
        self.outcomes: Counter[str] = Counter()

    def __call__(self, row: dict[str, Any]) -> None:
        """Raise AssertionError, or whatever a run would not outlive, unless the row ends as rows may."""
        cells = _through_arrow(row)
        fields = json.loads(as_text(plain_cells(cells)))  # as it travels through Ray
        assert row_text(plain_cells(cells)) == row_text(plain_cells(cells))
        bad = judge([(Place(0), cells)], ANIMATORS)[1]
        for one in bad:
            said(Problem(str(one), "x"))
        work, wrong = self._work(fields)
        if work is None:
            assert isinstance(wrong, Problem), f"nobody foresaw {type(wrong).__name__}: {wrong}"
            said(wrong)
            status = status_of(wrong)
            result = results.of_row(0, fields, status, stage="validate", **reasons(wrong))
        else:
            assert not bad, f"manifest check refuses what a run takes: {bad[0]}"
            self._stays_inside(work)
            assert planned_clip(work).work == work
            status = "accepted"
            result = ended(work, "animate", Problem("it ended here", "nothing"))
        self.outcomes[status] += 1
        _is_told(result)

    def _work(self, fields: dict[str, Any]) -> tuple[Work | None, Exception | None]:
        try:
            return self._keying(self._validate(0, fields)), None
        except Exception as wrong:
            return None, wrong

    def _stays_inside(self, work: Work) -> None:
        for source in filter(None, (work.reference, work.driving)):
            place = os.path.realpath(source.uri)
            assert place.startswith(f"{os.path.realpath(self._folder)}/"), f"{place} was read"


def _through_arrow(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it comes out of a Parquet table; a cell that Arrow holds no such values of, as JSON text would."""
    arrays = []
    for value in row.values():
        if not isinstance(value, pa.Array):
            try:
                value = pa.array([value])
            except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError, AttributeError):
                return {**row, **{name: cell.to_pylist()[0] for name, cell in row.items() if _is_tame(cell)}} | {
                    name: str(shown(cell))
                    for name, cell in row.items()
                    if isinstance(cell, pa.Array) and not _is_tame(cell)
                }
        arrays.append(value)
    (read,) = table.rows(pa.Table.from_arrays(arrays, names=list(row)))
    return read


def _is_tame(value: Any) -> bool:
    if not isinstance(value, pa.Array):
        return False
    with suppress(Exception):
        value.to_pylist()
        return True
    return False


def _is_told(result: Result) -> None:
    """The result has a place in every table and page that a night writes."""
    text = text_of(result)
    again = Result.model_validate_json(text)
    assert again == result or "nan" in text.lower()
    results.to_table([result])


@contextmanager
def prepared() -> Iterator[Rows]:
    """Rows around a folder of good media, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="catwalk-fuzzing-") as folder:
        media = Path(folder) / "media"
        media.mkdir()
        yield Rows(media)


def property_of(rows: Callable[[dict[str, Any]], None], examples: int, of_seed: int) -> Callable[[], None]:
    """Hypothesis's test of so many rows, the same for the same seed. A row that fails is made as small as it goes."""

    @seed(of_seed)
    @settings(
        max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False,
        phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False,
    )  # fmt: skip
    @given(hostile_rows())
    def holds(row: dict[str, Any]) -> None:
        rows(row)

    return holds


def report(count: int, first_seed: int, until: float) -> int:
    """Try `count` rows, print what became of them, and return how many seeds found something."""
    begun, me, faults = time.monotonic(), psutil.Process(), Counter[str]()
    with prepared() as rows:
        before = set(Path(tempfile.gettempdir()).iterdir())
        warm, descriptors = 0, 0
        of_seed = first_seed
        while rows.outcomes.total() < count and time.monotonic() < until:
            try:
                property_of(rows, min(BATCH, count), of_seed)()
            except Exception as error:
                notes = " ".join(getattr(error, "__notes__", []))
                faults[f"{type(error).__name__}: {error}"[:300] + f" [seed {of_seed}] {notes[:600]}"] += 1
            if of_seed == first_seed:
                warm, descriptors = me.memory_info().rss, me.num_fds()
            of_seed += 1
        grown, more = me.memory_info().rss - warm, me.num_fds() - descriptors
        left = sorted(
            path.name for path in set(Path(tempfile.gettempdir()).iterdir()) - before if "catwalk" in path.name
        )
    counts = ", ".join(f"{number} {status}" for status, number in sorted(rows.outcomes.items()))
    print(f"\nrows: {rows.outcomes.total()} rows, seeds {first_seed}…{of_seed - 1}, {time.monotonic() - begun:.0f} s")
    print(f"{counts}, {faults.total()} faults")
    print(f"grown by {grown / 1e6:.0f} MB and {more} descriptors since row {BATCH}; left behind: {left or 'nothing'}")
    for fault, number in faults.items():
        print(f"FAULT {number} × {fault}", file=sys.stdout)
    return faults.total() + len(left)
