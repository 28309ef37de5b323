"""Peak memory over swaps of animators in one worker: `python -m tests.bench.model_swaps GOLDEN`.

GOLDEN holds one folder of recordings per system, each with its tiny `checkpoint`. The cache has room for one model, so
every turn throws one out and loads the next. A network of each carries `ballast`, so that one that leaks would show.
Before every swap the animator is pointed at the other systems' checkpoints, which it refuses.
"""

from __future__ import annotations

import argparse
import gc
import itertools
from pathlib import Path

import psutil
import torch

from stages.diffusion.animator import Animator
from stages.diffusion.model_cache import ModelCache

SYSTEMS = ("magicanimate", "animate_anyone", "dreampose", "text2video_zero", "wan_vace", "wan_animate", "drawn")
OWN = {"drawn": Path("stages/bundled/drawn"), "wan_vace": Path("tests/golden/wan_vace/checkpoint")}


def network_of(animator: Animator) -> torch.nn.Module:
    """The first network that it holds, itself or in a part's `network`."""
    held = (one for part in vars(animator).values() for one in (part, getattr(part, "network", None)))
    return next(one for one in held if isinstance(one, torch.nn.Module))


def weighted(animator: Animator, ballast: int) -> None:
    """Hang that many bytes on a network of the animator, as a larger one would hold."""
    network_of(animator).register_buffer("ballast", torch.ones(ballast // 4), persistent=False)


def refuse(models: ModelCache, name: str, folders: dict[str, Path], turn: str) -> int:
    """Point the animator at every other system's checkpoint, as if never seen before: how many it refused."""
    refused = 0
    for other, folder in folders.items():
        if other != name:
            try:
                models.get(name, folder, f"{other} {turn}")
            except Exception:  # a `Problem`, or what a foreign configuration makes of a network's constructor
                refused += 1
    return refused


def modules() -> int:
    """Parts of networks alive in this process."""
    return sum(issubclass(type(one), torch.nn.Module) for one in gc.get_objects())


def main() -> None:
    """Print the resident memory and the modules alive after every swap."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("golden", type=Path)
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--ballast", type=int, default=200, help="MB")
    given = parser.parse_args()
    torch.set_num_threads(1)
    models, process = ModelCache("cpu", "float32", max_bytes=1), psutil.Process()
    folders = {name: given.golden / name / "checkpoint" for name in SYSTEMS} | OWN
    turn = itertools.cycle(SYSTEMS)
    for name in SYSTEMS:  # what is imported once is no leak
        weighted(models.get(name, folders[name], name), given.ballast * 2**20)
    print(f"| swap | animator | refused before | resident MB, {given.ballast} MB ballast each | modules |")
    print("|---|---|---|---|---|")
    for swap in range(given.swaps):
        name = next(turn)
        refused = refuse(models, name, folders, f"before swap {swap}")
        weighted(models.get(name, folders[name], name), given.ballast * 2**20)
        gc.collect()
        print(f"| {swap + 1} | {name} | {refused} | {process.memory_info().rss / 2**20:.0f} | {modules()} |")


if __name__ == "__main__":
    main()
