"""The image that nodes run, and the file for `ray up`: neither can be tried without a cloud, so what they say is held
against the rules that they must obey."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import ray.autoscaler
import yaml
from jsonschema import Draft7Validator

from cluster.preflight import Node, shortage
from pipelines.configuration import RunConfig
from pipelines.pools import demands
from tests.conftest import CHECKOUT

DOCKERFILE = CHECKOUT / "cluster" / "Dockerfile"
RAY_UP = CHECKOUT / "cluster" / "ray_up.yaml"


def instructions() -> list[tuple[str, str]]:
    """(instruction, its arguments) of the Dockerfile, lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def copied() -> list[str]:
    """What the image takes of the checkout."""
    words = [shlex.split(rest) for word, rest in instructions() if word == "COPY"]
    return [name for one in words for name in one[1:-1]]


# The image


def test_the_image_runs_as_a_user_who_is_not_root_and_is_known_by_number() -> None:
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users == ["1000"]
    first = next(number for number, (word, _) in enumerate(instructions()) if word == "USER")
    runs = [rest for word, rest in instructions()[first:] if word == "RUN"]
    assert not any(re.search(r"\b(sudo|apt-get)\b", run) for run in runs)


def test_every_package_in_the_image_is_of_the_tested_version() -> None:
    installs = [
        part for word, rest in instructions() if word == "RUN" for part in re.findall(r"pip install [^&]*", rest)
    ]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in part for part in installs)


def test_the_image_has_what_a_head_begins_other_machines_with() -> None:
    system = next(rest for word, rest in instructions() if word == "RUN" and "apt-get install" in rest)
    assert {"openssh-client", "rsync"} <= set(shlex.split(system))
    (extras,) = (rest.partition("=")[2] for word, rest in instructions() if word == "ARG" and "EXTRAS=" in rest)
    optional = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = {re.split(r"\W", one)[0] for extra in extras.split(",") for one in optional[extra]}
    clients = "".join(path.read_text() for path in (Path(ray.autoscaler.__file__).parent / "_private/aws").glob("*.py"))
    assert set(re.findall(r"^import (boto3|boto)$", clients, re.MULTILINE)) == {"boto3"} <= packages


def test_the_image_holds_the_product_whole_and_nothing_else(tmp_path: Path) -> None:
    packages = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert {one.rstrip("*") for one in packages["include"]} <= set(copied())
    kept = [line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert kept[0] == "*"
    assert {line[1:] for line in kept if line[0] == "!"} == set(copied()), "what is copied is sent, and no more"
    out = [line.replace("**/", "*") for line in kept[1:] if line[0] != "!"]

    def ignored(folder: str, names: list[str]) -> list[str]:
        where = Path(folder).relative_to(CHECKOUT)
        return [
            one for one in names if any(fnmatch.fnmatch(str(where / one), line.replace("**/", "*")) for line in out)
        ]

    for name in copied():
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    assert not (tmp_path / "pipelines" / "training").exists()
    models: list[str] = []
    for command in (["config"], ["models"], ["animate", "--help"]):
        ran = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *command], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert ran.returncode == 0, ran.stderr
        models = ran.stdout.splitlines() if command == ["models"] else models
        assert "Traceback" not in ran.stderr
    weights = next(line for line in models if "animator drawn" in line)
    assert f"{tmp_path}/stages/bundled" in weights, "not those of this checkout"


# ray up


def ray_up() -> dict[str, Any]:
    return yaml.safe_load(RAY_UP.read_text())


def schema() -> dict[str, Any]:
    return json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


def test_the_file_for_ray_up_is_what_ray_reads() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    assert list(Draft7Validator(schema()).iter_errors(ray_up())) == []
    validate_config(prepare_config(ray_up()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_worker": 3}, "'max_worker' was unexpected"),
        ({"max_workers": "3"}, "'3' is not of type 'integer'"),
        ({"provider": {}}, "'type' is a required property"),
    ],
)
def test_a_typo_a_string_for_an_integer_and_a_missing_part_are_found(change: dict[str, Any], said: str) -> None:
    (fault,) = Draft7Validator(schema()).iter_errors({**ray_up(), **change})
    assert said in fault.message


def test_its_machines_hold_what_the_readme_asks_for_and_the_head_does_no_work() -> None:
    described = ray_up()
    types = described["available_node_types"]
    assert types[described["head_node_type"]]["resources"] == {"CPU": 0}
    assert described["max_workers"] == sum(one.get("max_workers", 0) for one in types.values())
    readme = (CHECKOUT / "README.md").read_text()
    night = RunConfig.model_validate(yaml.safe_load(re.search(r"```yaml\n(.*?)\n```", readme, re.DOTALL)[1]))
    for without in ("gpu", "gpu_spot"):  # either market is enough
        nodes = [
            Node({name: float(amount) for name, amount in one["resources"].items()}, one.get("labels", {}))
            for kind, one in types.items()
            if kind != without
            for _ in range(one.get("max_workers", 0))
        ]
        assert [short for together in demands(night) if (short := shortage(together, True, nodes))] == []
    assert types["gpu_spot"]["priority"] > types["gpu"]["priority"]
    assert types["gpu_spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in types["gpu"]["node_config"]
