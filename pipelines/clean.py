"""What dead runs left and no film needs: found, told, and removed if that is asked for."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from manifests import storage
from manifests.errors import Damaged
from manifests.layout import Film, OutputLayout
from manifests.storage import Written
from manifests.temporary import dead_folders, folder_bytes
from pipelines.disk_space import megabytes
from pipelines.progress import Say
from pipelines.running import lease
from stages.node_cache import NodeCache, default_folder

DAY = 24 * 3600.0
Remove = Callable[[], object]


@dataclass(frozen=True)
class Leftover:
    """A file or folder that may go."""

    kind: str
    uri: str
    bytes: int
    remove: Remove


def leftovers(layout: OutputLayout, older_than: float, superseded: bool, weights: NodeCache) -> list[Leftover]:
    """Everything that may go, by kind; `weights` are this machine's copies of what lies elsewhere.

    `older_than` is in seconds. Half-written files go after a day at most. While a run is alive, nothing of its own
    goes, nothing that is younger than a day, and no latents or films at all: its rows may be waiting for them. Nor does
    anything younger than a day in a cache that other outputs may share, or of this machine's copies of weights.
    """
    runs = {run: lease.alive(layout, run) for run in storage.subfolders(layout.run("").rstrip("/"))}
    own_cache = f"{layout.cache}/".startswith(f"{layout.output.rstrip('/')}/")  # else runs of other outputs use it too
    soon = min(DAY, older_than) if own_cache and not any(runs.values()) else DAY
    films = storage.written_files(layout.films)
    found = [
        *_unfinished(layout, soon),
        *_of_dead_runs(layout, [run for run, alive in runs.items() if not alive], soon),
        *_unpublished(layout, films),
        *_temporary(),
        *_local_copies(weights, max(DAY, older_than)),  # of which any run on this machine may be loading one
    ]
    if not any(runs.values()):
        unused = older_than if own_cache else max(DAY, older_than)
        found += [*_half_films(layout, films, soon), *_latents(layout, films, unused)]
        found += _superseded(layout, films) if superseded else []
    return list({one.uri: one for one in found}.values())


def clean(
    layout: OutputLayout, older_than: float, superseded: bool, delete: bool, say: Say, weights: NodeCache | None = None
) -> dict[str, Any]:
    """Tell of every kind of leftover, and remove them if `delete`; returns count and bytes of each kind."""
    found = leftovers(layout, older_than, superseded, weights or NodeCache())
    if delete:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda one: one.remove(), found))
    kinds: dict[str, list[int]] = defaultdict(list)
    for one in found:
        kinds[one.kind].append(one.bytes)
    for kind, sizes in kinds.items():
        say(f"{len(sizes)} {kind}: {megabytes(sum(sizes))}")
    total = sum(one.bytes for one in found)
    if delete:
        say(f"removed: {megabytes(total)}")
    else:
        say(f"{megabytes(total)} could go; add --delete to remove it" if found else "nothing to remove")
    report = {kind: {"count": len(sizes), "bytes": sum(sizes)} for kind, sizes in kinds.items()}
    return {"leftovers": report, "bytes": total, "deleted": delete}


def _old(files: dict[str, Written], age: float) -> Iterator[tuple[str, Written]]:
    before = time.time() - age
    return ((name, file) for name, file in files.items() if file.seconds <= before)


def _file(kind: str, uri: str, file: Written) -> Leftover:
    return Leftover(kind, uri, file.size, partial(storage.delete, uri))


def _unfinished(layout: OutputLayout, age: float) -> Iterator[Leftover]:
    """Files and uploads whose writer died half-way."""
    for folder in dict.fromkeys([layout.output, layout.cache]):
        if storage.is_local(folder):
            for name, file in _old(storage.written_files(folder), age):
                if storage.name(name).startswith(".") and name.endswith(storage.UNFINISHED):
                    yield _file("half-written files", storage.join(folder, name), file)
        for upload in storage.uploads(folder):
            if upload.seconds <= time.time() - age:
                yield Leftover("half-done uploads", f"{upload.uri}#{upload.id}", 0, partial(storage.abandon, upload))


def _of_dead_runs(layout: OutputLayout, dead: Iterable[str], age: float) -> Iterator[Leftover]:
    """Notes that only a run in progress needs; those of its tries once it came to its end, for deaths count on."""
    for run in dead:
        files = storage.written_files(layout.run(run))
        for name, file in _old(files, age):
            part, _, rest = name.partition("/")
            if (part == "attempts" and "_SUCCESS" in files) or (part == "lease" and rest.startswith("looked-at-")):
                yield _file("notes of dead runs", layout.run(run, name), file)
    claims = storage.join(layout.output, "claims")
    for name, file in _old(storage.written_files(claims), age):
        uri = storage.join(claims, name)
        try:
            holder = (storage.read_json(uri) or {}).get("run")
        except Damaged:
            holder = None
        if not isinstance(holder, str) or not lease.alive(layout, holder):
            yield _file("claims of dead runs", uri, file)


def _unpublished(layout: OutputLayout, films: dict[str, Written]) -> Iterator[Leftover]:
    """Films that were kept because they could not be published, and are since."""
    folder = storage.join(layout.cache, "unpublished")
    for name, file in storage.written_files(folder).items():
        if name in films and f"{name.removesuffix('.mp4')}.json" in films:
            yield _file("unpublished films that are published since", storage.join(folder, name), file)


def _half_films(layout: OutputLayout, films: dict[str, Written], age: float) -> Iterator[Leftover]:
    """Films without a marker, markers and posters without a film."""
    for name, file in _old(films, age):
        stem, _, ending = name.rpartition(".")
        if ending in ("mp4", "jpg", "json") and not {f"{stem}.mp4", f"{stem}.json"} <= films.keys():
            kind = {"mp4": "films without a marker", "jpg": "posters without a film"}.get(ending)
            yield _file(kind or "markers without a film", storage.join(layout.films, name), file)


def _latents(layout: OutputLayout, films: dict[str, Written], age: float) -> Iterator[Leftover]:
    """Latents that have not been touched for so long: of finished films, and of clips that nobody has finished."""
    folder = storage.parent(layout.latents("key"))
    old = dict(_old(storage.written_files(folder), age))
    if not old:
        return
    finished = [film for name in films if name.endswith(".json") and (film := _film(name))]
    needed = {str((marker or {}).get("latents_key")) for marker in layout.read_film_markers(finished)}
    for name, file in old.items():
        made = name.partition(".")[0] in needed
        kind = "latents of finished films" if made else "latents of films that were never finished"
        yield _file(kind, storage.join(folder, name), file)


def _superseded(layout: OutputLayout, films: dict[str, Written]) -> Iterator[Leftover]:
    """Films of a clip id that has a newer one under another key."""
    newest: dict[str, tuple[float, Film]] = {}
    finished = [
        (file.seconds, film) for name, file in films.items() if name.endswith(".json") and (film := _film(name))
    ]
    for seconds, film in sorted(finished):
        newest[film.clip_id] = (seconds, film)
    for seconds, film in finished:
        last, kept = newest[film.clip_id]
        if film == kept or seconds == last:
            continue
        # the marker first: what is without one is no film
        names = [f"{film.clip_id}.{film.key}.{ending}" for ending in ("json", "jpg", "mp4")]
        uris = [storage.join(layout.films, name) for name in names if name in films]
        size = sum(films[name].size for name in names if name in films)
        yield Leftover("superseded films", uris[-1], size, partial(_remove_all, uris))


def _remove_all(uris: Sequence[str]) -> None:
    for uri in uris:
        storage.delete(uri)


def _film(marker: str) -> Film | None:
    clip_id, _, key = marker.removesuffix(".json").rpartition(".")
    return Film(clip_id, key) if clip_id else None


def _temporary() -> Iterator[Leftover]:
    """Temporary folders of killed processes of this machine."""
    for folder in dead_folders():
        remove = partial(shutil.rmtree, folder, ignore_errors=True)
        yield Leftover("temporary folders of killed processes", str(folder), folder_bytes(folder), remove)


def _local_copies(weights: NodeCache, age: float) -> Iterator[Leftover]:
    """This machine's copies of weights that lie elsewhere, not read for so long."""
    copies: dict[Path, Remove] = {weights.folder / one: partial(weights.remove, one) for one in weights.entries()}
    for kept in default_folder().glob("estimators/*"):
        copies[kept] = partial(shutil.rmtree, kept, ignore_errors=True) if kept.is_dir() else kept.unlink
    before = time.time() - age
    for kept in sorted(copies):
        parts = [path for path in (kept, *kept.rglob("*")) if path.is_file()]
        if max((max(path.stat().st_atime, path.stat().st_mtime) for path in parts), default=0.0) <= before:
            size = sum(path.stat().st_size for path in parts)
            yield Leftover("local copies of weights", str(kept), size, copies[kept])
