"""`catwalk poses --report`: one HTML page, whole in itself, on how well a person is seen and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from typing import Self

import numpy as np

from pipelines.report.document import document
from pipelines.report.picture import inline
from stages.poses.keypoints import Keypoints
from stages.poses.motion.quality import PoseReport, assess, faults
from stages.poses.motion.repair import repair
from stages.poses.motion.subject import Choice, follow
from stages.poses.motion.timeline import PARTS, Timeline
from stages.poses.wholebody import VISIBLE

PICTURES = 6  # of the worst frames
_ROOM = 0.25  # of a person's size, on each side
_PICTURE_SIDE = 480  # pixels of the longer side, at most
_POINTS = 900  # of a curve, at most: a page is no wider
_MOST_FACELESS = 12  # stretches that are named
_SELDOM = 0.5  # share of the frames below which a part counts as seldom seen

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 260, 40, 10, 10, 30
_COLOURS = {"body": "#1f4e9c", "face": "#b5520b", "left hand": "#2a7d3f", "right hand": "#8a3a9c"}
_BANDS = {"bridged": "#ffe0a3", "empty": "#f6b8b0", "patched": "#e4e9f2"}
_DONE = {
    "bridged": ("nobody found", "repair put the person in, between the frames beside"),
    "empty": ("nobody found", "too long to fill in: left empty"),
    "patched": ("not seen: ", "repair filled the points in"),
}
_LIMITS = (
    "<p>Hard for any estimator: people who hide each other, backs of heads, hands that are small or blurred, limbs "
    "outside the picture. Where the estimator <i>people</i> does not do, DWPose may: see stages/poses/README.md.</p>"
)
_STYLE = """
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1.15rem; margin-top: 2rem; } svg { width: 100%; height: auto; }
.good, .bad { padding: .6rem .9rem; border-left: .3rem solid; }
.good { border-color: #2a7d3f; background: #eef7f0; } .bad { border-color: #b3261e; background: #fcefee; }
.key span { margin-right: 1.2rem; white-space: nowrap; }
.key i { display: inline-block; width: 1.1rem; height: .6rem; margin-right: .4rem; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; } figcaption { font-size: .85rem; }
"""


@dataclass(frozen=True)
class Findings:
    """What the page is about: one person in one video."""

    video: str  # its name
    estimator: str
    timeline: Timeline
    report: PoseReport
    seconds: Sequence[float]  # of every frame

    @classmethod
    def of(
        cls,
        video: str,
        estimator: str,
        keypoints: Keypoints,
        seconds: Sequence[Fraction],
        fps: Fraction,
        choose: Choice,
    ) -> Self:
        """Follow the person that `choose` means through keypoints of everyone, and judge them."""
        found = follow(keypoints, float(fps), choose)
        repaired, repairs = repair(found.subject, float(fps))
        report = assess(found, float(fps), repaired, repairs)
        return cls(video, estimator, Timeline(found.subject, repaired), report, [float(second) for second in seconds])

    @property
    def worst(self) -> list[int]:
        """Frames of which the page shows pictures."""
        return self.timeline.worst(PICTURES, self.report.fps)

    @property
    def summary(self) -> str:
        """The page in a line."""
        broken = faults(self.report)
        return f"a film would be rejected: {broken[0].error}" if broken else "good enough to animate from"


def page(findings: Findings, pictures: Mapping[int, np.ndarray]) -> str:
    """The page; `pictures` are uint8 (height, width, 3) by number of the frame."""
    body = "\n".join(
        [
            f"<h1>Poses found in {escape(findings.video)}</h1>",
            *_verdict(findings),
            "<h2>Confidence over time</h2>",
            _key(),
            _chart(findings),
            "<h2>What was missing, and what was done</h2>",
            *_stretches(findings),
            "<h2>Worst frames</h2>",
            *_figures(findings, pictures),
            _LIMITS,
            "<h2>In numbers</h2>",
            *_numbers(findings),
        ]
    )
    return document(f"Poses in {findings.video}", body, _STYLE + _key_style())


def _verdict(findings: Findings) -> Iterator[str]:
    broken = faults(findings.report)
    if not broken:
        yield '<p class="good">Good enough to animate from, by the rules that films are held to.</p>'
    for fault in broken:
        yield f'<p class="bad"><b>A film would be rejected:</b> {escape(fault.error)}: {escape(fault.remedy)}.</p>'
    if advice := list(_advice(findings)):
        yield "<ul>"
        yield from (f"<li>{escape(seen)}: {escape(remedy)}.</li>" for seen, remedy in advice)
        yield "</ul>"


def _advice(findings: Findings) -> Iterator[tuple[str, str]]:
    """(what is weak, what to do) for what breaks no rule."""
    timeline, report, seconds = findings.timeline, findings.report, findings.seconds
    present = int(timeline.present.sum())
    if not present:
        return
    seen = {part: int((timeline.confidence(part)[timeline.present] > VISIBLE).sum()) for part in PARTS}
    hands = [part for part in ("left hand", "right hand") if seen[part] < _SELDOM * present]
    for part in hands:
        yield (
            f"the {part} is seen in {seen[part]} of {present} frames",
            "film closer, with more light or a shorter exposure: hands below 25 pixels, or blurred, are not found",
        )
    if seen["face"] < _SELDOM * present:
        remedy = "a person seen from behind has none, and films of that are fine; else film from the front, closer"
        yield f"the face is seen in {seen['face']} of {present} frames", remedy
    if report.truncated > _SELDOM:
        remedy = "keep the whole person in the picture where the film is to show legs and feet"
        yield f"part of the body is outside the picture in {_percent(report.truncated)} of the frames", remedy
    if report.people > 1:
        remedy = "the one who stays longest is followed; --subject largest or central chooses another"
        yield f"{report.people} people are there for a while", remedy
    for doubt in report.doubts:
        when = _when(doubt["first"], doubt["last"], seconds)
        yield f"the person may have been mistaken for another {when}", "look at the film there; avoid that people cross"


def _key() -> str:
    lines = [f'<span><i class="{part.replace(" ", "-")}"></i>{part}</span>' for part in _COLOURS]
    told = {"bridged": "nobody found, filled in", "empty": "nobody found", "patched": "part of the body filled in"}
    lines += [f'<span><i class="{kind}"></i>{text}</span>' for kind, text in told.items()]
    return f'<p class="key">{"".join(lines)}<span>- - below this, a point counts as not seen</span></p>'


def _key_style() -> str:
    colours = (_COLOURS | _BANDS).items()
    return "".join(f".key .{name.replace(' ', '-')} {{ background: {colour}; }}\n" for name, colour in colours)


def _chart(findings: Findings) -> str:
    timeline, seconds = findings.timeline, findings.seconds
    end = _end(seconds, findings.report.fps)
    across, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(second: float) -> float:
        return round(_LEFT + across * second / end, 1)

    def y(score: float) -> float:
        return round(_TOP + down * (1 - min(score, 1.0)), 1)

    parts = []
    for stretch in sorted(timeline.stretches(), key=lambda one: one.kind != "patched"):
        left, right = x(seconds[stretch.first]), x(_after(stretch.last, seconds, end))
        shape = f'x="{left}" y="{_TOP}" width="{max(1.0, right - left):.1f}" height="{down}"'
        parts.append(f'<rect {shape} fill="{_BANDS[stretch.kind]}"/>')
    for score in (0, 0.5, 1):
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(score)}" y2="{y(score)}" stroke="#ccd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(score) + 4}" text-anchor="end">{score:g}</text>')
    dashes = 'stroke="#667" stroke-dasharray="4 4"'
    parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(VISIBLE)}" y2="{y(VISIBLE)}" {dashes}/>')
    ticks = [(x(second), f"{second:g} s") for second in _ticks(end)]
    parts += [f'<text x="{at}" y="{_HEIGHT - 10}" text-anchor="middle">{text}</text>' for at, text in ticks]
    for part, colour in _COLOURS.items():
        curve = timeline.confidence(part)
        places = [(seconds[frame], _after(frame, seconds, end), float(curve[frame])) for frame in _lowest(curve)]
        points = " ".join(f"{x(at)},{y(score)} {x(until)},{y(score)}" for at, until, score in places)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    label = "Confidence of body, face and hands over time, from 0 to 1"
    style = 'font-family="system-ui, sans-serif" font-size="12" fill="#444"'
    head = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}"><g {style}>'
    return f"{head}{''.join(parts)}</g></svg>"


def _lowest(curve: np.ndarray) -> Iterator[int]:
    """Frames to draw: all, or of a long video the lowest of every few, so that no dip is lost."""
    step = -(-len(curve) // _POINTS)
    for start in range(0, len(curve), step):
        yield start + int(curve[start : start + step].argmin())


def _ticks(end: float) -> list[float]:
    """Round seconds from 0 to the end, ten at most."""
    step = next(
        s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600) if end / s <= 10 or s == 3600
    )
    return [round(number * step, 1) for number in range(int(end / step) + 1)]


def _stretches(findings: Findings) -> Iterator[str]:
    if faceless := findings.timeline.faceless:
        some = ", ".join(_when(first, last, findings.seconds) for first, last in faceless[:_MOST_FACELESS])
        more = f" and {len(faceless) - _MOST_FACELESS} times more" if len(faceless) > _MOST_FACELESS else ""
        yield (
            f"<p>The person is there without a face {escape(some)}{more}: <i>wan_animate</i> reads expressions "
            "of where it was last, or none.</p>"
        )
    stretches = findings.timeline.stretches()
    if not stretches:
        yield "<p>Nothing that repair could fill in.</p>"
        return
    yield "<table><tr><th>When</th><th>What</th><th>Done</th></tr>"
    for stretch in stretches[:60]:
        what, done = _DONE[stretch.kind]
        cells = _when(stretch.first, stretch.last, findings.seconds), what + ", ".join(stretch.limbs), done
        yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
    yield "</table>"
    if len(stretches) > 60:
        yield f"<p>… and {len(stretches) - 60} more.</p>"


def _figures(findings: Findings, pictures: Mapping[int, np.ndarray]) -> Iterator[str]:
    timeline = findings.timeline
    confidence = timeline.confidence("body")
    yield '<div class="frames">'
    for frame, picture in sorted(pictures.items()):
        unseen = timeline.unseen(frame)
        what = f"confidence {confidence[frame]:.2f}" + (f"; not seen: {', '.join(unseen)}" if unseen else "")
        told = what if timeline.present[frame] else "nobody found"
        text = escape(f"{findings.seconds[frame]:.2f} s, frame {frame}: {told}")
        image = f'<img alt="{text}" src="{inline(_around(timeline, frame, picture), _PICTURE_SIDE)}">'
        yield f"<figure>{image}<figcaption>{text}</figcaption></figure>"
    yield "</div>"


def _numbers(findings: Findings) -> Iterator[str]:
    report, repairs = findings.report, findings.report.repairs
    exchanged = sum(repairs.get("exchanged", {}).values())
    size = f"{findings.timeline.found.width}×{findings.timeline.found.height}"
    rows = {
        "Video": f"{report.frames} frames, {size}, {report.fps:.5g} per second",
        "Estimator": findings.estimator,
        "Person found in": f"{report.present} of {report.frames} frames; longest gap {report.longest_gap}",
        "People": f"{report.people} for a tenth of the video or longer, {report.most_people} at once",
        "Confidence": f"{report.confidence:.2f}; in the weakest tenth of the frames {report.confidence_low:.2f}",
        "Joints seen": _percent(report.visible),
        "Jitter": f"{_percent(report.jitter)} of the body's size as found, {_percent(report.jitter_left)} after repair",
        "Filled in": f"{repairs.get('filled_frames', 0)} frames, {repairs.get('filled_points', 0)} points elsewhere",
        "Taken for errors": f"{repairs.get('outliers', 0)} points; left and right exchanged in {exchanged} frames",
    }
    yield "<table>"
    yield from (f"<tr><th>{name}</th><td>{escape(text.replace('nan', '–'))}</td></tr>" for name, text in rows.items())
    yield "</table>"


def _when(first: int, last: int, seconds: Sequence[float]) -> str:
    if first == last:
        return f"at {seconds[first]:.2f} s (frame {first})"
    return f"from {seconds[first]:.2f} s to {seconds[last]:.2f} s (frames {first}–{last})"


def _after(frame: int, seconds: Sequence[float], end: float) -> float:
    return seconds[frame + 1] if frame + 1 < len(seconds) else end


def _end(seconds: Sequence[float], fps: float) -> float:
    return seconds[-1] + 1 / fps


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _around(timeline: Timeline, frame: int, picture: np.ndarray) -> np.ndarray:
    """The part of a picture around its person, with room beside; all of it where nobody was found."""
    box = timeline.found.boxes[frame, 0]
    if not np.isfinite(box).all():
        return picture
    height, width, _ = picture.shape
    room = _ROOM * max(box[2:] - box[:2])
    left, top = np.clip(box[:2] - room, 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(box[2:] + room, [left + 1, top + 1], [width, height]).astype(int)
    return picture[top:bottom, left:right]
