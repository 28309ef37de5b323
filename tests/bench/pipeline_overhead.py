"""Seconds the pipeline adds per clip over a bare loop of `latents` + `frames` + encode on the same clips.

    python -m tests.bench.pipeline_overhead [--clips N] [--size PIXELS] [--steps N]

Both run in this one invocation, with the same tiny weights, threads and clips; the loop goes first, then the pipeline,
then the loop again, so that a machine that slows down shows. Poses and references are stored before either begins.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from manifests.layout import OutputLayout
from manifests.work import Work
from pipelines.animate import run
from pipelines.configuration import RunConfig
from stages.diffusion.animator import Segment
from stages.diffusion.animators import load_animator
from stages.video.encode import EncodeRecipe
from stages.video.film import write_film
from tests.made.sample_media import CHECKPOINT, clip_row, write_driving, write_manifest, write_reference
from tests.made.seam import frames_of, latents_of


def bare_loop(rows: list[dict], folder: Path, frames: int) -> float:
    """Seconds for all clips in one process with the model already loaded."""
    animator = load_animator("magicanimate", CHECKPOINT, "cpu", torch.float32)
    clips = [resolved(row, frames) for row in rows]
    generator = np.random.default_rng(0)
    begun = time.perf_counter()
    for work in clips:
        shape = (work.clip.height, work.clip.width, 3)
        reference = generator.integers(0, 255, shape, dtype=np.uint8)
        poses = generator.integers(0, 255, (frames, *shape), dtype=np.uint8)
        latents = latents_of(animator, work.clip, reference, poses, Segment(0, frames))
        write_film(
            folder / "f.mp4", folder / "f.jpg", frames_of(animator, latents, work.clip), Fraction(25), EncodeRecipe()
        )
    return time.perf_counter() - begun


def resolved(row: dict, frames: int) -> Work:
    """A row's clip with the defaults that validation would fill in."""
    from manifests.clip import Clip

    clip = Clip.model_validate(row).model_copy(
        update={"guidance": (7.5,), "window": 16, "overlap": 4, "fps": Fraction(25), "fit": "cover"}
    )
    return Work(row=0, clip=clip, frames=frames)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--frames", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_reference(folder / "reference.png")
        write_driving(folder / "driving.mp4", frames=options.frames)
        size = {"width": options.size, "height": options.size, "steps": options.steps}
        rows = [clip_row(f"c{seed}", seed=seed, **size) for seed in range(options.clips)]
        manifest = write_manifest(folder / "m.parquet", rows)
        before = bare_loop(rows, folder, options.frames)
        config = RunConfig.load(None, {"checkpoints": {"magicanimate": str(CHECKPOINT)}})
        begun = time.perf_counter()
        outcome = run(config, manifest, str(folder / "out"))
        wall = time.perf_counter() - begun
        after = bare_loop(rows, folder, options.frames)
        assert outcome.exit_code == 0, outcome.summary
        assert len(OutputLayout(str(folder / "out")).finished_films()) == options.clips
    bare = (before + after) / 2
    started = min(result.started for result in outcome.results)
    finished = max(result.finished for result in outcome.results)
    loading = max(result.seconds["load"] for result in outcome.results)
    flowing = (finished - started).total_seconds() - loading
    per = options.clips
    print(f"clips {per} × {options.frames} frames, {options.size}², {options.steps} steps, {os.cpu_count()} cores")
    print(f"bare loop     {before:6.1f} s and {after:.1f} s: {bare / per:.3f} s per clip")
    print(f"pipeline      {wall:6.1f} s, of which {wall - flowing:.1f} s starting up (Ray, reading, validation, model)")
    print(f"flowing       {flowing:6.1f} s: {flowing / per:.3f} s per clip, ratio {flowing / bare:.3f} to the loop")
    added, whole = (flowing - bare) / per, (wall - bare) / per
    print(f"added         {added:6.3f} s per clip while flowing, {whole:.3f} s with start-up")


if __name__ == "__main__":
    main()
