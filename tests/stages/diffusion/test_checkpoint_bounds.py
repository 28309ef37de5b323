"""Promises about checkpoint files that are made to cost more than they hold: refused at once, by name."""

import json
import pickle
import re
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPVisionModel

from manifests.errors import Problem
from stages.diffusion.networks.clip_vision import read_clip_vision
from stages.diffusion.networks.text import TextEncoder
from stages.diffusion.networks.umt5 import PromptEncoder
from stages.diffusion.weights import bounds
from stages.diffusion.weights.checkpoint import build, read_config, read_object, read_state

CHEAP = 2**24


def saved(path: Path, **tensors: torch.Tensor) -> Path:
    torch.save(tensors or {"a": torch.zeros(100, 100)}, path)
    return path


def rewritten(path: Path, data: bytes | None = None, how: int = 0, times: int = 1) -> Path:
    """A torch file with another pickle, or packed, or with its tensors' bytes named several times."""
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, data if data is not None and name.endswith("data.pkl") else content)
        largest = max(archive.infolist(), key=lambda one: one.file_size)
        for number in range(1, times):
            archive.filelist.append(copy(largest))
            archive.filelist[-1].filename += str(number)
    return path


def refusal(call: Callable[[], Any], expected: str) -> Problem:
    with pytest.raises(Problem, match=expected) as refused:
        call()
    assert refused.value.remedy
    return refused.value


def test_a_packed_torch_file_is_not_unpacked(tmp_path: Path) -> None:
    path = rewritten(saved(tmp_path / "w.bin", a=torch.zeros(CHEAP // 4)), how=ZIP_DEFLATED)
    assert path.stat().st_size < CHEAP / 100
    refusal(lambda: read_state(path), r"w\.bin cannot be read: its part .* is packed")


def test_parts_that_share_their_bytes_are_counted_before_they_are_read(tmp_path: Path) -> None:
    path = rewritten(saved(tmp_path / "w.bin"), times=50)
    refusal(lambda: read_state(path), "its parts are to have")


def test_a_pickle_cannot_take_memory_by_naming_a_number(tmp_path: Path) -> None:
    ten_gigabytes = b"\x80\x02}X\x01\0\0\0acbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x10\x85Rs."
    refusal(lambda: read_state(rewritten(saved(tmp_path / "w.bin"), ten_gigabytes)), r"refers to code \(bytearray\)")
    older = tmp_path / "older.ckpt"
    torch.save({"a": torch.zeros(3)}, older, _use_new_zipfile_serialization=False)
    assert read_state(older).keys() == {"a"}
    older.write_bytes(older.read_bytes() + pickle.dumps(bytearray(3), 2))
    refusal(lambda: read_state(older), r"refers to code \(bytearray\)")


def test_a_sparse_tensor_is_no_weight(tmp_path: Path) -> None:
    place, value = torch.zeros(2, 1, dtype=torch.long), torch.ones(1)
    sparse = torch.sparse_coo_tensor(place, value, (10**9, 10**9), check_invariants=True)
    refusal(lambda: read_state(saved(tmp_path / "w.bin", a=sparse)), "a is no plain tensor")


PLACED = '"dtype":"F32","shape":[2],"data_offsets":[0,8]'


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (2**62, "{}"),
        (None, '{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}'),
        (None, f'{{"a":{{{PLACED}}},"b":{{{PLACED}}}}}'),
        (None, '{"a":' + "[" * 100_000),
    ],
    ids=["length", "shape", "overlap", "nesting"],
)
def test_a_safetensors_header_is_not_believed(tmp_path: Path, length: int | None, header: str) -> None:
    stated = (length or len(header)).to_bytes(8, "little")
    (tmp_path / "w.safetensors").write_bytes(stated + header.encode() + bytes(8))
    refusal(lambda: read_state(tmp_path / "w.safetensors"), "cannot be read")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": "' + "x" * bounds.MOST_JSON + '"}', "more than 1,048,576 bytes"),
        ('{"a":' * 100_000, "is not JSON"),
        ('{"a":' + "9" * 5000 + "}", "is not JSON"),
    ],
    ids=["long", "deep", "digits"],
)
def test_a_configuration_is_bounded_before_it_is_parsed(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "config.json").write_text(text)
    refusal(lambda: read_object(tmp_path / "config.json"), expected)


@pytest.mark.parametrize(
    ("kind", "config", "expected"),
    [
        (UNet2DConditionModel, {"block_out_channels": [10**9] * 4}, "block_out_channels is 1,000,000,000, at most"),
        (UNet2DConditionModel, {"deeper": {"in_channels": 1e300}}, r"deeper\.in_channels is a longer number"),
        (AutoencoderKL, {"layers_per_block": 10**9}, "layers_per_block is 1,000,000,000"),
        (AutoencoderKL, {"layers_per_block": 10**6}, "a network of more than 500 modules"),
        (UNet2DConditionModel, {"transformer_layers_per_block": 10**5}, "a network of more than 500 modules"),
    ],
)
def test_a_network_that_nobody_has_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[torch.nn.Module], config: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr(bounds, "MOST_MODULES", 500)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert "config.json" in refusal(lambda: build(kind, read_config(tmp_path), path), expected).error


def test_a_text_encoder_of_wan_that_nobody_has_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_MODULES", 500)
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "text_encoder" / "config.json").write_text(json.dumps({"num_layers": 3_000, "d_model": 8, "d_ff": 8}))
    refusal(lambda: PromptEncoder.load(tmp_path, "cpu", torch.float32), "no UMT5 encoder: .* more than 500 modules")


def test_only_networks_of_checkpoints_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_MODULES", 2)
    with bounds.on_meta(), pytest.raises(ValueError, match="more than 2 modules"):
        torch.nn.Sequential(*(torch.nn.ReLU() for _ in range(3)))
    assert len(torch.nn.Sequential(*(torch.nn.ReLU() for _ in range(3)))) == 3


@pytest.mark.parametrize("part", ["text", "vision"])
def test_memory_is_taken_for_no_more_weights_than_the_file_has(tmp_path: Path, part: str) -> None:
    folder = tmp_path / "text_encoder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"vocab_size": 9_000_000, "image_size": 900_000, "patch_size": 1}))
    save_file({"a": torch.zeros(10)}, folder / "model.safetensors")
    load = (
        (lambda: TextEncoder.load(tmp_path, "cpu", torch.float32))
        if part == "text"
        else (lambda: read_clip_vision(CLIPVisionModel, folder, "cpu", torch.float32))
    )
    refusal(load, re.compile(r"describes [\d,]+ weights, and model.safetensors has \d+ bytes").pattern)
