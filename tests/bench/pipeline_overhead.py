"""Processor seconds that the pipeline spends around the network, for a clip and for a frame.

    python -m tests.bench.pipeline_overhead [--clips N] [--frames N] [--size PIXELS]

Counted are all processes: the driver, Ray's, the workers, their ffmpeg; so another load on the machine hardly shows.
Every one has one thread. The animator paints the pose over the reference, which costs next to nothing, and does the
same in a bare loop that encodes what it paints: what a clip takes beyond the loop is the pipeline's, quality metrics
included. Runs of N and of 4 N clips in one session, of films of one length and of four times that, tell what is for a
run, for a clip and for a frame.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import threading
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import ray
import torch

from cluster.connection import connect
from manifests.clip import Clip
from pipelines.animate import run
from pipelines.configuration import RunConfig
from stages.diffusion.animator import Driving, Segment
from stages.video.encode import EncodeRecipe
from stages.video.film import write_film
from stages.video.read import Frames
from tests.chaos.painted import IMPLEMENTATION, NAME, Painted
from tests.made.sample_media import write_driving, write_manifest, write_reference

MORE = 4
FPS = Fraction(25)


class Night(NamedTuple):
    """Processor seconds of all processes, and those of its rows in the workers that make films."""

    whole: float
    in_worker: float


class Meter:
    """Processor seconds of this process and of all below it, those that have ended too."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, float], float] = {}  # by process, so its end takes nothing back
        threading.Thread(target=self._look_again, daemon=True).start()

    def used(self) -> float:
        """So far."""
        this = psutil.Process()
        self._note(this, 4)
        for own in this.children():
            # Ray's own process forgets what its workers used, who count what they have started
            self._note(own, 2)
            for worker in _children(own):
                self._note(worker, 4)
        return sum(dict(self._known).values())

    def _note(self, process: psutil.Process, parts: int) -> None:
        """`parts`: user and system, and of ended children user and system."""
        with suppress(psutil.Error):
            self._known[process.pid, process.create_time()] = sum(process.cpu_times()[:parts])

    def _look_again(self) -> None:
        while True:
            self.used()
            time.sleep(0.5)


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children()
    return []


def rows(clips: int, frames: int, size: int) -> list[dict[str, Any]]:
    return [
        {"id": f"clip-{number}", "reference": "reference.png", "driving": f"driving{frames}.mp4", "seed": number,
         "driving_kind": "skeleton", "animator": NAME, "width": size, "height": size}
        for number in range(clips)
    ]  # fmt: skip


def bare(folder: Path, frames: int, size: int, clips: int, meter: Meter) -> float:
    """Processor seconds of a clip that is painted and encoded, and nothing else."""
    from stages.video.image import read_image
    from stages.video.limits import Limits

    poses = list(Frames(folder / f"driving{frames}.mp4", Limits()).read())
    reference, painter = read_image(folder / "reference.png", Limits()), Painted()
    begun = meter.used()
    for row in rows(clips, frames, size):
        clip, segment = Clip.model_validate(row), Segment(0, frames)
        made = painter.segment(clip, reference, Driving(poses), segment)
        pictures = painter.frames([(segment, made.latents)], clip)
        write_film(folder / "bare.mp4", folder / "bare.jpg", pictures, FPS, EncodeRecipe())
    return (meter.used() - begun) / clips


def night(folder: Path, clips: int, frames: int, size: int, config: RunConfig, meter: Meter) -> Night:
    """A run of its own, whose poses are there."""
    manifest = write_manifest(folder / f"{clips}-{frames}.parquet", rows(clips, frames, size))
    begun = meter.used()
    outcome = run(config, manifest, str(folder / f"out-{clips}-{frames}"))
    assert outcome.exit_code == 0, outcome.summary
    return Night(meter.used() - begun, sum(result.cpu_seconds or 0.0 for result in outcome.results))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    clips, size = options.clips, options.size
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    torch.set_num_threads(1)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    workers = {f"{stage}_pool": {"size": 1} for stage in ("pose", "inputs")}
    config = RunConfig.load(
        None, {"animators": {NAME: IMPLEMENTATION}, **workers, "animate_pool": {"size": 1, "threads": 1}}
    )
    loops, around, meter = [], [], Meter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_reference(folder / "reference.png")
        connect()
        try:
            for frames in (options.frames, MORE * options.frames):
                write_driving(folder / f"driving{frames}.mp4", frames=frames, fps=FPS)
                few, many = (night(folder, count, frames, size, config, meter) for count in (clips, MORE * clips))
                loops.append(bare(folder, frames, size, clips, meter))
                whole, worker = (np.subtract(many, few) / ((MORE - 1) * clips)).tolist()
                around.append(whole - loops[-1])
                print(
                    f"{frames} frames of {size}², processor seconds of a clip: bare {loops[-1]:.3f}, "
                    f"pipeline {whole:.3f} ({worker:.3f} in the worker that makes it), so around it {around[-1]:.3f}; "
                    f"a run {few.whole - clips * whole:.1f}",
                    flush=True,
                )
        finally:
            ray.shutdown()
    of_frame = (around[1] - around[0]) / ((MORE - 1) * options.frames)
    of_clip = around[0] - of_frame * options.frames
    print(f"around the network: {1000 * of_clip:.0f} ms for a clip and {1000 * of_frame:.2f} ms for a frame")


if __name__ == "__main__":
    main()
