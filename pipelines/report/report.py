"""`catwalk report`: from a run's folder to its page."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from manifests import storage
from manifests.layout import OutputLayout
from manifests.review import LESS_IS_WORSE
from pipelines.output_files import require_writable
from pipelines.progress import Say
from pipelines.report.clips import listed, worst_first
from pipelines.report.curves import curves_of
from pipelines.report.document import document
from pipelines.report.links import Links
from pipelines.report.read_run import ReadRun, read_run
from pipelines.report.sources import sources, stored_references
from pipelines.report.thumbnails import Left, thumbnails

WITH_CURVES = 2000  # films, the worst first: a page is no archive
THUMBNAIL_SECONDS = 300.0  # in which thumbnails are made
WORTH_A_WORD = 50  # files, of which it takes a while to make them
LINK_HOURS = 24.0
_PARTS = Path(__file__).parent / "page"
_SCRIPTS = ("text.js", "marks.js", "cards.js", "detail.js", "filters.js", "saving.js", "page.js")  # the last one runs

Clips = dict[int, dict[str, Any]]  # by row


def write_report(
    layout: OutputLayout,
    run_id: str | None = None,
    page: str | None = None,
    *,
    with_thumbnails: bool = True,
    link_hours: float = LINK_HOURS,
    overwrite: bool = False,
    say: Say = lambda line: None,
) -> str:
    """Write the page of a run, by default of the last one, and return its URI.

    `page` is a resolved URI, by default `report.html` in the run's folder, or for a bucket a file in the current one,
    with links to films that are good for `link_hours`. Raises `WrongUsage` where there is no such run, and for a
    `page` that may not be written.
    """
    run = read_run(layout, run_id)
    run = replace(run, results=worst_first(run.results))
    if page and storage.is_local(page):
        require_writable([Path(page)], [run.manifest] if run.manifest else [], overwrite)
    page = page or _usual_place(layout, run.run_id)
    links = Links(page, layout.output, link_hours * 3600)
    clips: Clips = {clip["row"]: clip for clip in listed(run, layout, links)}
    for row, curves in curves_of(run.results[:WITH_CURVES], layout).items():
        clips[row]["curves"] = curves
    pictures = _with_pictures(clips, run, layout, links, with_thumbnails, say)
    text = page_text(_data(run, layout, links, list(clips.values()), pictures))
    storage.publish_bytes(text, page)
    say(f"report: {storage.redact(page)} ({len(clips)} rows, {len(text) / 1e6:.1f} MB)")
    return page


def _usual_place(layout: OutputLayout, run_id: str) -> str:
    if storage.is_local(layout.output):
        return layout.run(run_id, "report.html")
    return storage.resolve(f"report-{run_id}.html", os.getcwd())


def _with_pictures(
    clips: Clips, run: ReadRun, layout: OutputLayout, links: Links, with_thumbnails: bool, say: Say
) -> list[str]:
    """Put into the clips which of the returned pictures are theirs, or why there are none."""
    references = stored_references(run.results, layout)
    for row, uri in references.items():
        if address := links.of(uri):
            clips[row]["reference_file"] = address
    if not with_thumbnails:
        return []
    files = sources(run, references)
    if len(files) > WORTH_A_WORD:
        say(f"  thumbnails of {len(files)} files, for {THUMBNAIL_SECONDS / 60:g} minutes at most")
    numbers: dict[str, int] = {}
    reasons: Counter[str] = Counter()
    for file, made in zip(files, thumbnails(files, THUMBNAIL_SECONDS), strict=True):
        if isinstance(made, Left):
            reasons[made.reason] += len(file.rows)
            for row in file.rows:
                clips[row][f"{file.kind}_left"] = made.reason
            continue
        for place, row in enumerate(file.rows):
            shown = min(place, len(made.addresses) - 1)
            clips[row][f"{file.kind}_picture"] = numbers.setdefault(made.addresses[shown], len(numbers))
            if file.kind == "driving":
                clips[row]["driving_frame"] = made.frames[shown]
    for reason, count in reasons.most_common(5):
        say(f"  {count} thumbnails left out: {reason}")
    return list(numbers)


def _data(
    run: ReadRun, layout: OutputLayout, links: Links, clips: list[dict[str, Any]], pictures: list[str]
) -> dict[str, Any]:
    now = datetime.now(UTC)
    until = now + timedelta(seconds=links.seconds)
    return {
        "run": run.run_id,
        "output": storage.redact(layout.output),
        "manifest": storage.redact(run.manifest),
        "base": storage.redact(run.base),
        "rows": run.rows,
        "goes_on": run.goes_on,
        "notes": run.notes,
        "made": now.isoformat(timespec="seconds"),
        "good_until": until.isoformat(timespec="seconds") if _origins(clips) else None,
        "less_is_worse": sorted(LESS_IS_WORSE),
        "clips": clips,
        "pictures": pictures,
    }


def page_text(data: dict[str, Any]) -> bytes:
    """The page that shows `data`, in UTF-8."""
    body, style, *scripts = (
        (_PARTS / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *_SCRIPTS)
    )
    return document(f"Catwalk: {data['run']}", body, style, "\n".join(scripts), data, _origins(data["clips"])).encode()


def _origins(clips: list[dict[str, Any]]) -> set[str]:
    """Hosts that films and pictures are linked from."""
    addresses = {clip[name] for clip in clips for name in ("film", "poster", "reference_file") if name in clip}
    return {origin for address in addresses if (origin := Links.origin(address))}
