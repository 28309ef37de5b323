"""The product beside the frozen baseline (`tests/bench/published`) and diffusers' AnimateDiffControlNetPipeline.

    python -m tests.bench.side_by_side [--width mid] [--size 128 128] [--frames 16 32 64 128] [--device cpu]

All on the same random weights, one after the other and in another order each time: ratios are medians of pairs. On a
CPU seconds are CPU seconds and memory is resident memory, each contender's in a process of its own, forked from one
that has made the networks alone; on CUDA seconds are the device's, synchronised, and memory is what is allocated.
Memory is told beside the weights and what else was there. Baseline and product must draw one film; diffusers another
(no reference, other norms). Operations are counted on the meta device with the code that is timed; "measured/counted"
is the ratio of seconds over that of operations.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch

from stages.diffusion.acceleration import DEFAULT, Acceleration
from tests.bench.side_by_side.contenders import Contender, Task, contenders
from tests.bench.side_by_side.counting import decoding, denoising
from tests.bench.side_by_side.measuring import Figures, Meter, decoded, denoised, psnr
from tests.bench.side_by_side.widths import WIDTHS

NAMES = ("published", "diffusers", "ours")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SAME = {torch.float32: 60.0, torch.float16: 40.0, torch.bfloat16: 30.0}  # dB at which two films are the same
CLOSE = 1e-3  # latents in float32, of a spread of about 1


class Compared:
    """All runs of one length."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.runs: dict[str, list[Figures]] = {}
        self.difference: float = float("nan")
        self.psnr: float = float("nan")
        self.tflop: dict[str, dict[str, float]] = {}

    def seconds(self, name: str, phase: str) -> float:
        """The median."""
        return statistics.median(run.seconds[phase] for run in self.runs[name])

    def ratio(self, name: str, phase: str) -> float:
        """How many times the product's seconds it takes: the median of pairs."""
        pairs = zip(self.runs[name], self.runs["ours"], strict=True)
        return statistics.median(one.seconds[phase] / ours.seconds[phase] for one, ours in pairs)

    def counted(self, name: str, phase: str) -> float:
        """How many times the product's operations."""
        return self.tflop[phase][name] / self.tflop[phase]["ours"]

    def peak(self, name: str, phase: str) -> float:
        """MB."""
        return self.runs[name][0].peak[phase] / 2**20


def compared(made: dict[str, Contender], task: Task, given: argparse.Namespace) -> Compared:
    """Run every contender `repeats` times, in an order that turns."""
    found, meter = Compared(task), Meter(given.device)
    found.runs = {name: [] for name in made}
    latents, films = {}, {}
    for repeat in range(given.repeats):
        turned = [*made][repeat % len(made) :] + [*made][: repeat % len(made)]
        for name in turned:
            figures = Figures()
            if "denoise" in given.phases:
                latents[name] = denoised(made[name], task, meter, figures)
            else:
                latents[name] = task.latents
            if "decode" in given.phases:
                films[name] = decoded(made[name], latents[name], meter, figures, keep=True)
            found.runs[name].append(figures)
    if {"published", "ours"} <= made.keys():
        found.difference = float((latents["published"] - latents["ours"]).abs().max())
        if films:
            found.psnr = psnr(films["published"], films["ours"])
    return found


def peaks_alone(contender: Contender, task: Task, given: argparse.Namespace) -> dict[str, int]:
    """The peaks of one contender and length, in a process that has done nothing before but make the networks."""
    reading, writing = os.pipe()
    child = os.fork()  # nothing has run on a second thread yet
    if child == 0:
        figures, meter = Figures(), Meter(given.device)
        try:
            torch.set_num_threads(given.threads)
            if "denoise" in given.phases:
                denoised(contender, task, meter, figures)
            if "decode" in given.phases:
                decoded(contender, task.latents, meter, figures, keep=False)
        finally:
            os.write(writing, json.dumps(figures.peak).encode())
            os._exit(0)
    os.close(writing)
    with open(reading) as told:
        found = json.loads(told.read())
    os.waitpid(child, 0)
    return found


def task_of(given: argparse.Namespace, frames: int) -> Task:
    """A clip of that length."""
    return Task(frames, *given.size, given.steps)


def rows(found: list[Compared], phases: list[str]) -> Iterator[str]:
    """The tables."""
    names = [*found[0].runs]
    others = [name for name in names if name != "ours"]
    for phase in [phase for phase in ("encode", *phases) if phase in found[0].runs[names[0]][0].seconds]:
        counts = phase in found[0].tflop
        yield (
            f"\n| {phase}: frames | "
            + " | ".join(f"{name} s" for name in names)
            + " | "
            + " | ".join(f"{name}/ours" + (" | counted | measured/counted" if counts else "") for name in others)
            + " |"
        )
        yield "|---" * (1 + len(names) + len(others) * (3 if counts else 1)) + "|"
        for one in found:
            cells = [f"{one.task.frames}", *(f"{one.seconds(name, phase):.3g}" for name in names)]
            for name in others:
                ratio = one.ratio(name, phase)
                cells.append(f"{ratio:.2f}")
                if counts:
                    cells += [f"{one.counted(name, phase):.3f}", f"{ratio / one.counted(name, phase):.2f}"]
            yield "| " + " | ".join(cells) + " |"
    if "ours" in names and "published" in names:
        told = "; ".join(f"{one.task.frames}: {one.difference:.1e}, {one.psnr:.0f} dB" for one in found)
        yield f"\nproduct against baseline, latents' largest difference and films' PSNR at each length: {told}"
    if not found[0].runs[names[0]][0].peak:
        return
    yield "\n| peak MB: frames | " + " | ".join(f"{phase}: {name}" for phase in phases for name in names) + " |"
    yield "|---" * (1 + len(phases) * len(names)) + "|"
    for one in found:
        cells = [f"{one.peak(name, phase):.0f}" for phase in phases for name in names]
        yield "| " + " | ".join([f"{one.task.frames}", *cells]) + " |"


def report(found: list[Compared]) -> list[dict[str, Any]]:
    """The same as data."""
    return [
        {
            "frames": one.task.frames,
            "size": [one.task.width, one.task.height],
            "steps": one.task.steps,
            "seconds": {name: [run.seconds for run in runs] for name, runs in one.runs.items()},
            "peak_bytes": {name: runs[0].peak for name, runs in one.runs.items()},
            "tflop": one.tflop,
            "difference": one.difference,
            "psnr": one.psnr,
        }
        for one in found
    ]


def measured(given: argparse.Namespace) -> list[Compared]:
    """Every length."""
    configs, dtype = WIDTHS[given.width], DTYPES[given.dtype]
    made = contenders(given.contenders, configs, given.device, dtype, given.acceleration)
    tasks = [task_of(given, frames) for frames in given.frames]
    peaks = {}
    if given.device == "cpu" and given.peaks:
        peaks = {(task, name): peaks_alone(one, task, given) for task in tasks for name, one in made.items()}
    torch.set_num_threads(given.threads)
    compared(made, task_of(given, 4), argparse.Namespace(**{**vars(given), "repeats": 1}))  # warms up
    found = []
    for task in tasks:
        one = compared(made, task, given)
        one.tflop = {"decode": decoding(configs, task)}
        if "denoise" in given.phases:
            one.tflop["denoise"] = denoising(given.contenders, configs, task)
        for (of, name), peak in peaks.items():
            if of is task:
                one.runs[name][0].peak = peak
        if one.psnr < SAME[dtype] or (dtype is torch.float32 and one.difference > CLOSE):
            how = f"{one.psnr:.1f} dB, latents {one.difference:.2g} apart"
            raise SystemExit(f"{task.frames} frames: the product draws another film than the baseline: {how}")
        print(json.dumps(report([one])), file=sys.stderr, flush=True)  # should the rest not come to its end
        found.append(one)
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.side_by_side",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--width", choices=WIDTHS, default="mid", help="of the networks; production needs a GPU")
    parser.add_argument("--size", nargs=2, type=int, default=(128, 128), metavar=("WIDTH", "HEIGHT"), help="in pixels")
    parser.add_argument("--frames", nargs="+", type=int, default=[16, 32, 64, 128])
    parser.add_argument("--steps", type=int, default=1, help="denoising steps; all cost the same")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    parser.add_argument("--phases", nargs="+", choices=("denoise", "decode"), default=["denoise", "decode"])
    parser.add_argument("--contenders", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--peaks", action=argparse.BooleanOptionalAction, default=True, help="of memory, on a CPU")
    settings = 'the product\'s, as of a pool: {"channels_last": true}'
    parser.add_argument("--acceleration", type=Acceleration.model_validate_json, default=DEFAULT, help=settings)
    given = parser.parse_args()
    torch.set_num_threads(1)
    card = torch.cuda.get_device_name() if given.device.startswith("cuda") else f"{os.cpu_count()} cores"
    load = f"load {os.getloadavg()[0]:.0f}"
    print(f"{date.today()}, {platform.machine()}, {card}, torch {torch.__version__}, {load}, {given.threads} threads")
    print(f"{' '.join(sys.argv[1:])}: {given.width} networks, {given.dtype}, {given.size[0]}×{given.size[1]}")
    found = measured(given)
    print("\n".join(rows(found, given.phases)))
    if given.json:
        given.json.write_text(json.dumps(report(found), indent=1))


if __name__ == "__main__":
    main()
