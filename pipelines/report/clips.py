"""A run's clips as its page lists them, the worst first: plain values, without secrets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from manifests import cell, storage
from manifests.clip import URI_FIELDS
from manifests.errors import Problem
from manifests.layout import OutputLayout
from manifests.results import Result
from manifests.review import excess
from manifests.table import split_row
from pipelines.report.links import Links
from pipelines.report.read_run import Cells, ReadRun

BADNESS = ("failed", "rejected", "not_reached")
FILES = ("reference", "driving", "mask", "lora", "checkpoint")  # whose relative paths start at the manifest

_OF_THE_ROW = ("row", "id", "animator", "mode", "seed", "steps", "reference", "driving")
_OF_ITS_END = ("status", "stage", "error", "remedy", "warnings", "review", "device", "host", "gpu_seconds")
_OF_THE_FILM = ("film_key", "poster_frame", "frames", "width", "height", "film_seconds", "crf")
_Listed = dict[str, Any]


def worst_first(results: Iterable[Result]) -> list[Result]:
    """Failed, rejected, not reached; then films to look at, by how much is wrong with them; then the rest, by row."""
    return sorted(results, key=_goodness)


def _goodness(result: Result) -> tuple[int, float, int, int]:
    if not result.good:
        return BADNESS.index(result.status), 0.0, 0, result.row
    return len(BADNESS), -sum(map(excess, result.review)), -len(result.warnings), result.row


def listed(run: ReadRun, layout: OutputLayout, links: Links) -> list[_Listed]:
    """A mapping for each result, in the order given; what is null, empty or not known is absent."""
    there = storage.listing(layout.films)
    return [_figures(one) | _own(one, run) | _addresses(one, layout, links, there) for one in run.results]


def _figures(result: Result) -> _Listed:
    said = {name: getattr(result, name) for name in (*_OF_THE_ROW, *_OF_ITS_END, *_OF_THE_FILM)}
    said["fps"] = result.fps and round(float(Fraction(result.fps)), 4)
    said["seconds"] = round(sum(result.seconds.values()), 2)
    said["finished"] = result.finished and result.finished.isoformat(timespec="seconds")
    said["quality"] = {name: one.model_dump() for name, one in result.quality.items()}
    return exact(without_secrets({name: value for name, value in said.items() if value not in (None, "", [], {})}))


def _own(result: Result, run: ReadRun) -> _Listed:
    """The row as its owner wrote it, its media found from anywhere; `withheld` names the cells that are not whole."""
    if result.row not in run.cells:
        return {"metadata": exact(without_secrets(result.metadata))} if result.metadata else {}
    given = _whole(run.cells[result.row], run.base)
    shown = without_secrets(given)
    withheld = [name for name, value in given.items() if shown[name] != value]
    return {"cells": exact(shown)} | ({"withheld": withheld} if withheld else {})


def _whole(row: Cells, base: str) -> Cells:
    """The cells that are set, unknown columns as metadata and media paths in full, where they can be read."""
    cells = {name: value for name, value in split_row(row).items() if not cell.is_null(value)}
    for name in FILES:
        if name == "checkpoint" and "/" not in str(cells.get(name)):
            continue  # a label of the configuration
        try:
            cells[name] = storage.resolve(cells[name].strip(), base)
        except (KeyError, AttributeError, Problem):
            continue
    try:
        return {**cells, "metadata": cell.mapping(cells["metadata"])}
    except (KeyError, ValueError):
        return cells


def _addresses(result: Result, layout: OutputLayout, links: Links, there: Mapping[str, int]) -> _Listed:
    """Where film and poster are, by the names in a listing: the output may have been moved since."""
    if not result.good or result.film is None:
        return {}
    found: _Listed = {}
    for name, uri in (("film", result.film), ("poster", result.poster)):
        if uri and storage.name(uri) in there:
            place = storage.join(layout.films, storage.name(uri))
            address = links.of(place)
            found |= {name: address} if address else {f"{name}_uri": storage.redact(place)}
    return found or {"gone": storage.redact(result.film)}


def without_secrets(value: Any, name: str = "") -> Any:
    """A plain value, and all that is in it, without what URIs may hold of credentials and queries."""
    if isinstance(value, str):
        return storage.redact(value) if name in URI_FIELDS else storage.redact_text(value)
    if isinstance(value, Mapping):
        return {key: without_secrets(one, key) for key, one in value.items()}
    return [without_secrets(one) for one in value] if isinstance(value, list | tuple) else value


def exact(value: Any) -> Any:
    """A plain value; numbers that JavaScript cannot hold are text, which a manifest takes for the same."""
    if isinstance(value, Mapping):
        return {key: exact(one) for key, one in value.items()}
    if isinstance(value, list):
        return [exact(one) for one in value]
    holds = not isinstance(value, int | float) or (math.isfinite(value) and abs(value) < 2**53)
    return value if holds else str(value)
