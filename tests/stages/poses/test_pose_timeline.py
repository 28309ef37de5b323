"""The timeline of one person: what a report shows of every frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stages.poses.keypoints import Keypoints
from stages.poses.motion.repair import repair
from stages.poses.motion.timeline import LIMBS, Stretch, Timeline
from stages.poses.wholebody import BODY, FACE, LEFT_HAND
from tests.made.pose_motions import FPS, Body, crossing, dancing, observe, with_gap

LEFT_LEG = list(LIMBS["left leg"])


def timeline(keypoints: Keypoints) -> Timeline:
    return Timeline(keypoints, repair(keypoints, FPS)[0])


def dance() -> Keypoints:
    return dancing(Body()).keypoints()


def scored(keypoints: Keypoints, frames: slice, points: slice | list[int], score: float) -> Keypoints:
    scores = keypoints.scores.copy()
    scores[frames, 0, points] = score
    return replace(keypoints, scores=scores)


def test_confidence_is_the_mean_score_of_a_part_and_nothing_where_nobody_is() -> None:
    line = timeline(with_gap(scored(dance(), slice(10, 20), LEFT_HAND, 0.25), 50, 5))
    assert line.confidence("left hand")[10:20] == pytest.approx(0.25)
    assert line.confidence("body")[:50].min() > 0.7
    assert line.confidence("body")[50:55].tolist() == [0] * 5
    assert line.present.sum() == 95


def test_a_short_gap_is_bridged_a_long_one_is_left_empty_and_a_limb_is_patched() -> None:
    keypoints = with_gap(with_gap(with_gap(dance(), 20, 4), 40, 30), 80, 3, LEFT_LEG)
    found = timeline(keypoints).stretches()
    assert found == [Stretch("bridged", 20, 23), Stretch("empty", 40, 69), Stretch("patched", 80, 82, ("left leg",))]
    assert timeline(dance()).stretches() == []


def test_limbs_and_hands_that_are_not_seen_are_named() -> None:
    unseen = scored(scored(dance(), slice(7, 8), LEFT_LEG, 0.1), slice(7, 8), LEFT_HAND, 0.1)
    assert timeline(unseen).unseen(7) == ["left leg", "left hand"]
    assert timeline(unseen).unseen(8) == []


def test_the_worst_frames_are_apart_from_each_other_and_in_order() -> None:
    keypoints = scored(scored(dance(), slice(60, 70), BODY, 0.4), slice(30, 31), BODY, 0.5)
    worst = timeline(keypoints).worst(3, FPS)
    assert len(worst) == 3
    assert worst == sorted(worst)
    assert 30 in worst
    assert len([frame for frame in worst if 60 <= frame < 70]) == 1
    assert min(np.diff(worst)) > 0.4 * FPS
    assert timeline(dance()).worst(1000, FPS) != [], "as many as have room"


def test_more_people_than_one_are_refused() -> None:
    crowd = observe(crossing(57), np.random.default_rng(0))
    with pytest.raises(ValueError, match="one person in one slot, not of"):
        Timeline(crowd, crowd)


def test_stretches_without_a_face_are_those_in_which_somebody_is_there() -> None:
    turned = scored(scored(dance(), slice(0, 100), FACE, 0.9), slice(40, 55), FACE, 0.1)
    assert timeline(with_gap(turned, 50, 2)).faceless == [(40, 49), (52, 54)]
