"""What the recordings of published code do not show: that it says what it lacks, and draws whatever it is given."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from manifests.errors import Problem
from stages.poses import wholebody
from stages.poses.drawing import skeleton
from stages.poses.keypoints import People
from tests.made.pose_motions import NOBODY, somebody
from tests.parity.published.mimicmotion_alignment import align, used_frames
from tests.parity.published.mimicmotion_drawing import draw_mimicmotion


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
