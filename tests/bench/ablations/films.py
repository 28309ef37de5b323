"""Films of every variant, and what is measured of each frame; kept as files, so that nothing is made twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.bundled import bundled
from stages.diffusion.animators import load_animator
from stages.video.quality.film_quality import FilmQuality, metrics_of
from stages.video.quality.frame import Frame
from stages.video.quality.outline import Outline, outline_of_points
from stages.video.quality.truth import psnr, ssim
from tests.bench.ablations.people import HEIGHT, WIDTH, Sample, sample
from tests.bench.ablations.variants import Variant, parts_of
from tests.made.faults import TORSO

TRUTH = "truth"
Measured = dict[str, np.ndarray]  # float32 (frames,) by measure; NaN where a frame has none


def measured(film: np.ndarray, made: Sample) -> Measured:
    """Of every frame of a film.

    step: warping error into it, of 1, with its brightness, `warping`: without; jump: how much the error against the
    truth changes, of 1; psnr in dB and ssim to the truth; garment: ΔE00 of the torso to the reference's; flicker in
    per cent. `join` (1,): the step from the last frame to the first.
    """
    outlines: list[Outline] = [
        outline_of_points(points[points[:, 2] > 0, :2], (WIDTH, HEIGHT), points[TORSO, :2].astype(np.float32))
        for points in made.keypoints
    ]
    metrics = metrics_of(made.clip.fps, made.reference, made.torso, borders=[1])
    quality = FilmQuality(metrics, outlines.__getitem__)
    for _ in quality.of([film]):
        pass
    figures = quality.figures
    curves = {"step": "seam", "warping": "warping_error", "garment": "garment", "flicker": "flicker"}
    found = {name: _filled(figures[metric].curve, len(film)) for name, metric in curves.items() if metric in figures}
    error = film.astype(np.float32) - made.truth
    found["jump"] = np.append(np.nan, np.abs(np.diff(error, axis=0)).mean(axis=(1, 2, 3)) / 255)
    found["psnr"] = np.array([psnr(*pair) for pair in zip(film, made.truth, strict=True)])
    found["ssim"] = np.array([ssim(*pair) for pair in zip(film, made.truth, strict=True)])
    join = Frame(0, film[0], Frame(0, film[-1])).warping
    found["join"] = np.array([np.nan if join is None else join.step])
    return {name: values.astype(np.float32) for name, values in found.items()}


def _filled(curve: Any, frames: int) -> np.ndarray:
    values = np.full(frames, np.nan, np.float32)
    values[: len(curve)] = curve.values
    return values


def measure(person: str, frames: int, name: str, variant: Variant | None, kept: Path) -> None:
    """Make and measure one person in one variant, or the truth, unless that is done."""
    torch.set_num_threads(1)
    file = _file(kept, person, frames, name)
    if file.exists():
        return
    made = sample(person, frames)
    film = made.truth if variant is None else film_of(made, variant)
    part = file.with_name(f"part-{file.name}")
    np.savez(part, **measured(film, made))
    part.rename(file)
    print(f"{time.strftime('%X')} {file.stem}", file=sys.stderr, flush=True)


def film_of(made: Sample, variant: Variant) -> np.ndarray:
    """uint8 (frames, height, width, 3)."""
    animator = load_animator("drawn", Path(bundled("bundled:drawn")), "cpu", torch.float32)
    parts = parts_of(animator, made.clip, made.reference, made.poses, variant)
    return np.concatenate(list(animator.frames(parts, variant.of(made.clip))))


def kept_measures(people: Iterable[str], frames: int, names: Iterable[str], kept: Path) -> list[dict[str, Measured]]:
    """Of each person, by variant; with the truth."""
    return [{name: dict(np.load(_file(kept, person, frames, name))) for name in (TRUTH, *names)} for person in people]


def _file(kept: Path, person: str, frames: int, variant: str) -> Path:
    return kept / f"{person}, {frames} frames, {variant}.npz"
