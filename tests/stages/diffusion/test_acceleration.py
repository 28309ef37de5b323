"""What makes a loaded animator faster reaches all of its networks, and changes none of its films."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import nn
from torch._dynamo.utils import counters

from manifests.errors import Problem
from pipelines.configuration import RunConfig
from pipelines.settings import settled
from pipelines.stage_of import animate
from stages.diffusion.acceleration import Acceleration
from stages.diffusion.animators import ANIMATORS, load_animator
from stages.diffusion.networks import compiled_blocks
from tests.made.plain_animators import FACTS as PLAIN
from tests.made.small_clips import WRITE, steps_of

CLOSE = 1e-4  # of latents near 1: kernels for another layout round otherwise, and guidance makes it more


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp("weights") / name) for name, write in WRITE.items()}


def loaded(checkpoints: dict[str, Path], name: str, **wanted: Any) -> Any:
    """In double precision: at one pixel, these tiny networks' norms blow the last digits up."""
    return load_animator(name, checkpoints[name], "cpu", torch.float64, acceleration=Acceleration(**wanted))


def denoised(animator: Any) -> torch.Tensor:
    return steps_of(animator, 8)[-1].latents


def convolutions(animator: Any) -> Iterator[nn.Conv2d]:
    for module in animator.modules.values():
        yield from (layer for layer in module.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1))


@pytest.mark.parametrize("name", WRITE)
def test_channels_last_reaches_every_convolution_and_changes_no_film(name: str, checkpoints: dict[str, Path]) -> None:
    plain, last = loaded(checkpoints, name), loaded(checkpoints, name, channels_last=True)
    layouts = {one.weight.is_contiguous(memory_format=torch.channels_last) for one in convolutions(last)}
    assert layouts == {True}
    assert not any(one.weight.is_contiguous(memory_format=torch.channels_last) for one in convolutions(plain))
    torch.testing.assert_close(denoised(last), denoised(plain), rtol=0, atol=CLOSE)


def test_auto_leaves_networks_on_the_cpu_as_they_are(checkpoints: dict[str, Path]) -> None:
    for name, dtype in (("drawn", torch.float32), ("drawn", torch.bfloat16)):
        animator = load_animator(name, checkpoints[name], "cpu", dtype)
        assert not any(one.weight.is_contiguous(memory_format=torch.channels_last) for one in convolutions(animator)), (
            dtype
        )


@pytest.mark.parametrize(
    ("device", "dtype", "wanted", "last"),
    [
        ("cuda", torch.float16, "auto", True),
        ("cuda:1", torch.bfloat16, "auto", True),
        ("cuda", torch.float32, "auto", False),
        ("cuda", torch.float16, False, False),
        ("cpu", torch.float32, True, True),
    ],
)
def test_auto_is_for_half_precision_on_cuda(device: str, dtype: torch.dtype, wanted: Any, last: bool) -> None:
    assert Acceleration(channels_last=wanted).puts_channels_last(device, dtype) is last


def test_an_animator_that_shows_no_networks_is_loaded_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANIMATORS, "plain", PLAIN)
    made = load_animator("plain", Path(), "cpu", torch.float32, acceleration=Acceleration(channels_last=True))
    assert not hasattr(made, "modules")


def test_a_pool_accelerates_each_replica_that_it_loads_and_pools_of_their_own_inherit(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    pools = {"animate_pool": {"channels_last": True, "gpus_per_clip": 2}, "animate_pools": {"drawn": {"threads": 1}}}
    pools["animate_pools"]["magicanimate"] = {"channels_last": False}
    config = RunConfig.load(None, pools)
    for name, last in (("drawn", True), ("magicanimate", False)):
        settings = settled(config, "m.parquet", str(tmp_path), "night").with_pool(config.pool_of(name))
        first = animate(settings)._models.get(name, checkpoints[name], "digest")
        for one in (first, *first.others):
            layouts = {layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in convolutions(one)}
            assert layouts == {last}


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Counts graphs, which are traced and guarded as ever, but run operator by operator: generating code takes long."""
    monkeypatch.setattr(compiled_blocks, "BACKEND", "eager")
    compiled_blocks.require_compiler.cache_clear()
    torch._dynamo.reset()
    counters.clear()
    yield counters["stats"]
    torch._dynamo.reset()
    compiled_blocks.require_compiler.cache_clear()


def test_compiled_blocks_draw_the_same_film_and_one_of_another_size_and_length_compiles_nothing(
    checkpoints: dict[str, Path], compiling: Counter[str]
) -> None:
    plain, compiled = loaded(checkpoints, "drawn"), loaded(checkpoints, "drawn", compile=True)
    compiling.clear()
    graphs = []
    # no two sizes of the first film are equal by chance: torch would take them for one, and compile again
    first, other = {"width": 112, "height": 144}, {"width": 96, "height": 64}
    for frames, size in ((8, first), (8, first), (11, other)):
        ours, theirs = (steps_of(one, frames, steps=1, **size)[-1].latents for one in (compiled, plain))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
        graphs.append(compiling["unique_graphs"])
    blocks = [layer for layer in compiled.modules["unet"].modules() if isinstance(layer, BasicTransformerBlock)]
    assert graphs == [len(blocks)] * 3
    assert counters["graph_break"] == {}


def test_a_block_that_meets_too_many_kinds_of_input_runs_as_it_is_written(
    compiling: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_blocks, "MOST_GRAPHS", 1)
    block = BasicTransformerBlock(8, num_attention_heads=2, attention_head_dim=4).eval()
    plain = copy.deepcopy(block)
    assert compiled_blocks.compile_blocks([block]) == 1
    with torch.inference_mode():
        for samples in (2, 1, 3):  # a single one is a kind of its own
            tokens = torch.randn(samples, 6, 8)
            torch.testing.assert_close(block(tokens), plain(tokens))
    assert compiling["unique_graphs"] == 1


def test_an_older_torch_compiles_without_what_its_compiler_does_not_take(
    compiling: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = torch.compile

    def older(model: Any, *, dynamic: bool | None = None, backend: str = "inductor", disable: bool = False) -> Any:
        return newer(model, dynamic=dynamic, backend=backend, disable=disable)

    monkeypatch.setattr(torch, "compile", older)
    block = BasicTransformerBlock(8, num_attention_heads=2, attention_head_dim=4).eval()
    plain = copy.deepcopy(block)
    assert compiled_blocks.compile_blocks([block]) == 1
    with torch.inference_mode():
        tokens = torch.randn(2, 6, 8)
        torch.testing.assert_close(block(tokens), plain(tokens))
    assert compiling["unique_graphs"] == 1


def test_where_torch_cannot_compile_loading_is_refused(
    checkpoints: dict[str, Path], compiling: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_blocks, "BACKEND", "no_such_compiler")
    with pytest.raises(Problem, match=r"compile: torch.compile does not work on cpu here: \w+: .*no_such_compiler"):
        loaded(checkpoints, "drawn", compile=True)
