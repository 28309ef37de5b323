"""Short memory makes a film slower and no other: what waits is elsewhere, and branches of guidance go one by one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from stages.diffusion.acceleration import Acceleration
from stages.diffusion.animators import load_animator
from stages.diffusion.networks.offload import at_work, offload
from stages.diffusion.sampling.denoise import Step
from tests.made.small_clips import WRITE, steps_of

FRAMES, WINDOW = 8, 6
CLOSE = 1e-6  # of latents near 1, in double precision: a batch of another size is summed in another order
GUIDED = sorted(set(WRITE) - {"drawn"})
# the second step reads what the first one's deep layers made
FAST: dict[str, Any] = {"mode": "fast", "options": {"fast": {"sampler": "own", "guided": 1.0, "reuse": 2}}, "steps": 3}
MODES: dict[str, dict[str, Any]] = {"standard": {}, "fast": FAST}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp("weights") / name) for name, write in WRITE.items()}


Load = Callable[..., Any]


@pytest.fixture(scope="module")
def load(checkpoints: dict[str, Path]) -> Load:
    def of(name: str, **wanted: Any) -> Any:
        return load_animator(name, checkpoints[name], "cpu", torch.float64, acceleration=Acceleration(**wanted))

    return of


@pytest.fixture(scope="module")
def plain(load: Load) -> Load:
    """The steps of one clip, as they are with memory enough."""
    return functools.cache(lambda name, mode="standard": steps_of(load(name), FRAMES, **MODES[mode]))


def batches(network: nn.Module, most: int | None = None, error: RuntimeError | None = None) -> list[int]:
    """Frames of every branch that leave a network, call by call. More than `most` at once raise `error`."""
    sizes: list[int] = []

    def see(_: nn.Module, given: tuple[torch.Tensor]) -> None:
        sizes.append(len(given[0]))
        if most is not None and len(given[0]) > most:
            raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")

    network.conv_out.register_forward_pre_hook(see)
    return sizes


def assert_same(found: list[Step], expected: list[Step]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.latents, other.latents, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WRITE)
def test_low_vram_draws_the_same_film_with_one_branch_at_a_time_and_the_rest_elsewhere(
    name: str, mode: str, load: Load, plain: Load
) -> None:
    small = load(name, low_vram=True)
    moves = {part: listened(small.modules[part]) for part in small.waiting}
    sizes = batches(small.modules["unet"])
    assert_same(steps_of(small, FRAMES, **MODES[mode]), plain(name, mode))
    assert max(sizes) == WINDOW
    for part, events in moves.items():
        if (name, part) == ("text2video_zero", "autoencoder"):
            assert events == []  # there is no reference to encode
            continue
        assert events[0] == events[-1] == "moves", "to its device, and back"
        assert "computes" in events


def test_branch_by_branch_words_are_projected_once_for_each_of_two_prompts(load: Load) -> None:
    small = load("magicanimate", low_vram=True)
    times = []
    small.modules["unet"].mid_block.attentions[0].transformer_blocks[0].attn2.to_k.register_forward_pre_hook(
        lambda *_: times.append(1)
    )
    recipe = {"fast": {"sampler": "own", "guided": 0.75, "reuse": 2}}
    steps_of(small, FRAMES, negative_prompt="blurred", mode="fast", steps=4, options=recipe)
    assert len(times) == 2


def listened(network: nn.Module) -> list[str]:
    """How a network's weights move, and when its layers compute."""
    events: list[str] = []
    move = network._apply
    network._apply = lambda fn, *rest: events.append("moves") or move(fn, *rest)
    layer = next(one for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear))
    layer.register_forward_pre_hook(lambda *_: events.append("computes"))
    return events


def test_a_network_whose_way_to_its_device_ends_halfway_is_back_in_main_memory() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    offload(network, "cpu")
    events, move = listened(network), network[1]._apply

    def poor(*asked: Any) -> nn.Module:
        network[1]._apply = move  # once
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")

    network[1]._apply = poor
    with pytest.raises(torch.OutOfMemoryError), at_work(network):
        events.append("entered")
    assert events == ["moves", "moves"], "there, and back"


@pytest.mark.parametrize("name", ["magicanimate", "animate_anyone", "dreampose"])
def test_what_is_kept_of_a_reference_is_dropped_for_room_and_made_anew(name: str, load: Load) -> None:
    one = load(name)
    before = steps_of(one, 2, steps=1)
    assert one.forget() > 0
    assert one.forget() == 0
    assert_same(steps_of(one, 2, steps=1), before)
    assert one.forget() > 0


def test_low_vram_without_poses_draws_the_same_film(load: Load) -> None:
    fields: dict[str, Any] = {"driven": False, "steps": 10, "options": {"t0": 30, "t1": 40}}
    small = load("text2video_zero", low_vram=True)
    assert_same(steps_of(small, FRAMES, **fields), steps_of(load("text2video_zero"), FRAMES, **fields))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GUIDED)
def test_a_window_that_does_not_fit_goes_through_branch_by_branch(
    name: str, mode: str, load: Load, plain: Load
) -> None:
    poor = load(name)
    sizes = batches(poor.modules["unet"], most=WINDOW)
    assert_same(steps_of(poor, FRAMES, **MODES[mode]), plain(name, mode))
    assert sum(size > WINDOW for size in sizes) == 1, "one try, and no more"


@pytest.mark.parametrize("name", GUIDED)
def test_a_window_that_does_not_fit_beside_what_is_reused_does_so_too(name: str, load: Load, plain: Load) -> None:
    """Windows of whole steps have fitted: the first of those that reuse deep features does not."""
    poor, expected = load(name), plain(name, "fast")
    unet, deep, failed = poor.modules["unet"], [0], []

    def fail(*_: object) -> None:
        deep[0] -= 1
        if deep[0] < 0 and not failed:
            failed.append(sizes[-1])
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")

    unet.mid_block.resnets[0].register_forward_pre_hook(lambda *_: deep.append(deep.pop() + 1))
    sizes = batches(unet)
    unet.conv_out.register_forward_pre_hook(fail)
    assert_same(steps_of(poor, FRAMES, **FAST), expected)
    assert failed[0] > WINDOW
    assert max(sizes[-4:]) == WINDOW


def test_windows_behind_the_one_with_the_anchor_read_it_branch_by_branch(load: Load, plain: Load) -> None:
    poor, calls = load("text2video_zero"), 0

    def fail(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")

    poor.modules["unet"].conv_out.register_forward_pre_hook(fail)
    assert_same(steps_of(poor, FRAMES), plain("text2video_zero"))


@pytest.mark.parametrize(("name", "tries"), [("drawn", 1), ("magicanimate", 2)])
def test_a_branch_that_does_not_fit_alone_is_not_tried_for_ever(name: str, tries: int, load: Load) -> None:
    poor = load(name)
    sizes = batches(poor.modules["unet"], most=0)
    with pytest.raises(torch.OutOfMemoryError):
        steps_of(poor, FRAMES)
    assert len(sizes) == tries


def test_an_error_that_the_device_does_not_survive_is_not_tried_again(load: Load) -> None:
    broken = load("magicanimate")
    error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    sizes = batches(broken.modules["unet"], most=0, error=error)
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        steps_of(broken, FRAMES)
    assert len(sizes) == 1


class Asked(TorchDispatchMode):
    """How often the host asks a device for a value, and so waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.times += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WRITE)
def test_after_the_first_step_the_loop_waits_for_no_value(name: str, mode: str, load: Load) -> None:
    animator = load(name)

    def asked(steps: int) -> int:
        with Asked() as watched:
            steps_of(animator, FRAMES, **MODES[mode] | {"steps": steps})
        return watched.times

    asked(2)  # of a first clip, what is kept for later ones
    assert asked(2) == asked(4)
