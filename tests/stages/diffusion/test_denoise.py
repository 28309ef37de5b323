"""The denoising loop is the equation it stands for: fuse, guide, step."""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from diffusers import DDIMScheduler

from manifests.errors import Problem
from stages.diffusion.magicanimate.facts import SCHEDULER
from stages.diffusion.sampling.denoise import classifier_free_guidance, denoise
from stages.diffusion.sampling.windows import Window, open_windows

FRAMES, SHAPE, SCALE = 11, (4, 3, 2), 2.5


class Linear:
    """A model whose branches are known multiples of its input; its answer depends on the place in the window, too."""

    device = torch.device("cpu")

    def __init__(self, branches: int = 2) -> None:
        self.branches = branches
        self.calls: list[tuple[str, int, object]] = []

    def begin_step(self, timestep: int, windows: Sequence[Window], share: range) -> None:
        assert share == range(len(windows))
        self.calls.append(("begin", timestep, tuple(windows)))

    def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        self.calls.append(("predict", timestep, window))
        return self.answer(latents[list(window.frames)], timestep)

    def answer(self, latents: torch.Tensor, timestep: int) -> torch.Tensor:
        place = torch.arange(len(latents), dtype=latents.dtype).view(-1, 1, 1, 1) / 10
        factors = torch.tensor([0.3, 0.7])[-self.branches :].view(-1, 1, 1, 1, 1)
        return factors * latents + place + timestep / 1000


@pytest.fixture
def start() -> torch.Tensor:
    return torch.randn(FRAMES, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def scheduler() -> DDIMScheduler:
    scheduler = DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(4)
    return scheduler


plan = partial(open_windows, FRAMES, 6, 2)


def by_hand(model: Linear, latents: torch.Tensor, scale: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(noise, latents) after every step, frame by frame, with DDIM's equation (Song et al. 2020, eq. 12; eta 0)."""
    betas = torch.linspace(0.00085, 0.012, 1000, dtype=torch.float64)
    alphas, found = torch.cumprod(1 - betas, 0), []
    for index, timestep in enumerate((751, 501, 251, 1)):
        noise = torch.zeros_like(latents)
        for frame in range(FRAMES):
            total = weights = 0
            for window in plan(index):
                if frame in window.frames:
                    place = window.frames.index(frame)
                    branches = model.answer(latents[list(window.frames)], timestep)[:, place]
                    unconditional, conditional = branches[0], branches[-1]  # one and the same without guidance
                    guided = unconditional + scale * (conditional - unconditional)
                    total, weights = total + window.weights[place] * guided, weights + window.weights[place]
            noise[frame] = total / weights
        now, then = alphas[timestep], alphas[timestep - 250] if timestep > 250 else torch.ones(())
        clean = (latents - (1 - now).sqrt() * noise) / now.sqrt()
        latents = (then.sqrt() * clean + (1 - then).sqrt() * noise).float()
        found.append((noise, latents))
    return found


@pytest.mark.parametrize(("branches", "scale"), [(2, SCALE), (2, 0.0), (1, SCALE)])
def test_every_step_equals_the_loop_written_by_hand(
    start: torch.Tensor, scheduler: DDIMScheduler, branches: int, scale: float
) -> None:
    steps = list(denoise([Linear(branches)], start, scheduler, plan, classifier_free_guidance(scale)))

    assert [(step.index, step.timestep) for step in steps] == [(0, 751), (1, 501), (2, 251), (3, 1)]
    for step, (noise, latents) in zip(steps, by_hand(Linear(branches), start, scale), strict=True):
        torch.testing.assert_close(step.noise, noise, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(step.latents, latents, rtol=1e-4, atol=1e-4)


def test_a_step_is_announced_with_all_its_windows_before_the_first_is_predicted(
    start: torch.Tensor, scheduler: DDIMScheduler
) -> None:
    model = Linear()
    for _ in denoise([model], start, scheduler, plan, classifier_free_guidance(SCALE)):
        pass

    expected = []
    for index, timestep in enumerate((751, 501, 251, 1)):
        windows = plan(index)
        expected += [("begin", timestep, tuple(windows)), *(("predict", timestep, window) for window in windows)]
    assert model.calls == expected


def test_steps_are_computed_one_at_a_time(start: torch.Tensor, scheduler: DDIMScheduler) -> None:
    model = Linear()
    next(denoise([model], start, scheduler, plan, classifier_free_guidance(SCALE)))

    assert {timestep for _, timestep, _ in model.calls} == {751}


def test_the_start_latents_are_left_as_they_were(start: torch.Tensor, scheduler: DDIMScheduler) -> None:
    before = start.clone()
    list(denoise([Linear()], start, scheduler, plan, classifier_free_guidance(SCALE)))

    assert torch.equal(start, before)


def test_half_precision_predictions_are_fused_and_stepped_in_the_precision_of_the_latents(
    start: torch.Tensor, scheduler: DDIMScheduler
) -> None:
    class Half(Linear):
        def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
            return super().predict(latents, timestep, window).to(torch.bfloat16)

    step = next(denoise([Half()], start, scheduler, plan, classifier_free_guidance(SCALE)))

    assert (step.noise.dtype, step.latents.dtype) == (torch.float32, torch.float32)


def test_guidance_moves_from_the_unconditional_to_the_conditional_branch_and_beyond() -> None:
    branches = torch.tensor([[1.0, 2.0], [3.0, 2.5]])

    assert classifier_free_guidance(0.0)(branches).tolist() == [1.0, 2.0]
    assert classifier_free_guidance(1.0)(branches).tolist() == [3.0, 2.5]
    assert classifier_free_guidance(7.5)(branches).tolist() == [16.0, 5.75]


def test_a_single_branch_is_not_guided() -> None:
    branch = torch.tensor([[1.0, 2.0]])

    assert classifier_free_guidance(7.5)(branch).tolist() == [1.0, 2.0]


def test_what_overflows_is_found_at_the_first_step(start: torch.Tensor, scheduler: DDIMScheduler) -> None:
    class Overflowing(Linear):
        def answer(self, latents: torch.Tensor, timestep: int) -> torch.Tensor:
            return super().answer(latents, timestep).half() * 1e6

    model = Overflowing()
    with pytest.raises(Problem, match="not finite at their first timestep, 751"):
        list(denoise([model], start, scheduler, plan, classifier_free_guidance(SCALE)))
    assert [call[0] for call in model.calls].count("begin") == 1


def test_progress_is_told_after_every_window(start: torch.Tensor, scheduler: DDIMScheduler) -> None:
    told: list[tuple[float, int]] = []
    model, guide = Linear(), classifier_free_guidance(SCALE)
    list(denoise([model], start, scheduler, plan, guide, lambda done, steps: told.append((done, steps))))
    windows = len(plan(0))
    assert windows > 1
    assert [steps for _, steps in told] == [4] * 4 * windows
    assert [done for done, _ in told] == pytest.approx([number / windows for number in range(1, 4 * windows + 1)])
