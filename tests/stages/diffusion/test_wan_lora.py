"""LoRAs of Wan: whatever their layout, the same matrices are added to the same layers, and nothing is left of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from manifests import storage
from manifests.clip import Clip
from manifests.errors import Rejected
from stages.diffusion.animator import Driving, Segment
from stages.diffusion.animators import load_animator
from stages.diffusion.model_cache import ModelCache
from stages.diffusion.weights.lora_file import LoraFile
from tests.conftest import CHECKOUT

State = dict[str, torch.Tensor]
GOLDEN = CHECKOUT / "tests" / "golden"
CHECKPOINTS = {name: GOLDEN / name / "checkpoint" for name in ("wan_vace", "wan_animate")}
RANK, ALPHA, WIDTH, INNER, BLOCKS = 3, 6.0, 24, 32, 2
# Wan's own name of a layer → diffusers', and its shape
LAYERS = {
    **{f"self_attn.{ours}": (f"attn1.{theirs}", WIDTH, WIDTH) for ours, theirs in (("q", "to_q"), ("k", "to_k"))},
    **{f"self_attn.{ours}": (f"attn1.{theirs}", WIDTH, WIDTH) for ours, theirs in (("v", "to_v"), ("o", "to_out.0"))},
    **{f"cross_attn.{ours}": (f"attn2.{theirs}", WIDTH, WIDTH) for ours, theirs in (("q", "to_q"), ("k", "to_k"))},
    **{f"cross_attn.{ours}": (f"attn2.{theirs}", WIDTH, WIDTH) for ours, theirs in (("v", "to_v"), ("o", "to_out.0"))},
    "ffn.0": ("ffn.net.0.proj", INNER, WIDTH),
    "ffn.2": ("ffn.net.2", WIDTH, INNER),
}


def halves(width: int = WIDTH, inner: int = INNER) -> dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]]:
    """(down, up) of every layer, the same at every call, for a network of that width."""
    sizes = {WIDTH: width, INNER: inner}
    made = {}
    for number, (block, name) in enumerate((block, name) for block in range(BLOCKS) for name in LAYERS):
        generator, (_, out, into) = torch.Generator().manual_seed(number), LAYERS[name]
        made[block, name] = (
            torch.randn(RANK, sizes[into], generator=generator) * 0.2,
            torch.randn(sizes[out], RANK, generator=generator) * 0.2,
        )
    return made


def own(*sizes: int) -> State:
    state: State = {}
    for (block, name), (down, up) in halves(*sizes).items():
        key = f"diffusion_model.blocks.{block}.{name}"
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(ALPHA)}
    return state


def unnamed() -> State:
    return {key.removeprefix("diffusion_model."): one for key, one in own().items()}


def kohya() -> State:
    state: State = {}
    for (block, name), (down, up) in halves().items():
        key = f"lora_unet_blocks_{block}_{name.replace('.', '_')}"
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(ALPHA)}
    return state


def diffusers() -> State:
    state: State = {}
    for (block, name), (down, up) in halves().items():
        key = f"transformer.blocks.{block}.{LAYERS[name][0]}"
        state |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up * (ALPHA / RANK)}
    return state


def peft_of_own() -> State:
    return {f"base_model.model.{key}": one for key, one in own_halves().items()}


def own_halves() -> State:
    """As PEFT writes a network of Wan's own code: no alpha in the file."""
    state: State = {}
    for (block, name), (down, up) in halves().items():
        key = f"blocks.{block}.{name}"
        state |= {f"{key}.lora_A.default.weight": down, f"{key}.lora_B.default.weight": up * (ALPHA / RANK)}
    return state


def peft_of_diffusers() -> State:
    return {f"base_model.model.{key.removeprefix('transformer.')}": one for key, one in diffusers().items()}


def file(folder: Path, state: State, scale: float = 1.0, metadata: dict[str, str] | None = None) -> LoraFile:
    path = folder / f"{len(list(folder.iterdir()))}.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path, metadata)
    return LoraFile(path, path.name, storage.sha256_file(path), scale)


def load(lora: LoraFile | None = None, name: str = "wan_vace") -> Any:
    return load_animator(name, CHECKPOINTS[name], "cpu", torch.float32, lora)


def added(lora: LoraFile, name: str = "wan_vace") -> State:
    before = load(name=name).transformer.state_dict()
    after = load(lora, name).transformer.state_dict()
    return {key: one - before[key] for key, one in after.items() if not torch.equal(one, before[key])}


@pytest.mark.parametrize("layout", [own, unnamed, kohya, diffusers, peft_of_own, peft_of_diffusers])
def test_every_layout_adds_the_same_matrices_to_the_layers_that_it_names(layout: Callable, tmp_path: Path) -> None:
    changed = added(file(tmp_path, layout(), 0.5))
    expected = {
        f"blocks.{block}.{LAYERS[name][0]}.weight": 0.5 * (ALPHA / RANK) * (up @ down)
        for (block, name), (down, up) in halves().items()
    }
    assert changed.keys() == expected.keys()
    assert all(torch.allclose(changed[key], expected[key], atol=1e-5) for key in expected)


@pytest.mark.parametrize(
    ("name", "key", "layers"),
    [
        ("wan_vace", "diffusion_model.vace_blocks.1.self_attn.q", ["vace_blocks.1.attn1.to_q"]),
        ("wan_vace", "base_model.model.vace_blocks.1.ffn.2", ["vace_blocks.1.ffn.net.2"]),
        ("wan_vace", "vace_blocks.0.before_proj", ["vace_blocks.0.proj_in"]),
        ("wan_vace", "lora_unet_vace_blocks_1_after_proj", ["vace_blocks.1.proj_out"]),
        ("wan_animate", "diffusion_model.face_adapter.fuser_blocks.1.linear1_q", ["face_adapter.1.to_q"]),
        ("wan_animate", "face_adapter.fuser_blocks.0.linear2", ["face_adapter.0.to_out"]),
        ("wan_animate", "lora_unet_face_adapter_fuser_blocks_0_linear1_kv", [f"face_adapter.0.to_{x}" for x in "kv"]),
    ],
)
def test_layers_that_one_system_has_alone_are_changed_by_their_own_names(
    name: str, key: str, layers: list[str], tmp_path: Path
) -> None:
    before = load(name=name).transformer
    shapes = [before.get_submodule(layer).weight.shape for layer in layers]
    down, up = torch.randn(RANK, shapes[0][1]), torch.randn(sum(out for out, _ in shapes), RANK)
    state = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(ALPHA)}
    changed = added(file(tmp_path, state), name)
    assert changed.keys() == {f"{layer}.weight" for layer in layers}
    whole = torch.cat([changed[f"{layer}.weight"] for layer in layers])
    assert torch.allclose(whole, ALPHA / RANK * (up @ down), atol=1e-4)


def test_alphas_in_the_header_and_changes_of_biases_count(tmp_path: Path) -> None:
    state = {key: one * (RANK / ALPHA) if "lora_B" in key else one for key, one in diffusers().items()}
    told = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": ALPHA})}
    plain, headed = added(file(tmp_path, diffusers())), added(file(tmp_path, state, metadata=told))
    assert all(torch.allclose(headed[key], plain[key], atol=1e-5) for key in plain)
    biased = {**own(), "diffusion_model.blocks.0.self_attn.q.diff_b": torch.ones(WIDTH)}
    for key in list(biased):
        if key.endswith(".alpha"):
            del biased[key]
    changed = added(file(tmp_path, biased, scale=0.25))
    assert torch.allclose(changed["blocks.0.attn1.to_q.bias"], torch.full((WIDTH,), 0.25), atol=1e-6)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (lambda: {"lora_unet_down_blocks_0_proj.lora_down.weight": torch.ones(2, 2)}, "no layer of Wan's"),
        (lambda: {"unet.mid_block.lora_A.weight": torch.ones(2, 2)}, "no layer of Wan's"),
        (lambda: {key: one for key, one in diffusers().items() if "lora_A" in key}, "one half alone"),
        (lambda: {key: one for key, one in kohya().items() if "_o." not in key}, "is missing"),
        (lambda: {**own(), "diffusion_model.blocks.0.self_attn.q.dora_scale": torch.ones(2)}, "DoRA"),
        (lambda: {key.replace("blocks.1", "blocks.7"): one for key, one in own().items()}, "transformer.blocks.7"),
        (lambda: {key: one[:, :5] if "lora_A" in key else one for key, one in diffusers().items()}, "does not fit"),
    ],
)
def test_a_lora_of_another_layout_or_model_is_refused_in_words(state: Callable, says: str, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=says) as refused:
        load(file(tmp_path, state()))
    assert "LoRA of Wan" in refused.value.remedy


def film(animator: Any, **fields: Any) -> torch.Tensor:
    given = {"id": "c", "animator": animator.facts.name, "prompt": "a man dancing", "width": 48, "height": 32}
    given |= {"fit": "cover", "steps": 2, "guidance": 1.0, "window": 5, "overlap": 1}
    pictures = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), np.uint8)
    driving = Driving(pictures, faces=list(pictures))
    return animator.segment(Clip(**{**given, **fields}), pictures[0], driving, Segment(0, 5)).latents


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_lora_changes_the_film_and_leaves_nothing_behind_when_it_is_swapped(name: str, tmp_path: Path) -> None:
    config = load(name=name).transformer.config
    sizes = config.num_attention_heads * config.attention_head_dim, config.ffn_dim
    lora, none = file(tmp_path, own(*sizes)), file(tmp_path, own(*sizes), scale=0.0)
    cache = ModelCache("cpu", "float32", 0)  # which keeps one model, whatever comes next

    def made(with_lora: LoraFile | None = None) -> torch.Tensor:
        return film(cache.get(name, CHECKPOINTS[name], "digest", with_lora))

    plain, tuned = made(), made(lora)
    assert (tuned - plain).abs().max() > 0.01 * plain.std()
    assert torch.equal(made(), plain)
    assert torch.equal(made(none), plain)
    assert torch.equal(made(lora), tuned)


def test_few_steps_without_guidance_ask_the_network_once_each(tmp_path: Path) -> None:
    animator, calls = load(file(tmp_path, own())), []
    animator.transformer.register_forward_hook(lambda *_: calls.append(1))
    film(animator, steps=4, guidance=1.0)
    assert len(calls) == 4
