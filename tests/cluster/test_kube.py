"""What `catwalk cluster render` makes: resources that KubeRay takes, with what a run's pools ask for."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from cluster.kube.capacity import largest
from cluster.kube.configuration import KubeConfig
from cluster.kube.custom_resources import KINDS, ray_cluster, ray_cron_job, ray_job
from cluster.preflight import Node, shortage
from manifests.errors import WrongUsage
from pipelines import cli
from pipelines.configuration import RunConfig
from pipelines.pools import demands
from tests.cluster.kuberay_schema import full, pruned, recorded, strict
from tests.conftest import CHECKOUT

EXAMPLE = CHECKOUT / "cluster" / "example.yaml"
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
NIGHT = re.search(r"```yaml\n(# night.yaml\n.*?)```", README, re.DOTALL)[1]


def example(**fields: Any) -> KubeConfig:
    return KubeConfig.model_validate({**yaml.safe_load(EXAMPLE.read_text()), **fields})


def everything() -> list[dict[str, Any]]:
    """Nightly jobs that between them have every field that Catwalk writes."""
    more = {
        "pull_secrets": ["registry"],
        "environment": {"FSSPEC_S3_ENDPOINT_URL": "https://s3.example.com"},
        "secret_environment": {"AWS_SECRET_ACCESS_KEY": {"secret": "bucket", "key": "secret"}},
    }
    caches: list[dict[str, str]] = [{"host_path": "/mnt/models"}, {"claim": "models"}]
    return [ray_cron_job(example(**more), True), *(ray_cron_job(example(model_cache=one)) for one in caches)]


def faults(document: dict[str, Any]) -> list[str]:
    """What the recorded schema, made strict, finds in a RayCronJob."""
    return [error.message for error in Draft202012Validator(strict(recorded())).iter_errors(document["spec"])]


def pods(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every pod's spec in a document."""
    spec = document.get("spec", document)
    if "containers" in spec:
        yield spec
    for value in spec.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from pods(one)


# What KubeRay takes


def test_what_is_rendered_is_what_kuberay_reads() -> None:
    for document in everything():
        assert faults(document) == []
        # and it passes through YAML unchanged
        assert yaml.safe_load(yaml.safe_dump(document)) == document


def test_a_job_holds_the_same_cluster_as_one_that_stays_and_the_nightly_one_the_same_job() -> None:
    config = example()
    job, cron = ray_job(config), ray_cron_job(config)
    assert cron["spec"]["jobTemplate"] == job["spec"]
    assert job["spec"]["rayClusterSpec"] == ray_cluster(config)["spec"]
    assert (cron["spec"]["schedule"], cron["spec"]["timeZone"]) == ("0 20 * * *", "Europe/Berlin")
    assert [one["kind"] for one in (job, cron, ray_cluster(config))] == ["RayJob", "RayCronJob", "RayCluster"]
    assert shlex.split(job["spec"]["entrypoint"]) == config.job.command


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("jobTemplate.rayClusterSpec.workerGroupSpecs.0.maxReplica", 3, "'maxReplica' was unexpected"),
        ("jobTemplate.rayClusterSpec.workerGroupSpecs.0.maxReplicas", "3", "'3' is not of type 'integer'"),
        ("jobTemplate.rayClusterSpec.workerGroupSpecs.0.template", None, "'template' is a required property"),
        ("jobTemplate.rayClusterSpec.headGroupSpec.template", None, "'template' is a required property"),
        ("jobTemplate.rayClusterSpec.headGroupSpec.template.spec.containers.0.comand", [], "'comand' was unexpected"),
        ("jobTemplate.rayClusterSpec.autoscalerOptions.version", "v3", "'v3' is not one of ['v1', 'v2']"),
        ("jobTemplate.ttlSecondsAfterFinished", "60", "'60' is not of type 'integer'"),
        ("schedule", None, "'schedule' is a required property"),
    ],
)
def test_a_typo_a_string_for_an_integer_and_a_missing_template_are_found(place: str, value: Any, said: str) -> None:
    document = copy.deepcopy(everything()[0])
    *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    within = document["spec"]
    for part in path:
        within = within[part]
    if value is None:
        del within[last]
    else:
        within[last] = value
    (fault,) = faults(document)
    assert said in fault


def test_the_record_of_the_schema_is_what_kuberay_says(shared: Path) -> None:
    whole, specs = full(shared), [document["spec"] for document in everything()]
    assert pruned(whole, specs) == recorded(), "python -m tests.cluster.kuberay_schema"
    for spec in specs:
        assert list(Draft202012Validator(strict(whole)).iter_errors(spec)) == []


# What is promised of every pod


def test_no_pod_is_root_and_each_reserves_what_it_may_use() -> None:
    found = [pod for document in everything() for pod in pods(document)]
    assert len(found) == 3 * 5, "head, three groups and submitter"
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] >= 1
        for container in pod["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert container["resources"]["limits"]["memory"].endswith("Gi")
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


def test_secrets_are_referred_to_and_never_written() -> None:
    spec = everything()[0]["spec"]["jobTemplate"]
    for template in (one["template"] for one in spec["rayClusterSpec"]["workerGroupSpecs"]):
        (container,) = template["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "catwalk-bucket"}}]
        secret = next(one for one in container["env"] if one["name"] == "AWS_SECRET_ACCESS_KEY")
        assert secret["valueFrom"] == {"secretKeyRef": {"name": "bucket", "key": "secret"}}
        assert "value" not in secret
    (submitter,) = spec["submitterPodTemplate"]["spec"]["containers"]
    assert not {"env", "envFrom"} & submitter.keys(), "who submits needs none"


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "DB_PASSWORD", "OPENAI_API_KEY"])
def test_a_secret_among_plain_variables_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="put it into a Secret"):
        example(environment={name: "hunter2"})
    example(environment={"AWS_ACCESS_KEY_ID": "AKIA", "TZ": "UTC"})


def test_models_are_kept_where_they_are_used() -> None:
    groups = {one["groupName"]: one["template"]["spec"] for one in ray_cluster(example())["spec"]["workerGroupSpecs"]}
    assert "volumes" not in groups["poses"]
    for name in ("h100", "h100-spot"):
        assert groups[name]["volumes"] == [{"name": "model-cache", "emptyDir": {"sizeLimit": "200Gi"}}]
        assert groups[name]["containers"][0]["volumeMounts"][0]["mountPath"] == "/var/cache/catwalk"


# What Ray's own autoscaler makes of it


def node_types(config: KubeConfig) -> dict[str, Any]:
    """A rendered cluster as Ray's autoscaler reads it."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

    read = _derive_autoscaling_config_from_ray_cr(ray_cluster(config))
    return AutoscalingConfig(read, skip_content_hash=True).get_node_type_configs()


def launched(config: KubeConfig, bundles: list[dict[str, float]], not_to_be_had: str = "") -> dict[str, int]:
    """How many nodes of each group Ray's autoscaler begins for these bundles."""
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil

    requests = [ResourceRequestUtil.make(bundle) for bundle in bundles]
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=node_types(config),
            max_num_nodes=100,
            resource_requests=ResourceRequestUtil.group_by_count(requests),
            recoverable_resource_availabilities={not_to_be_had: 0.0},
        )
    )
    assert not reply.infeasible_resource_requests
    return {one.instance_type: one.count for one in reply.to_launch if one.instance_type != "headgroup"}


def bundles_of(config: RunConfig) -> list[dict[str, float]]:
    """What a run's actors reserve, one by one."""
    return [demand.resources for demand in demands(config)[-1] for _ in range(demand.workers)]


def test_a_night_grows_groups_from_nothing_on_the_spot_market_first() -> None:
    night = RunConfig.model_validate(yaml.safe_load(NIGHT))
    assert launched(example(), bundles_of(night)) == {"h100-spot": 16}
    assert launched(example(), bundles_of(night), not_to_be_had="h100-spot") == {"h100": 16}


def test_the_head_gets_no_work_and_groups_are_what_a_run_is_told_that_they_are() -> None:
    config = example()
    types = node_types(config)
    assert types["headgroup"].resources["CPU"] == 0
    for group in config.groups:
        read = {name: amount for name, amount in types[group.name].resources.items() if name != "memory"}
        assert {"GPU": 0, **read} in [node.resources for node in largest(config)]
    assert sum(one.max_worker_nodes for name, one in types.items() if name in ("poses", "h100")) == len(largest(config))


# What a run's pools ask for


@pytest.mark.parametrize(
    ("pools", "said"),
    [
        ({}, None),
        ({"animate_pool": {"size": 16, "num_gpus": 1, "accelerator_type": "H100"}}, None),
        ({"animate_pool": {"size": 17, "num_gpus": 1}}, "GPU 17 asked for"),
        ({"animate_pool": {"num_gpus": 1, "accelerator_type": "L4"}}, "accelerator_type:L4 0.001 asked for"),
        ({"animate_pool": {"num_gpus": 2}}, "no single node has room for one worker of animate_pool"),
        ({"pose_pool": {"size": 2, "num_cpus": 32}}, "no single node has room for one worker of pose_pool"),
        ({"animate_pool": {"label_selector": {"ray.io/market-type": "spot"}, "num_gpus": 1}}, None),
        ({"animate_pool": {"label_selector": {"zone": "a"}}}, "label zone=a 0.001 asked for"),
        ({"cluster_wait": {"seconds": 0}}, "cluster_wait.seconds is 0"),
        ({"model_cache": {}}, "fetched into a temporary folder, the volume is at /var/cache/catwalk"),
        ({"model_cache": {"folder": "/var/cache/catwalk", "bytes": 2**40}}, "more than the 200 GiB"),
        ({"model_cache": {}, "checkpoints": {"magicanimate": "/models"}}, None),
        ({"animate_pools": {"drawn": {"size": 1}}}, "GPU 17 asked for"),
    ],
)
def test_a_run_that_the_cluster_could_never_begin_is_refused_before_either_exists(
    pools: dict[str, Any], said: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = tmp_path / "night.yaml"
    night.write_text(yaml.safe_dump(yaml.safe_load(NIGHT) | pools))
    code = cli.main(["cluster", "render", str(EXAMPLE), "--config", str(night)])
    out, err = capsys.readouterr()
    if said is None:
        assert code == cli.OK
        files, job = yaml.safe_load_all(out)
        assert files["data"]["night.yaml"] == night.read_text()
        assert "--config /etc/catwalk/night.yaml" in job["spec"]["entrypoint"]
    else:
        assert code == cli.WRONG_USAGE
        assert said in err
        assert not out


def test_a_job_that_would_not_read_its_configuration_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.yaml").write_text(NIGHT)
    command = ["cluster", "render", str(EXAMPLE), "--config", str(tmp_path / "other.yaml")]
    assert cli.main(command) == cli.WRONG_USAGE
    assert "which the job's command does not name" in capsys.readouterr().err


def test_labels_select_nodes_as_ray_does() -> None:
    spot, paid = Node({"CPU": 4.0}, {"ray.io/market-type": "spot"}), Node({"CPU": 4.0}, {})
    (pose,) = [one for one in demands(RunConfig.model_validate({"pose_pool": SELECTED}))[-1] if one.what == "pose_pool"]
    assert shortage([pose], nodes=[spot]) is None
    assert "label ray.io/market-type=in(spot, reserved)" in (shortage([pose], nodes=[paid]) or "")
    unpaid = replace(pose, labels={"ray.io/market-type": "!spot"})
    assert shortage([unpaid], nodes=[paid]) is None
    assert shortage([unpaid], nodes=[spot]) is not None


SELECTED = {"label_selector": {"ray.io/market-type": "in(spot, reserved)"}}


# The command


def test_all_kinds_are_written_to_files_that_kubectl_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "made"
    assert cli.main(["cluster", "render", str(EXAMPLE), "--kind", "all", "-o", str(folder)]) == cli.OK
    assert {path.name for path in folder.iterdir()} == {f"catwalk-{kind}.yaml" for kind in KINDS}
    assert f"kubectl apply -f {folder / 'catwalk-cron.yaml'}" in capsys.readouterr().err
    (cron,) = yaml.safe_load_all((folder / "catwalk-cron.yaml").read_text())
    assert cron == ray_cron_job(example())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"imagee": "x"}, "imagee: is not a field of the cluster, did you mean 'image'?"),
        ({"head": {"cpus": "4"}}, "head.cpus: Input should be a valid integer"),
        ({"groups": []}, "groups: List should have at least 1 item"),
        ({"groups": [{"name": "a", "cpus": 1, "memory_gib": 1}]}, "groups.0.max_nodes: Field required"),
        ({"nightly": {"cron": "0 25 * *"}}, "is no schedule of five"),
        ({"nightly": {"time_zone": "Europe/Berlni"}}, "is no time zone"),
        ({"name": "Catwalk_1"}, "name: String should match pattern"),
        ({"user_id": 0}, "user_id: Input should be greater than or equal to 1"),
        ({"spot": {}}, "spot: say by node_selector or tolerations"),
        ({"job": None}, "add `job: {command: [...]}`"),
    ],
)
def test_a_wrong_cluster_file_says_what_is_wrong_where(
    change: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(EXAMPLE.read_text()) | change))
    assert cli.main(["cluster", "render", str(file)]) == cli.WRONG_USAGE
    assert said in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cluster", "render", str(EXAMPLE), "-o", "/proc/made"]) == cli.WRONG_USAGE
    assert "/proc/made" in capsys.readouterr().err


def test_a_cluster_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="No such file"):
        KubeConfig.load(tmp_path / "nowhere.yaml")
