"""Where memory is short, Wan's systems draw the same films, and say what is not for them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention import AttentionModuleMixin
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.functional import scaled_dot_product_attention

from manifests.errors import Problem
from stages.diffusion.acceleration import Acceleration
from stages.diffusion.animators import load_animator
from stages.diffusion.model_cache import ModelCache
from stages.diffusion.networks import compiled_blocks, memory_efficient, offload
from stages.diffusion.networks.block_streaming import stream, streamed
from stages.diffusion.networks.offload import settle
from tests.stages.diffusion.test_wan import GOLDEN, HEIGHT, WIDTH, clip, film, made

SYSTEMS = ("wan_vace", "wan_animate")
FRAMES = 14  # two segments
Parts = list[tuple[Any, torch.Tensor, Any]]


def load(name: str, **wanted: Any) -> Any:
    return load_animator(name, GOLDEN / name / "checkpoint", "cpu", torch.float32, acceleration=Acceleration(**wanted))


def drawn(animator: Any, frames: int = FRAMES) -> Parts:
    return made(animator, clip(animator.facts.name, guidance=2.0), frames)


@pytest.fixture(scope="module")
def plain() -> dict[str, Parts]:
    """With memory enough."""
    return {name: drawn(load(name)) for name in SYSTEMS}


def assert_same(found: Parts, expected: Parts) -> None:
    assert len(found) == len(expected) == 2
    assert all(torch.equal(one[1], other[1]) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", SYSTEMS)
def test_low_vram_draws_the_same_film_to_the_bit(name: str, plain: dict[str, Parts]) -> None:
    small = load(name, low_vram=True)
    assert streamed(small.transformer)
    assert {part for part in small.modules if hasattr(small.modules[part], "works_on")} == set(small.waiting)
    parts = drawn(small)
    assert_same(parts, plain[name])
    asked = clip(name)
    assert np.array_equal(film(small, asked, parts), film(load(name), asked, plain[name]))


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_film_that_ran_out_of_memory_is_drawn_again_with_the_weights_elsewhere(
    name: str, plain: dict[str, Parts]
) -> None:
    poor = load(name)
    handle = poor.transformer.register_forward_pre_hook(_fail)
    with pytest.raises(torch.OutOfMemoryError):
        drawn(poor)
    handle.remove()
    assert poor.forget() > 0, "the models' cache asks for it, and has the film begun again"
    assert streamed(poor.transformer)
    assert_same(drawn(poor), plain[name])


def test_the_cache_of_models_makes_room_by_that() -> None:
    models = ModelCache("cpu", "float32", 10**9)
    kept = models.get("wan_vace", GOLDEN / "wan_vace" / "checkpoint", "digest")
    drawn(kept, 5)
    assert models.keep_one()
    assert streamed(kept.transformer)


def _fail(*_: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")


def test_systems_that_are_swapped_leave_no_network_behind() -> None:
    models, networks = ModelCache("cpu", "float32", max_bytes=1), []
    for name in (*SYSTEMS, *SYSTEMS):
        animator = models.get(name, GOLDEN / name / "checkpoint", name)
        drawn(animator, 5)
        assert all(network() is None for network in networks)
        networks = [weakref.ref(network) for network in animator.modules.values()]
        del animator


def test_blocks_are_on_the_device_while_they_compute_and_no_longer() -> None:
    network = nn.Module()
    network.entry, network.blocks = nn.Linear(4, 4), nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    network.inner = nn.Module()
    network.inner.more = nn.ModuleList([nn.Linear(4, 4)])
    network.register_buffer("table", torch.ones(2))
    kept = [block.weight.detach().clone() for block in network.blocks]
    stream(network, "meta")  # a device that is not the CPU
    assert {network.entry.weight.device.type, network.table.device.type} == {"meta"}
    blocks = [*network.blocks, *network.inner.more]

    def places() -> list[str]:
        return [block.weight.device.type for block in blocks]

    seen: list[list[str]] = []
    for block in blocks:
        block.register_forward_hook(lambda *_: None)
        assert places() == ["cpu"] * 4
        block.forward = lambda given: seen.append(places()) or given
        block(torch.empty(1, 4, device="meta"))
    assert seen == [["meta" if place == number else "cpu" for place in range(4)] for number in range(4)]
    assert places() == ["cpu"] * 4
    assert all(torch.equal(block.weight, weight) for block, weight in zip(network.blocks, kept, strict=True))


def test_a_block_that_fails_leaves_the_device_too() -> None:
    network = nn.Module()
    network.blocks = nn.ModuleList([nn.Linear(4, 4)])
    stream(network, "meta")
    with pytest.raises(RuntimeError):
        network.blocks[0](torch.empty(1, 3, device="meta"))
    assert network.blocks[0].weight.device.type == "cpu"


def test_a_network_that_no_card_of_that_size_holds_streams_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def network() -> nn.Module:
        made = nn.Module()
        made.blocks = nn.ModuleList([nn.Linear(16, 16, bias=False)])
        return made

    monkeypatch.setattr(offload, "memory_of", lambda device: 16 * 16 * 4 * 1.5)
    assert not streamed(settle(network(), "cpu"))
    monkeypatch.setattr(offload, "memory_of", lambda device: 16 * 16 * 4)
    assert streamed(settle(network(), "cpu")), "something is to be computed there too"


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize(("setting", "value"), [("channels_last", True), ("decode_frames", 4)])
def test_what_means_nothing_to_it_is_refused_where_it_is_asked_for(name: str, setting: str, value: Any) -> None:
    with pytest.raises(Problem, match=f"{setting} {str(value).lower()}: not for {name}") as refused:
        load(name, **{setting: value})
    assert refused.value.remedy == f"leave animate_pools.{name}.{setting} at its default"


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Graphs are traced and guarded as ever, but run operator by operator: generating code takes long."""
    monkeypatch.setattr(compiled_blocks, "BACKEND", "eager")
    compiled_blocks.require_compiler.cache_clear()
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    compiled_blocks.require_compiler.cache_clear()


def test_compiled_blocks_draw_the_same_film_each_compiled_once(compiling: None) -> None:
    compiled = load("wan_vace", compile=True)
    network = compiled.transformer
    blocks = [block for block in network.modules() if type(block).__name__ in network._repeated_blocks]
    counters.clear()
    assert torch.equal(drawn(compiled, 5)[0][1], drawn(load("wan_vace"), 5)[0][1])
    assert len(blocks) <= counters["stats"]["unique_graphs"] <= 2 * len(blocks)
    assert counters["graph_break"] == {}
    compiled.forget()
    assert not streamed(network), "compiled blocks stay"


def test_blocks_that_wait_in_main_memory_are_not_compiled() -> None:
    with pytest.raises(Problem, match="blocks of wan_vace that wait in main memory cannot be compiled"):
        load("wan_vace", compile=True, low_vram=True)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_attention_of_the_transformer_is_xformers_where_it_is_asked_for(
    name: str, plain: dict[str, Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    ops = pytest.importorskip("xformers.ops", reason="needs xformers, from the extra 'gpu' or 'dev'")
    calls: list[int] = []

    def operator(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """In the operator's place, which there is for CUDA alone."""
        calls.append(1)
        return scaled_dot_product_attention(*(one.transpose(1, 2) for one in (query, key, value))).transpose(1, 2)

    monkeypatch.setattr(ops, "memory_efficient_attention", operator)
    memory_efficient._works.cache_clear()
    asked: list[int] = []
    try:
        animator = load(name, attention="xformers")
        calls.clear()
        for layer in animator.transformer.modules():
            if isinstance(layer, AttentionModuleMixin):
                layer.register_forward_hook(lambda *_: asked.append(1))
        assert_same(drawn(animator), plain[name])
        assert len(calls) >= len(asked) > 0
        calls.clear()
        drawn(load(name), 5)
        assert calls == [], "others keep torch's"
    finally:
        memory_efficient._works.cache_clear()


def test_a_film_is_decoded_latent_frame_by_latent_frame_and_no_further_than_it_goes(tmp_path: Path) -> None:
    animator, asked = load("wan_vace"), clip("wan_vace", window=17)
    parts = made(animator, asked, 6)  # of nine that are drawn
    calls: list[int] = []
    animator.images.autoencoder.decoder.register_forward_hook(lambda *_: calls.append(1))
    batches = list(animator.frames([part[:2] for part in parts], asked))
    assert [batch.shape for batch in batches] == [(1, HEIGHT, WIDTH, 3), (4, HEIGHT, WIDTH, 3), (1, HEIGHT, WIDTH, 3)]
    whole = animator.decode(parts[0][1])
    assert calls == [1] * 6
    shown = torch.cat([torch.from_numpy(batch) for batch in batches]).permute(3, 0, 1, 2)
    assert torch.equal(((whole[0, :, :6] / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8), shown)


def test_what_a_first_segment_knows_nothing_of_is_encoded_once_for_clips_of_a_size() -> None:
    for name in SYSTEMS:
        animator, encoded = load(name), []
        encode = animator.images.encode
        animator.images.encode = lambda pixels, encode=encode, seen=encoded: seen.append(pixels) or encode(pixels)
        first = drawn(animator, 5)
        before = len(encoded)
        again = drawn(animator, 5)
        assert len(encoded) - before == before - 1
        assert torch.equal(first[0][1], again[0][1])
