"""Every film that was made under a consent: found in results and markers, told, and taken out of publication."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests import storage
from manifests.consent.record import ROLES
from manifests.consent.withdrawal import ids_of, tell
from manifests.errors import Problem
from manifests.layout import Film, OutputLayout
from manifests.storage_fault import storage_fault
from manifests.temporary import temporary_folder
from pipelines.boundary import explained
from pipelines.running import lease

ENDINGS = ("json", "jpg", "mp4")  # the marker first: what is without one is no film
AT_ONCE = 16  # films that are moved at the same time
_COLUMNS = ("row", "id", "status", "stage", "film_key", *(f"{role}_consent" for role in ROLES))

State = Literal["published", "set aside", "withdrawn", "under another consent", "gone"]


@dataclass
class MadeUnder:
    """A film that was made under a consent. `runs` are the rows that tell of it; `pieces` the files that there are."""

    film: Film
    runs: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    pieces: dict[str, dict[str, str]] = field(default_factory=dict)  # place → ending → URI
    other: str | None = None  # the consent that its marker names now
    made: bool = False  # a row had it: it is told of though it is gone

    @property
    def state(self) -> State:
        """Where it is, and whether it is still shown under that consent."""
        if self.shown and self.other is not None:
            return "under another consent"
        if "films" in self.pieces or "unpublished" in self.pieces:
            return "published"
        if "set_aside" in self.pieces:
            return "set aside"
        return "withdrawn" if "withdrawn" in self.pieces else "gone"

    @property
    def shown(self) -> bool:
        """Whether there is anything of it outside of what was withdrawn."""
        return bool(self.pieces.keys() - {"withdrawn"})

    @property
    def uri(self) -> str | None:
        """Where it lies."""
        for files in self.pieces.values():
            if "mp4" in files:
                return files["mp4"]
        return None

    def to_dict(self) -> dict[str, Any]:
        """It as JSON."""
        runs = {run: sorted(rows) for run, rows in sorted(self.runs.items())}
        film = self.uri and storage.redact(self.uri)
        return {"id": self.film.clip_id, "film_key": self.film.key, "state": self.state, "film": film, "runs": runs}


@dataclass(frozen=True)
class _Folder:
    """Finished films in one place: files by ending, and the records that their markers name, by role."""

    place: str
    files: dict[tuple[str, str], dict[str, str]]
    named: dict[tuple[str, str], dict[str, Any]]

    @classmethod
    def read(cls, place: str, folder: str) -> _Folder:
        files: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for name in storage.listing(folder):
            stem, _, ending = name.rpartition(".")
            clip_id, _, key = stem.rpartition(".")
            if clip_id and ending in ENDINGS:
                files[clip_id, key][ending] = storage.join(folder, name)
        marked = [(of, pieces["json"]) for of, pieces in files.items() if "json" in pieces]
        markers = _read("", [uri for _, uri in marked])
        named: dict[tuple[str, str], dict[str, Any]] = {
            of: {role: marker.get(f"{role}_consent") for role in ROLES}
            for (of, _), marker in zip(marked, markers, strict=True)
        }
        return cls(place, files, named)


@dataclass(frozen=True)
class Revocation:
    """What was found in an output, and what could not be read or moved."""

    output: str
    films: list[MadeUnder]
    problems: list[str]
    going_on: list[str]  # runs with a living driver

    def lines(self) -> list[str]:
        """It as a person reads it."""
        shown = storage.redact(self.output)
        lines = [f"{shown}: {len(self.films)} films were made under it" if self.films else f"{shown}: no film was"]
        for one in self.films:
            where = f", {storage.redact(one.uri)}" if one.uri else ""
            rows = "; ".join(f"run {run}, rows {_short(numbers)}" for run, numbers in sorted(one.runs.items()))
            lines.append(f"  {one.film.clip_id} ({one.film.key}): {one.state}{where}{f'; {rows}' if rows else ''}")
        lines += [
            f"  run {run} goes on: it looks at consents before it publishes only where its consent.mode is required; "
            "revoke again when it has ended"
            for run in self.going_on
        ]
        return lines + [f"  {problem}" for problem in self.problems]


def _short(numbers: set[int]) -> str:
    first = sorted(numbers)[:5]
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return ", ".join(map(str, first)) + more


def films_under(layout: OutputLayout, consent: str) -> Revocation:
    """Every film of an output that results, markers or withdrawals say was made under that record.

    The same film under another clip's id is one of them; where that clip names another record it is told apart.
    """
    found: dict[tuple[str, str], MadeUnder] = {}
    problems: list[str] = []

    def film(clip_id: str, key: str) -> MadeUnder:
        return found.setdefault((clip_id, key), MadeUnder(Film(clip_id, key)))

    for run, uri in _tables(layout):
        try:
            for row in _rows_under(uri, consent):
                if row["id"] and row["film_key"]:
                    one = film(row["id"], row["film_key"])
                    one.runs[run].add(row["row"])
                    one.made |= row["status"] in ("done", "cached") or row["stage"] == "safety"
        except Exception as error:
            problems.append(f"results {storage.redact(uri)} could not be read: {_reason(error)}")
    for told in _read(layout.withdrawn, [name for name in storage.listing(layout.withdrawn) if name.endswith(".json")]):
        if consent in ids_of(told):
            for clip_id in told.get("clips", ()):
                film(str(clip_id), str(told.get("film_key")))
    folders = [_Folder.read(place, uri) for place, uri in places(layout).items()]
    for folder in folders:
        for of, named in folder.named.items():
            if consent in named.values():
                film(*of)
    _find(folders, found, film, consent)
    made = [one for one in found.values() if one.pieces or one.made]
    runs = storage.subfolders(storage.join(layout.output, "runs"))
    going_on = [run for run in runs if lease.alive(layout, run)]
    return Revocation(layout.output, sorted(made, key=lambda one: one.film), problems, going_on)


def places(layout: OutputLayout) -> dict[str, str]:
    """The folders that finished films may lie in."""
    return {
        "films": layout.films,
        "set_aside": layout.set_aside,
        "unpublished": storage.parent(layout.unpublished(Film("id", "key"))),
        "withdrawn": storage.join(layout.withdrawn, "films"),
    }


def _find(
    folders: Sequence[_Folder],
    found: dict[tuple[str, str], MadeUnder],
    film: Callable[[str, str], MadeUnder],
    consent: str,
) -> None:
    """Put the files of films that are known to them, and add the same films under ids that nothing has told of."""
    there, told = {of for folder in folders for of in folder.files}, set(found)
    keys = {of[1] for of, one in found.items() if one.made or of in there}
    for folder in folders:
        for of, files in folder.files.items():
            if of not in told and (of[1] not in keys or folder.place == "withdrawn"):
                continue
            one, names = film(*of), [name for name in folder.named.get(of, {}).values() if name]
            one.pieces[folder.place] = files
            if names and consent not in names and (folder.place == "films" or of not in told):
                one.other = names[0]


def _read(folder: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Many small JSON files at once; an empty object for one that is gone or damaged."""

    def read(name: str) -> dict[str, Any]:
        try:
            return storage.read_json(storage.join(folder, name) if folder else name) or {}
        except Problem:
            return {}

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(read, names))


def _tables(layout: OutputLayout) -> Iterator[tuple[str, str]]:
    """(run, table) of all results there are, of runs that go on too."""
    runs = storage.join(layout.output, "runs")
    for name in sorted(storage.listing(runs, recursive=True)):
        run, _, rest = name.partition("/")
        if rest == "results.parquet" or (rest.startswith("results/") and rest.endswith(".parquet")):
            yield run, storage.join(runs, name)


def _rows_under(uri: str, consent: str) -> Iterator[dict[str, Any]]:
    """The rows of a result table that name the consent and that have, or had, a film."""
    with temporary_folder("revoke") as folder, pq.ParquetFile(storage.fetch(uri, folder, None)) as file:
        names = [name for name in _COLUMNS if name in file.schema_arrow.names]
        roles = [name for name in names if name.endswith("_consent")]
        if not roles:  # of a Catwalk that knew no consents
            return
        for batch in file.iter_batches(8192, columns=names, use_threads=False):
            table = pa.Table.from_batches([batch])
            under = [pc.fill_null(pc.equal(table[name], consent), False) for name in roles]
            wanted = under[0] if len(under) == 1 else pc.or_(*under)
            yield from table.filter(wanted).to_pylist()


def withdraw(layout: OutputLayout, found: Revocation, consent: str) -> int:
    """Move every film that is still shown under a consent to `OUTPUT/withdrawn/films`; returns how many.

    What cannot be moved is added to the problems. A call that was interrupted is completed by the next one.
    """
    shown = [one for one in found.films if one.shown and one.state != "under another consent"]
    clips: dict[str, list[str]] = defaultdict(list)
    for one in found.films:
        if one.state != "under another consent" and one.state != "gone":
            clips[one.film.key].append(one.film.clip_id)

    def move(one: MadeUnder) -> str | None:
        try:
            _move(layout, one)
        except Exception as error:
            return f"{one.film.clip_id} ({one.film.key}) could not be withdrawn: {_reason(error)}"
        return None

    told, failed = set(), {}
    for key, ids in clips.items():  # before anything is moved: from here on no run makes or serves it
        try:
            tell(layout, key, consent, ids)
            told.add(key)
        except Exception as error:
            failed[key] = f"{', '.join(ids)} ({key}) could not be withdrawn: {_reason(error)}"
    moved = [one for one in shown if one.film.key in told]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        wrong = [problem for problem in pool.map(move, moved) if problem]
    found.problems.extend([*failed.values(), *wrong])
    return len(moved) - len(wrong)


def _move(layout: OutputLayout, one: MadeUnder) -> None:
    """All copies of a film that are shown, whole before the first file goes."""
    target = places(layout)["withdrawn"]
    gone = {place: files for place, files in one.pieces.items() if place != "withdrawn"}
    there = dict(one.pieces.get("withdrawn", {}))
    for files in gone.values():
        for uri in files.values():
            storage.copy(uri, storage.join(target, storage.name(uri)))
    for place in gone:
        for ending in ENDINGS:
            if shown := gone[place].get(ending):
                storage.delete(shown)
                there[ending] = storage.join(target, storage.name(shown))
        del one.pieces[place]
    one.pieces["withdrawn"] = there


def _reason(error: Exception) -> str:
    fault = storage_fault(error)
    return fault.error if fault else explained(error)[0]
