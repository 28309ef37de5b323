"""Clusters that are hardly large enough, each in a process of its own: they run a night, or refuse it in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.made.sample_media import clip_row, write_manifest

SCRIPT = """
import json, logging, sys, time
import ray
from ray.cluster_utils import Cluster

media, nodes, pools = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": nodes[0], "object_store_memory": 80_000_000})
for cpus in nodes[1:]:
    cluster.add_node(num_cpus=cpus, object_store_memory=80_000_000)
ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)

from manifests.errors import Problem
from pipelines.animate import run
from tests.made.sample_media import config

begun = time.monotonic()
try:
    outcome = run(config(animators={"still": "tests.made.poison:Still"}, **pools), f"{media}/m.parquet", f"{media}/out")
    print(*[result.status for result in outcome.results], sep=",")
except Problem as problem:
    print("refused" if time.monotonic() - begun < 15 else "refused late", problem.error)
ray.shutdown()
cluster.shutdown()
"""


def night_on(media: Path, nodes: list[int], pools: dict[str, dict[str, float]]) -> str:
    """How a night of two rows ends on nodes with so many CPUs each, in a line."""
    rows = [clip_row(name, seed=ord(name), animator="still", driving_kind="skeleton", steps=None) for name in "ab"]
    write_manifest(media / "m.parquet", rows)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(media), json.dumps(nodes), json.dumps(pools)],
        cwd=CHECKOUT,
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.splitlines()[-1]


def workers(pose: float, inputs: float, animate: float, size: int = 1) -> dict[str, dict[str, float]]:
    """Pools whose workers reserve so many CPUs each."""
    animating = {"num_cpus": animate, "size": size}
    return {"pose_pool": {"num_cpus": pose}, "inputs_pool": {"num_cpus": inputs}, "animate_pool": animating}


@pytest.mark.parametrize(
    ("nodes", "pools"),
    [([1], {}), ([1, 1], workers(0.5, 0.25, 0.75))],
)
def test_what_fits_runs(media: Path, nodes: list[int], pools: dict[str, dict[str, float]]) -> None:
    assert night_on(media, nodes, pools) == "done,done"


def test_what_does_not_fit_node_by_node_is_refused_in_seconds(media: Path) -> None:
    said = night_on(media, [1, 1], workers(0.6, 0.6, 0.6))
    assert said.startswith("refused the cluster cannot give this: "), said
    assert "only 0 of 1 workers of animate_pool (CPU 0.6 each) find a node with room for them" in said
