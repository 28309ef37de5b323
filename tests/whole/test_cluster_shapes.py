"""Clusters that are hardly large enough, each in a process of its own: they run a night, or refuse it in seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT
from tests.made.ray_head import apart
from tests.made.sample_media import clip_row, write_manifest

STAGES = ("Pose", "Inputs", "Animate")
Node = dict[str, float]  # what it has, as Ray's cluster_utils call it

SCRIPT = """
import json, logging, sys, time
import ray
from ray.cluster_utils import Cluster

media, nodes, pools = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
cluster = Cluster(initialize_head=True, head_node_args={**nodes[0], "object_store_memory": 80_000_000})
for node in nodes[1:]:
    cluster.add_node(**node, object_store_memory=80_000_000)
ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)

from manifests.errors import Problem
from pipelines.animate import run
from tests.made.sample_media import config

begun = time.monotonic()
try:
    outcome = run(config(animators={"still": "tests.made.poison:Still"}, **pools), f"{media}/m.parquet", f"{media}/out")
    gpus = {node["NodeID"]: bool(node["Resources"].get("GPU")) for node in ray.nodes()}
    for actor in ray._private.state.actors().values():
        print(actor["ActorClassName"], "beside a GPU" if gpus.get(actor["Address"]["NodeID"]) else "elsewhere")
    print(*[result.status for result in outcome.results], sep=",")
except Problem as problem:
    print("refused" if time.monotonic() - begun < 15 else "refused late", problem.error)
ray.shutdown()
cluster.shutdown()
"""


def night_on(media: Path, nodes: list[Node], pools: dict[str, Any]) -> list[str]:
    """Where the workers of a night of two rows are on nodes with so much each, and in the last line how it ends."""
    rows = [clip_row(name, seed=ord(name), animator="still", driving_kind="skeleton", steps=None) for name in "ab"]
    write_manifest(media / "m.parquet", rows)
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(media), json.dumps(nodes), json.dumps(pools)],
        cwd=CHECKOUT,
        env=apart(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.splitlines()


def cpus(*counts: float) -> list[Node]:
    """Nodes with so many CPUs each."""
    return [{"num_cpus": count} for count in counts]


def workers(pose: float, inputs: float, animate: float, size: int = 1) -> dict[str, dict[str, float]]:
    """Pools whose workers reserve so many CPUs each."""
    animating = {"num_cpus": animate, "size": size}
    return {"pose_pool": {"num_cpus": pose}, "inputs_pool": {"num_cpus": inputs}, "animate_pool": animating}


@pytest.mark.parametrize(
    ("nodes", "pools"),
    [(cpus(1), {}), (cpus(1, 1), workers(0.5, 0.25, 0.75))],
)
def test_what_fits_runs(media: Path, nodes: list[Node], pools: dict[str, Any]) -> None:
    assert night_on(media, nodes, pools)[-1] == "done,done"


def test_workers_without_a_gpu_leave_nodes_with_one_to_those_that_need_it(media: Path) -> None:
    """Preflight counts on it, or they would take what an animating worker needs beside its GPU."""
    pools: dict[str, Any] = {"pose_pool": {"num_cpus": 0.2, "size": 3}, "inputs_pool": {"num_cpus": 0.2, "size": 2}}
    pools |= {"animate_pool": {"num_cpus": 1, "num_gpus": 1, "device": "cpu"}}
    *places, ended = night_on(media, [*cpus(1), {"num_cpus": 2, "num_gpus": 1}], pools)
    assert ended == "done,done"
    beside = {stage: [line for line in places if stage in line and "beside" in line] for stage in STAGES}
    assert {stage: len(lines) for stage, lines in beside.items()} == {"Pose": 0, "Inputs": 0, "Animate": 1}, places


def test_what_does_not_fit_node_by_node_is_refused_in_seconds(media: Path) -> None:
    said = night_on(media, cpus(1, 1), workers(0.6, 0.6, 0.6))[-1]
    assert said.startswith("refused the cluster cannot give this: "), said
    assert "only 0 of 1 workers of animate_pool (CPU 0.6 each) find a node with room for them" in said
