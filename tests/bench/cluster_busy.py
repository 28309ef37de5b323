"""How busy the real graph keeps 16 GPU workers on a cluster of several nodes, where its workers are, and its tail.

    RAY_raylet_start_wait_time_s=120 python -m tests.bench.cluster_busy [--gpus N] [--rows N] [--seconds S] [--long S]

The cluster is made here: a head without CPUs, two nodes of CPUs, the rest of pretended GPUs. Films are drawn by an
animator that sleeps, so that all workers fit a small machine: what is measured is what the graph adds. Two nights:
rows of equal length, and rows of very different lengths, whose best possible time is known. A worker's row is in hand
from its begin to its end, film encoded and published; it sleeps for most of that, as a GPU would compute.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from manifests.results import Result
from pipelines.animate import run
from pipelines.configuration import RunConfig
from stages.poses.files import openpose_json
from tests.chaos.painted import IMPLEMENTATION, NAME
from tests.made.pose_motions import FPS, HEIGHT, WIDTH, Body, dancing
from tests.made.ray_head import AS_CONNECT
from tests.made.sample_media import write_manifest, write_reference

GPUS_OF_A_NODE = 4
VIDEOS = 8
MOST_FRAMES = 60
SHORTEST_SECONDS = 1.0


class Cluster:
    """Nodes of two kinds, and on which of them each actor is."""

    def __init__(self, gpus: int) -> None:
        import ray
        from ray.cluster_utils import Cluster as Nodes

        own = {"object_store_memory": 80_000_000}
        self._nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **own})
        for _ in range(2):
            self._nodes.add_node(num_cpus=4, **own)
        for _ in range(gpus // GPUS_OF_A_NODE):
            self._nodes.add_node(num_cpus=GPUS_OF_A_NODE, num_gpus=GPUS_OF_A_NODE, **own)
        ray.init(address=self._nodes.address, logging_level=logging.ERROR, log_to_driver=False)
        self._nodes.wait_for_nodes()
        self.places: dict[str, set[str]] = defaultdict(set)
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def _watch(self) -> None:
        """Note the kinds of nodes that actors of each stage are seen on."""
        import ray
        from ray._private.state import actors

        kinds = {node["NodeID"]: "GPU" if node["Resources"].get("GPU") else "CPU" for node in ray.nodes()}
        while not self._over.wait(1.0):
            for actor in (one for one in actors().values() if one["State"] == "ALIVE"):
                for stage in ("PoseWorker", "InputsWorker", "AnimateWorker"):
                    if stage in actor["ActorClassName"] and (kind := kinds.get(actor["Address"]["NodeID"])):
                        self.places[stage].add(kind)

    def close(self) -> None:
        import ray

        self._over.set()
        self._watching.join()
        ray.shutdown()
        self._nodes.shutdown()


class Night(NamedTuple):
    """What a night's rows took."""

    wall: float
    begun: float  # of the first row, in seconds since the night's begin
    results: Sequence[Result]

    @property
    def span(self) -> float:
        """From the first row's begin to the last one's end."""
        return max(ends(self.results)) - min(begins(self.results))


def begins(results: Iterable[Result]) -> list[float]:
    return [result.started.timestamp() for result in results if result.started]


def ends(results: Iterable[Result]) -> list[float]:
    return [result.finished.timestamp() for result in results if result.finished]


def write_media(folder: Path, most: int) -> None:
    """A reference, and motions of which each is a driving file of its own."""
    write_reference(folder / "reference.png")
    for video in range(VIDEOS):
        people = dancing(Body(), most, seed=video).keypoints(seed=video)
        documents = [openpose_json.write(people.people(frame)) for frame in range(most)]
        written = {"width": WIDTH, "height": HEIGHT, "fps": str(int(FPS)), "frames": documents}
        (folder / f"motion{video}.json").write_text(json.dumps(written), encoding="utf-8")


def night(folder: Path, name: str, lengths: Sequence[float], config: RunConfig) -> Night:
    """A night of rows that take so many seconds, with frames in proportion, as the plan orders by those."""
    longest = max(lengths)
    rows = [
        {"id": f"{name}-{number}", "reference": "reference.png", "driving": f"motion{number % VIDEOS}.json",
         "driving_kind": "keypoints", "animator": NAME, "width": 48, "height": 64, "seed": number,
         "frame_count": max(2, round(MOST_FRAMES * seconds / longest)), "options": {"seconds": seconds}}
        for number, seconds in enumerate(lengths)
    ]  # fmt: skip
    manifest, epoch, begun = write_manifest(folder / f"{name}.parquet", rows), time.time(), time.perf_counter()
    outcome = run(config, manifest, str(folder / name))
    wall = time.perf_counter() - begun
    assert outcome.exit_code == 0, outcome.summary
    return Night(wall, min(begins(outcome.results)) - epoch, outcome.results)


def report(name: str, made: Night, lengths: Sequence[float], gpus: int) -> None:
    """Print what one night came to."""
    by_worker: dict[str, list[Result]] = defaultdict(list)
    for result in made.results:
        by_worker[str(result.worker)].append(result)
    slept = sum(lengths)
    held = sum(end - begin for end, begin in zip(ends(made.results), begins(made.results), strict=True))
    gaps = []
    for rows in by_worker.values():
        rows.sort(key=lambda row: begins([row]))
        gaps += [begins([after])[0] - ends([before])[0] for before, after in pairwise(rows)]
    active = sum(max(ends(rows)) - min(begins(rows)) for rows in by_worker.values())
    best = max(max(lengths), slept / gpus)
    print(
        f"{name}: {len(lengths)} rows of {min(lengths):.1f} to {max(lengths):.1f} s, {len(by_worker)} workers had rows"
    )
    print(f"  until the first row   {made.begun:7.1f} s; the first workers' begins lie {spread(by_worker):.1f} s apart")
    print(f"  rows                  {made.span:7.1f} s, at best {best:.1f} s: {best / made.span:.3f}")
    print(f"  after the last row    {made.wall - made.begun - made.span:7.1f} s")
    print(f"  between two rows      {np.mean(gaps):7.3f} s on average, {np.quantile(gaps, 0.95):.3f} s at most in 95 %")
    print(f"  around the sleep      {(held - slept) / len(lengths):7.3f} s of a row (poses drawn, encoded, published)")
    used = np.mean([result.cpu_seconds or 0 for result in made.results])
    print(f"  processor time        {used:7.3f} s of a row in its worker, whatever else the machine has to do")
    print(f"  added                 {(active - slept) / len(lengths):7.3f} s per row")
    print(f"  busy, while a worker has rows to come: a row in hand {held / active:.3f}, sleeping {slept / active:.3f}")
    whole = made.span * gpus
    print(f"  busy, of all workers over the rows' time: a row in hand {held / whole:.3f}, sleeping {slept / whole:.3f}")
    tail = max(ends(made.results)) - min(max(ends(rows)) for rows in by_worker.values())
    print(f"  tail: {tail:.1f} s from the first worker without a row to the end")


def spread(by_worker: dict[str, list[Result]]) -> float:
    """Seconds between the first and the last worker's first row."""
    firsts = [min(begins(rows)) for rows in by_worker.values()]
    return max(firsts) - min(firsts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=16)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--long", type=float, default=60, help="seconds of the longest row of the second night")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_BACKEND_LOG_LEVEL": "fatal", **AS_CONNECT}
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    pools: dict[str, Any] = {
        "pose_pool": {"size": 2, "num_cpus": 1},
        "inputs_pool": {"size": 2, "num_cpus": 0.5},
        "animate_pool": {"size": options.gpus, "num_cpus": 0.5, "num_gpus": 1, "device": "cpu", "threads": 1},
    }
    config = RunConfig.load(None, {"animators": {NAME: IMPLEMENTATION}, **pools})
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(1.0, 1.2, options.rows), SHORTEST_SECONDS, options.long)
    lengths[int(random.integers(options.rows))] = options.long
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_media(folder, MOST_FRAMES)
        cluster = Cluster(options.gpus)
        try:
            print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            for name, given in {"equal": [options.seconds] * options.rows, "mixed": [*map(float, lengths)]}.items():
                report(name, night(folder, name, given, config), given, options.gpus)
            print(f"load {os.getloadavg()[0]:.1f}")
            for stage, kinds in sorted(cluster.places.items()):
                print(f"{stage}: on nodes with {' and '.join(sorted(kinds))}")
        finally:
            cluster.close()


if __name__ == "__main__":
    main()
