"""What became of every row of a manifest: the result table, its summary, and the check that no row was lost."""

import datetime
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from manifests import cell, storage, table
from manifests.errors import Problem
from manifests.field_error import without_particulars
from manifests.layout import Film, OutputLayout
from manifests.result_warnings import result_warnings
from manifests.work import Work

log = logging.getLogger(__name__)

_TEXT = pa.string()
RESULTS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", _TEXT),
        pa.field("status", _TEXT, nullable=False),
        *((name, _TEXT) for name in ("stage", "error", "remedy", "film", "poster")),
        ("frames", pa.int64()),
        ("fps", _TEXT),
        ("width", pa.int32()),
        ("height", pa.int32()),
        *((name, _TEXT) for name in ("mode", "animator", "checkpoint")),
        ("seconds", pa.map_(_TEXT, pa.float64())),
        *((name, _TEXT) for name in ("pose_key", "latents_key", "film_key")),
        *((name, _TEXT) for name in ("reference_digest", "driving_digest", "checkpoint_digest", "lora_digest", "code")),
        ("attempts", pa.int32()),
        ("worker_deaths", pa.int32()),
        ("reference_left_out", pa.float64()),
        ("warnings", pa.list_(_TEXT)),
        ("pose", _TEXT),
        ("metadata", _TEXT),
        ("started", pa.timestamp("us", "UTC")),
        ("finished", pa.timestamp("us", "UTC")),
    ]
)

_UTC = datetime.UTC

Status = Literal["done", "cached", "rejected", "failed"]
Moment = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(_UTC))]
FrameRateText = Annotated[str, BeforeValidator(lambda fps: str(Fraction(fps)))]
SecondsPerStage = Annotated[dict[str, float], BeforeValidator(lambda value: dict(value or {}))]
Texts = Annotated[list[str], BeforeValidator(lambda value: list(value or ()))]
Metadata = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if cell.is_null(value) else cell.mapping(value))]


class Result(BaseModel):
    """One row of the result table. A row that did not end well says why and what to do about it.

    `seconds` are those spent in each stage; a cached row has them from the run that made its film, as it has keys,
    digests and moments. Moments are UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int = Field(ge=0)
    id: str | None = None
    status: Status
    stage: str | None = None
    error: str | None = None
    remedy: str | None = None
    film: str | None = None
    poster: str | None = None
    frames: int | None = None
    fps: FrameRateText | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    animator: str | None = None
    checkpoint: str | None = None
    seconds: SecondsPerStage = {}
    pose_key: str | None = None
    latents_key: str | None = None
    film_key: str | None = None
    reference_digest: str | None = None
    driving_digest: str | None = None
    checkpoint_digest: str | None = None
    lora_digest: str | None = None
    code: str | None = None
    attempts: int = 0
    worker_deaths: int = 0  # tries that were the worker's death, of a row that was set aside for them
    reference_left_out: float | None = None  # share of its area
    warnings: Texts = []
    pose: Metadata = {}  # quality of the poses and what was repaired
    metadata: Metadata = {}
    started: Moment | None = None
    finished: Moment | None = None

    @model_validator(mode="before")
    @classmethod
    def _text_can_be_written(cls, values: Any) -> Any:
        # One file name that is not UTF-8, quoted in one message, would otherwise cost the whole table.
        if not isinstance(values, dict):
            return values
        return {name: cell.plain(value) if isinstance(value, str) else value for name, value in values.items()}

    @model_validator(mode="after")
    def _a_bad_end_has_a_reason(self) -> Self:
        if not self.good and not (self.error and self.remedy):
            raise ValueError(f"row {self.row} is {self.status}: it needs an error and a remedy")
        return self

    @property
    def good(self) -> bool:
        """Whether the film is there, made by this run or an earlier one."""
        return self.status in ("done", "cached")


def of_clip(work: Work, status: Status, **ended: Any) -> Result:
    """The result of a clip: what is known of it, and the fields of Result that say how it `ended`."""
    known = {
        "row": work.row,
        "id": work.clip.id,
        "mode": work.clip.mode,
        "animator": work.clip.animator,
        "checkpoint": work.checkpoint,
        "seconds": work.seconds,
        "pose_key": work.pose_key,
        "latents_key": work.latents_key or None,
        "film_key": work.film_key or None,
        "reference_digest": work.reference and work.reference.digest,
        "driving_digest": work.driving and work.driving.digest,
        "checkpoint_digest": work.checkpoint_digest or None,
        "lora_digest": work.lora and work.lora.digest,
        "reference_left_out": work.reference_left_out,
        "warnings": result_warnings(work, ended.get("pose", {})),
        "metadata": work.clip.metadata,
    }
    return Result.model_validate({**known, "status": status, **ended})


def of_row(row: int, fields: dict[str, Any], status: Status, **ended: Any) -> Result:
    """The result of a row that never became a clip; `fields` are its cells, valid or not."""
    known = {"row": row, "id": table.row_id(fields), "metadata": table.row_metadata(fields)}
    return Result.model_validate({**known, "status": status, **ended})


def marker(made: Result, run_id: str) -> dict[str, Any]:
    """What the marker of a film holds: the figures of the result it was made with, less what is the row's own."""
    figures = made.model_dump(mode="json", exclude={"row", "id", "status", "metadata", "attempts", "worker_deaths"})
    return {"run": run_id, **figures}


def of_marker(work: Work, marker: Mapping[str, Any], status: Status, layout: OutputLayout) -> Result:
    """The result of a clip whose film is there: the marker's figures under this row's number, id and metadata."""
    figures = {key: value for key, value in marker.items() if key in Result.model_fields}
    film = Film(work.clip.id, work.film_key)
    own = {
        "row": work.row,
        "id": work.clip.id,
        "status": status,
        "metadata": work.clip.metadata,
        # which a marker of an earlier version may lack
        "reference_left_out": work.reference_left_out,
        "warnings": result_warnings(work, figures.get("pose") or {}),
    }
    return Result.model_validate({**figures, **own, "film": layout.film(film), "poster": layout.poster(film)})


def to_table(results: Iterable[Result]) -> pa.Table:
    """The results as a table of RESULTS_SCHEMA, sorted by row number."""
    rows = []
    for result in sorted(results, key=lambda result: result.row):
        cells = result.model_dump()
        cells["seconds"] = list(result.seconds.items())
        for name in ("metadata", "pose"):
            cells[name] = json.dumps(cells[name], ensure_ascii=False)
        rows.append(cells)
    return pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA)


def write(results: Iterable[Result], uri: str) -> None:
    """Publishes the results as one Parquet file, wholly or not at all."""
    with tempfile.TemporaryDirectory(prefix="catwalk-results-") as folder:
        local = Path(folder) / "results.parquet"
        pq.write_table(to_table(results), local)
        storage.publish(local, uri)


def read(uri: str) -> list[Result]:
    """The results that `write` published; columns of a later version are left out.

    Raises FileNotFoundError when there is no file, Problem when it is not a result table.
    """
    with tempfile.TemporaryDirectory(prefix="catwalk-results-") as folder:
        local = storage.fetch(uri, Path(folder), None)
        try:
            with pq.ParquetFile(local) as file:
                names = [name for name in file.schema_arrow.names if name in RESULTS_SCHEMA.names]
                rows = file.read(columns=names, use_threads=False).to_pylist()
            return [Result.model_validate(row) for row in rows]
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = (
                "a row is not a result" if isinstance(error, ValidationError) else " ".join(str(error).split())[:200]
            )
            problem = f"results {storage.redact(uri)}: are not a readable result table ({reason})"
            raise Problem(problem, "run the manifest again under the same run id: finished films are kept") from error


def reconcile(
    planned_rows: Iterable[int],
    results: Iterable[Result],
    about: Mapping[int, Mapping[str, Any]] | None = None,
) -> list[Result]:
    """Exactly one result for each planned row, in the order of row numbers.

    Of several results for one row, one with a film is kept, else the one that finished first. A row without any ends
    as failed. `about` says what else is known of a row, as fields of Result: its id, animator, metadata, and the
    `stage` in which it was last seen.
    """
    found: dict[int, list[Result]] = {}
    for result in results:
        found.setdefault(result.row, []).append(result)
    planned = sorted(set(planned_rows))
    for row in found.keys() - set(planned):
        log.warning("row %d has a result but was not planned; the result is left out", row)
    return [_first(found[row]) if row in found else _vanished(row, (about or {}).get(row, {})) for row in planned]


def _first(results: Sequence[Result]) -> Result:
    if len(results) > 1:
        log.warning("row %d has %d results; the first that finished is kept", results[0].row, len(results))
    latest = datetime.datetime.max.replace(tzinfo=_UTC)
    return min(results, key=lambda result: (not result.good, result.finished or latest))


def _vanished(row: int, about: Mapping[str, Any]) -> Result:
    place = f"in stage {about['stage']}" if about.get("stage") else "on its way through the stages"
    end = {
        "row": row,
        "status": "failed",
        "error": f"the row vanished {place}: it was planned, and no stage returned it",
        "remedy": "run again under the same run id: only what is missing is done; if it vanishes again, "
        "look for this row in the workers' logs",
    }
    return Result.model_validate({**about, **end})


def summarise(results: Sequence[Result]) -> dict[str, Any]:
    """The run in figures.

    `rows` and the count of each status; `warned`: films with a warning; `frames` and `film_seconds` of all films that
    are there; `stage_seconds` spent by this run (cached rows cost nothing now); `failures`: status, stage, error,
    remedy, count and first rows of each kind, the most frequent kind first. Errors that differ only in names, paths and
    numbers are one kind.
    """
    counts = Counter(result.status for result in results)
    films = [result for result in results if result.good]
    spent: Counter[str] = Counter()
    for result in results:
        if result.status != "cached":
            spent.update(result.seconds)
    return {
        "rows": len(results),
        **{status: counts[status] for status in ("done", "cached", "rejected", "failed")},
        "warned": sum(bool(film.warnings) for film in films),
        "frames": sum(film.frames or 0 for film in films),
        "film_seconds": float(sum((film.frames or 0) / Fraction(film.fps) for film in films if film.fps)),
        "stage_seconds": dict(sorted(spent.items())),
        "failures": _failures(result for result in results if not result.good),
    }


def _failures(results: Iterable[Result]) -> list[dict[str, Any]]:
    kinds: dict[tuple[str, str | None, str], list[Result]] = {}
    for result in results:
        kind = (result.status, result.stage, without_particulars(result.error or ""))
        kinds.setdefault(kind, []).append(result)
    return [
        {
            "status": group[0].status,
            "stage": group[0].stage,
            "error": group[0].error,
            "remedy": group[0].remedy,
            "count": len(group),
            "first_rows": sorted(result.row for result in group)[:5],
        }
        for group in sorted(kinds.values(), key=lambda group: (-len(group), min(result.row for result in group)))
    ]


def exit_code(results: Iterable[Result]) -> int:
    """0 when every row has its film, 3 when some were rejected or failed."""
    return 0 if all(result.good for result in results) else 3
