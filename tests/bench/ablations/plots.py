"""The same as pictures. Needs the extra `bench`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from manifests.clip import Clip
from tests.bench.ablations.films import TRUTH
from tests.bench.ablations.seams import HALF, fade, played, score
from tests.bench.ablations.tables import CONTROL, WHOLE, People, latent_steps
from tests.bench.ablations.variants import (
    Variant,
    four_segments,
    independent_noise,
    segment_borders,
    variants,
    window_borders,
)

mpl.use("Agg")
REACH = 24  # frames before and after a border
NOISES = {"shared": "tab:blue", "independent": "tab:orange"}
HALOS = {0: "tab:red", 8: "tab:orange", 16: "tab:blue"}


def draw_windows(by_noise: Mapping[str, People], clip: Clip, frames: int, file: Path) -> None:
    """Seam scores at window borders over those of films without temporal modules."""
    names = [f"overlap {overlap}" for overlap in (0, 2, 4, 8)] + ["published ring"]
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for (noise, people), every, aside in zip(by_noise.items(), _variants(frames), (-0.2, 0.2), strict=True):
        for at, name in enumerate(names):
            key = WHOLE[noise] if name == f"overlap {clip.overlap}" else _named(noise, name)
            if key in every:
                borders = window_borders(clip, frames, every[key])
                excess = [score(one[key]["step"], one[CONTROL[noise]]["step"], borders).excess for one in people]
                axes.bar(at + aside, np.mean(excess) - 1, 0.38, 1, color=NOISES[noise])
                axes.plot([at + aside] * len(excess), excess, "k.", markersize=4)
        axes.bar(0, 0, bottom=1, color=NOISES[noise], label=f"{noise} noise")
    axes.axhline(1.05, color="grey", linestyle=":", label="goal")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(names)), [name if "ring" in name else f"open, {name}" for name in names])
    axes.set_ylabel("seam at window borders,\nover the film without modules")
    axes.legend()
    _save(figure, file)


def draw_segments(
    by_noise: Mapping[str, People], latents: Mapping[str, Mapping[str, np.ndarray]], frames: int, file: Path
) -> None:
    """Steps around segment borders, over those of the film in one segment."""
    figure, rows = plt.subplots(1, 2 + len(latents), figsize=(4 * (2 + len(latents)), 3.2), layout="constrained")
    offsets = np.arange(-REACH, REACH + 1)
    for axes, (noise, people), every in zip(rows, by_noise.items(), _variants(frames), strict=False):
        for halo, colour in HALOS.items():
            name, whole = _named(noise, f"4 segments, halo {halo}"), WHOLE[noise]
            if name in every:
                borders = segment_borders(frames, every[name].segments)
                curves = [fade(one[name]["step"], one[whole]["step"], borders, REACH) for one in people]
                axes.plot(offsets, np.mean(curves, axis=0), color=colour, label=f"halo {halo}")
        axes.axhline(1.1, color="grey", linestyle=":")
        axes.set_title(f"drawn, {noise} noise")
        axes.set_ylabel("warping error over one segment's")
    for axes, (system, found) in zip(rows[2:], latents.items(), strict=True):
        whole = latent_steps(found["as shipped"])
        for halo, colour in HALOS.items():
            name = f"4 segments, halo {halo}"
            borders = segment_borders(frames, four_segments(frames, halo))
            axes.plot(
                offsets, fade(latent_steps(found[name]), whole, borders, REACH), color=colour, label=f"halo {halo}"
            )
        axes.set_title(f"{system}, tiny random weights")
        axes.set_ylabel("latents' step over one segment's")
    for axes in rows:
        axes.set_xlabel("frames from the border")
        axes.legend()
    _save(figure, file)


def draw_joins(people: People, file: Path) -> None:
    """Steps around the place where a film begins anew, over their median."""
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for name, label in {
        TRUTH: "truth",
        "as shipped": "not closed",
        "loop": "loop",
        "loop, 4 segments, halo 16": "loop, 4 segments",
    }.items():
        around = []
        for person in people:
            again, joins = played(person[name]["step"], float(person[name]["join"][0]))
            near = again[joins[0] - REACH : joins[0] + REACH + 1]
            around.append(near / np.median(np.delete(near, np.arange(REACH - HALF, REACH + HALF + 1))))
        axes.plot(np.arange(-REACH, REACH + 1), np.mean(around, axis=0), label=label)
    axes.axvline(0, color="grey", linestyle=":")
    axes.set_xlabel("frames from the join")
    axes.set_ylabel("warping error over its median")
    axes.legend()
    _save(figure, file)


def _variants(frames: int) -> tuple[dict[str, Variant], dict[str, Variant]]:
    return variants(frames), independent_noise(frames)


def _named(noise: str, name: str) -> str:
    return name if noise == "shared" else f"independent noise, {name}"


def _save(figure: plt.Figure, file: Path) -> None:
    figure.savefig(file, dpi=80)
    plt.close(figure)
