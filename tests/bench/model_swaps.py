"""Peak memory over swaps of animators in one worker: `python -m tests.bench.model_swaps GOLDEN`.

GOLDEN holds one folder of recordings per system, each with its tiny `checkpoint`. The cache has room for one model, so
every turn throws one out and loads the next; `ballast` makes them as heavy as asked for, so that a leak would show.
"""

from __future__ import annotations

import argparse
import gc
import itertools
from pathlib import Path

import psutil
import torch

from stages.diffusion.animators import Animator
from stages.diffusion.model_cache import ModelCache

SYSTEMS = ("magicanimate", "animate_anyone", "dreampose", "text2video_zero", "studio")


def weighted(animator: Animator, ballast: int) -> None:
    """Hang that many bytes on the animator, as larger networks would hold."""
    animator.ballast = torch.ones(ballast // 4)


def main() -> None:
    """Print the resident memory after every swap."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("golden", type=Path)
    parser.add_argument("--studio", type=Path, default=Path("stages/bundled/studio"))
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--ballast", type=int, default=200, help="MB")
    given = parser.parse_args()
    torch.set_num_threads(1)
    models, process = ModelCache("cpu", "float32", max_bytes=1), psutil.Process()
    folders = {name: given.golden / name / "checkpoint" for name in SYSTEMS} | {"studio": given.studio}
    turn = itertools.cycle(SYSTEMS)
    for name in SYSTEMS:  # what is imported once is no leak
        weighted(models.get(name, folders[name], name), given.ballast * 2**20)
    print(f"| swap | animator | resident MB, {given.ballast} MB ballast each |\n|---|---|---|")
    for swap in range(given.swaps):
        name = next(turn)
        weighted(models.get(name, folders[name], name), given.ballast * 2**20)
        gc.collect()
        print(f"| {swap + 1} | {name} | {process.memory_info().rss / 2**20:.0f} |")


if __name__ == "__main__":
    main()
