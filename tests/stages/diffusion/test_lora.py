"""LoRA files: both layouts, what they change, what is refused, and what it means for a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from manifests import storage
from manifests.clip import Clip
from manifests.errors import Problem, Rejected
from manifests.storage import Allowed
from manifests.work import Weights, Work
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.planned_clip import model
from stages.checkpoint_files import held_lora
from stages.diffusion.animator import Segment
from stages.diffusion.animators import ANIMATORS, load_animator
from stages.diffusion.model_cache import ModelCache
from stages.diffusion.text2video_zero.animator import Text2VideoZero
from stages.diffusion.weights.lora import Lora
from stages.diffusion.weights.lora_file import LoraFile
from stages.node_cache import WHOLE, NodeCache
from stages.poses.recipes import Estimators
from stages.validate import Validate
from stages.video.limits import Limits
from tests.made.dreampose_media import write_checkpoint as write_dreampose
from tests.made.seam import latents_of
from tests.made.tiny_diffusion import GOLDEN, UNET, randomised, write_animate_anyone, write_text2video_zero

RANK, ALPHA = 3, 6.0
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
LAYERS = {  # name → (out, in, kernel)
    f"{BLOCK}.attn1.to_q": (16, 16, 0),
    f"{BLOCK}.attn2.to_k": (16, 32, 0),
    f"{BLOCK}.attn2.to_out.0": (16, 16, 0),
    f"{BLOCK}.ff.net.0.proj": (128, 16, 0),
    "down_blocks.0.attentions.0.proj_in": (16, 16, 1),
    "mid_block.resnets.0.conv1": (32, 32, 3),
    "up_blocks.1.resnets.0.time_emb_proj": (32, 64, 0),
}
WORDS = {"encoder.layers.0.self_attn.q_proj": (32, 32, 0), "encoder.layers.1.mlp.fc1": (64, 32, 0)}

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text2video_zero(tmp_path_factory.mktemp("lora") / "checkpoint")


def halves(layers: dict[str, tuple[int, int, int]]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """(down, up) of every layer, the same at every call."""
    made = {}
    for number, (name, (out, into, kernel)) in enumerate(layers.items()):
        generator = torch.Generator().manual_seed(number)
        window = (kernel, kernel) if kernel else ()
        down = torch.randn(RANK, into, *window, generator=generator) * 0.1
        made[name] = down, torch.randn(out, RANK, *((1, 1) if kernel else ()), generator=generator) * 0.1
    return made


def kohya(layers: dict = LAYERS, words: dict = WORDS) -> State:
    state: State = {}
    for prefix, part in (("lora_unet_", layers), ("lora_te_text_model_", words)):
        for name, (down, up) in halves(part).items():
            key = prefix + name.replace(".", "_")
            state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(ALPHA)}
    return state


def peft(layers: dict = LAYERS, words: dict = WORDS) -> State:
    state: State = {}
    for prefix, part in (("unet.", layers), ("text_encoder.text_model.", words)):
        for name, (down, up) in halves(part).items():
            # its alpha is the rank, so the factor is in the matrix
            state |= {f"{prefix}{name}.lora_A.weight": down, f"{prefix}{name}.lora_B.weight": up * (ALPHA / RANK)}
    return state


def first_diffusers(layers: dict = LAYERS, words: dict = WORDS) -> State:
    """Names of 2023: attention processors, and `lora_linear_layer` in the text encoder."""
    renamed: State = {}
    for key, value in peft(layers, words).items():
        key = key.replace("lora_A", "down").replace("lora_B", "up")
        for name in ("q", "k", "v", "out.0"):
            for half in ("down", "up"):
                key = key.replace(f".to_{name}.{half}", f".processor.to_{name.removesuffix('.0')}_lora.{half}")
        if ".processor." not in key:
            infix = "lora_linear_layer" if key.startswith("text_encoder") else "lora"
            key = key.replace(".down.", f".{infix}.down.").replace(".up.", f".{infix}.up.")
        renamed[key] = value
    return renamed


def file(folder: Path, state: State, scale: float = 1.0, metadata: dict[str, str] | None = None) -> LoraFile:
    path = folder / f"{len(list(folder.iterdir()))}.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path, metadata)
    return LoraFile(path, path.name, storage.sha256_file(path), scale)


def fused(lora: LoraFile) -> State:
    """What a LoRA adds to a UNet."""
    network, plain = (randomised(UNet2DConditionModel(**UNET), seed=1) for _ in range(2))
    Lora.read(lora).fuse(network)
    before = plain.state_dict()
    return {
        name: one - before[name] for name, one in network.state_dict().items() if not torch.equal(one, before[name])
    }


def film(animator: Text2VideoZero) -> torch.Tensor:
    row = Clip(
        id="c",
        animator="text2video_zero",
        prompt="a cat",
        width=32,
        height=32,
        steps=3,
        guidance=7.5,
        window=4,
        fit="cover",
    )
    return latents_of(animator, row, None, np.zeros((2, 32, 32, 3), np.uint8), Segment(0, 2))


def load(checkpoint: Path, lora: LoraFile | None = None) -> Text2VideoZero:
    return load_animator("text2video_zero", checkpoint, "cpu", torch.float32, lora)


def test_every_layout_adds_the_same_matrices_to_the_layers_that_it_names(tmp_path: Path) -> None:
    expected = {
        f"{name}.weight": (ALPHA / RANK) * (up.flatten(1) @ down.flatten(1))
        for name, (down, up) in halves(LAYERS).items()
    }
    for layout in (kohya, peft, first_diffusers):
        added = fused(file(tmp_path, layout(), 0.5))
        assert added.keys() == expected.keys(), layout.__name__
        for name, matrix in expected.items():
            assert torch.allclose(added[name].flatten(1), 0.5 * matrix, atol=1e-5), (layout.__name__, name)


def test_a_film_changes_alike_in_both_layouts_and_not_at_all_at_scale_zero(checkpoint: Path, tmp_path: Path) -> None:
    plain = film(load(checkpoint))
    tuned, same = (film(load(checkpoint, file(tmp_path, layout()))) for layout in (kohya, peft))
    assert (tuned - same).abs().max() < 1e-3 * plain.std()
    assert (tuned - plain).abs().max() > 0.01 * plain.std()
    assert torch.equal(film(load(checkpoint, file(tmp_path, kohya(), scale=0.0))), plain)
    worded = film(load(checkpoint, file(tmp_path, kohya(layers={}))))
    assert (worded - plain).abs().max() > 1e-3 * plain.std(), "the text encoder's layers count too"


def test_the_alpha_that_peft_keeps_in_the_header_counts(tmp_path: Path) -> None:
    state = peft()
    for key in state:
        if key.endswith("lora_B.weight"):
            state[key] = state[key] * (RANK / ALPHA)
    expected = fused(file(tmp_path, kohya()))
    for stated in (
        {"unet.r": RANK, "unet.lora_alpha": ALPHA},
        {"unet.lora_alpha": 1, "unet.alpha_pattern": dict.fromkeys(LAYERS, ALPHA)},
        {"unet.lora_alpha": ALPHA / RANK**0.5, "unet.use_rslora": True},
    ):
        added = fused(file(tmp_path, state, metadata={"lora_adapter_metadata": json.dumps(stated)}))
        assert all(torch.allclose(added[name], expected[name], atol=1e-5) for name in expected), stated


@pytest.fixture(scope="module")
def checkpoints(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "text2video_zero": checkpoint,
        "animate_anyone": write_animate_anyone(folder / "animate_anyone"),
        "magicanimate": GOLDEN / "magicanimate" / "checkpoint",
        "dreampose": write_dreampose(folder / "dreampose"),
    }


@pytest.mark.parametrize("name", [facts.name for facts in ANIMATORS.values() if facts.lora and facts.lora_of != "wan"])
def test_every_animator_that_takes_a_lora_denoises_with_it(
    checkpoints: dict[str, Path], tmp_path: Path, name: str
) -> None:
    layers = [f"{BLOCK}.attn1.to_q", f"{BLOCK}.attn2.to_q", f"{BLOCK}.attn2.to_v"]
    plain = load_animator(name, checkpoints[name], "cpu", torch.float32).unet.network
    channels, width = plain.get_submodule(layers[2]).weight.shape
    shapes = {layers[0]: (channels, channels, 0), layers[1]: (channels, channels, 0), layers[2]: (channels, width, 0)}
    lora = file(tmp_path, kohya(shapes, {}))
    tuned = load_animator(name, checkpoints[name], "cpu", torch.float32, lora).unet.network
    for layer in (layers[0], layers[2]):
        down, up = halves(shapes)[layer]
        added = tuned.get_submodule(layer).weight - plain.get_submodule(layer).weight
        assert torch.allclose(added, (ALPHA / RANK) * (up @ down), atol=1e-5)


def test_layers_of_a_text_encoder_are_said_to_be_ignored_where_there_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert fused(file(tmp_path, kohya())).keys() == fused(file(tmp_path, kohya(words={}))).keys()
    assert "text_encoder is ignored" in caplog.text
    with pytest.raises(Rejected, match="text_encoder alone"):
        fused(file(tmp_path, kohya(layers={})))


def _misshapen() -> State:
    return kohya({f"{BLOCK}.attn1.to_q": (16, 24, 0), "mid_block.resnets.0.conv1": (32, 32, 3)}, {})


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (_misshapen, f"unet.{BLOCK}.attn1.to_q"),
        (
            lambda: kohya({"down_blocks.9.attentions.0.proj_in": (16, 16, 1)}, {}),
            "unet.down_blocks.9.attentions.0.proj_in",
        ),
        (lambda: {key: one for key, one in peft(words={}).items() if "lora_A" in key}, "one half alone"),
        (lambda: kohya() | {"lora_unet_mid_block_resnets_0_conv1.dora_scale": torch.ones(32)}, "DoRA"),
        (lambda: kohya() | {"lora_unet_mid_block_resnets_0_conv2.hada_w1_a": torch.ones(3, 3)}, "cannot be read"),
        (lambda: peft() | {"unet.conv_in.weight": torch.ones(3, 3)}, "is no part of a LoRA"),
        (
            lambda: {"unet.conv_in.lora_A.weight": torch.ones(()), "unet.conv_in.lora_B.weight": torch.ones(2, 2)},
            "no pair",
        ),
        (
            lambda: {"unet.conv_in.lora_A.weight": torch.ones(0, 4), "unet.conv_in.lora_B.weight": torch.ones(2, 0)},
            "no pair",
        ),
        (lambda: {}, "holds no layer"),
    ],
)
def test_what_fits_no_layer_is_rejected_and_changes_nothing(
    tmp_path: Path, state: Callable[[], State], says: str
) -> None:
    network = randomised(UNet2DConditionModel(**UNET), seed=1)
    before = {name: one.clone() for name, one in network.state_dict().items()}
    with pytest.raises(Rejected) as refused:
        Lora.read(file(tmp_path, state())).fuse(network)
    assert says in str(refused.value)
    assert refused.value.remedy
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())


# --- Rows


def validated(folder: Path, limits: Limits | None = None, **fields: Any) -> Work:
    weights = {"text2video_zero": "/models/t2v", "drawn": "/models/drawn"}
    allowed, sources = Allowed(prefixes=[str(folder)]), str(folder / "sources")
    stage = Validate(str(folder), allowed, limits or Limits(), weights, sources, Estimators())
    return stage(0, {"id": "a", "animator": "text2video_zero", "duration": 1, **fields})


def test_a_row_names_a_lora_by_path_and_its_bytes_are_in_the_work(tmp_path: Path) -> None:
    lora = file(tmp_path, kohya())
    work = validated(tmp_path, lora=lora.path.name, lora_scale="0.8")
    assert (work.lora.uri, len(work.lora.digest), work.clip.lora_scale) == (str(lora.path), 64, 0.8)
    with held_lora(work.lora, 0.8, NodeCache(tmp_path / "scratch")) as held:
        assert held.path == lora.path
    assert validated(tmp_path).lora is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"lora": "text.safetensors"}, "is no safetensors file"),
        ({"lora": "model.safetensors"}, "holds no LoRA, but conv_in.weight"),
        ({"lora": "absent.safetensors"}, "there is no such file"),
        ({"lora": "/etc/passwd"}, "outside the allowed folders"),
        ({"lora": "whole.safetensors", "lora_scale": 100}, "lora_scale"),
        ({"lora": "whole.safetensors", "limits": Limits(bytes=1000)}, "limit"),
    ],
)
def test_a_file_that_is_no_lora_is_rejected_before_anything_is_made(tmp_path: Path, fields: dict, says: str) -> None:
    (tmp_path / "text.safetensors").write_text("no tensors")
    save_file({"conv_in.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    save_file(kohya(), tmp_path / "whole.safetensors")
    with pytest.raises(Rejected) as refused:
        validated(tmp_path, **fields)
    assert says in str(refused.value)


def test_an_animator_of_other_weights_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANIMATORS, "text2video_zero", replace(ANIMATORS["text2video_zero"], lora=False))
    save_file(kohya(), tmp_path / "whole.safetensors")
    with pytest.raises(Rejected, match="no weights that a LoRA could be added to"):
        validated(tmp_path, lora="whole.safetensors")


def test_rows_of_one_lora_are_made_together_and_each_scale_is_a_model(checkpoint: Path, tmp_path: Path) -> None:
    clip = Clip(id="c", animator="text2video_zero", lora_scale=0.5)
    plain = Work(row=0, clip=clip, frames=1)
    tuned = plain.model_copy(update={"lora": Weights(uri="a", digest="d")})
    fully = tuned.model_copy(update={"clip": clip.model_copy(update={"lora_scale": 1.0})})
    assert len({model(work) for work in (plain, tuned, fully)}) == 3
    assert sorted([model(tuned), model(plain), model(fully)]) == [model(plain), model(tuned), model(fully)]
    cache, lora = ModelCache("cpu", "float32", 2**30), file(tmp_path, kohya())
    kept = cache.get("text2video_zero", checkpoint, "digest", lora)
    assert cache.get("text2video_zero", checkpoint, "digest", replace(lora, path=tmp_path)) is kept
    assert cache.get("text2video_zero", checkpoint, "digest") is not kept
    assert cache.get("text2video_zero", checkpoint, "digest", replace(lora, scale=0.1)) is not kept


def test_a_lora_that_changed_since_it_was_validated_is_not_used(tmp_path: Path) -> None:
    lora = file(tmp_path, kohya())
    save_file({key: value.contiguous() for key, value in peft().items()}, lora.path)
    with pytest.raises(Problem, match=r"lora .* changed while the run was going on") as refused:
        Lora.read(lora)
    assert not isinstance(refused.value, Rejected)
    lora.path.unlink()
    with pytest.raises(Problem, match="changed while the run was going on"):
        Lora.read(lora)


def test_a_downloaded_lora_of_other_bytes_is_not_kept_under_the_validated_digest(tmp_path: Path, s3: str) -> None:
    lora = file(tmp_path, kohya())
    weights = Weights(uri=f"{s3}/lora.safetensors", digest=lora.digest)
    storage.publish_bytes(b"others", weights.uri)
    cache = NodeCache(tmp_path / "scratch")
    with pytest.raises(Problem, match="changed while the run was going on"), held_lora(weights, 1.0, cache):
        pass
    storage.publish_bytes(lora.path.read_bytes(), weights.uri)
    with held_lora(weights, 1.0, cache) as kept:
        assert kept.path.read_bytes() == lora.path.read_bytes()
        assert {path.name for path in kept.path.parent.iterdir()} == {kept.path.name, WHOLE}


def test_a_film_is_made_with_the_rows_lora_and_says_so(checkpoint: Path, tmp_path: Path) -> None:
    lora = file(tmp_path, kohya())
    chain = StageChain(
        RunConfig.load(None, {"checkpoints": {"text2video_zero": str(checkpoint)}}), str(tmp_path / "out")
    )
    row = {"id": "a", "animator": "text2video_zero", "frame_count": 1, "width": 32, "height": 32, "steps": 3}
    plain, tuned, weaker = (
        chain.work({**row, **given})
        for given in ({}, {"lora": str(lora.path)}, {"lora": str(lora.path), "lora_scale": 0.5})
    )
    assert len({work.latents_key for work in (plain, tuned, weaker)}) == 3
    result = chain.film(tuned)
    assert (result.status, result.lora_digest) == ("done", tuned.lora.digest)
    chain.film(plain)
    stored = [load_file(chain.settings.layout.latents(work.latents_key))["latents"] for work in (plain, tuned)]
    assert not torch.allclose(*stored, atol=0.01)
