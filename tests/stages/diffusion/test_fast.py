"""Mode fast: every part of a recipe leaves out what it says, and nothing else; with all of them off it is standard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UniPCMultistepScheduler
from torch.utils.flop_counter import FlopCounterMode

from manifests.clip import Clip
from manifests.errors import NotFinite
from pipelines.planning.operations import windows_at
from stages.diffusion.animators import ANIMATORS, OWN
from stages.diffusion.fast import NOTHING_LEFT_OUT, UNIPC_STEPS, Fast, guided_steps
from stages.diffusion.magicanimate.facts import SCHEDULER
from stages.diffusion.networks.shallow import SHALLOW_LAYERS, first_residuals
from stages.diffusion.sampling.schedulers import between, scheduled
from stages.diffusion.sampling.shortcuts import Shortcut, Shortcuts
from stages.diffusion.sampling.windows import window_plan
from stages.diffusion.text2video_zero.cross_frame_attention import Conditioning as AnchorConditioning
from tests.made.small_clips import WRITE, replicas, steps_of

STEPS = 4
CLIPS: list[tuple[str, dict[str, Any]]] = [
    ("magicanimate", {}),
    ("animate_anyone", {}),
    ("dreampose", {"window": 3, "overlap": 0}),
    ("text2video_zero", {"window": 3, "overlap": 0}),
    ("text2video_zero", {"window": 3, "overlap": 0, "driven": False}),
    ("drawn", {}),
]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    kept: dict[str, Any] = {}

    def load(name: str) -> Any:
        if name not in kept:
            kept.clear()
            (kept[name],) = replicas(name, WRITE[name](tmp_path_factory.mktemp(name) / "checkpoint"), 1)
        return kept[name]

    yield load
    kept.clear()


def film(animator: Any, frames: int = 7, mode: str = "fast", **fields: Any) -> list[Any]:
    """Every step of a small clip; in mode fast what is not said of the recipe is off."""
    given = {"steps": STEPS, **{name: fields.pop(name) for name in list(fields) if name not in Fast.model_fields}}
    recipe = {**NOTHING_LEFT_OUT, **fields}
    return steps_of(animator, frames, mode=mode, options={"fast": recipe} if mode == "fast" else {}, **given)


def network_of(animator: Any) -> Any:
    return animator.networks.unet if hasattr(animator, "networks") else animator.unet.network


@contextmanager
def samples_of(module: torch.nn.Module, at: int = 0) -> Iterator[list[int]]:
    """How many samples go through a module, call by call."""
    seen: list[int] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[at])))
    try:
        yield seen
    finally:
        hook.remove()


@pytest.mark.parametrize(("name", "fields"), CLIPS, ids=str)
def test_with_every_part_off_a_film_is_that_of_standard_in_as_many_steps_to_the_bit(
    one: Callable[[str], Any], name: str, fields: dict[str, Any]
) -> None:
    animator = one(name)
    for fast, standard in zip(film(animator, **fields), film(animator, mode="standard", **fields), strict=True):
        assert torch.equal(fast.latents, standard.latents), fast.index


@pytest.mark.parametrize(("name", "fields"), CLIPS, ids=str)
def test_each_part_changes_the_film_and_the_whole_recipe_makes_one(
    one: Callable[[str], Any], name: str, fields: dict[str, Any]
) -> None:
    animator = one(name)
    plain = film(animator, **fields)[-1].latents
    for part in ({"reuse": 2}, {"guided": 0.5}, {"sampler": "unipc"}, {"sampler": "unipc", "guided": 0.67, "reuse": 2}):
        changed = film(animator, **part, **fields)[-1].latents
        assert torch.isfinite(changed).all()
        unguided = name == "drawn" and part == {"guided": 0.5}
        assert torch.equal(changed, plain) == unguided, f"{part}: drawn alone has no guidance to leave out"


@pytest.mark.parametrize(("name", "fields"), CLIPS, ids=str)
def test_the_whole_recipe_draws_a_single_frame_too(
    one: Callable[[str], Any], name: str, fields: dict[str, Any]
) -> None:
    for step in film(one(name), 1, sampler="unipc", guided=0.67, reuse=2, **fields):
        assert torch.isfinite(step.latents).all()


@pytest.mark.parametrize(("name", "fields"), CLIPS, ids=str)
def test_reuse_leaves_out_the_deep_layers_of_every_other_step(
    one: Callable[[str], Any], name: str, fields: dict[str, Any]
) -> None:
    animator = one(name)
    network = network_of(animator)
    with samples_of(network.mid_block.resnets[0]) as deep, samples_of(network.conv_out) as every:
        film(animator, **fields)
    assert deep == every
    with samples_of(network.mid_block.resnets[0]) as deep, samples_of(network.conv_out) as every:
        steps = film(animator, reuse=2, **fields)
    # the scene of a prompt alone is drawn in two passes, of which each begins anew; PNDM looks twice at one step
    whole = STEPS / 2 if len(steps) == STEPS and fields.get("driven", True) else 3
    assert sum(deep) == pytest.approx(sum(every) * whole / len(steps), rel=0.25)


@pytest.mark.parametrize(
    ("name", "most"), [("magicanimate", 2), ("animate_anyone", 2), ("text2video_zero", 2), ("dreampose", 3)]
)
def test_guidance_is_left_out_of_the_last_steps_with_its_branches(
    one: Callable[[str], Any], name: str, most: int
) -> None:
    animator = one(name)
    network = network_of(animator)
    frames, fields = 3, {"window": 3, "overlap": 0}
    with samples_of(network.conv_out) as through:
        steps = film(animator, frames, guided=0.5, **fields)
    unguided = len(steps) - guided_steps(Fast(guided=0.5), len(steps))
    assert through[-unguided:] == [frames] * unguided, "one branch is left"
    assert through[-unguided - 1] == most * frames
    with samples_of(network.conv_out) as through:
        film(animator, frames, **fields)
    assert through[-1] == most * frames


def test_steps_that_reuse_run_neither_the_deep_controlnet_nor_the_reference_network(one: Callable[[str], Any]) -> None:
    animator = one("magicanimate")
    deep, reference = animator.control.mid_block.resnets[0], animator.reference.network.conv_in
    counts = []
    for reuse in (1, 2):
        animator.features.__init__()  # nothing is known of the reference
        with samples_of(deep) as control, samples_of(reference) as features:
            film(animator, 6, reuse=reuse)
        counts.append((sum(control), len(features)))
    assert counts == [(6 * STEPS, STEPS), (6 * STEPS // 2, STEPS // 2)]
    posed = one("text2video_zero")
    with samples_of(posed.control.network.mid_block.resnets[0]) as control:
        film(posed, 3, reuse=2, window=3, overlap=0)
    assert len(control) == STEPS // 2


def test_a_short_forward_around_deep_features_of_the_same_step_is_the_whole_one(one: Callable[[str], Any]) -> None:
    for name, fields in CLIPS:
        animator = one(name)
        model, step = caught(animator, fields)
        windows, latents, timestep = step
        whole = []
        for shortcut in (Shortcut(), Shortcut(deep="kept"), Shortcut(deep="reused")):
            model.shorten(shortcut)
            with torch.inference_mode():
                model.begin_step(timestep, windows, range(len(windows)))
                whole.append([model.predict(latents, timestep, window) for window in windows])
        for plain, kept, again in zip(*whole, strict=True):
            assert torch.equal(plain, kept)
            assert torch.allclose(again, plain, rtol=1e-4, atol=1e-5), (name, (again - plain).abs().max())


def caught(animator: Any, fields: dict[str, Any]) -> tuple[Any, tuple[Any, torch.Tensor, int]]:
    """The window model of a clip, with windows, latents and timestep of its last step."""
    import sys

    module, found = sys.modules[type(animator).__module__], {}
    kind = module.ClipModel
    before = kind.begin_step, kind.predict

    def begin_step(self: Any, timestep: int, windows: Any, share: range) -> None:
        found.update(model=self, windows=windows, timestep=timestep)
        before[0](self, timestep, windows, share)

    def predict(self: Any, latents: torch.Tensor, timestep: int, window: Any) -> torch.Tensor:
        found["latents"] = latents
        return before[1](self, latents, timestep, window)

    kind.begin_step, kind.predict = begin_step, predict
    try:
        film(animator, **fields, steps=2 if fields.get("driven", True) else STEPS)
    finally:
        kind.begin_step, kind.predict = before
    return found["model"], (found["windows"], found["latents"], found["timestep"])


def test_the_first_residuals_of_a_controlnet_are_those_of_the_whole_one(one: Callable[[str], Any]) -> None:
    control = one("magicanimate").control
    generator = torch.Generator().manual_seed(0)
    sample, text = (
        torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 6), (2, 5, control.config.cross_attention_dim))
    )
    embedded = torch.randn((2, control.conv_in.out_channels, 8, 6), generator=generator)
    with torch.inference_mode():
        down, _ = control(sample, 400, text, controlnet_cond=embedded, conditioning_scale=0.7, return_dict=False)
        found = first_residuals(control, sample, 400, embedded, 0.7, encoder_hidden_states=text)
    assert len(found) == SHALLOW_LAYERS
    assert all(torch.equal(one, other) for one, other in zip(found, down[:SHALLOW_LAYERS], strict=True))

    anchored = one("text2video_zero").control
    text = torch.randn((1, 5, anchored.network.config.cross_attention_dim), generator=generator)
    embedded = torch.randn((2, anchored.network.conv_in.out_channels, 8, 6), generator=generator)
    with torch.inference_mode():
        down, _ = anchored.residuals(sample, 400, AnchorConditioning(text, {}), embedded, 0.7)
        found = anchored.first_residuals(sample, 400, AnchorConditioning(text, {}), embedded, 0.7)
    assert all(torch.equal(one, other) for one, other in zip(found, down[:SHALLOW_LAYERS], strict=True))


def test_segments_do_not_know_of_each_other_so_that_a_clip_that_was_killed_goes_on(one: Callable[[str], Any]) -> None:
    """UniPC remembers steps, and window models remember features: neither beyond a segment."""
    animator = one("drawn")
    recipe = {"sampler": "unipc", "guided": 1.0, "reuse": 2}
    fresh = film(animator, **recipe)[-1].latents
    film(animator, 12, seed=5, **recipe)
    assert torch.equal(film(animator, **recipe)[-1].latents, fresh)


def test_what_overflows_at_the_first_step_is_found_there_in_mode_fast_too(one: Callable[[str], Any]) -> None:
    animator = one("drawn")
    broken = network_of(animator).conv_out.register_forward_hook(lambda *given: given[-1] * float("nan"))
    try:
        with samples_of(network_of(animator).conv_in) as begun, pytest.raises(NotFinite, match="first timestep"):
            film(animator, 5, sampler="unipc", reuse=2)
    finally:
        broken.remove()
    assert len(begun) == 1


def test_a_whole_recipe_takes_a_third_of_the_operations(one: Callable[[str], Any]) -> None:
    """Of a tiny network, in half the steps; at production size it is counted by tests/bench/fast_mode.py."""
    animator, counts = one("magicanimate"), []
    for steps, mode, recipe in ((8, "standard", {}), (4, "fast", {"sampler": "unipc", "guided": 0.5, "reuse": 2})):
        animator.features.__init__()
        with FlopCounterMode(display=False) as counter:
            film(animator, 6, mode=mode, steps=steps, **recipe)
        counts.append(counter.get_total_flops())
    assert counts[0] / counts[1] > 2.5


# Recipes and schedules


def test_shortcuts_are_those_of_the_recipe_and_the_last_step_keeps_nothing() -> None:
    found = [Shortcuts(Fast(guided=0.67, reuse=2), 7).at(step) for step in range(7)]
    assert [one.guided for one in found] == [True] * 5 + [False] * 2
    assert [one.deep for one in found] == ["kept", "reused"] * 3 + ["made"]
    assert [Shortcuts(Fast(reuse=2), 7).grid(step) for step in range(7)] == [0, 0, 1, 1, 2, 2, 3]
    off = [Shortcuts(Fast(**NOTHING_LEFT_OUT), 7).at(step) for step in range(7)]
    assert off == [Shortcut()] * 7
    assert guided_steps(Fast(guided=0), 7) == 0
    assert not Shortcuts(Fast(guided=0.5), 10, done=6).at(0).guided, "steps of an earlier pass count"


def test_unipc_begins_where_standard_does_and_ends_without_noise() -> None:
    standard, unipc = DDIMScheduler(**SCHEDULER), scheduled(DDIMScheduler(**SCHEDULER), 12, Fast(), 25)
    standard.set_timesteps(25)
    assert isinstance(unipc, UniPCMultistepScheduler)
    assert (len(unipc.timesteps), unipc.timesteps[0]) == (12, standard.timesteps[0])
    assert unipc.sigmas[-1] == 0
    trailing = scheduled(DDIMScheduler(**SCHEDULER), 8, Fast(sampler="trailing"), 25)
    assert isinstance(trailing, DDIMScheduler)
    assert trailing.timesteps[0] == 999


def test_unipc_finds_the_picture_of_an_exact_network_and_a_part_of_it_does_too() -> None:
    """For data at one point the noise is known: every solver has to arrive there from any step on."""
    point = torch.full((2, 4, 3, 3), 0.7)
    for begin in (0, 5):
        unipc = between(scheduled(DDIMScheduler(**SCHEDULER), 12, Fast(), 25), begin)
        share = unipc.alphas_cumprod[unipc.timesteps[0]]
        latents = share.sqrt() * point + (1 - share).sqrt() * torch.randn(2, 4, 3, 3)
        for timestep in unipc.timesteps.tolist():
            share = unipc.alphas_cumprod[timestep]
            noise = (latents - share.sqrt() * point) / (1 - share).sqrt()
            latents = unipc.step(noise, timestep, latents).prev_sample
        assert torch.allclose(latents, point, atol=1e-4)


@pytest.mark.parametrize("standard", [2, 25, 100])
def test_the_most_steps_that_unipc_may_take_have_each_a_noise_level_of_its_own(standard: int) -> None:
    unipc = scheduled(DDIMScheduler(**SCHEDULER), UNIPC_STEPS, Fast(), standard)
    timesteps, latents = unipc.timesteps.tolist(), torch.ones(1, 4, 2, 2)
    assert timesteps == sorted(set(timesteps), reverse=True)
    for timestep in timesteps:
        latents = unipc.step(0.1 * latents, timestep, latents).prev_sample
    assert torch.isfinite(latents).all()


def test_a_plan_counts_the_windows_of_mode_fast() -> None:
    clip = Clip(id="c", animator="drawn", window=16, overlap=4, steps=6)
    plan, shortcuts = window_plan(clip, 41, 1, 10, whole=False), Shortcuts(Fast(reuse=2), 6)
    made = [plan(shortcuts.grid(step)) for step in range(6)]
    planned = [windows_at(clip, 41, step // 2, True, 10, False) for step in range(6)]
    assert planned == [(len(windows), 16 * len(windows)) for windows in made]
    assert made[0] == made[1] != made[2]


def test_mode_fast_is_there_where_there_is_a_recipe_in_fewer_steps() -> None:
    held = {name for name, _ in CLIPS}
    for name in OWN:
        facts = ANIMATORS[name]
        assert ("fast" in facts.modes) == (facts.fast is not None) == (name in held), name
        assert facts.fast is None or 0 < facts.fast_steps < facts.steps, name
