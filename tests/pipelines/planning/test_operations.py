"""What a plan says that a film computes is what is computed for it."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from manifests.clip import Clip
from manifests.work import Work
from pipelines.planning.operations import branches_of, denoised_frames, operations_of, windows_of
from stages.bundled import bundled
from stages.diffusion.animate_anyone.latent_interpolation import key_frames
from stages.diffusion.animators import ANIMATORS, load_animator
from stages.diffusion.dreampose.dual_guidance import branch_weights
from stages.diffusion.sampling.micro_batches import micro_batches
from stages.diffusion.sampling.windows import window_plan
from tests.bench.operations import FACTS, SYSTEMS, counted
from tests.made.seam import film_of
from tests.made.walking import Walking, joints


def clip(**fields: Any) -> Clip:
    given = {"id": "c", "animator": "drawn", "width": 96, "height": 128, "steps": 2, "window": 16, "overlap": 4}
    return Clip.model_validate({**given, **fields})


@pytest.mark.parametrize(("mode", "loop"), [("standard", False), ("standard", True), ("parity", False)])
def test_windows_are_as_many_as_the_sampling_makes(mode: str, loop: bool) -> None:
    for frames, (window, overlap), stride in product(
        (1, 16, 17, 23, 64, 241), ((16, 4), (24, 4), (8, 0), (5, 3)), (1, 3)
    ):
        one = clip(mode=mode, loop=loop, window=window, overlap=overlap, options={"context_stride": stride}, steps=9)
        made = window_plan(one, frames, stride)
        counts = [[len(window.frames) for window in made(step)] for step in range(9)]
        expected = sum(map(len, counts)), sum(map(sum, counts))
        assert windows_of(one, frames, 9, fused=True) == expected, (frames, window, overlap, stride)


def test_windows_of_a_segment_lie_on_the_grid_of_the_whole_clip() -> None:
    for frames, begin in product((20, 256, 261), (-16, 0, 224, 464)):
        one = clip(loop=begin < 0, steps=7)
        made = [window_plan(one, frames, 1, begin, whole=False)(step) for step in range(7)]
        assert windows_of(one, frames, 7, True, begin, whole=False)[0] == sum(map(len, made)), (frames, begin)


def test_a_long_clip_is_denoised_in_segments_with_a_halo_each() -> None:
    known = operations_of("drawn", 96 * 128)
    assert known is not None
    short, long = (known.effort(Work(row=0, clip=clip(fit="cover", fps=12), frames=frames)) for frames in (240, 720))
    assert (short.segments, long.segments) == (1, 3)
    assert 3 * short.windows < long.windows < 3.3 * short.windows


def test_windows_that_are_not_fused_hold_every_frame_once() -> None:
    made = micro_batches(19, 8)
    assert windows_of(clip(window=8, overlap=0), 19, 3, fused=False) == (3 * len(made), 3 * 19)


def test_frames_between_key_frames_are_not_denoised_and_parity_computes_whole_blocks() -> None:
    for frames, factor in product((1, 2, 10, 11, 64), (1, 3, 16)):
        one = clip(options={"interpolation_factor": factor})
        assert denoised_frames(one, frames, {}) == len(key_frames(0, frames, factor))
    assert denoised_frames(clip(mode="parity"), 17, {"parity_block": 16}) == 32


def test_branches_are_those_of_the_guidance() -> None:
    assert [branches_of(clip(guidance=given)) for given in (None, [1.0], [7.5])] == [1, 1, 2]
    for scales in ((8.0, 3.0), (3.0, 3.0), (1.0, 3.0), (1.0, 1.0)):
        assert branches_of(clip(guidance=scales)) == len(branch_weights(*scales))


def test_a_size_between_the_counted_ones_is_counted_the_same() -> None:
    known, recounted = operations_of("drawn", 192 * 256), counted("drawn", 192, 256)
    assert known is not None
    assert known.tflop == pytest.approx(recounted.tflop, rel=1e-3)
    assert known.elements["window_1"] == pytest.approx(recounted.elements["window_1"], rel=0.02)


# TFLOP of 16 frames, one ControlNet frame and one decoded one, as others counted what is needed for the published films
# (of the ControlNet's, the pictures' own layers are gone through once a film and stand with what is decoded)
PICTURES = 0.0147 / 512**2  # a pixel
KNOWN = {(512, 512): (30.6, 0.283, 2.51), (768, 512): (49.1, 0.461, 3.80), (1024, 576): (80.9, 0.774, 5.75)}


@pytest.mark.parametrize("size", KNOWN)
def test_a_guided_window_at_production_size_is_what_others_count(size: tuple[int, int]) -> None:
    known = operations_of("magicanimate", size[0] * size[1])
    assert known is not None
    pictures = PICTURES * size[0] * size[1]
    found = 16 * known.tflop["window_2"], known.tflop["frame"] + pictures, known.tflop["picture"] - pictures
    assert found == pytest.approx(KNOWN[size], rel=0.01)


def test_what_the_bench_counts_is_in_the_table_and_known() -> None:
    assert set(FACTS) == set(SYSTEMS)
    assert set(SYSTEMS) <= set(ANIMATORS)
    assert all(operations_of(name, 512 * 512) for name in SYSTEMS)


def test_a_film_takes_the_operations_that_the_plan_says() -> None:
    frames, size = 20, (96, 128)
    animator = load_animator("drawn", Path(bundled("bundled:drawn")), "cpu", torch.float32)
    one = clip(driving="v.mp4", fit="cover", fps=Fraction(12))
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (frames + 1, size[1], size[0], 3), dtype=np.uint8)
    with FlopCounterMode(display=False) as counter:
        film_of(animator, one, pictures[0], Walking(pictures[1:], joints(frames, *size)))
    known = operations_of("drawn", size[0] * size[1])
    assert known is not None
    effort = known.effort(Work(row=0, clip=one, frames=frames))
    assert effort.tflop == pytest.approx(counter.get_total_flops() / 1e12, rel=0.02)
