"""What was measured, as Markdown: means over people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from manifests.clip import Clip
from tests.bench.ablations.films import TRUTH, Measured
from tests.bench.ablations.latents import latent_variants
from tests.bench.ablations.seams import Score, fade, played, score
from tests.bench.ablations.variants import Variant, segment_borders, window_borders

People = Sequence[Mapping[str, Measured]]
# by noise: the film as a whole, and that in which no frame knows of another
WHOLE = {"shared": "as shipped", "independent": "independent noise"}
CONTROL = {"shared": "without temporal modules", "independent": "independent noise, without temporal modules"}


def closeness(people: People, names: Iterable[str]) -> str:
    """How close films are to the truth, and how steady."""
    columns: dict[str, Callable[[Measured], float]] = {
        "PSNR dB": lambda one: float(one["psnr"].mean()),
        "worst frame dB": lambda one: float(one["psnr"].min()),
        "SSIM": lambda one: float(one["ssim"].mean()),
        "warping error ‰": lambda one: 1000 * float(np.nanmean(one["warping"])),
        "flicker %": lambda one: float(np.nanmean(one["flicker"])),
        "garment ΔE00": lambda one: float(np.nanmean(one["garment"])),
        "drift of it": drift,
    }
    rows = {name: [_mean(of(person[name]) for person in people) for of in columns.values()] for name in names}
    return _table(["", *columns], rows)


def drift(film: Measured) -> float:
    """By how much the garment's colour is farther from the reference in the last quarter than in the first."""
    quarters = np.array_split(film["garment"], 4)
    return float(np.nanmean(quarters[-1]) - np.nanmean(quarters[0]))


def at_windows(people: People, clip: Clip, frames: int, every: Mapping[str, Variant]) -> str:
    """Seam scores where windows begin and end."""
    rows = {}
    for name, variant in every.items():
        if variant.segments is not None or variant.fields.get("loop") or variant.options.get("motion") is False:
            continue
        borders = window_borders(clip, frames, variant)
        control = CONTROL[variant.options.get("noise", "shared")]
        scores = [score(person[name]["step"], person[control]["step"], borders) for person in people]
        rows[name] = [len(borders), *_means(scores)]
    return _table(["", "borders", "seam", "same frames without windows", "seam over that"], rows)


def at_segments(people: People, frames: int, every: Mapping[str, Variant]) -> str:
    """Seam scores where segments meet, and the worst step of the frames that are faded."""
    rows = {}
    for name, variant in every.items():
        if variant.segments is None:
            continue
        borders = segment_borders(frames, variant.segments)
        whole = "loop" if variant.fields.get("loop") else WHOLE[variant.options.get("noise", "shared")]
        scores = [score(person[name]["step"], person[whole]["step"], borders) for person in people]
        reach = max(variant.segments.halo, 1)
        faded = np.mean(
            [fade(person[name]["step"], person[whole]["step"], borders, reach) for person in people], axis=0
        )
        worse = [person[whole]["psnr"].mean() - person[name]["psnr"].mean() for person in people]
        rows[name] = [*_means(scores), float(faded.max()), float(np.mean(worse))]
    head = ["", "seam", "same frames in one segment", "seam over that", "worst faded step over one segment", "dB lost"]
    return _table(head, rows)


def at_joins(people: People) -> str:
    """Seam scores of films that are played three times, where they begin anew."""
    rows = {}
    for name in ("as shipped", "loop", "loop, 4 segments, halo 16"):
        scores = []
        for person in people:
            again, joins = played(person[name]["step"], float(person[name]["join"][0]))
            truth, _ = played(person[TRUTH]["step"], float(person[TRUTH]["join"][0]))
            scores.append(score(again, truth, joins))
        ends = [np.r_[person[name]["psnr"][:4], person[name]["psnr"][-4:]].mean() for person in people]
        rows[name] = [*_means(scores), max(one.excess for one in scores), float(np.mean(ends))]
    head = ["", "seam at the join", "truth's", "seam over that", "worst person", "PSNR of first and last 4 frames"]
    return _table(head, rows)


def in_latents(latents: Mapping[str, np.ndarray], clip: Clip, frames: int) -> str:
    """The same for latents, of which a step is the mean difference."""
    steps = {name: latent_steps(one) for name, one in latents.items()}
    rows = {}
    for name, variant in latent_variants(frames).items():
        borders = segment_borders(frames, variant.segments) or window_borders(clip, frames, variant)
        scores = score(steps[name], steps["as shipped"], borders)
        apart = latents[name] - latents["as shipped"]
        rows[name] = [
            *(scores.here, scores.without, scores.excess),
            float(np.sqrt((apart[borders] ** 2).mean())),
            float(np.sqrt((apart**2).mean())),
        ]
    head = ["", "seam", "same frames as shipped", "seam over that", "apart at borders", "apart on the whole"]
    return _table(head, rows)


def latent_steps(latents: np.ndarray) -> np.ndarray:
    """(frames,): mean absolute difference to the frame before."""
    return np.append(np.nan, np.abs(np.diff(latents, axis=0)).mean(axis=(1, 2, 3)))


def _means(scores: Sequence[Score]) -> list[float]:
    return [
        _mean(one.here for one in scores),
        _mean(one.without for one in scores),
        _mean(one.excess for one in scores),
    ]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _table(head: Sequence[str], rows: Mapping[str, Sequence[float]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {name} | {' | '.join(f'{value:.4g}' for value in values)} |" for name, values in rows.items()]
    return "\n".join(lines) + "\n"
