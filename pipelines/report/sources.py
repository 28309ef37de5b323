"""Of which files a page shows small pictures: references in the cache, and driving videos at one moment each."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from manifests import storage
from manifests.clip import parse_clip
from manifests.errors import Problem
from manifests.layout import OutputLayout, reference_key
from manifests.results import Result
from manifests.table import split_row
from manifests.work import COLOUR_PROFILE
from manifests.work import Source as Image
from pipelines.report.read_run import ReadRun
from pipelines.report.thumbnails import Driving, Reference, Source


def stored_references(results: Sequence[Result], layout: OutputLayout) -> dict[int, str]:
    """Where each row's reference lies in the cache, of those that are there."""
    there = storage.listing(storage.parent(layout.reference("key")))
    found = {}
    for result in results:
        for key in _keys(result.reference_digest) if result.reference_digest else ():
            if f"{key}.png" in there:
                found[result.row] = layout.reference(key)
    return found


def _keys(digest: str) -> list[str]:
    """The keys that an image may have: as it is stored, or in the colours of its profile."""
    images = (Image(uri="", digest=digest, width=1, height=1, corrected=how) for how in ("", COLOUR_PROFILE))
    return [reference_key(image.content) for image in images]


def sources(run: ReadRun, references: dict[int, str]) -> list[Source]:
    """What pictures are to be made of, those of the first clips first; `references` are places in the cache, by row.

    A driving file is read only if its clip was found to be in order, which it is not before its place is known to be an
    allowed one.
    """
    drawn: dict[str, Reference] = {}
    filmed: dict[tuple[str, str], Driving] = {}
    order: list[Source] = []
    for result in run.results:
        if (uri := references.get(result.row)) is not None:
            if uri not in drawn:
                drawn[uri] = Reference(uri, [])
                order.append(drawn[uri])
            drawn[uri].rows.append(result.row)
        _add_driving(run, result, filmed, order)
    return order


def _add_driving(run: ReadRun, result: Result, filmed: dict[tuple[str, str], Driving], order: list[Source]) -> None:
    cells = run.cells.get(result.row)
    if not result.driving_digest or cells is None:
        return
    clip, _ = parse_clip(split_row(cells))
    if clip is None or clip.driving is None:
        return
    try:
        uri = storage.resolve(clip.driving, run.base)
    except Problem:
        return
    rated = clip.model_copy(update={"fps": Fraction(result.fps)}) if result.fps else clip
    driving = filmed.get((uri, result.driving_digest))
    if driving is None:
        driving = filmed[uri, result.driving_digest] = Driving(uri, result.driving_digest, [], [])
        order.append(driving)
    driving.moments.append((rated, _shown_frame(result)))
    driving.rows.append(result.row)


def _shown_frame(result: Result) -> int:
    """The frame of the film whose driving frame is shown: the poster's, or where it is not known the middle one."""
    return (result.frames or 1) // 2 if result.poster_frame is None else result.poster_frame
