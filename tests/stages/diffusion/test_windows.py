"""Every frame goes through the network at every step, and overlapping predictions are averaged as their weights say."""

import itertools

import pytest
import torch

from stages.diffusion.sampling.windows import (
    Fusion,
    Window,
    averaged,
    bit_reversed_fraction,
    loop_windows,
    open_windows,
    uniform_windows,
)

STEPS = range(12)
SIZES = [(16, 4), (24, 4), (16, 0), (16, 15), (15, 0), (6, 2), (5, 3), (3, 0), (2, 1), (1, 0)]  # (window, overlap)


def lengths(size: int) -> list[int]:
    """Clips around every multiple of the window, and long ones."""
    near = {size * times + more for times in (1, 2, 3) for more in (-1, 0, 1, 2, 5)}
    return sorted(length for length in near | {1, 7, 37, 61, 97} if length > 0)


def span(start: int, stop: int) -> list[int]:
    return list(range(start, stop))


@pytest.mark.parametrize(
    ("arguments", "windows"),
    [
        ((16, 16), [span(0, 16)]),
        ((9, 16), [span(0, 9)]),
        ((17, 16), [span(0, 16), [*span(12, 17), *span(0, 11)]]),
        ((20, 16), [span(0, 16), [*span(12, 20), *span(0, 8)]]),
        ((32, 16), [span(0, 16), span(12, 28), [*span(24, 32), *span(0, 8)]]),
        ((48, 16), [span(0, 16), span(12, 28), span(24, 40), [*span(36, 48), *span(0, 4)]]),
        ((20, 16, 1, 0), [span(0, 16), [*span(16, 20), *span(0, 12)]]),
        ((14, 6, 1, 2), [span(0, 6), span(4, 10), span(8, 14), [12, 13, 0, 1, 2, 3]]),
        (
            (32, 16, 2),
            [
                *[span(0, 16), span(12, 28), [*span(24, 32), *span(0, 8)]],
                *[list(range(0, 32, 2)), [28, 30, *range(0, 28, 2)]],
            ],
        ),
    ],
)
def test_the_published_schedule_gives_the_windows_of_its_specification(
    arguments: tuple[int, ...], windows: list[list[int]]
) -> None:
    assert uniform_windows(*arguments) == windows


def test_the_published_schedule_counts_frames_of_a_two_window_clip_as_specified() -> None:
    counted = [frame for window in uniform_windows(32, 16) for frame in window]
    twice = {frame for frame in range(32) if counted.count(frame) == 2}

    assert twice == {*span(0, 8), *span(12, 16), *span(24, 28)}
    assert len(counted) == 32 + len(twice)


def test_the_published_schedule_starts_twelve_frames_apart_and_wraps() -> None:
    windows = uniform_windows(64, 16)

    assert [window[0] for window in windows] == [0, 12, 24, 36, 48, 60]
    assert windows[-1] == [*span(60, 64), *span(0, 12)]


def test_phases_follow_the_bit_reversed_step_number() -> None:
    assert [bit_reversed_fraction(step) for step in range(6)] == [0, 0.5, 0.25, 0.75, 0.125, 0.625]


@pytest.mark.parametrize("schedule", [open_windows, loop_windows])
@pytest.mark.parametrize(("size", "overlap"), SIZES)
def test_every_frame_is_in_a_full_window_at_every_step(schedule: object, size: int, overlap: int) -> None:
    for num_frames, step in itertools.product(lengths(size), STEPS):
        windows = schedule(num_frames, size, overlap, step)
        case = f"{num_frames} frames, window {size}, overlap {overlap}, step {step}"

        assert {frame for window in windows for frame in window.frames} == set(range(num_frames)), case
        assert {len(window.frames) for window in windows} == {min(size, num_frames)}, case
        assert all(len(set(window.frames)) == len(window.weights) for window in windows), case
        assert all(weight > 0 for window in windows for weight in window.weights), case


@pytest.mark.parametrize("schedule", [open_windows, loop_windows])
def test_a_clip_that_fits_into_one_window_is_one_window_with_equal_weights(schedule: object) -> None:
    for num_frames, step in itertools.product((1, 5, 16), STEPS):
        assert schedule(num_frames, 16, 4, step) == [Window(tuple(range(num_frames)), (1.0,) * num_frames)]


@pytest.mark.parametrize(("size", "overlap"), SIZES)
def test_open_windows_never_join_the_end_to_the_beginning(size: int, overlap: int) -> None:
    for num_frames, step in itertools.product(lengths(size), STEPS):
        for window in open_windows(num_frames, size, overlap, step):
            assert list(window.frames) == span(window.frames[0], window.frames[-1] + 1)


@pytest.mark.parametrize(("size", "overlap"), SIZES)
def test_neighbouring_open_windows_share_at_least_the_overlap(size: int, overlap: int) -> None:
    for num_frames, step in itertools.product(lengths(size), STEPS):
        starts = [window.frames[0] for window in open_windows(num_frames, size, overlap, step)]
        assert all(second - first <= size - overlap for first, second in itertools.pairwise(starts))


@pytest.mark.parametrize(("size", "overlap"), [(16, 4), (24, 4), (16, 12), (6, 2), (16, 0), (15, 4)])
def test_no_frame_of_an_open_clip_is_at_a_seam_at_two_steps_in_a_row(size: int, overlap: int) -> None:
    num_frames = 97

    def seams(step: int) -> set[int]:
        return {window.frames[0] for window in open_windows(num_frames, size, overlap, step)} - {0, num_frames - size}

    assert all(seams(step) for step in range(40))
    assert not [step for step in range(40) if seams(step) & seams(step + 1)]


def test_over_the_steps_seams_visit_every_frame_an_open_window_may_start_at() -> None:
    starts = {window.frames[0] for step in range(25) for window in open_windows(61, 16, 4, step)}

    assert starts == set(range(61 - 16 + 1))


def test_loop_windows_treat_the_clip_as_a_ring_and_move_their_seams() -> None:
    plans = [loop_windows(37, 16, 4, step) for step in STEPS]

    assert all(any({36, 0} <= set(window.frames) for window in plan) for plan in plans)
    for plan in plans:
        for window in plan:
            assert all((second - first) % 37 == 1 for first, second in itertools.pairwise(window.frames))
    seams = [{window.frames[0] for window in plan} for plan in plans]
    assert not [step for step in STEPS[:-1] if seams[step] & seams[step + 1]]


def test_loop_windows_are_no_more_than_the_length_asks_for_and_evenly_spread() -> None:
    for num_frames, step in itertools.product((17, 37, 48, 97), STEPS):
        starts = sorted(window.frames[0] for window in loop_windows(num_frames, 16, 4, step))
        gaps = [second - first for first, second in itertools.pairwise([*starts, starts[0] + num_frames])]

        assert len(starts) == -(-num_frames // 12)
        assert max(gaps) - min(gaps) <= 1


def test_weights_rise_to_the_middle_of_a_window_and_fall_to_its_ends() -> None:
    even, odd = (open_windows(20, size, 2, 0)[0].weights for size in (6, 5))

    assert even == pytest.approx((1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3))
    assert odd == pytest.approx((1 / 3, 2 / 3, 1, 2 / 3, 1 / 3))


def test_fused_predictions_are_the_weighted_mean_of_the_windows() -> None:
    windows = [*open_windows(14, 6, 2, 1), *loop_windows(14, 6, 2, 2)]
    generator = torch.Generator().manual_seed(0)
    predictions = [torch.randn(2, 6, 4, 3, 2, generator=generator, dtype=torch.float64) for _ in windows]
    fusion = Fusion(14)
    for prediction, window in zip(predictions, windows, strict=True):
        fusion.add(prediction, window)

    for frame in range(14):
        shares = [
            (window.weights[window.frames.index(frame)], prediction[:, window.frames.index(frame)])
            for prediction, window in zip(predictions, windows, strict=True)
            if frame in window.frames
        ]
        mean = sum(weight * part for weight, part in shares) / sum(weight for weight, _ in shares)
        torch.testing.assert_close(fusion.mean()[:, frame], mean)


def test_the_published_fusion_is_the_plain_mean() -> None:
    fusion = Fusion(3)
    for window, value in zip(averaged([[0, 1], [1, 2]]), (1.0, 4.0), strict=True):
        fusion.add(torch.full((1, 2, 1, 1, 1), value), window)

    assert fusion.mean().flatten().tolist() == [1.0, 2.5, 4.0]


def test_a_frame_that_stands_twice_in_a_window_counts_once() -> None:
    fusion = Fusion(2)
    fusion.add(torch.tensor([5.0, 7.0, 7.0]).view(1, 3, 1, 1, 1), averaged([[0, 1, 1]])[0])
    fusion.add(torch.tensor([1.0]).view(1, 1, 1, 1, 1), averaged([[1]])[0])

    assert fusion.mean().flatten().tolist() == [5.0, 4.0]


def test_a_frame_without_a_window_is_an_error_and_not_a_division_by_zero() -> None:
    fusion = Fusion(4)
    with pytest.raises(ValueError, match="no window"):
        fusion.mean()
    fusion.add(torch.zeros(1, 3, 1, 1, 1), averaged([[0, 1, 2]])[0])
    with pytest.raises(ValueError, match="no window"):
        fusion.mean()
    fusion.add(torch.zeros(1, 1, 1, 1, 1), averaged([[3]])[0])

    assert torch.isfinite(fusion.mean()).all()
