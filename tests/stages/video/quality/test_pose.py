"""Pose fidelity: joints that are where they should be, nearly, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from stages.video.quality.pose import PoseFidelity
from tests.stages.poses.test_conditioning import standing

WANTED = standing(frames=1).points[0, 0, :18]
TORSO = np.hypot(*((WANTED[[5, 2]] - WANTED[[8, 11]]).T)).mean()


def fidelity(found: np.ndarray, wanted: np.ndarray = WANTED) -> tuple[float, float] | None:
    metric = PoseFidelity()
    metric.look(0, found, wanted)
    figures = metric.figures()
    return (figures["pose"].value, figures["pose_oks"].value) if figures else None


def moved(joint: int, by: float) -> np.ndarray:
    points = WANTED.copy()
    points[joint, 0] += by * TORSO
    return points


def test_the_wanted_pose_is_right() -> None:
    assert fidelity(WANTED) == (1.0, 1.0)


@pytest.mark.parametrize(("by", "right"), [(0.09, 18), (0.11, 17)])
def test_a_joint_counts_within_a_tenth_of_the_torso(by: float, right: int) -> None:
    pck, oks = fidelity(moved(4, by))
    assert pck == pytest.approx(right / 18)
    assert 0.9 < oks < 1


def test_eyes_have_to_be_nearer_than_hips() -> None:
    assert fidelity(moved(14, 0.1))[1] < fidelity(moved(8, 0.1))[1]


def test_a_joint_that_is_not_found_is_missed_and_one_that_is_not_wanted_does_not_count() -> None:
    hidden = WANTED.copy()
    hidden[4] = np.nan
    assert fidelity(hidden)[0] == pytest.approx(17 / 18)
    assert fidelity(WANTED, hidden)[0] == 1
    assert fidelity(np.full((18, 2), np.nan)) == (0, 0)


def test_a_truth_without_a_torso_says_nothing() -> None:
    hidden = WANTED.copy()
    hidden[8] = np.nan
    assert fidelity(WANTED, hidden) is None
