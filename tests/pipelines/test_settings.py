"""Which devices a run is to use is settled, or refused in words, before Ray starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from manifests.errors import WrongUsage
from pipelines.animate import run
from pipelines.configuration import RunConfig
from pipelines.settings import RunSettings, require_device, require_packages, settled
from stages.diffusion import acceleration
from stages.diffusion.animators import ANIMATORS
from tests.made.sample_media import clip_row, write_manifest


def settings(**pool: Any) -> RunSettings:
    return settled(RunConfig.load(None, {"animate_pool": pool}), "m.parquet", "out", "night")


@pytest.mark.parametrize(
    ("pool", "devices"),
    [
        ({}, ("cpu",)),
        ({"num_gpus": 1}, ("cuda",)),
        ({"num_gpus": 0.5}, ("cuda",)),
        ({"device": "cuda:3"}, ("cuda:3",)),
        ({"gpus_per_clip": 3}, ("cpu", "cpu", "cpu")),
        ({"gpus_per_clip": 2, "num_gpus": 1, "device": "cpu"}, ("cpu", "cpu")),
        ({"gpus_per_clip": 2, "num_gpus": 2}, ("cuda:0", "cuda:1")),
        ({"gpus_per_clip": 2, "num_gpus": 4}, ("cuda:0", "cuda:1")),
        ({"gpus_per_clip": 2, "device": "cuda"}, ("cuda:0", "cuda:1")),
    ],
    ids=str,
)
def test_a_film_is_made_on_the_first_devices_that_a_worker_has(pool: dict[str, Any], devices: tuple[str, ...]) -> None:
    assert settings(**pool).devices == devices


@pytest.mark.parametrize(
    ("pool", "error", "remedy"),
    [
        ({"gpus_per_clip": 4, "num_gpus": 1}, "each worker reserves 1 GPUs", "num_gpus to 4"),
        ({"gpus_per_clip": 4, "num_gpus": 3}, "each worker reserves 3 GPUs", "gpus_per_clip to 3"),
        ({"gpus_per_clip": 2, "num_gpus": 0.5}, r"each worker reserves 0\.5 GPUs", "gpus_per_clip to 1"),
        ({"gpus_per_clip": 2, "device": "cuda:1"}, "cuda:1 is a single device", "device to cuda"),
        ({"gpus_per_clip": 2, "device": "mps"}, "mps is a single device", "gpus_per_clip to 1"),
    ],
    ids=str,
)
def test_devices_that_a_worker_would_not_have_are_refused(pool: dict[str, Any], error: str, remedy: str) -> None:
    with pytest.raises(WrongUsage, match=f"gpus_per_clip {pool['gpus_per_clip']}: {error}") as refused:
        settings(**pool)
    assert remedy in refused.value.remedy


def test_more_devices_than_this_machine_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_device("cuda", num_gpus=2, together=2)
    with pytest.raises(WrongUsage, match=r"gpus_per_clip 3: 2 CUDA device\(s\) are here"):
        require_device("cuda", num_gpus=4, together=3)


@pytest.mark.parametrize("pool", [{}, {"device": "cpu", "num_gpus": 1}, {"device": "mps"}], ids=str)
def test_xformers_without_cuda_is_refused(pool: dict[str, Any]) -> None:
    with pytest.raises(WrongUsage, match=r"^animate_pool\.attention xformers: it has no operator for device (cpu|mps)"):
        settings(attention="xformers", **pool)
    assert settings(attention="xformers", num_gpus=1).config.animate_pool.attention == "xformers"
    own = {"animate_pools": {"drawn": {"attention": "xformers"}}}
    with pytest.raises(WrongUsage, match=r"^animate_pools\.drawn\.attention xformers"):
        settled(RunConfig.load(None, own), "m.parquet", "out", None)


def test_xformers_that_is_not_installed_is_refused_where_animators_are_loaded_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceleration, "XFORMERS", "no_such_package")
    require_packages(RunConfig())
    with pytest.raises(WrongUsage, match="attention xformers: the package is not installed here") as refused:
        require_packages(RunConfig.load(None, {"animate_pools": {"drawn": {"attention": "xformers"}}}))
    assert "pip install 'catwalk[gpu]'" in refused.value.remedy


@pytest.mark.usefixtures("cluster")
def test_xformers_that_a_node_lacks_ends_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.animate.XFORMERS", "no_such_package")
    manifest, output = write_manifest(tmp_path / "m.parquet", [clip_row("a")]), tmp_path / "out"
    config = RunConfig.load(None, {"animate_pool": {"attention": "xformers", "device": "cuda"}})
    with pytest.raises(WrongUsage, match=r"attention xformers: not installed on \S+ → pip install"):
        run(config, manifest, str(output), dry_run=True)
    monkeypatch.setattr("pipelines.animate.XFORMERS", "torch")
    run(config, manifest, str(output), dry_run=True)


def test_an_animator_that_cannot_share_a_film_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(ANIMATORS, "alone", replace(ANIMATORS["drawn"], name="alone", deals_windows=False))
    (line,) = settings(gpus_per_clip=2).undealt(["drawn", "alone"])
    assert "gpus_per_clip 2: alone cannot share a film" in line
    assert settings().undealt(["drawn", "alone"]) == []


def test_a_pool_of_its_own_has_devices_of_its_own() -> None:
    pools = {"animate_pools": {"drawn": {"num_gpus": 1, "gpus_per_clip": 1}, "magicanimate": {"num_gpus": 8}}}
    config = RunConfig.load(None, {"animate_pool": {"num_gpus": 4, "gpus_per_clip": 4, "device": "cuda"}, **pools})
    assert [config.pool_of(name).gpus_per_clip for name in ("drawn", "magicanimate", "dreampose")] == [1, 4, 4]
    assert settled(config, "m.parquet", "out", "night").undealt(["drawn"]) == []
    pools["animate_pools"]["drawn"] = {"num_gpus": 1}
    config = RunConfig.load(None, {"animate_pool": {"num_gpus": 4, "gpus_per_clip": 4, "device": "cuda"}, **pools})
    with pytest.raises(WrongUsage, match=r"animate_pools\.drawn\.gpus_per_clip 4: each worker reserves 1 GPUs"):
        settled(config, "m.parquet", "out", "night")
