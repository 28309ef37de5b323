"""How many frames an autoencoder should be given at once, on this machine's processor.

    python -m tests.bench.decode_batches [--sides 64 128 256 512] [--threads 1 2] [--width 32]

An autoencoder of Stable Diffusion's shape, `width` channels wide at full resolution (published: 128), with random
weights. For each size and number of frames in a call: processor milliseconds a frame, the best of three rounds in which
all numbers take turns; the peak of resident memory that two calls add, each in a process of its own; and the largest
difference to the frames decoded one by one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

BATCHES = (1, 2, 4, 16, 64)
MOST_PIXELS = 4 * 512 * 512  # in one call


def resident(name: str) -> float:
    """MB of this process: VmRSS now, VmHWM at most."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) / 1024


def decoder(width: int) -> AutoencoderKL:
    """Stable Diffusion's, narrower."""
    torch.manual_seed(0)
    channels = (width, 2 * width, 4 * width, 4 * width)
    down, up = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    made = AutoencoderKL(
        block_out_channels=channels, down_block_types=down, up_block_types=up, layers_per_block=2, norm_num_groups=16
    )
    return made.eval()


def decoded(made: AutoencoderKL, latents: torch.Tensor, at_once: int) -> torch.Tensor:
    """All frames, in [0, 1]."""
    return torch.cat([(made.decode(part).sample / 2 + 0.5).clamp(0, 1) for part in latents.split(at_once)])


def batches(side: int) -> list[int]:
    """Frames of a call, at one size."""
    return [number for number in BATCHES if number == 1 or number * side * side <= MOST_PIXELS]


@torch.inference_mode()
def timed(made: AutoencoderKL, side: int) -> dict[int, tuple[float, float]]:
    """(milliseconds a frame, difference) by the frames of a call."""
    numbers = batches(side)
    latents = torch.randn(max(numbers), 4, side // 8, side // 8)
    alone, best = decoded(made, latents, 1), dict.fromkeys(numbers, float("inf"))
    found = {}
    for _ in range(3):
        for number in numbers:
            begun = time.process_time()
            pictures = decoded(made, latents, number)
            best[number] = min(best[number], (time.process_time() - begun) / len(latents) * 1e3)
            found[number] = best[number], float((pictures - alone).abs().max())
    return found


@torch.inference_mode()
def peak(made: AutoencoderKL, side: int, at_once: int) -> float:
    """MB that two calls add."""
    latents, before = torch.randn(2 * at_once, 4, side // 8, side // 8), resident("VmRSS")
    for part in latents.split(at_once):
        made.decode(part)
    return resident("VmHWM") - before


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--only", nargs=2, type=int, metavar=("SIDE", "FRAMES"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads[0])
    made = decoder(given.width)
    if given.only:
        print(json.dumps(peak(made, *given.only)))
        return
    print("threads  side  frames a call  CPU ms a frame  of one's  peak MB  difference", flush=True)
    for threads in given.threads:
        torch.set_num_threads(threads)
        for side in given.sides:
            found = timed(made, side)
            for number, (milliseconds, difference) in found.items():
                command: list[Any] = [sys.executable, "-m", "tests.bench.decode_batches", "--threads", threads]
                command += ["--width", given.width, "--only", side, number]
                most = json.loads(subprocess.run(map(str, command), check=True, stdout=subprocess.PIPE).stdout)
                print(
                    f"{threads:7d} {side:5d} {number:14d} {milliseconds:15.1f} {milliseconds / found[1][0]:9.2f} "
                    f"{most:8.0f} {difference:11.1e}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
