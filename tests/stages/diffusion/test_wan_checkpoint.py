"""Published folders of Wan's systems: what is missing or foreign is named; and what is done with their text encoder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from manifests.errors import Problem
from stages.diffusion.animators import load_animator
from stages.diffusion.networks import offload
from stages.diffusion.networks.umt5 import PromptEncoder
from stages.diffusion.wan_vace.animator import WanVace
from tests.parity.published.wan_vace import TEXT, VAE
from tests.stages.diffusion.test_wan import GOLDEN, clip, made

SD = GOLDEN / "magicanimate" / "checkpoint" / "stable-diffusion-v1-5"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN / "wan_animate" / "checkpoint", tmp_path / "checkpoint")


def load(folder: Path) -> None:
    load_animator("wan_animate", folder, "cpu", torch.float32)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("transformer/diffusion_pytorch_model-00002-of-00003.safetensors", "00002-of-00003"),
        ("transformer/config.json", "config.json"),
        ("vae/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model"),
        ("text_encoder/model-00001-of-00002.safetensors", "00001-of-00002"),
        ("tokenizer/tokenizer.json", "tokenizer"),
        ("image_encoder/model.safetensors", "model.safetensors"),
        ("image_processor/preprocessor_config.json", "preprocessor_config"),
        ("scheduler/scheduler_config.json", "scheduler_config"),
    ],
)
def test_a_part_that_is_missing_is_named(broken: Path, file: str, says: str) -> None:
    (broken / file).unlink()
    with pytest.raises(Problem, match=says):
        load(broken)


@pytest.mark.parametrize(
    ("part", "other", "says"),
    [
        ("transformer", GOLDEN / "wan_vace" / "checkpoint" / "transformer", "no WanAnimateTransformer3DModel"),
        ("vae", SD.parent / "sd-vae-ft-mse", "vae does not fit AutoencoderKLWan"),
        ("text_encoder", SD / "text_encoder", "text_encoder does not fit UMT5EncoderModel"),
        ("tokenizer", SD / "tokenizer", "tokenizer.json is missing"),
        ("image_encoder", SD / "text_encoder", "image_encoder.* no CLIP vision model"),
        ("scheduler", SD / "scheduler", "scheduler_config.json describes no UniPCMultistepScheduler"),
    ],
)
def test_a_part_of_another_system_is_named(broken: Path, part: str, other: Path, says: str) -> None:
    shutil.rmtree(broken / part)
    shutil.copytree(other, broken / part)
    with pytest.raises(Problem, match=says):
        load(broken)


def test_a_folder_of_the_other_system_is_refused() -> None:
    with pytest.raises(Problem, match="WanVACETransformer3DModel"):
        load_animator("wan_vace", GOLDEN / "wan_animate" / "checkpoint", "cpu", torch.float32)


def test_code_that_lies_beside_a_tokenizer_is_not_run(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # transformers would ask
    about = broken / "tokenizer" / "tokenizer_config.json"
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    about.write_text(json.dumps(json.loads(about.read_text()) | own))
    code = f"open({str(broken / 'ran')!r}, 'w')\nfrom transformers import T5Tokenizer as Own\n"
    (broken / "tokenizer" / "own.py").write_text(code)
    load(broken)
    assert not (broken / "ran").exists()


def narrow_text(folder: Path) -> None:
    shutil.rmtree(folder / "text_encoder")  # an index of shards, too
    UMT5EncoderModel(UMT5Config(**{**TEXT, "d_model": 16})).save_pretrained(folder / "text_encoder")


def narrow_films(folder: Path) -> None:
    own = {**VAE, "z_dim": 8, "latents_mean": [0.0] * 8, "latents_std": [1.0] * 8}
    AutoencoderKLWan(**own).save_pretrained(folder / "vae")


def narrow_pictures(folder: Path) -> None:
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7
    )
    CLIPVisionModel(config).save_pretrained(folder / "image_encoder")


def about_pictures(folder: Path, **fields: dict[str, int]) -> None:
    file = folder / "image_processor" / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def larger_pictures(folder: Path) -> None:
    about_pictures(folder, crop_size={"height": 56, "width": 56})


def giant_pictures(folder: Path) -> None:
    about_pictures(folder, size={"shortest_edge": 100_000})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (narrow_text, "text_encoder/ makes 16 channels, and transformer/ takes 32 \\(text_dim\\)"),
        (narrow_films, "vae/ makes 8 channels, and transformer/ takes 16 \\(latent_channels\\)"),
        (narrow_pictures, "image_encoder/ makes 16 channels, and transformer/ takes 32 \\(image_dim\\)"),
        (larger_pictures, "image_processor/ makes pictures of 28, cut to 56×56, and image_encoder/ takes 28×28"),
        (giant_pictures, "image_processor/ makes pictures of 100000, cut to 28×28"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_named(broken: Path, change: Callable[[Path], None], says: str) -> None:
    change(broken)
    with pytest.raises(Problem, match=says):
        load(broken)


def test_the_text_encoder_is_on_the_device_while_it_encodes_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[str] = []
    monkeypatch.setattr(offload, "_move", lambda network, device: moves.append(str(device)))
    text = PromptEncoder.load(GOLDEN / "wan_vace" / "checkpoint", "cpu:0", torch.float32)
    text.model.register_forward_hook(lambda *_: moves.append("encodes"))
    first = text.encode("a horse")
    assert moves == ["cpu", "cpu:0", "encodes", "cpu"]
    assert torch.equal(text.encode("a horse"), first)
    assert moves.count("encodes") == 1


def test_prompts_are_encoded_once_for_all_steps_segments_and_clips() -> None:
    animator, encoded = WanVace.load(GOLDEN / "wan_vace" / "checkpoint", "cpu", torch.float32), []
    animator.text.model.register_forward_hook(lambda *_: encoded.append(1))
    for seed in (1, 2):
        assert len(made(animator, clip("wan_vace", guidance=2.0, negative_prompt="static", seed=seed), 14)) == 2
    assert len(encoded) == 2, "the prompt and the negative one"
