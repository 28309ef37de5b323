"""One clip on several replicas, on the CPU with one thread each: `python -m tests.bench.replicas`.

Wall and CPU time of a step with 2 and with 4 replicas, as ratios to the same step with one, taken one after the other
and repeated: medians and the middle half. Other work on the machine weighs on the wall time of all alike, more on those
that could use more cores. Checked beside: latents equal to the bit.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from stages.diffusion.sampling.denoise import Step
from tests.made.small_clips import WRITE, replicas, steps_of

COUNTS = (1, 2, 4)
# large enough that time is spent in kernels rather than in Python, which replicas in one process take turns in
CLIPS: dict[str, dict[str, Any]] = {
    "magicanimate": {"frames": 44, "window": 8, "overlap": 2, "width": 256, "height": 256},
    "animate_anyone": {"frames": 44, "window": 8, "overlap": 2, "width": 256, "height": 256},
    "dreampose": {"frames": 32, "window": 4},
    "text2video_zero": {"frames": 32, "window": 4, "width": 256, "height": 256},
    "drawn": {"frames": 44, "window": 8, "overlap": 2, "width": 192, "height": 256},
}


def timed(animator: Any, others: list[Any], clip: dict[str, Any]) -> tuple[float, float, list[Step]]:
    """(wall, CPU) seconds of a clip of one step, without what comes before the step."""
    marks: list[tuple[float, float]] = []
    animator.others = others
    network = (animator.networks.unet if hasattr(animator, "networks") else animator.unet.network).conv_in
    hook = network.register_forward_pre_hook(lambda *_: marks.append((time.perf_counter(), time.process_time())))
    found = steps_of(animator, steps=1, **clip)
    ended = time.perf_counter(), time.process_time()
    hook.remove()
    return ended[0] - marks[0][0], ended[1] - marks[0][1], found


def quartiles(values: list[float]) -> str:
    """Median and the middle half."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:5.2f} ({low:.2f}-{high:.2f})"


def main() -> None:
    """Print a line for each animator and number of replicas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("animators", nargs="*", default=list(CLIPS))
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.animators:
        with tempfile.TemporaryDirectory() as scratch:
            first, *others = replicas(name, WRITE[name](Path(scratch) / "checkpoint"), max(COUNTS))
        runs: dict[int, list[tuple[float, float]]] = {count: [] for count in COUNTS}
        for repeat in range(given.repeats + 1):
            alone: list[Step] = []
            for count in COUNTS:
                wall, cpu, steps = timed(first, others[: count - 1], CLIPS[name])
                alone = alone or steps
                if not torch.equal(steps[-1].latents, alone[-1].latents):
                    raise SystemExit(f"{name}: {count} replicas draw another film than one")
                if repeat:  # the first warms up
                    runs[count].append((wall, cpu))
        for count in COUNTS[1:]:
            pairs = list(zip(runs[count], runs[1], strict=True))
            wall = quartiles([one[0] / other[0] for one, other in pairs])
            cpu = quartiles([one[1] / other[1] for one, other in pairs])
            print(f"{name:16} {count} replicas: wall {wall}, CPU {cpu}", flush=True)


if __name__ == "__main__":
    main()
