"""The configuration's pools in Ray's words."""

from __future__ import annotations

from pipelines.configuration import Pool, RunConfig
from pipelines.pools import demands


def test_every_pool_of_actors_is_counted_before_a_run_begins() -> None:
    pools = {name: {"size": 2, "num_cpus": 3} for name, pool in RunConfig() if isinstance(pool, Pool)}
    pools["animate_pool"] |= {"num_gpus": 1, "accelerator_type": "H100"}
    before, actors = demands(RunConfig.load(None, {**pools, "validate_pool": {"size": 9, "num_cpus": 0.5}}))
    found = {one.what: (one.workers, one.resources) for one in actors}
    assert found.keys() == {"pose_pool", "inputs_pool", "animate_pool"}
    assert [(one.what, one.workers, one.resources) for one in before] == [("validate_pool", 1, {"CPU": 0.5})]
    assert found["pose_pool"] == (2, {"CPU": 3})
    assert found["animate_pool"] == (2, {"CPU": 3, "GPU": 1, "accelerator_type:H100": 0.001})
