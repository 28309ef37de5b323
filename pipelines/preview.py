"""`catwalk preview`: a few frames of a clip before its film is paid for, on one page with what they are drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from manifests import storage
from manifests.errors import Problem, WrongUsage
from manifests.result_warnings import result_warnings
from manifests.temporary import temporary_folder
from manifests.work import Work
from pipelines.animator_choice import with_animator, with_what_works
from pipelines.clip import StageChain, require_fields, require_values
from pipelines.configuration import RunConfig
from pipelines.output_files import require_writable
from pipelines.planning.look import rows_of
from pipelines.progress import Say, clock
from pipelines.report.document import document
from pipelines.report.picture import inline
from pipelines.settings import require_animators, require_device
from stages.driving import as_drawn, shown_frames
from stages.progress import Told, silent
from stages.sandbox.reading import Frames
from stages.video.image import fit
from stages.video.limits import Limits

if TYPE_CHECKING:
    from stages.animate import Stills

SIDE = 480  # pixels of a picture's longer side on the page, at most

_STYLE = """
body { max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
.warned { padding: .6rem .9rem; border-left: .3rem solid var(--bad); background: #fcefee; }
.strip { overflow-x: auto; } .strip img { height: 15rem; display: block; }
.strip td { padding: .2rem .4rem .2rem 0; } .strip th { white-space: nowrap; vertical-align: middle; }
.strip tr:last-child td { font-size: .85rem; color: var(--faint); }
"""


class Preview(NamedTuple):
    """What the page shows."""

    work: Work  # as it is drawn
    numbers: list[int]  # of the frames
    stills: Stills
    filmed: list[np.ndarray]  # the driving video's frames; none where it shows no person


def row_of(manifest: str, named: str | None) -> dict[str, Any]:
    """The fields of a manifest's row, by its id or number; by default the first. Raises `WrongUsage`."""
    numbered: dict[str, Any] | None = None
    for number, fields in rows_of(manifest):
        if named is None or named == str(fields.get("id")):
            return fields
        if named == str(number):
            numbered = fields  # unless a later row has that id
    if numbered is not None:
        return numbered
    raise WrongUsage(f"row {named!r} is not in {storage.redact(manifest)}", "give a row's id, or its number from 0")


def preview(
    config: RunConfig,
    fields: dict[str, Any],
    page: Path,
    say: Say,
    manifest: str | None = None,
    frames: int = 6,
    cache: str | None = None,
    overwrite: bool = False,
    told: Told = silent,
) -> Preview:
    """Draw some of a clip's frames, spread over it, and write the page.

    `fields` are those of a row, of the `manifest` if one is given. Raises `WrongUsage` as `make_clip` does, `Problem`
    for what its film would fail at.
    """
    if frames < 1:
        raise WrongUsage(f"--frames {frames}", "give 1 or more")
    read = [fields[name] for name in ("reference", "driving", "mask", "lora", "checkpoint") if fields.get(name)]
    require_writable([page], read, overwrite)
    require_fields(fields)
    require_animators(config)
    fields = with_animator(config, fields, say)
    require_values(fields)
    require_device(config.animate_pool.device)
    with temporary_folder("preview") as scratch:
        chain = StageChain(config.model_copy(update={"cache": cache}), str(scratch), told, manifest)
        try:
            work = chain.work(fields)
        except Problem as problem:
            raise with_what_works(problem, config, fields) from None
        made = drawn(chain, work, frames, scratch, config.limits)
    page.write_text(document(f"Preview of {work.clip.id}", "\n".join(body(made)), _STYLE), encoding="utf-8")
    whole = made.stills.seconds / len(made.numbers) * (work.drawn or work.frames)
    say(f"{page}: {len(made.numbers)} of {work.frames} frames, drawn in {clock(made.stills.seconds)}")
    say(f"at this pace the whole film takes about {clock(whole)} on this machine, more or less")
    for warning in result_warnings(work, made.stills.report):
        say(f"warning: {warning}")
    return made


def drawn(chain: StageChain, work: Work, frames: int, scratch: Path, limits: Limits) -> Preview:
    """Draw `frames` of a clip's frames, or all of a shorter one's."""
    chain.prepare(work)
    as_made = as_drawn(work)
    numbers = sorted({round(at) for at in np.linspace(0, as_made.frames - 1, min(frames, as_made.frames))})
    stills = chain.animate().stills(work, numbers)
    filmed: list[np.ndarray] = []
    if work.driving is not None and work.clip.driving_kind == "video":
        video = Frames(storage.fetch(work.driving.uri, scratch, limits.bytes), limits)
        shown = shown_frames(as_made.clip, video.timestamps, video.facts.fps)
        filmed = list(video.read([shown[number] for number in numbers]))
    return Preview(as_made, numbers, stills, filmed)


def body(made: Preview) -> Iterator[str]:
    """The page's body."""
    work, stills = made.work, made.stills
    clip = work.clip
    width, height = cast(int, clip.width), cast(int, clip.height)
    yield f"<h1>Preview of {escape(clip.id)}</h1>"
    rate = float(clip.fps or 0)
    yield f"<p>{escape(clip.animator)}, {width}×{height}, {work.frames} frames at {rate:.5g} per second, "
    yield f"{clip.steps} steps, fit {escape(clip.fit or 'cover')}. Each frame is drawn by itself, so the motion's own "
    yield "part is not in it; a film's frames hold together better, and may differ in detail.</p>"
    for warning in result_warnings(work, stills.report):
        yield f'<p class="warned">{escape(warning)}</p>'
    if stills.reference is not None:
        fitted = fit(stills.reference, width, height, clip.fit or "cover")
        yield f'<h2>Reference, as the film is shaped</h2><img alt="reference" src="{inline(fitted, SIDE)}">'
    rows = {"filmed": made.filmed, "pose": [_as_picture(pose) for pose in stills.poses], "drawn": stills.drawn}
    yield '<h2>Frames</h2><div class="strip"><table>'
    for name, pictures in rows.items():
        if pictures:
            yield f"<tr><th>{name}</th>{''.join(_cells(name, made.numbers, pictures))}</tr>"
    times = (f"<td>frame {number}, {float(number / (clip.fps or 1)):.2f} s</td>" for number in made.numbers)
    yield f"<tr><th></th>{''.join(times)}</tr></table></div>"


def _cells(name: str, numbers: Sequence[int], pictures: Sequence[np.ndarray]) -> Iterator[str]:
    for number, picture in zip(numbers, pictures, strict=True):
        yield f'<td><img alt="{name}, frame {number}" src="{inline(picture, SIDE)}"></td>'


def _as_picture(pose: np.ndarray) -> np.ndarray:
    """A pose as a person can look at it: DensePose's U and V as red and green."""
    if pose.dtype == np.uint8:
        return pose
    blue = np.zeros_like(pose[0])
    return (np.stack([*pose, blue], axis=-1) * 255).round().astype(np.uint8)
