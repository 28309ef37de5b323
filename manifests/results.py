"""What became of every row of a manifest: the result table, its summary, and the check that no row was lost."""

import datetime
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from typing import Annotated, Any, Literal, Self, TypeGuard

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
from manifests.consent.record import ROLES
from manifests.errors import Problem
from manifests.layout import Film, OutputLayout
from manifests.result_warnings import result_warnings
from manifests.review import Quality, ReviewLimits
from manifests.struct_column import mappings, struct_column
from manifests.temporary import temporary_folder
from manifests.work import Work

log = logging.getLogger(__name__)

_TEXT = pa.string()
STAGES = ("validate", "pose", "inputs", "load", "denoise", "encode", "publish")
# Every result table has these columns, and FREE ones, whose types are those of the run's own names.
RESULTS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", _TEXT),
        pa.field("status", _TEXT, nullable=False),
        *((name, _TEXT) for name in ("stage", "error", "remedy", "film", "poster")),
        ("poster_frame", pa.int64()),
        ("frames", pa.int64()),
        ("fps", _TEXT),
        ("fps_float", pa.float64()),
        ("film_seconds", pa.float64()),
        ("film_bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        *((name, _TEXT) for name in ("mode", "animator", "checkpoint")),
        *((name, _TEXT) for name in ("reference", "driving")),
        ("seed", pa.int64()),
        ("steps", pa.int32()),
        ("recipe", _TEXT),  # JSON: what a film in mode fast leaves out, at what measured cost; colours led back
        ("crf", pa.int32()),
        ("seconds", pa.struct([(stage, pa.float64()) for stage in STAGES])),
        ("gpu_seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        *((name, _TEXT) for name in ("device", "host", "worker")),
        *((name, _TEXT) for name in ("pose_key", "latents_key", "film_key", "pose_estimator")),
        *((name, _TEXT) for name in ("signed_by", "signed_key", "watermark", "watermark_id")),
        *((name, _TEXT) for name in ("reference_digest", "driving_digest", "checkpoint_digest", "lora_digest", "code")),
        *((f"{role}_consent{part}", _TEXT) for role in ROLES for part in ("", "_digest")),
        ("consent_missing", pa.list_(_TEXT)),
        ("watermark_sure", pa.bool_()),
        ("attempts", pa.int32()),
        ("worker_deaths", pa.int32()),
        ("reference_left_out", pa.float64()),
        ("warnings", pa.list_(_TEXT)),
        ("quality", _TEXT),  # JSON: metric → value and frame
        ("review", pa.list_(_TEXT)),
        ("started", pa.timestamp("us", "UTC")),
        ("finished", pa.timestamp("us", "UTC")),
    ]
)

FREE = ("pose", "metadata")

AT_ONCE = 5000  # rows that are Python objects at the same time while a table is read or written

_UTC = datetime.UTC


def _without_nulls(seconds: Any) -> dict[str, float]:
    """Seconds of the stages that a clip went through, from a mapping, a struct or the items of a map."""
    return {stage: spent for stage, spent in dict(seconds or {}).items() if spent is not None}


Status = Literal["done", "cached", "rejected", "failed", "not_reached"]
Moment = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(_UTC))]
FrameRateText = Annotated[str, BeforeValidator(lambda fps: str(Fraction(fps)))]
SecondsPerStage = Annotated[dict[str, float], BeforeValidator(lambda value: _without_nulls(value))]
Texts = Annotated[list[str], BeforeValidator(lambda value: list(value or ()))]
Recipe = Annotated[
    dict[str, Any], BeforeValidator(lambda value: json.loads(value or "{}") if isinstance(value, str | None) else value)
]
Metadata = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if cell.is_null(value) else cell.mapping(value))]


class Result(BaseModel):
    """One row of the result table. A row that did not end well says why and what to do about it.

    `seconds` are those spent in each stage, `gpu_seconds` those for which GPUs were held; a cached row has them from
    the run that made its film, as it has keys, digests, moments and the machine. Moments are UTC.
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
    poster_frame: int | None = None  # of the film
    frames: int | None = None
    fps: FrameRateText | None = None
    film_bytes: int | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    animator: str | None = None
    checkpoint: str | None = None
    reference: str | None = None  # as the row has it, without secrets
    driving: str | None = None
    seed: int | None = None
    steps: int | None = None
    recipe: Recipe = {}  # of mode fast; and how far colours were led back
    crf: int | None = None
    gpu_seconds: float | None = None
    cpu_seconds: float | None = None  # of the processor, in the process that made the film and its encoder
    device: str | None = None
    host: str | None = None
    worker: str | None = None
    seconds: SecondsPerStage = {}
    pose_key: str | None = None
    latents_key: str | None = None
    film_key: str | None = None
    signed_by: str | None = None  # common name in the certificate, "nobody" where none was to; None: an older film
    signed_key: str | None = None  # of the film with its credentials
    watermark: str | None = None  # the algorithm of the mark in its pictures, "none" where none was to; None: older
    watermark_id: str | None = None  # that the pictures carry, 16 hex digits
    watermark_sure: bool | None = None  # whether the film is large enough for it to be read again, once re-encoded
    pose_estimator: str | None = None  # which found the poses in the driving file, where one did
    reference_digest: str | None = None
    driving_digest: str | None = None
    checkpoint_digest: str | None = None
    lora_digest: str | None = None
    code: str | None = None
    likeness_consent: str | None = None  # id of the record of who is in the reference image
    likeness_consent_digest: str | None = None  # of its terms, where they were looked at
    performer_consent: str | None = None
    performer_consent_digest: str | None = None
    consent_missing: Texts = []  # why consents do not cover a film that is made all the same
    attempts: int = 0
    worker_deaths: int = 0  # tries that were the worker's death, of a row that was set aside for them
    reference_left_out: float | None = None  # share of its area
    warnings: Texts = []
    remarks: Texts = []  # what making the film brought up; in the table they are among the warnings
    quality: Quality = {}  # what was measured of the film, by metric
    review: Texts = []  # why somebody should look at it, by the limits of the run that tells so
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

    @property
    def film_seconds(self) -> float | None:
        """How long the film is."""
        return None if self.frames is None or self.fps is None else float(self.frames / Fraction(self.fps))


def of_clip(work: Work, status: Status, **ended: Any) -> Result:
    """The result of a clip: what is known of it, and the fields of Result that say how it `ended`."""
    known = {
        "row": work.row,
        "id": work.clip.id,
        "mode": work.clip.mode,
        "animator": work.clip.animator,
        "checkpoint": work.checkpoint or None,
        **_own(work),
        "seconds": work.seconds,
        "pose_key": work.pose_key,
        "latents_key": work.latents_key or None,
        "film_key": work.film_key or None,
        "pose_estimator": work.pose_estimator,
        "reference_digest": work.reference and work.reference.digest,
        "driving_digest": work.driving and work.driving.digest,
        "checkpoint_digest": work.checkpoint_digest or None,
        "lora_digest": work.lora and work.lora.digest,
        "reference_left_out": work.reference_left_out,
        "warnings": [*result_warnings(work, ended.get("pose", {})), *ended.get("remarks", ())],
        "metadata": work.clip.metadata,
    }
    return Result.model_validate({**known, "status": status, **ended})


def _own(work: Work) -> dict[str, Any]:
    """What stands in the row of a film, and not in another row that asks for the same."""
    return {
        "reference": work.reference and storage.redact(work.reference.uri),
        "driving": work.driving and storage.redact(work.driving.uri),
        "seed": work.clip.seed,
        "steps": work.clip.steps,
        "metadata": work.clip.metadata,
        **consent_fields(work),
    }


def consent_fields(work: Work, marker: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a result says of the consents that its film is made under.

    What a row names counts; what it leaves open, as where nobody looks at records, is as the film's marker has it.
    """
    fields: dict[str, Any] = {"consent_missing": list(work.consents.missing)}
    for role in ROLES:
        named, before = getattr(work.consents, role), marker or {}
        id_, digest = f"{role}_consent", f"{role}_consent_digest"
        known = named is None or named.id == before.get(id_)
        fields[id_] = named.id if named else before.get(id_)
        fields[digest] = (named and named.digest) or (before.get(digest) if known else None)
    return fields


def under_other_consents(work: Work, marker: Mapping[str, Any]) -> bool:
    """Whether a film that is there was made under other consents than its row names now, or under other terms."""
    return any(marker.get(name) != value for name, value in _ids_and_digests(work, marker))


def _ids_and_digests(work: Work, marker: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in consent_fields(work, marker).items() if name != "consent_missing"]


def of_row(row: int, fields: dict[str, Any], status: Status, **ended: Any) -> Result:
    """The result of a row that never became a clip; `fields` are its cells, valid or not."""
    known: dict[str, Any] = {"row": row, "id": table.row_id(fields), "metadata": table.row_metadata(fields)}
    named = {name: fields.get(name) for name in ("reference", "driving")}
    known |= {name: storage.redact(uri) for name, uri in named.items() if isinstance(uri, str)}
    consents = {name: fields.get(name) for name in ("likeness_consent", "performer_consent")}
    known |= {name: given for name, given in consents.items() if isinstance(given, str) and given.strip()}
    return Result.model_validate({**known, "status": status, **ended})


_OF_THE_ROW = {"row", "id", "status", "metadata", "worker_deaths", "reference", "driving", "review"}


def marker(made: Result, run_id: str, curves: Mapping[str, Sequence[float]] | None = None) -> dict[str, Any]:
    """What the marker of a film holds: the figures of the result it was made with, less what is the row's own.

    `curves` are what metrics measured over the film, a few points of each.
    """
    figures = made.model_dump(mode="json", exclude=_OF_THE_ROW)
    return {"run": run_id, **figures, "curves": dict(curves or {})}


def marker_under(work: Work, marker: Mapping[str, Any]) -> dict[str, Any]:
    """The marker of a film with the consents that its row names now."""
    return {**marker, **consent_fields(work, marker)}


def is_marker(found: Mapping[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    """Whether this is what `marker` made, or an earlier version of it; not what else a damaged file may hold."""
    if found is None or not isinstance(found.get("run"), str):
        return False
    figures = {key: value for key, value in found.items() if key in Result.model_fields}
    try:
        Result.model_validate({**figures, "row": 0, "status": "done"})
    except ValidationError:
        return False
    return True


def of_marker(
    work: Work, marker: Mapping[str, Any], status: Status, layout: OutputLayout, limits: ReviewLimits | None = None
) -> Result:
    """The result of a clip whose film is there: the marker's figures under this row's number, id and metadata.

    `limits` are what its quality is held against now; without any, there is nothing to review.
    """
    figures = {key: value for key, value in marker.items() if key in Result.model_fields}
    film = Film(work.clip.id, work.film_key)
    own = {
        "row": work.row,
        "id": work.clip.id,
        "status": status,
        **_own(work),
        **consent_fields(work, marker),
        # which a marker of an earlier version may lack
        "pose_estimator": work.pose_estimator,
        "reference_left_out": work.reference_left_out,
        "warnings": [*result_warnings(work, figures.get("pose") or {}), *(figures.get("remarks") or ())],
    }
    made = Result.model_validate({**figures, **own, "film": layout.film(film), "poster": layout.poster(film)})
    reasons = limits.reasons(made.quality, made.animator) if limits else []
    return made.model_copy(update={"review": reasons})


def of_set_aside(work: Work, marker: Mapping[str, Any], layout: OutputLayout) -> Result:
    """The result of a clip whose film is there and waits for a person to release it; not served until then."""
    made = of_marker(work, marker, "done", layout.aside())
    remedy = f"look at {storage.redact(made.film or '')}, and publish it with `catwalk release`, or take the row out"
    held = {"status": "rejected", "stage": "safety", "error": f"{marker.get('set_aside')}; the film is set aside"}
    return made.model_copy(update={**held, "remedy": remedy, "film": None, "poster": None})


def to_table(results: Iterable[Result]) -> pa.Table:
    """The results as a table of RESULTS_SCHEMA and the FREE columns, sorted by row number."""
    free: dict[str, list[Any]] = {name: [] for name in FREE}
    parts = [RESULTS_SCHEMA.empty_table()]
    given = iter(results)
    while some := list(islice(given, AT_ONCE)):
        parts.append(pa.Table.from_pylist([_cells(result) for result in some], schema=RESULTS_SCHEMA))
        for name, cells in free.items():
            cells += (getattr(result, name) for result in some)
    made = pa.concat_tables(parts)
    for name, values in free.items():
        kind, cells = struct_column(values)
        made = made.append_column(pa.field(name, kind), pa.array(cells, kind))
    rows = made["row"].to_pylist()
    return made if rows == sorted(rows) else made.sort_by("row")


def _cells(result: Result) -> dict[str, Any]:
    rate = None if result.fps is None else float(Fraction(result.fps))
    cells = {**result.model_dump(exclude=set(FREE)), "fps_float": rate, "film_seconds": result.film_seconds}
    recipe = json.dumps(result.recipe) if result.recipe else None
    return {**cells, "quality": json.dumps(cells["quality"]), "recipe": recipe}


def write(results: Iterable[Result], uri: str) -> None:
    """Publishes the results as one Parquet file, wholly or not at all."""
    with temporary_folder("results") as folder:
        local = folder / "results.parquet"
        pq.write_table(to_table(results), local)
        storage.publish(local, uri)


def read(uri: str) -> list[Result]:
    """The results that `write` published, as `stored` has them."""
    return list(stored(uri))


def stored(uri: str) -> Iterator[Result]:
    """The results that `write` published, one at a time; columns of a later version are left out.

    Raises FileNotFoundError when there is no file, Problem when it is not a result table.
    """
    with temporary_folder("results") as folder:
        local = storage.fetch(uri, folder, None)
        try:
            with pq.ParquetFile(local) as file:
                names = [name for name in file.schema_arrow.names if name in Result.model_fields]
                there = file.read(columns=names, use_threads=False)
            for start in range(0, there.num_rows, AT_ONCE):
                some = there.slice(start, AT_ONCE)
                free = {name: mappings(some[name]) for name in FREE if name in names}
                rows = some.drop_columns(list(free)).to_pylist()
                for name, cells in free.items():
                    for row, value in zip(rows, cells, strict=True):
                        row[name] = value
                yield from map(Result.model_validate, rows)
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
