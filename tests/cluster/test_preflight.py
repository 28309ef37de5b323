"""What a cluster can give, on real clusters of several nodes with pretended GPUs. Each runs in a process of its own."""

import subprocess
import sys

PROLOGUE = """
import logging, threading, time
import ray
from ray.cluster_utils import Cluster
from cluster.preflight import Demand, require
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
"""
    )
    assert said[0] == "at once True the cluster cannot give this: GPU 2 asked for (animate_pool 2 × 1), 0 there"
    assert said[1].startswith("in vain the cluster has not grown within 1 s: GPU 2 asked for")
    assert said[2].startswith("grown waiting for the cluster to grow")
    assert said[3].startswith("no node the cluster cannot give this: no single node has room for one worker")
