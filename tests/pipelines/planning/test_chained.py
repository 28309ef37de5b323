"""What a plan says of Wan's systems is what is computed for them, and what others have counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from manifests.clip import Clip
from manifests.work import Work
from pipelines.planning import operations
from pipelines.planning.chained import Chained, counted_as
from pipelines.planning.machine import CARDS, GIB
from pipelines.planning.memory import TABLE, memory_of
from pipelines.planning.operations import operations_of
from stages.diffusion.animators import ANIMATORS, load_animator
from tests.bench import wan_sizes
from tests.stages.diffusion.test_wan import GOLDEN, clip, film, made

HD, SD = 1280 * 720, 832 * 480


def of(name: str, pixels: int = SD, checkpoint: str = "") -> Chained:
    found = operations_of(name, pixels, checkpoint)
    assert isinstance(found, Chained)
    return found


def second(name: str, steps: int, guidance: float, segments: int = 16, coded: bool = True) -> float:
    """PFLOP of a second of a film of so many segments at its own rate, or of its transformer alone."""
    facts = ANIMATORS[name]
    frames = segments * (facts.window - 1) + 1
    asked = Clip(id="c", animator=name, width=832, height=480, steps=steps, guidance=[guidance], fit="cover", fps=30)
    asked = asked.model_copy(update={"window": facts.window, "overlap": 1})
    known = of(name)
    effort = known.effort(Work(row=0, clip=asked, frames=frames))
    assert effort.segments == segments
    branches = 1 if guidance <= 1 else 2
    denoised = segments * steps * branches * known.forward(facts.window)
    assert facts.native_fps is not None
    return (effort.tflop if coded else denoised) / 1000 / (frames / float(facts.native_fps))


# TFLOP of a forward of a whole segment, of encoding a film of that, and of decoding it, as others have counted them
KNOWN = {
    ("wan_vace", SD): (462, None, None),
    ("wan_animate", SD): (1717, 156, 262),
    ("wan_animate", HD): (6607, 363, 608),
}


@pytest.mark.parametrize(("name", "pixels"), KNOWN)
def test_a_segment_is_what_others_count(name: str, pixels: int) -> None:
    known, frames = of(name, pixels), ANIMATORS[name].window
    found = known.forward(frames), known._coded("encode", frames), known._coded("decode", frames)
    for one, other in zip(found, KNOWN[name, pixels], strict=True):
        assert other is None or one == pytest.approx(other, rel=3e-3)


def test_a_second_of_wan_vace_is_what_others_count_and_what_is_coded_comes_to_it() -> None:
    for steps, guidance, known in ((50, 5.0, 9.1), (20, 5.0, 3.65), (4, 1.0, 0.365)):
        assert second("wan_vace", steps, guidance, 1, coded=False) == pytest.approx(known, rel=5e-3)
        long = second("wan_vace", steps, guidance, coded=False)
        assert long == pytest.approx(known * 81 / 80, rel=5e-3), "a frame of each segment is the last one's"
        coded = second("wan_vace", steps, guidance) - long
        assert coded == pytest.approx(0.17, abs=0.05), (
            "each frame is encoded twice, and decoded twice where it is carried"
        )


def test_weights_are_as_many_as_are_published() -> None:
    table = json.loads(TABLE.read_text())
    for name, transformer in (("wan_vace", 2154), ("wan_vace-14B", 17_338), ("wan_animate", 17_275)):
        assert table[name]["weights"]["transformer"] == pytest.approx(transformer, rel=1e-3)
    for name in ("wan_vace", "wan_animate"):
        assert sum(table[name]["weights"].values()) == pytest.approx(ANIMATORS[name].parameters, rel=3e-3)


def test_a_checkpoint_whose_name_says_that_it_is_the_larger_one_is_counted_as_that() -> None:
    assert counted_as("wan_vace", "hub:Wan-AI/Wan2.1-VACE-14B-diffusers@abc") == "wan_vace-14B"
    assert counted_as("wan_vace", "/models/wan2.1-vace-1.3b") == "wan_vace"
    assert counted_as("wan_animate", "/models/Wan2.2-Animate-14B-Diffusers") == "wan_animate"
    assert of("wan_vace", checkpoint="/models/vace-14b").forward(81) > 4 * of("wan_vace").forward(81)


@pytest.mark.parametrize(
    ("name", "layers", "counted"),
    [
        ("vace", 40, "wan_vace-14B"),
        ("vace-14B", 30, "wan_vace"),
        ("vace-14B", None, "wan_vace-14B"),
        ("vace", None, "wan_vace"),
    ],
)
def test_a_folder_that_is_here_says_its_size_whatever_its_name(
    name: str, layers: int | None, counted: str, tmp_path: Path
) -> None:
    settings = tmp_path / name / "transformer" / "config.json"
    settings.parent.mkdir(parents=True)
    settings.write_text("[]" if layers is None else json.dumps({"num_layers": layers}))
    assert counted_as("wan_vace", str(tmp_path / name)) == counted


def test_without_guidance_a_film_takes_half_of_its_forwards() -> None:
    guided, plain = (second("wan_vace", 4, guidance, coded=False) for guidance in (5.0, 1.0))
    assert guided == 2 * plain


def test_a_scene_that_is_kept_is_encoded_for_the_first_segment_too() -> None:
    known, frames = of("wan_animate"), 77
    asked = Clip(id="c", animator="wan_animate", width=832, height=480, steps=20, guidance=[1.0], window=77, overlap=1)
    replacing = asked.model_copy(update={"options": {"replace": True}})
    plain, kept = (known.effort(Work(row=0, clip=one, frames=frames)).tflop for one in (asked, replacing))
    assert kept - plain == pytest.approx(known._coded("encode", frames))


def tiny(animator: Any) -> tuple[Any, ...]:
    """Its networks on the meta device."""
    animate = hasattr(animator, "tokens")
    kind = type(animator.transformer)
    parts = [
        kind.from_config(animator.transformer.config),
        type(animator.images.autoencoder).from_config(animator.images.autoencoder.config),
    ]
    parts += [type(animator.text.model)(animator.text.model.config)]
    parts += [type(animator.tokens.model)(animator.tokens.model.config) if animate else None]
    return tuple(one if one is None else one.to("meta") for one in parts)


@pytest.mark.parametrize("name", ["wan_vace", "wan_animate"])
def test_a_film_takes_the_operations_that_the_plan_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    animator = load_animator(name, GOLDEN / name / "checkpoint", "cpu", torch.float32)
    sizes = ((16, 16), (32, 32), (64, 64))
    facts = wan_sizes.table_of(*tiny(animator), 5, sizes)
    monkeypatch.setattr(operations, "_table", lambda: {name: facts})
    operations_of.cache_clear()
    asked = clip(name, guidance=2.0, negative_prompt="a horse", window=5)
    try:
        known = of(name, 48 * 32)
    finally:
        operations_of.cache_clear()
    made(animator, asked, 5)  # what is encoded once
    animator.text.forget()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the one that is counted
        parts = made(animator, asked, 9)
        film(animator, asked, parts)
    assert len(parts) == 2
    effort = known.effort(Work(row=0, clip=asked, frames=9))
    assert effort.tflop == pytest.approx(counter.get_total_flops() / 1e12, rel=0.01)


def memory(name: str, low_vram: bool, checkpoint: str = "", frames: int = 240, **fields: Any) -> Any:
    facts = ANIMATORS[name]
    asked = Clip(id="c", animator=name, width=832, height=480, steps=facts.steps, guidance=list(facts.guidance))
    asked = asked.model_copy(update={"window": facts.window, "overlap": 1, **fields})
    found = memory_of(asked, frames, "cuda", low_vram=low_vram, checkpoint=checkpoint)
    assert found is not None
    return found


def test_memory_of_a_long_film_is_that_of_a_segment_and_guidance_takes_none() -> None:
    assert memory("wan_animate", False, frames=10_000).peak == memory("wan_animate", False, frames=100_000).peak
    assert memory("wan_vace", False, guidance=(1.0,)).peak == memory("wan_vace", False).peak
    assert memory("wan_vace", False, frames=9).window < memory("wan_vace", False).window / 4


def test_low_vram_brings_the_large_ones_onto_small_cards() -> None:
    for name, checkpoint in (("wan_vace", ""), ("wan_vace", "14B"), ("wan_animate", "")):
        plain, small = memory(name, False, checkpoint), memory(name, True, checkpoint)
        assert small.weights < 3 * GIB
        assert small.window == plain.window
        assert small.peak < CARDS["a10"].gib * GIB
        assert plain.prompt == small.prompt == pytest.approx(11.36e9, rel=0.01)
        if checkpoint or name == "wan_animate":
            assert 40 * GIB < plain.peak < CARDS["h100"].gib * GIB
