"""The record of one run in `runs/<run id>/`: plan, results, summary, and `_SUCCESS` last."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.working_dir import without_upload
from manifests import results, storage
from manifests.errors import Problem, WrongUsage
from manifests.kept_results import KeptResults
from manifests.layout import OutputLayout, claim_run
from manifests.result_summary import exit_code, summarise
from manifests.results import Result, Status
from manifests.retries import RETRIES
from manifests.storage_fault import storage_fault
from manifests.temporary import temporary_folder
from pipelines.output_files import unwritable
from pipelines.plan import Plan
from pipelines.planned_clip import PlannedClip
from pipelines.planning.forecast import Figures
from pipelines.progress import Say, clock
from pipelines.settings import RunSettings
from pipelines.watching.comparison import compared, economy, economy_lines
from pipelines.watching.meter import Meter

log = logging.getLogger(__name__)

MOST_KINDS = 20


@dataclass(frozen=True)
class RunResults:
    """What a run came to: one result per manifest row, its summary, and the folder that holds both."""

    run_id: str
    results: Sequence[Result]
    summary: dict[str, Any]
    folder: str
    broke_off: str | None = None
    kept_locally: Path | None = None  # the table, where it could not be put into the folder

    @property
    def exit_code(self) -> int:
        """0 every film is there, 1 the run broke off or was interrupted, 3 it ended but not all are."""
        return self.exit_code_if(())

    def exit_code_if(self, ok: Collection[Status]) -> int:
        """The exit code where rows that ended as one of `ok` are no reason to call a run failed."""
        return 1 if self.broke_off else exit_code(self.results, ok)


class RunRecord:
    """Writes what happened. The files: run.json, plan.parquet, results.parquet, summary.json, _SUCCESS."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._began = time.monotonic()
        self._earlier: KeptResults | None = None
        pools = settings.config.animating()
        workers = sum(pool.size for pool in pools)
        gpus = sum(pool.size * pool.num_gpus for pool in pools) / workers
        self.meter = Meter(workers, gpus, sum(pool.most for pool in pools))
        self._planned: Figures | None = None
        self._held_before = 0.0  # GPU-hours, in earlier sessions

    def claim(self, rows: Sequence[str]) -> bool:
        """Begin the run of a manifest's rows, or continue it; returns whether it is continued. Raises `Problem`."""
        settings = self._settings
        try:
            # what a job took along lies in a folder of another name when the next attempt has other code
            manifest = without_upload(settings.manifest)
            continued = claim_run(settings.layout, settings.run_id, manifest, rows)
        except OSError as error:
            raise unwritable(settings.output, error) from None
        with suppress(Problem):  # damaged: it is written anew
            self._held_before = (storage.read_json(self._uri("summary.json")) or {}).get("gpu_hours_held", 0.0)
        storage.delete(self._uri("_SUCCESS"))
        return continued

    def write_plan(self, plan: Plan, ended: Sequence[Result]) -> None:
        """One row per manifest row: its keys and what is going to happen to it."""
        names = [name for name in _PLAN.names if name != "intent"]
        intents: chain[tuple[str, PlannedClip | Result]] = chain(
            (("make", clip) for clip in plan.todo),
            (("share", clip) for clip in chain.from_iterable(plan.duplicates.values())),
            ((one.status, one) for one in ended),
        )
        columns: dict[str, list[Any]] = {name: [] for name in _PLAN.names}
        for intent, one in intents:
            columns["intent"].append(intent)
            for name in names:
                columns[name].append(getattr(one, name))
        with temporary_folder("plan") as folder:
            local = folder / "plan.parquet"
            pq.write_table(pa.table(columns, schema=_PLAN).sort_by("row"), local)
            storage.publish(local, self._uri("plan.parquet"))

    def foresee(self, planned: Figures | None) -> None:
        """Keep what this session is expected to take, to be compared with at its end."""
        self._planned = planned
        if planned:
            storage.publish_json(planned.to_dict(), self._uri("forecast.json"))

    def dry(self, plan: Plan, ended: Sequence[Result], say: Say) -> RunResults:
        """What a run would begin with, said with every kind of rejection; nothing is left in the run's folder.

        Rows that would be made have no result.
        """
        remove_traces(self._settings)
        for line in failure_lines(summarise(ended)["failures"]):
            say(line)
        return RunResults(self._settings.run_id, ended, {"to_make": len(plan.todo)}, self._uri())

    def write_early(self, so_far: KeptResults, ending: str) -> None:
        """Put down what is known when the run is told to end. What goes wrong is said at the end."""
        with suppress(Exception):
            results.write(so_far, self._uri("results.parquet"))
            storage.publish_json(self._summary(so_far, None, ending), self._uri("summary.json"))

    def finish(
        self, final: KeptResults, broke_off: str | None, stopped: str | None, films_there: bool, say: Say
    ) -> RunResults:
        """Write results and summary; `_SUCCESS` only if the run came to its end, and all its films are there.

        `stopped` says why it took no more work although nothing went wrong. A table that cannot be put into the run's
        folder is kept on this machine, which counts as breaking off.
        """
        kept = None
        try:
            results.write(final, self._uri("results.parquet"))
        except Exception as error:
            fault = storage_fault(error)
            kept = _kept_locally(final, self._settings.run_id)
            broke_off = f"{self._uri('results.parquet')} could not be written ({fault.error if fault else error})"
            broke_off += f"; the results are in {kept}" if kept else ", nor could a local file"
        summary = self._summary(final, broke_off, stopped)
        try:
            storage.publish_json(summary, self._uri("summary.json"))
            lines = summary_lines({**summary, "broke_off": broke_off})
            storage.publish_bytes("\n".join([*lines, ""]).encode(), self._uri("summary.txt"))
            if broke_off is None and films_there and not summary["not_reached"]:
                storage.publish_bytes(b"", self._uri("_SUCCESS"))
        except Exception as error:
            broke_off = broke_off or f"{self._uri('summary.json')} could not be written ({error})"
        for line in summary_lines({**summary, "broke_off": broke_off}):
            say(line)
        say(f"results: {kept or self._uri('results.parquet')}")
        return RunResults(self._settings.run_id, final, summary, self._uri(), broke_off, kept)

    def earlier(self) -> KeptResults:
        """What earlier invocations of this run came to; read once, so that the end of a run does not hang on it."""
        if self._earlier is None:
            try:
                self._earlier = KeptResults(results.stored(self._uri("results.parquet")))
            except FileNotFoundError:
                self._earlier = KeptResults()
            except Problem as damaged:
                log.warning("what earlier sessions came to is lost: %s", damaged)
                self._earlier = KeptResults()
        return self._earlier

    def with_earlier(self, final: KeptResults, rows: int) -> KeptResults:
        """`final` and, of the first `rows` rows, what earlier invocations of this run came to in all the others."""
        now = {row for row, _ in final.texts()}
        whole = final[:]
        for row, text in self.earlier().texts():
            if row not in now and row < rows:
                whole.add(row, text)
        return whole.in_order()

    def _summary(self, final: KeptResults, broke_off: str | None, stopped: str | None) -> dict[str, Any]:
        wall, session, config = round(time.monotonic() - self._began, 1), self.meter.figures(), self._settings.config
        summary = {
            "run_id": self._settings.run_id,
            "manifest": storage.redact(self._settings.manifest),
            "code": self._settings.code,
            "wall_seconds": wall,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "broke_off": broke_off,
            "storage_retries": sum(RETRIES.known().values()),
            "stopped": stopped,
            **summarise(final),
            "consent": config.consent.model_dump(mode="json", exclude={"records"}),
            "gpu_hours_held": round(self._held_before + session["gpu_hours_held"], 6),
            "session": session,
        }
        summary |= economy(summary, config.price)
        return summary | ({"plan": compared(self._planned, session, wall)} if self._planned else {})

    def _uri(self, *parts: str) -> str:
        return self._settings.layout.run(self._settings.run_id, *parts)


def remove_traces(settings: RunSettings) -> None:
    """Remove what tries to read files leave of a run that makes nothing: empty folders."""
    folder = settings.layout.run(settings.run_id)
    for emptied in (storage.join(folder, "attempts"), folder, storage.parent(folder)):
        storage.delete_empty(emptied)


def _kept_locally(final: KeptResults, run_id: str) -> Path | None:
    """The table in a file of this machine; None where none takes it."""
    for folder in (Path(), Path(tempfile.gettempdir())):
        target = folder / f"catwalk-{run_id}-results.parquet"
        try:
            pq.write_table(results.to_table(final), target)
        except OSError:
            target.unlink(missing_ok=True)
        else:
            return target.absolute()
    return None


def bad_rows(layout: OutputLayout, run_id: str | None, rejected: bool = True) -> Callable[[int, str | None], bool]:
    """Whether a row of that number and id has no film after the run of that id, or after the last one that ended here.

    Without `rejected`, rows that were rejected are none of them. Raises `WrongUsage` where no run has ended.
    """
    uri = layout.run(run_id, "results.parquet") if run_id else _last_run(layout)
    try:
        ended = results.stored(uri) if uri else None
        bad = ended and [one for one in ended if not one.good and (rejected or one.status != "rejected")]
    except FileNotFoundError:
        bad = None
    if bad is None:
        which = f"run {run_id!r}" if run_id else "a run"
        option = "--only-failed" if rejected else "--retry-failed"
        raise WrongUsage(f"{option}: {which} has not ended in {storage.redact(layout.output)}", "run without it")
    ids, numbers = {result.id for result in bad if result.id}, {result.row for result in bad if not result.id}
    return lambda row, name: name in ids or (not name and row in numbers)


def _last_run(layout: OutputLayout) -> str | None:
    """Results of the run that ended last."""
    runs = storage.join(layout.output, "runs")
    ended = [name for name in storage.listing(runs, recursive=True) if name.endswith("/summary.json")]
    when = {name: (storage.read_json(storage.join(runs, name)) or {}).get("finished", "") for name in ended}
    last = max(when, key=lambda name: when[name], default=None)
    return last and storage.join(runs, storage.parent(last), "results.parquet")


_PLAN = pa.schema(
    [("row", pa.int64()), ("id", pa.string()), ("intent", pa.string()), ("frames", pa.int64())]
    + [(name, pa.string()) for name in ("pose_key", "latents_key", "film_key")]
    + [("reference_left_out", pa.float64())]
)


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The closing summary as a person reads it."""
    counted = [status for status in get_args(Status) if summary[status] or status != "not_reached"]
    counts = ", ".join(f"{summary[status]} {status.replace('_', ' ')}" for status in counted)
    lines = [f"{summary['rows']} rows: {counts}; {summary['frames']} frames, {summary['film_seconds']:.1f} s of film, "
             f"in {clock(summary['wall_seconds'])}"]  # fmt: skip
    lines += [*economy_lines(summary), *failure_lines(summary["failures"])]
    lines += [f"  {line}" for line in fast_lines(summary["fast"])]
    if summary["storage_retries"]:
        lines.append(f"  storage was tried again {summary['storage_retries']} times")
    if summary["warned"]:
        lines.append(f"  {summary['warned']} films with warnings: see the column of that name")
    if summary["to_review"]:
        lines.append(f"  {summary['to_review']} films to review: the column of that name says why")
    lines += [f"  {line}" for line in consent_lines(summary)]
    lines += [f"  {films} films signed by {name}" for name, films in summary["signed_by"].items()]
    if summary["stopped"]:
        lines.append(f"the run ended early: {summary['stopped']}; the same run id continues it")
    if summary["broke_off"]:
        lines.append(f"the run broke off: {summary['broke_off']}; the same run id continues it")
    return lines


def consent_lines(summary: dict[str, Any]) -> list[str]:
    """What the run did about consents, where it looked at them or rows name some."""
    mode, records = summary["consent"]["mode"], len(summary["consents"])
    if mode == "off":
        return [f"consents were not looked at (consent.mode off): films name {records} records"] if records else []
    lines = [f"consent {mode}: films were made under {records} records"]
    if summary["without_consent"]:
        lines.append(f"{summary['without_consent']} films lack a consent that holds: see the column consent_missing")
    return lines


def fast_lines(found: Sequence[dict[str, Any]]) -> list[str]:
    """What films in mode fast left out, and how far they are from standard as measured: two lines for each recipe."""
    lines = []
    for one in found:
        recipe = dict(one["recipe"])
        known = recipe.pop("deviation", None)
        parts = ", ".join(f"{name} {value}" for name, value in recipe.items())
        if known:
            away = f"from standard {known['psnr']:.1f} dB PSNR, SSIM {known['ssim']:.3f}"
            away += "" if known["warping_error"] is None else f", warping error {known['warping_error']:+.4f}"
            away += f", measured on {known['clips']} clips"
            if "frames" in known:  # not in films of an earlier Catwalk
                away += f" of {known['width']}×{known['height']}, {known['frames']} frames"
        else:
            away = "how far that is from mode standard has not been measured with these weights"
        lines += [f"{one['films']} films of {one['animator']} in mode fast: {parts}", f"  {away}"]
    return lines


def failure_lines(failures: Sequence[dict[str, Any]]) -> list[str]:
    """What went wrong, from `summarise`: two lines for each of the most frequent kinds, with its first rows."""
    lines = []
    for failure in failures[:MOST_KINDS]:
        first, count = failure["first_rows"], failure["count"]
        rows = "row" if count == 1 else "rows"
        more = f" and {count - len(first)} more" if count > len(first) else ""
        place = f" in {failure['stage']}" if failure["stage"] else ""
        lines += [f"  {failure['status']}{place} ({rows} {', '.join(map(str, first))}{more}): "
                  f"{failure['error']}", f"    → {failure['remedy']}"]  # fmt: skip
    if beyond := failures[MOST_KINDS:]:
        lines.append(f"  and {sum(failure['count'] for failure in beyond)} rows for {len(beyond)} more reasons")
    return lines
