"""GPUs of several kinds: each animator works where its pool says, and nowhere else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.configuration import RunConfig
from pipelines.pools import demands
from tests.conftest import CHECKOUT
from tests.made.ray_head import apart
from tests.made.sample_media import clip_row, write_manifest

SCRIPT = """
import json, logging, sys
import ray
from ray._private.state import actors
from ray.cluster_utils import Cluster

media = sys.argv[1]
small = {"object_store_memory": 80_000_000}
low = {"num_cpus": 2, "num_gpus": 1, "resources": {"accelerator_type:L4": 1}, "labels": {"shelf": "low"}}
cluster = Cluster(initialize_head=True, head_node_args={**low, **small})
cluster.add_node(num_cpus=2, num_gpus=1, resources={"accelerator_type:H100": 1}, labels={"shelf": "high"}, **small)
ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)

from pipelines.animate import run
from tests.made.sample_media import config

shelves = {node["NodeID"]: node["Labels"].get("shelf") for node in ray.nodes()}
settings = config(
    animators={name: "tests.made.plain_animators:Plain" for name in ("here", "there")},
    animate_pool={"device": "cpu", "num_gpus": 1, "label_selector": {"shelf": "!high"}},
    animate_pools={"there": {"accelerator_type": "H100", "label_selector": {}}},
)
outcome = run(settings, f"{media}/m.parquet", f"{media}/out")
made = [(one.id, one.status, shelves[actors(one.worker)["Address"]["NodeID"]]) for one in outcome.results]
print(json.dumps(made))
ray.shutdown()
cluster.shutdown()
"""


def test_each_animator_works_on_the_gpus_of_its_own_pool(media: Path) -> None:
    fields = {"driving_kind": "skeleton", "steps": None}
    rows = [clip_row(name, animator=name, **fields) for name in ("there", "here")]
    write_manifest(media / "m.parquet", rows)
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(media)],
        cwd=CHECKOUT,
        env=apart(),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    where = {"here": "low", "there": "high"}
    assert json.loads(ended.stdout.splitlines()[-1]) == [[row["id"], "done", where[row["animator"]]] for row in rows]


def test_what_a_pool_leaves_out_is_as_for_all_others_and_every_branch_is_counted() -> None:
    pools = {
        "animate_pool": {"size": 4, "num_gpus": 1, "num_cpus": 2, "accelerator_type": "L4"},
        "animate_pools": {"magicanimate": {"size": 2, "accelerator_type": "H100"}},
        "pose_pool": {"size": 3},
    }
    config = RunConfig.load(None, pools)
    own = config.pool_of("magicanimate")
    assert (own.size, own.num_gpus, own.num_cpus, own.accelerator_type) == (2, 1, 2, "H100")
    assert config.pool_of("drawn") is config.animate_pool
    counted = {one.what: (one.workers, one.resources) for one in demands(config)[-1]}
    assert counted["animate_pools.magicanimate"] == (2, {"CPU": 2, "GPU": 1, "accelerator_type:H100": 0.001})
    assert counted["pose_pool"][0] == 2 * 3
    assert counted["animate_pool"][0] == 4


def test_films_are_not_computed_on_a_gpu_and_a_cpu_by_turns() -> None:
    with pytest.raises(ValueError, match=r"animate_pools\.drawn: its workers and those of animate_pool hold GPUs"):
        RunConfig.model_validate({"animate_pools": {"drawn": {"num_gpus": 1}}})
