"""What a cluster can give, on real clusters of several nodes with pretended GPUs, in processes of their own."""

import subprocess
import sys

import pytest

from cluster.preflight import Demand, missing

PROLOGUE = """
import logging, threading, time
import ray
from ray.cluster_utils import Cluster
from cluster.preflight import Demand, nodes_without, require
from manifests.errors import Problem
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
said = []
"""


def in_own_process(script: str) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", PROLOGUE + script], capture_output=True, text=True, timeout=180, check=False
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    return finished.stdout.splitlines()


def test_a_cluster_that_grows_is_waited_for_and_one_that_does_not_is_given_up() -> None:
    said = in_own_process(
        """
wanted = [Demand("animate_pool", 2, {"GPU": 1, "CPU": 0.25})]
begun = time.monotonic()
try:
    require(wanted, 0, said.append)
except Problem as problem:
    print("at once", time.monotonic() - begun < 5, problem.error)
try:
    require(wanted, 1, said.append)
except Problem as problem:
    print("in vain", problem.error)
waiting = threading.Thread(target=require, args=(wanted, 60, said.append))
waiting.start()
time.sleep(1)
cluster.add_node(num_cpus=1, num_gpus=2)
waiting.join()
print("grown", said[-1])
require(wanted, 0, said.append)
try:
    require([Demand("animate_pool", 1, {"GPU": 2, "CPU": 2})], 0, said.append)
except Problem as problem:
    print("no node", problem.error)
print("without", len(nodes_without("no_such_package", wanted)), nodes_without("ray", wanted))
print("nobody asked", nodes_without("no_such_package", [Demand("animate_pool", 1, {"GPU": 3})]))
"""
    )
    assert said[4:] == ["without 1 []", "nobody asked []"], "of two nodes, one has the GPUs"
    assert said[0] == "at once True the cluster cannot give this: GPU 2 asked for (animate_pool 2 × 1), 0 there"
    assert said[1].startswith("in vain the cluster has not grown within 1 s: GPU 2 asked for")
    assert said[2].startswith("grown waiting for the cluster to grow")
    assert said[3].startswith("no node the cluster cannot give this: no single node has room for one worker")


def cpus(*pools: tuple[int, float]) -> list[Demand]:
    return [Demand(f"pool{number}", workers, {"CPU": each}) for number, (workers, each) in enumerate(pools)]


@pytest.mark.parametrize(
    ("demands", "nodes", "said"),
    [
        (cpus((1, 0.25), (1, 0.25), (1, 0.25)), [1], None),
        (cpus((1, 0.1), (1, 0.1), (2, 0.8)), [2], None),
        (cpus((1, 0.25), (1, 0.25), (1, 0.25)), [1, 1], None),
        (cpus((1, 0.25), (1, 0.25), (2, 0.8)), [2], "CPU 2.1 asked for"),
        (cpus((3, 0.6)), [1, 1], "only 2 of 3 workers of pool0"),
        (cpus((1, 1.5)), [1, 1], "no single node has room for one worker of pool0"),
        # they fit, but not when Ray puts the small ones on one node each
        (cpus((1, 0.5), (1, 0.5), (1, 1.0)), [1, 1], "no node may have room left for a worker of pool2"),
        (cpus((4, 1), (1, 1)), [4, 4], None),
        (cpus((1, 0.5), (1, 1.0)), [1, 1], None),
        (cpus((1, 0.5), (1, 0.25), (1, 0.75)), [1, 1], None),
        (cpus((2, 0.5), (1, 0.75)), [1, 1], "no node may have room left for a worker of pool1"),
    ],
)
def test_workers_are_counted_node_by_node(demands: list[Demand], nodes: list[int], said: str | None) -> None:
    found = missing(demands, [{"CPU": node} for node in nodes])
    assert found == said or (said and found and found.startswith(said))


def test_gpu_workers_find_room_beside_those_that_fill_the_other_nodes() -> None:
    nodes = [{"CPU": 16.0, "GPU": 8.0}, {"CPU": 64.0}]
    animate = Demand("animate", 8, {"GPU": 1, "CPU": 1})
    assert missing([Demand("pose", 35, {"CPU": 2}), animate], nodes) is None
    large = Demand("animate", 1, {"GPU": 1, "CPU": 14})
    assert missing([Demand("pose", 33, {"CPU": 2}), large], nodes) is None
    many = missing([Demand("pose", 38, {"CPU": 2}), large], [*nodes, nodes[0]])
    assert many == (
        "no node may have room left for a worker of animate (GPU 1, CPU 14) when Ray has spread the others over them"
    )
    assert missing([animate], [{"CPU": 64.0}]) == "GPU 8 asked for (animate 8 × 1), 0 there"


def test_what_grows_may_still_be_crowded() -> None:
    crowded = cpus((1, 0.5), (1, 0.5), (1, 1.0))
    assert missing(crowded, [{"CPU": 1.0}, {"CPU": 1.0}], grows=True) is None


def test_workers_that_need_nodes_of_different_kinds_do_not_crowd_each_other_out() -> None:
    small, large = (Demand(name, 1, {"GPU": 1, f"accelerator_type:{name}": 0.001}) for name in ("L4", "H100"))
    nodes = [{"CPU": 1.0, "GPU": 1.0, f"accelerator_type:{name}": 1.0} for name in ("L4", "H100")]
    assert missing([small, large], nodes) is None
    anywhere = Demand("any", 1, {"GPU": 1})
    assert "may have room left" in (missing([small, anywhere], nodes) or ""), "which may sit on the only L4"
