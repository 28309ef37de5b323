"""A published folder loads whatever its variant; anything else is refused by name, and no code in it is ever run."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from manifests.errors import Problem
from stages.diffusion.animate_anyone.image_encoder import ImageEncoder
from stages.diffusion.animators import ANIMATORS, load_animator
from stages.diffusion.dreampose.clip_tokens import ClipTokens
from stages.diffusion.magicanimate.animator import MagicAnimate
from stages.diffusion.networks.text import TextEncoder
from stages.diffusion.sampling.ddim import ddim, read_scheduler_config
from stages.diffusion.weights.checkpoint import (
    load_strictly,
    read_state,
    weights_file,
    with_current_attention_names,
)
from stages.diffusion.weights.motion_checkpoint import motion_unet_state
from tests.conftest import CHECKOUT

CHECKPOINT = CHECKOUT / "tests" / "golden" / "magicanimate" / "checkpoint"
ANIMATE_ANYONE = CHECKOUT / "tests" / "golden" / "animate_anyone" / "checkpoint"
UNET = "stable-diffusion-v1-5/unet/diffusion_pytorch_model.bin"
MOTION = "MagicAnimate/temporal_attention/temporal_attention.ckpt"
REFERENCE = "MagicAnimate/appearance_encoder/diffusion_pytorch_model.safetensors"
CONTROL = "MagicAnimate/densepose_controlnet/diffusion_pytorch_model.safetensors"
SECOND_TABLE = "attention_blocks.1.pos_encoder.pe"

State = dict[str, Any]
Refusal = Callable[[Path], str]


@pytest.fixture(scope="module")
def loaded() -> MagicAnimate:
    return load(CHECKPOINT)


@pytest.fixture(scope="module")
def network(loaded: MagicAnimate) -> torch.nn.Module:
    """The denoising network."""
    return loaded.unet.network


@pytest.fixture(scope="module")
def published(loaded: MagicAnimate) -> State:
    """Every weight of the committed checkpoint, as loaded."""
    return all_weights(loaded)


@pytest.fixture(scope="module")
def spatial() -> State:
    return read_state(CHECKPOINT / UNET)


@pytest.fixture(scope="module")
def motion() -> State:
    """The motion file's tensors under their bare names."""
    return {key.removeprefix("module."): value for key, value in read_state(CHECKPOINT / MOTION)["state_dict"].items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint whose files can be replaced: links to the committed ones."""
    return shutil.copytree(CHECKPOINT, tmp_path / "checkpoint", copy_function=os.symlink)


def replace(path: Path, content: bytes | State | Any) -> None:
    path.unlink(missing_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)


def load(folder: Path) -> MagicAnimate:
    return MagicAnimate.load(folder, "cpu", torch.float32)


def refusal(folder: Path) -> str:
    """The error with which the folder is refused."""
    with pytest.raises(Problem) as refused:
        load(folder)
    assert refused.value.remedy
    return refused.value.error


@pytest.fixture
def unet_refusal(network: torch.nn.Module) -> Refusal:
    """As `refusal`, of the denoising network's two files alone: without building the network, which takes longest."""

    def load(folder: Path) -> None:
        spatial, motion = read_state(folder / UNET), read_state(folder / MOTION)
        state = motion_unet_state(network, spatial, motion, folder / MOTION)
        load_strictly(network, state, f"{folder / UNET} with {folder / MOTION}", torch.float32)

    def refusal(folder: Path) -> str:
        with pytest.raises(Problem) as refused:
            load(folder)
        assert refused.value.remedy
        return refused.value.error

    return refusal


def equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def all_weights(animator: MagicAnimate) -> State:
    networks = {
        "unet": animator.unet.network,
        "reference": animator.reference.network,
        "control": animator.control,
        "pose_embedding": animator.pose_embedding,
        "vae": animator.images.autoencoder,
        "text": animator.text.model,
    }
    return {f"{name}.{key}": value for name, one in networks.items() for key, value in one.state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "module.", "unet.", "module.unet."])
@pytest.mark.parametrize("nested", [True, False], ids=["state_dict", "flat"])
def test_every_prefix_of_the_motion_file_loads_the_same_network(
    network: torch.nn.Module, spatial: State, motion: State, prefix: str, nested: bool
) -> None:
    variant = {prefix + key: value for key, value in motion.items()}
    published = {"global_step": 5, "state_dict": variant} if nested else {"global_step": 5, **variant}
    state = motion_unet_state(network, spatial, published, Path(MOTION))

    assert equal(state, motion_unet_state(network, spatial, motion, Path(MOTION)))
    assert state.keys() == network.state_dict().keys()
    moved = "down_blocks.0.motion_modules.0."
    assert torch.equal(
        state[f"{moved}transformer_blocks.0.attn2.to_q.weight"],
        motion[f"{moved}temporal_transformer.transformer_blocks.0.attention_blocks.1.to_q.weight"],
    )


@pytest.mark.parametrize(
    ("prefix", "overrides"), [("", True), ("module.", True), ("unet.", False), ("module.unet.", False)]
)
def test_spatial_weights_in_the_motion_file_override_the_unet_unless_they_are_called_unets(
    network: torch.nn.Module, spatial: State, motion: State, prefix: str, overrides: bool
) -> None:
    other = spatial["conv_in.weight"] + 1
    published = {prefix + key: value for key, value in {**motion, "conv_in.weight": other}.items()}
    state = motion_unet_state(network, spatial, published, Path(MOTION))

    assert torch.equal(state["conv_in.weight"], other if overrides else spatial["conv_in.weight"])
    assert torch.equal(state["conv_out.weight"], spatial["conv_out.weight"])


def test_files_of_either_format_are_accepted(folder: Path, motion: State, published: State) -> None:
    replace(folder / MOTION, {f"unet.{key}": value for key, value in motion.items()})
    for name, other in ((UNET, ".safetensors"), (REFERENCE, ".bin"), (CONTROL, ".bin")):
        state = read_state(folder / name)
        (folder / name).unlink()
        replace((folder / name).with_suffix(other), state)
    text = folder / "stable-diffusion-v1-5" / "text_encoder"
    replace(text / "model.safetensors", read_state(text / "pytorch_model.bin"))
    (text / "pytorch_model.bin").unlink()

    assert equal(all_weights(load(folder)), published)


def test_safetensors_are_preferred_where_both_formats_lie(folder: Path) -> None:
    replace((folder / UNET).with_suffix(".safetensors"), read_state(folder / UNET))
    replace(folder / UNET, b"never opened")

    assert weights_file((folder / UNET).parent).suffix == ".safetensors"


def test_the_compute_precision_is_ours_and_not_the_files(published: State) -> None:
    assert read_state(CHECKPOINT / UNET)["conv_in.weight"].dtype == torch.float16
    assert {value.dtype for value in published.values() if value.is_floating_point()} == {torch.float32}


def test_float16_values_become_the_same_float32_values() -> None:
    layer = load_strictly(
        torch.nn.Linear(2, 1),
        {"weight": torch.tensor([[0.1, 2.0]]).half(), "bias": torch.ones(1)},
        "a file",
        torch.float32,
    )

    assert layer.weight.tolist() == torch.tensor([[0.1, 2.0]]).half().float().tolist()
    assert not layer.weight.requires_grad
    assert not layer.training


class Payload:
    """A pickle that creates a file when it is opened the careless way."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", [MOTION, UNET])
@pytest.mark.parametrize("form", ["torch", "legacy torch", "plain pickle"])
def test_code_in_a_pickle_is_refused_and_never_run(
    unet_refusal: Refusal, folder: Path, tmp_path: Path, name: str, form: str
) -> None:
    trace, loaded = tmp_path / "the payload ran", {"state_dict": {"a": Payload(tmp_path / "the payload ran")}}
    if form == "plain pickle":
        replace(folder / name, pickle.dumps(loaded, protocol=2))
        pickle.loads((folder / name).read_bytes())  # noqa: S301 (shows that the payload works)
    else:
        (folder / name).unlink()
        torch.save(loaded, folder / name, _use_new_zipfile_serialization=form == "torch")
        torch.load(folder / name, weights_only=False)
    assert trace.exists(), "the payload is harmless: this test could not fail"
    trace.unlink()

    refused = unet_refusal(folder)
    assert not trace.exists()
    assert str(folder / name) in refused
    assert "weights_only" not in refused  # torch's own advice: to run it
    if form != "plain pickle":
        assert "touch" in refused or "getattr" in refused


@pytest.mark.parametrize("name", [MOTION, UNET, REFERENCE])
@pytest.mark.parametrize("kept", [0.0, 0.00001, 0.5, 0.999])
def test_a_truncated_file_is_refused_by_name(folder: Path, name: str, kept: float) -> None:
    whole = (folder / name).read_bytes()
    replace(folder / name, whole[: int(len(whole) * kept)])

    with pytest.raises(Problem) as refused:
        read_state(folder / name)
    assert str(folder / name) in refused.value.error


@pytest.mark.parametrize("name", [MOTION, UNET, REFERENCE])
@pytest.mark.parametrize("text", ["version https://git-lfs.github.com/spec/v1\n", "<!DOCTYPE html>", "{}"])
def test_a_text_in_place_of_weights_is_refused_by_name(folder: Path, name: str, text: str) -> None:
    replace(folder / name, text.encode())

    with pytest.raises(Problem) as refused:
        read_state(folder / name)
    assert str(folder / name) in refused.value.error


def test_damaged_pickles_are_problems_whatever_torch_makes_of_them(tmp_path: Path) -> None:
    path, refused = tmp_path / "damaged.ckpt", 0
    torch.save({"state_dict": {"a": torch.zeros(3, 4), "b": torch.ones(5)}}, path)
    whole = path.read_bytes()
    for place in range(60, 420, 2):  # where the pickle lies in the archive
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            read_state(path)
        except Problem:
            refused += 1

    assert refused > 25


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(1)],
        torch.zeros(1),
        {1: torch.zeros(1)},
        {"state_dict": [torch.zeros(1)]},
        {"state_dict": torch.zeros(1)},
        {"state_dict": None},
        {"state_dict": {1: torch.zeros(1)}},
        {"state_dict": {"optimizer": 3}},
        {},
    ],
    ids=str,
)
def test_a_motion_file_that_is_no_state_dict_is_refused_by_name(
    unet_refusal: Refusal, folder: Path, content: object
) -> None:
    replace(folder / MOTION, content)

    assert str(folder / MOTION) in unet_refusal(folder)


@pytest.mark.parametrize("content", [[1], torch.zeros(1), {1: torch.zeros(1)}, {"epoch": 3}], ids=str)
def test_a_unet_file_that_is_no_state_dict_is_refused_by_name(
    unet_refusal: Refusal, folder: Path, content: object
) -> None:
    replace(folder / UNET, content)

    assert str(folder / UNET) in unet_refusal(folder)


def test_missing_foreign_and_misshapen_keys_are_all_named(loaded: MagicAnimate) -> None:
    state = read_state(CHECKPOINT / REFERENCE)
    del state["conv_in.bias"]
    state["down_blocks.9.foreign.weight"] = torch.zeros(1)
    state["time_embedding.linear_1.bias"] = torch.zeros(7)

    with pytest.raises(Problem) as refused:
        load_strictly(loaded.reference.network, state, "folder/appearance_encoder", torch.float32)
    for complaint in (
        "folder/appearance_encoder",
        "1 missing (conv_in.bias)",
        "1 unexpected (down_blocks.9.foreign.weight)",
        "time_embedding.linear_1.bias (7,) instead of (128,)",
    ):
        assert complaint in refused.value.error


def test_a_weight_that_is_no_tensor_is_missing(unet_refusal: Refusal, folder: Path) -> None:
    replace(folder / UNET, {**read_state(folder / UNET), "conv_in.bias": 3})

    assert "missing (conv_in.bias)" in unet_refusal(folder)


def test_missing_and_foreign_motion_keys_are_named(unet_refusal: Refusal, folder: Path, motion: State) -> None:
    key = "up_blocks.3.motion_modules.2.temporal_transformer.proj_out.bias"
    replace(folder / MOTION, {name: value for name, value in motion.items() if name != key})
    refused = unet_refusal(folder)
    assert "1 missing (up_blocks.3.motion_modules.2.proj_out.bias)" in refused
    assert str(folder / MOTION) in refused

    foreign = "mid_block.motion_modules.0.temporal_transformer.proj_out.bias"  # as other motion modules have
    replace(folder / MOTION, {"state_dict": {**motion, foreign: torch.zeros(32)}})
    refused = unet_refusal(folder)
    assert foreign in refused
    assert str(folder / MOTION) in refused


def test_motion_modules_of_another_length_are_refused(unet_refusal: Refusal, folder: Path, motion: State) -> None:
    longer = {key: torch.zeros(1, 32, 32) if key.endswith(".pe") else value for key, value in motion.items()}
    replace(folder / MOTION, longer)

    assert "pos_embed.pe (1, 32, 32) instead of (1, 24, 32)" in unet_refusal(folder)


@pytest.mark.parametrize(
    "file", [CONTROL, REFERENCE, UNET, "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"], ids=os.path.dirname
)
def test_another_networks_file_in_place_of_motion_modules_is_refused(
    unet_refusal: Refusal, folder: Path, file: str
) -> None:
    replace(folder / MOTION, read_state(folder / file))

    assert str(folder / MOTION) in unet_refusal(folder)


def test_another_networks_file_in_place_of_a_network_is_refused(folder: Path) -> None:
    replace(folder / REFERENCE, (CHECKPOINT / CONTROL).read_bytes())

    refused = refusal(folder)
    assert str((folder / REFERENCE).parent) in refused
    assert "controlnet_cond_embedding" in refused


@pytest.mark.parametrize("change", [lambda table: table + 1, lambda table: table[:, :20]], ids=["values", "length"])
def test_a_differing_second_position_table_is_refused_by_name(
    network: torch.nn.Module, spatial: State, motion: State, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    second = next(key for key in motion if key.endswith(SECOND_TABLE))
    with pytest.raises(Problem) as refused:
        motion_unet_state(network, spatial, {**motion, second: change(motion[second])}, Path("folder/motion.ckpt"))

    assert second in refused.value.error
    assert "folder/motion.ckpt" in refused.value.error


def test_a_second_position_table_without_a_first_is_refused(
    network: torch.nn.Module, spatial: State, motion: State
) -> None:
    second = next(key for key in motion if key.endswith(SECOND_TABLE))
    del (rest := dict(motion))[second.replace("attention_blocks.1", "attention_blocks.0")]
    with pytest.raises(Problem, match="position tables"):
        motion_unet_state(network, spatial, rest, Path(MOTION))


@pytest.mark.parametrize("part", ANIMATORS["magicanimate"].checkpoint)
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)

    refused = refusal(folder)
    assert str(folder / part) in refused
    assert "missing" in refused


def test_missing_weights_are_named(folder: Path) -> None:
    unet = (folder / UNET).parent
    (folder / UNET).unlink()
    (folder / MOTION).unlink()

    with pytest.raises(
        Problem, match=r"no diffusion_pytorch_model.safetensors or diffusion_pytorch_model.bin"
    ) as refused:
        weights_file(unet)
    assert str(unet) in refused.value.error
    with pytest.raises(Problem, match="missing") as refused:
        read_state(folder / MOTION)
    assert str(folder / MOTION) in refused.value.error


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000], ids=["{", "[]", "utf", "deep"])
def test_a_configuration_that_is_no_json_object_is_refused_by_name(folder: Path, content: bytes) -> None:
    config = folder / "stable-diffusion-v1-5" / "unet" / "config.json"
    replace(config, content)

    assert str(config) in refusal(folder)


@pytest.mark.parametrize(
    "config", [{"hidden_size": -1}, {"hidden_size": 32, "num_attention_heads": 5}, {"vision_config": [1]}], ids=str
)
def test_a_configuration_that_describes_no_image_encoder_is_refused_by_name(tmp_path: Path, config: dict) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    for load in (ClipTokens.load, partial(ImageEncoder.load, dtype=torch.float32)):
        with pytest.raises(Problem, match="describes no CLIP vision model") as refused:
            load(tmp_path, "cpu")
        assert str(tmp_path / "config.json") in refused.value.error


def test_an_image_encoder_may_be_saved_with_its_text_tower(tmp_path: Path) -> None:
    alone, both = ANIMATE_ANYONE / "image_encoder", tmp_path
    config = json.loads((alone / "config.json").read_text())
    named = {"vision_config": config, "text_config": {}, "projection_dim": config["projection_dim"]}
    (both / "config.json").write_text(json.dumps(named))
    towers = {"text_model.a": torch.zeros(1), "text_projection.weight": torch.zeros(1), "logit_scale": torch.zeros(())}
    torch.save({**read_state(alone / "pytorch_model.bin"), **towers}, both / "pytorch_model.bin")
    one, other = (ImageEncoder.load(folder, "cpu", torch.float32).model.state_dict() for folder in (alone, both))
    assert equal(one, other)


def test_a_scheduler_that_does_not_state_clip_sample_is_no_warning_until_it_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "scheduler_config.json").write_text(json.dumps({"beta_schedule": "scaled_linear"}))
    config = read_scheduler_config(tmp_path)
    ddim(config, published=False)
    assert "clip_sample" not in caplog.text
    ddim(config, published=True)
    assert "clip_sample" in caplog.text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.json", b"{"),
        ("vocab.json", b'{"a": 1}'),
        ("merges.txt", b"\xff\xfe"),
        ("tokenizer_config.json", b"["),
    ],
)
def test_a_broken_or_foreign_tokenizer_is_refused_by_folder(folder: Path, name: str, content: bytes) -> None:
    base = folder / "stable-diffusion-v1-5"
    replace(base / "tokenizer" / name, content)

    with pytest.raises(Problem) as refused:
        TextEncoder.load(base, "cpu", torch.float32)
    assert str(base / "tokenizer") in refused.value.error


def test_a_tokenizer_with_more_words_than_the_text_encoder_is_refused(folder: Path) -> None:
    base = folder / "stable-diffusion-v1-5"
    text = (base / "tokenizer" / "vocab.json").read_text(encoding="utf-8").rstrip()
    replace(base / "tokenizer" / "vocab.json", f'{text[:-1]}, "more": 514, "words": 515}}'.encode())

    with pytest.raises(Problem, match="516 tokens, the text encoder beside it 514"):
        TextEncoder.load(base, "cpu", torch.float32)


def test_prompts_are_cut_at_the_text_encoders_length_whatever_the_tokenizer_says(folder: Path) -> None:
    (folder / "stable-diffusion-v1-5" / "tokenizer" / "tokenizer_config.json").unlink()
    text, published = (
        TextEncoder.load(one / "stable-diffusion-v1-5", "cpu", torch.float32) for one in (folder, CHECKPOINT)
    )
    prompts = ["", "a man dancing, 4k", "word " * 90]

    assert text.token_ids(prompts).shape == (3, 77)
    assert torch.equal(text.token_ids(prompts), published.token_ids(prompts))


def test_the_autoencoders_attention_is_read_under_its_old_and_its_new_names() -> None:
    old = read_state(CHECKPOINT / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors")
    stem = "encoder.mid_block.attentions.0"
    new = with_current_attention_names(old)

    for before, after in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        assert new[f"{stem}.{after}.weight"] is old[f"{stem}.{before}.weight"]
    assert len(new) == len(old)
    assert equal(with_current_attention_names(new), new)


@pytest.mark.parametrize(
    ("size", "error"),
    [(16, "cannot be loaded as magicanimate: ValueError"), (10**9, "block_out_channels is 1,000,000,000, at most")],
)
def test_a_configuration_that_diffusers_trips_over_is_a_problem_of_the_folder(
    folder: Path, size: int, error: str
) -> None:
    file = folder / "stable-diffusion-v1-5" / "unet" / "config.json"
    config = json.loads(file.read_text())
    replace(file, json.dumps({**config, "block_out_channels": [size] * 4}).encode())
    with pytest.raises(Problem, match=error):
        load_animator("magicanimate", folder, "cpu", torch.float32)
