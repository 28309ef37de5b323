"""What the recordings of published code do not show: that it says what it lacks, and draws whatever it is given."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.clip import Clip
from manifests.errors import Problem
from stages.diffusion.animator import Segment
from stages.diffusion.text2video_zero.animator import Text2VideoZero
from stages.diffusion.text2video_zero.motion_field import STILL, MotionField
from stages.poses import wholebody
from stages.poses.drawing import skeleton
from stages.poses.keypoints import People
from tests.made.pose_motions import NOBODY, somebody
from tests.made.seam import latents_of
from tests.made.tiny_diffusion import write_text2video_zero
from tests.parity.published.mimicmotion_alignment import align, used_frames
from tests.parity.published.mimicmotion_drawing import draw_mimicmotion
from tests.parity.published.text2video_zero_background import Smoothing


def test_mimicmotion_draws_an_empty_frame_black() -> None:
    canvas = draw_mimicmotion(skeleton.mimicmotion(NOBODY, 64, 48), 48, 64)
    assert canvas.shape == (48, 64, 3)
    assert not canvas.any()


def test_mimicmotion_draws_people_outside_the_picture_without_an_error() -> None:
    people = somebody(2)
    people.points[:] = people.points * 40 - 4000
    draw_mimicmotion(skeleton.mimicmotion(people, 64, 48), 48, 64, 200)


def test_alignment_undoes_a_known_shift_and_scale() -> None:
    reference = skeleton.mimicmotion(somebody(), 240, 320)
    # The reference person in a square picture, at 0.8 of the size in pixels.
    points = reference.candidate * [240, 320] * 0.8 + [11, -7]
    people = People(np.zeros((1, 134, 2)), np.ones((1, 134)), np.full((1, 4), np.nan))
    people.points[0, wholebody.BODY] = points
    driving = skeleton.mimicmotion(people, 300, 300)
    fitted = align(reference, [driving, skeleton.mimicmotion(somebody(2), 300, 300)], (320, 240), (300, 300))
    assert fitted(driving).candidate == pytest.approx(reference.candidate, abs=1e-9)


def test_alignment_says_what_is_missing() -> None:
    someone, crowd = (skeleton.mimicmotion(somebody(people), 240, 320) for people in (1, 2))
    with pytest.raises(Problem, match="no driving frame holds exactly one person"):
        align(someone, [crowd], (320, 240), (320, 240))
    hidden = People(np.zeros((1, 134, 2)), np.zeros((1, 134)), np.full((1, 4), np.nan))
    with pytest.raises(Problem, match="no joint of the reference person is visible"):
        align(skeleton.mimicmotion(hidden, 240, 320), [someone], (320, 240), (320, 240))


@pytest.mark.parametrize(("fps", "stride"), [(Fraction(30000, 1001), 1), (47.9, 1), (48, 2), (60, 2), (10, 1)])
def test_driving_frames_are_thinned_to_about_24_a_second(fps: float, stride: int) -> None:
    assert list(used_frames(5, fps, sample_stride=1)) == list(range(0, 5, stride))


def test_a_common_background_is_pulled_towards_the_anchors(tmp_path: Path) -> None:
    animator = Text2VideoZero.load(write_text2video_zero(tmp_path / "checkpoint"), "cpu", torch.float32)
    row = {"prompt": "a panda dancing", "width": 64, "height": 48, "steps": 3, "guidance": 7.5, "window": 4}
    clip, segment, seen = Clip(id="c", animator="text2video_zero", **row), Segment(0, 3), []

    def everything(frames: np.ndarray) -> np.ndarray:
        seen.append(frames.shape)
        return np.ones(frames.shape[:3], np.float32)

    with torch.inference_mode():
        for _, step in Smoothing(everything).steps(animator, clip, segment):
            smoothed = step.latents[1:]
    plain = latents_of(animator, clip, None, None, segment)
    assert torch.allclose(smoothed, plain, atol=1e-4), "nothing is background where all is salient"
    assert seen == [(4, 48, 64, 3)]
    latents = torch.randn(3, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(3, 48, 64)
    assert torch.equal(
        Smoothing(everything, 0.0).blend(latents, nothing, [0, 0, 1], STILL), latents[:1].expand(3, -1, -1, -1)
    )
    shifted = Smoothing(everything, 0.0).blend(latents, nothing, [0, 0, 5], MotionField(64, 0))
    assert torch.equal(shifted[2], MotionField(64, 0).warp(latents[0], 5))
