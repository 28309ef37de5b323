"""What a plan says of a device's memory follows from the networks, the clip, and what is done to spare it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from manifests.clip import Clip
from pipelines import cli
from pipelines.planning.machine import CARDS, GIB
from pipelines.planning.memory import TABLE, Memory, memory_of
from stages.bundled import bundled
from stages.diffusion.animators import ANIMATORS, load_animator
from tests.bench.operations import SYSTEMS
from tests.made.small_clips import steps_of


def memory(animator: str = "magicanimate", frames: int = 64, low_vram: bool = False, **fields: Any) -> Memory:
    given = {"id": "c", "animator": animator, "width": 512, "height": 512, "steps": 25, "guidance": [7.5]}
    made = Clip.model_validate({**given, "window": 16, "overlap": 4, **fields})
    found = memory_of(made, frames, "cuda", low_vram=low_vram)
    assert found is not None
    return found


def test_every_animator_that_is_counted_has_its_memory_told() -> None:
    guidance = {name: [7.5] for name in SYSTEMS} | {"dreampose": [8.0, 3.0], "drawn": None}
    assert all(memory(name, guidance=guidance[name]).peak > GIB for name in SYSTEMS)


def test_weights_are_those_that_are_loaded() -> None:
    drawn = load_animator("drawn", Path(bundled("bundled:drawn")), "cpu", torch.float32)
    clip = Clip(id="c", animator="drawn", width=96, height=128, steps=2, window=16, overlap=4)
    found = memory_of(clip, 16, "cpu")
    assert found is not None
    assert found.weights == pytest.approx(drawn.nbytes, rel=1e-3)
    assert found.context == 0
    # in half precision, and in millions as the facts have it
    assert memory().weights == pytest.approx(ANIMATORS["magicanimate"].parameters * 2e6, rel=0.01)


def test_memory_grows_with_size_and_window_and_not_with_a_long_clip() -> None:
    assert memory(width=768).window == pytest.approx(1.5 * memory().window, rel=0.02)
    assert memory(window=32).window == pytest.approx(2 * memory().window)
    assert memory(frames=10_000).peak == memory(frames=100_000).peak


def test_low_vram_halves_a_guided_window_and_keeps_what_waits_elsewhere() -> None:
    plain, small = memory(), memory(low_vram=True)
    assert small.window == pytest.approx(plain.window / 2, rel=1e-5), "counts have six digits"
    assert plain.weights - small.weights == pytest.approx(2e6 * (83.654 + 123.06))
    assert small.picture - plain.picture == pytest.approx(2e6 * 83.654), "the decoder comes back"


DEEP_FRAME = 320 * 64 * 64 * 2  # bytes of a frame of one branch, 512×512 in half precision: what resnets hand over


def test_what_steps_of_mode_fast_reuse_is_counted_for_every_window_and_branch() -> None:
    def kept(frames: int, reuse: int = 2, **fields: Any) -> float:
        recipe = {"sampler": "own", "guided": 0.67, "reuse": reuse}
        fast = memory(frames=frames, mode="fast", options={"fast": recipe}, **{"steps": 12, **fields})
        return fast.kept - memory(frames=frames, **{"steps": 12, **fields}).kept

    assert kept(16) == 2 * 16 * DEEP_FRAME
    assert kept(16, guidance=[1.0]) == 16 * DEEP_FRAME
    assert kept(16, reuse=1) == kept(16, steps=1) == 0
    assert kept(240) == pytest.approx(1.76e9, rel=0.01)
    assert 2.4e9 < kept(359) < 2.65e9, "one segment still"
    assert kept(10_000) < kept(359)


def test_embedded_poses_are_counted_up_to_what_is_kept_of_them() -> None:
    few, more = memory(frames=20), memory(frames=40)
    latents = (3 + 2) * 4 * 64 * 64 * 4
    assert more.kept - few.kept == 20 * (DEEP_FRAME + latents), "they are as large as deep features"
    assert memory(frames=240).kept - memory(frames=200).kept == 40 * latents
    assert memory(frames=359).kept - memory(frames=272).kept == 87 * latents, "in one segment still"


def test_what_is_kept_of_reused_steps_is_what_is_handed_over() -> None:
    """By the bundled network, whose weights are here."""
    drawn = load_animator("drawn", Path(bundled("bundled:drawn")), "cpu", torch.float32)
    found: list[int] = []
    layer = drawn.modules["unet"].up_blocks[-1].resnets[-2]
    layer.register_forward_pre_hook(lambda _, given: found.append(given[0][:1].numel()))
    steps_of(drawn, 4)
    skip = drawn.modules["unet"].conv_in.out_channels * 8 * 12
    table = json.loads(TABLE.read_text())["drawn"]["kept"]["deep_frame"]
    assert found[0] - skip == table * 64 * 96


def test_models_tells_the_memory_and_the_smallest_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--memory", "512x512", "1024x1024", "--window", "32"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {(one[0], one[1], one[4]): one for one in lines if one[0] in SYSTEMS}
    assert len(found) == 2 * 2 * len(SYSTEMS)
    large = found["magicanimate", "1024×1024", "no"]
    assert large[2:4] == ["32", "float16"]
    assert CARDS[large[-1]].gib >= float(large[-2]) > CARDS["t4"].gib
    assert float(found["magicanimate", "1024×1024", "yes"][-2]) < float(large[-2])


def test_a_size_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--memory", "large"]) == 2
    assert "give sizes like 512x768" in capsys.readouterr().err
