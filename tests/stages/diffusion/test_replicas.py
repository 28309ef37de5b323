"""A film is the same to the bit, however many replicas of an animator deal the windows of its steps."""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

from stages.diffusion.animators import ANIMATORS, OWN
from stages.diffusion.magicanimate.facts import SCHEDULER
from stages.diffusion.sampling.denoise import classifier_free_guidance, denoise
from stages.diffusion.sampling.micro_batches import micro_batches
from stages.diffusion.sampling.replicas import Replicas, deal
from stages.diffusion.sampling.shared_frames import SharedFrames
from stages.diffusion.sampling.windows import Window, averaged, loop_windows, open_windows, uniform_windows
from tests.made.small_clips import WRITE, replicas, steps_of

FRAMES = 13
FILMS: list[tuple[str, dict[str, Any]]] = [
    ("magicanimate", {}),
    ("magicanimate", {"loop": True}),
    ("magicanimate", {"mode": "parity"}),
    ("animate_anyone", {}),
    ("animate_anyone", {"loop": True, "overlap": 4}),
    ("animate_anyone", {"mode": "parity"}),
    ("dreampose", {"window": 4}),
    ("dreampose", {"window": 4, "mode": "parity", "steps": 3}),
    ("text2video_zero", {"window": 3}),
    ("text2video_zero", {"window": 4, "mode": "parity"}),
    ("text2video_zero", {"window": 4, "driven": False, "steps": 3}),
    ("text2video_zero", {"window": 4, "driven": False, "mode": "parity", "steps": 10, "options": {"t0": 35, "t1": 40}}),
    ("magicanimate", {"mode": "fast", "steps": 4, "options": {"fast": {"guided": 0.5}}}),
    ("animate_anyone", {"mode": "fast", "steps": 3, "options": {"fast": {}}}),
    ("dreampose", {"window": 4, "mode": "fast", "steps": 3, "options": {"fast": {}}}),
    ("text2video_zero", {"window": 3, "mode": "fast", "steps": 4, "options": {"fast": {"guided": 0.5}}}),
    ("text2video_zero", {"window": 4, "driven": False, "steps": 4, "mode": "fast", "options": {"fast": {}}}),
    ("drawn", {"mode": "fast", "steps": 3, "options": {"fast": {}}}),
    ("drawn", {}),
    ("drawn", {"loop": True}),
]


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], list[Any]]]:
    """Four of an animator, of the last one asked for."""
    kept: dict[str, list[Any]] = {}

    def load(name: str) -> list[Any]:
        if name not in kept:
            kept.clear()
            kept[name] = replicas(name, WRITE[name](tmp_path_factory.mktemp(name) / "checkpoint"), 4)
        return kept[name]

    yield load
    kept.clear()


def test_every_animator_of_catwalk_deals_windows_but_those_that_chain_segments() -> None:
    chained = {name for name in OWN if (rule := ANIMATORS[name].segments) and rule.carried}
    assert {name for name, _ in FILMS} == {name for name in OWN if ANIMATORS[name].deals_windows} == OWN - chained


@pytest.mark.parametrize(("name", "fields"), FILMS, ids=str)
def test_a_film_is_the_same_to_the_bit_on_one_device_on_two_and_on_four(
    four: Callable[[str], list[Any]], name: str, fields: dict[str, Any]
) -> None:
    animators = four(name)
    first = animators[0]
    expected = steps_of(first, FRAMES, **fields)
    try:
        for count in (2, 4):
            first.others = animators[1:count]
            with working(animators) as worked:
                found = steps_of(first, FRAMES, **fields)
            assert set(range(min(count, 3))) <= worked <= set(range(count))
            for one, other in zip(found, expected, strict=True):
                assert torch.equal(one.noise, other.noise), f"{count} replicas, step {one.index}"
                assert torch.equal(one.latents, other.latents), f"{count} replicas, step {one.index}"
    finally:
        first.others = ()


def test_a_replica_that_fails_ends_the_clip_with_its_own_error_and_the_next_clip_is_as_ever(
    four: Callable[[str], list[Any]],
) -> None:
    first, second = four("drawn")[:2]
    expected, told = steps_of(first, FRAMES), []

    def fails(*_: object) -> None:
        raise OutOfMemory("CUDA out of memory on device 1")

    first.others = [second]
    try:
        failing = second.networks.unet.conv_out.register_forward_pre_hook(fails)
        with pytest.raises(OutOfMemory, match="on device 1"):
            steps_of(first, FRAMES)
        failing.remove()
        found = steps_of(first, FRAMES, told=lambda done, steps: told.append(done))
    finally:
        first.others = ()
    assert torch.equal(found[-1].latents, expected[-1].latents)
    assert told == sorted(told)
    assert told[-1] == len(found)


@contextmanager
def working(animators: Sequence[Any]) -> Iterator[set[int]]:
    """Which of them run their denoising network meanwhile, by number."""
    worked: set[int] = set()
    networks = [one.networks.unet if hasattr(one, "networks") else one.unet.network for one in animators]
    handles = [
        network.conv_in.register_forward_pre_hook(lambda *_, at=at: worked.add(at))
        for at, network in enumerate(networks)
    ]
    try:
        yield worked
    finally:
        for handle in handles:
            handle.remove()


# --- What is computed together follows from the windows alone.

PLANS: dict[str, list[Window]] = {
    **{f"open, step {step}": open_windows(41, 8, 3, step) for step in range(4)},
    **{f"loop, step {step}": loop_windows(41, 8, 5, step) for step in range(4)},
    "wide overlap": open_windows(30, 8, 7, 1),
    "published ring": averaged(uniform_windows(48, 16, 1, 4)),
    "published ring, two levels": averaged(uniform_windows(48, 16, 2, 4)),
    "published ring, a frame twice in a window": averaged(uniform_windows(20, 16, 3, 4)),
    "no overlap": list(micro_batches(21, 4)),
    "one window": open_windows(5, 8, 3, 0),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_a_window_gets_frames_out_of_the_same_batches_whoever_computes_it(plan: list[Window], count: int) -> None:
    alone, _ = shared(plan, range(len(plan)))
    kept_at_most = max(len(window.frames) for window in plan)
    for share in deal(len(plan), count):
        dealt, kept = shared(plan, share)
        assert dealt == {number: alone[number] for number in share}
        assert max(kept, default=0) <= kept_at_most
        assert kept[-1:] in ([], [0])


def shared(plan: list[Window], share: range) -> tuple[dict[int, list[tuple[int, tuple[int, ...]]]], list[int]]:
    """Of each window: its frames, each with the batch that it was computed in; and how many are kept after it."""
    frames: SharedFrames[tuple[int, tuple[int, ...]]] = SharedFrames()
    frames.begin_step(plan, share)
    found, kept = {}, []
    for number in share:
        found[number] = frames.of(lambda batch: [(frame, tuple(batch)) for frame in batch])
        assert [frame for frame, _ in found[number]] == list(plan[number].frames)
        kept.append(len(frames._kept))
    return found, kept


def test_alone_every_frame_of_open_windows_is_computed_once() -> None:
    found, _ = shared(PLANS["open, step 1"], range(len(PLANS["open, step 1"])))
    batches = {batch for frames in found.values() for _, batch in frames}
    assert sorted(frame for batch in batches for frame in batch) == list(range(41))


@pytest.mark.parametrize("windows", range(12))
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_windows_are_dealt_in_order_evenly_and_whole(windows: int, count: int) -> None:
    shares = deal(windows, count)
    assert [number for share in shares for number in share] == list(range(windows))
    sizes = [len(share) for share in shares]
    assert len(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


# --- Threads.


class Model:
    """Predicts its input; `doing` is called before each window with its number."""

    device = torch.device("cpu")

    def __init__(self, doing: Callable[[int], None] = lambda number: None) -> None:
        self._doing = doing
        self.state: set[tuple[int, bool, bool]] = set()
        self.predicted: list[int] = []

    def begin_step(self, timestep: int, windows: Sequence[Window], share: range) -> None:
        self._coming = iter(share)

    def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        self._doing(number := next(self._coming))
        self.state.add((kernel_threads(), torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        self.predicted.append(number)
        return latents[list(window.frames)][None]


def kernel_threads() -> int:
    """What OpenMP would take here. torch's own answer would set it first: a new thread has the machine's until then."""
    libraries = Path("/proc/self/maps").read_text().split()
    openmp = next(one for one in libraries if re.search(r"/lib(g|i)omp\b", one))
    return ctypes.CDLL(openmp).omp_get_max_threads()


WINDOWS = micro_batches(FRAMES, 2)
LATENTS = torch.arange(float(FRAMES)).view(-1, 1, 1, 1)


def predicted(models: Sequence[Model], told: Callable[[int], None] = lambda number: None) -> list[torch.Tensor]:
    with Replicas(models) as together:
        return list(together.predictions(LATENTS, 1, WINDOWS, told))


def test_progress_only_grows_and_ends_with_all_windows_though_later_ones_are_ready_first() -> None:
    later_done, told = threading.Event(), []

    def waits(number: int) -> None:
        assert later_done.wait(60)

    def ends(number: int) -> None:
        if number == len(WINDOWS) - 1:
            later_done.set()

    found = predicted([Model(waits), Model(ends)], told.append)
    assert told == list(range(1, len(WINDOWS) + 1))
    assert torch.equal(torch.cat(found, dim=1)[0], LATENTS), "predictions come in the order of the windows"


@pytest.mark.parametrize("inference", [False, True])
def test_a_replica_computes_as_the_thread_that_asked_it(inference: bool) -> None:
    models = [Model(), Model(), Model()]
    torch.set_num_threads(2)
    with torch.inference_mode(inference):
        predicted(models)
        assert [one.state for one in models] == [{(2, inference, torch.is_grad_enabled())}] * 3


class OutOfMemory(RuntimeError):
    """As CUDA's is."""


def test_what_one_replica_raises_ends_the_clip_and_the_others_stop() -> None:
    failed, threads = threading.Event(), threading.active_count()

    def fails(number: int) -> None:
        failed.set()
        raise OutOfMemory("CUDA out of memory on device 1")

    def goes_on(number: int) -> None:
        assert failed.wait(60)
        threading.Event().wait(0.2)

    first, third = Model(goes_on), Model(goes_on)
    with pytest.raises(OutOfMemory, match="on device 1"):
        predicted([first, Model(fails), third])
    assert len(first.predicted) + len(third.predicted) < 5, "they had five windows to do, and stop at the first"
    assert threading.active_count() == threads, "no thread is left"


def test_a_loop_that_is_left_between_steps_leaves_no_thread() -> None:
    threads = threading.active_count()
    scheduler = DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(4)
    loop = denoise([Model(), Model()], LATENTS, scheduler, lambda _: WINDOWS, classifier_free_guidance(1.0))
    next(loop)
    assert threading.active_count() > threads
    loop.close()
    assert threading.active_count() == threads
