"""What repair promises: faults go, motion stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stages.poses.keypoints import Keypoints
from stages.poses.motion import smoothing
from stages.poses.motion.repair import RepairSettings, repair
from stages.poses.motion.smoothing import noise, smooth
from stages.poses.wholebody import BODY, FACE, LEFT_HAND, POINTS, RIGHT_HAND, VISIBLE
from tests.bench.pose_repair import ARM, errors
from tests.made.memory import peak_of
from tests.made.pose_motions import FPS, LEGS, Body, Motion, dancing, turning, walking, with_flip, with_gap, with_jitter

MOTIONS = {"walk": walking(Body()), "dance": dancing(Body(), seed=1), "turn": turning(Body())}


@pytest.fixture(params=MOTIONS)
def motion(request: pytest.FixtureRequest) -> Motion:
    return MOTIONS[request.param]


def worst_change(before: Keypoints, after: Keypoints) -> float:
    return float(np.linalg.norm(before.points - after.points, axis=-1).max())


def test_clean_motion_is_left_alone(motion: Motion) -> None:
    clean = motion.keypoints()
    repaired, done = repair(clean, FPS)
    assert worst_change(clean, repaired) < 0.3
    assert np.array_equal(clean.scores, repaired.scores)
    assert (done.exchanged, done.outliers, done.filled_frames, done.filled_points) == ({}, 0, 0, 0)


def test_the_grid_of_the_network_moves_clean_motion_by_less_than_itself(motion: Motion) -> None:
    clean = motion.keypoints()
    gridded = replace(clean, points=np.round(clean.points / 0.8) * 0.8)
    repaired, _ = repair(gridded, FPS)
    assert errors(repaired, motion.points).mean() < 0.4


def test_jitter_shrinks(motion: Motion) -> None:
    broken = with_jitter(motion.keypoints(), 3.0)
    repaired, done = repair(broken, FPS)
    for part in (BODY, FACE, LEFT_HAND, RIGHT_HAND):
        assert errors(repaired, motion.points, part).mean() < 0.85 * errors(broken, motion.points, part).mean()
    assert done.jitter == pytest.approx(3.0, rel=0.3)


def test_repairing_twice_changes_little_more(motion: Motion) -> None:
    once, _ = repair(with_jitter(motion.keypoints(), 2.0), FPS)
    twice, done = repair(once, FPS)
    assert np.linalg.norm(twice.points - once.points, axis=-1).mean() < 0.5
    assert (done.exchanged, done.filled_points) == ({}, 0)


@pytest.mark.parametrize("frequency", [0.5, 2.0, 4.0])
def test_smoothing_neither_lags_nor_flattens(frequency: float) -> None:
    seconds = np.arange(200) / FPS
    truth = np.zeros((200, 1, 2))
    truth[:, 0, 0] = 80 * np.sin(2 * np.pi * frequency * seconds)
    measured = truth + np.random.default_rng(0).normal(0, 1.5, truth.shape)
    weights = np.ones((200, 1))
    found = smooth(measured, weights, noise(measured, weights > 0))[:, 0, 0]
    wave = np.exp(-2j * np.pi * frequency * seconds)
    ratio = (found @ wave) / (truth[:, 0, 0] @ wave)
    assert abs(ratio) == pytest.approx(1, abs=0.02)  # as far
    assert abs(np.angle(ratio)) < 0.01  # and not late: a hundredth of a radian is what this noise allows
    assert np.std(found - truth[:, 0, 0]) < 1.6


def test_a_long_sequence_is_smoothed_in_parts_as_the_whole_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    motion = with_jitter(dancing(Body(), 600).keypoints(), 2.0)
    points, weights = motion.points[:, 0, FACE], motion.scores[:, 0, FACE].copy()
    weights[250:262, ::3] = 0  # a gap across the border of two parts
    deviation = noise(points, weights > 0)
    parts, peak = peak_of(lambda: smooth(points, weights, deviation))
    monkeypatch.setattr(smoothing, "_BLOCK", len(points))
    whole, of_the_whole = peak_of(lambda: smooth(points, weights, deviation))
    assert parts.tobytes() == whole.tobytes()
    assert peak < 0.6 * of_the_whole


def test_a_sudden_blow_keeps_its_height() -> None:
    truth = np.zeros((120, 1, 2))
    truth[58:63, 0, 0] = [40, 110, 150, 110, 40]
    measured = truth + np.random.default_rng(0).normal(0, 1.0, truth.shape)
    weights = np.ones((120, 1))
    found = smooth(measured, weights, noise(measured, weights > 0))[:, 0, 0]
    assert found[60] == pytest.approx(150, abs=4)
    assert np.std(found[:50]) < 0.6


def test_an_unsure_frame_weighs_less() -> None:
    truth = np.zeros((60, 1, 2))
    measured = truth + np.random.default_rng(0).normal(0, 1.0, truth.shape)
    measured[30] += 3
    sure, unsure = np.ones((60, 1)), np.ones((60, 1))
    unsure[30] = 0.05
    deviation = np.array([1.0])
    assert abs(smooth(measured, unsure, deviation)[30]).max() < abs(smooth(measured, sure, deviation)[30]).max()


@pytest.mark.parametrize("points", [None, LEGS])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_flip_of_left_and_right_is_undone(motion: Motion, frames: int, points: list[int] | None) -> None:
    repaired, done = repair(with_flip(motion.keypoints(), 50, frames, points), FPS)
    assert errors(repaired, motion.points).max() < 0.3
    assert done.exchanged.get("legs", 0) <= frames


def test_hands_return_with_their_arms() -> None:
    motion = MOTIONS["dance"]
    repaired, _ = repair(with_flip(motion.keypoints(), 50, 2), FPS)
    assert np.abs(repaired.points[:, 0, LEFT_HAND] - motion.points[:, LEFT_HAND]).max() < 0.3


def test_crossing_legs_are_not_taken_for_a_flip() -> None:
    for seed in range(3):
        _, done = repair(with_jitter(walking(Body(), yaw=1.57).keypoints(), 2.0, seed), FPS)
        assert done.exchanged == {}


def test_a_short_gap_is_crossed_and_a_long_one_stays() -> None:
    motion = MOTIONS["walk"]
    short, done = repair(with_gap(motion.keypoints(), 45, 8), FPS)
    assert short.present.all()
    assert short.detected.all()
    assert done.filled_frames == 8
    assert (short.scores[45:53, 0, BODY] > VISIBLE).all()
    assert errors(short, motion.points).mean() < 0.6
    long, done = repair(with_gap(motion.keypoints(), 40, 20), FPS)
    assert long.present[:, 0].tolist() == [True] * 40 + [False] * 20 + [True] * 40
    assert done.filled_frames == 0


def test_an_arm_lost_for_a_moment_comes_back_with_its_hand() -> None:
    motion = MOTIONS["walk"]
    broken = with_gap(motion.keypoints(), 45, 8, ARM)
    repaired, done = repair(broken, FPS)
    assert (repaired.scores[45:53, 0, ARM] > VISIBLE).all()
    for part in (slice(2, 5), RIGHT_HAND):
        assert errors(repaired, motion.points, part).mean() < 0.5 * errors(broken, motion.points, part).mean()
    assert done.filled_points == 8 * len(ARM)


def test_a_joint_lost_for_long_stays_unseen() -> None:
    broken = with_gap(MOTIONS["walk"].keypoints(), 30, 30, ARM)
    repaired, _ = repair(broken, FPS)
    assert (repaired.scores[30:60, 0, ARM] <= VISIBLE).all()
    assert np.isfinite(repaired.points).all()


@pytest.mark.parametrize("frames", [1, 2])
def test_a_leap_away_and_back_is_taken_out(motion: Motion, frames: int) -> None:
    clean = motion.keypoints()
    points = clean.points.copy()
    points[30 : 30 + frames, 0, 4] += [150, -120]
    repaired, done = repair(replace(clean, points=points), FPS)
    assert done.outliers == frames
    assert errors(repaired, motion.points).max() < 30  # of 190


def test_gaps_at_either_end_stay_empty() -> None:
    for start in (0, 94):
        repaired, _ = repair(with_gap(MOTIONS["walk"].keypoints(), start, 6), FPS)
        assert repaired.present.sum() == 94


@pytest.mark.parametrize("frames", [0, 1, 2, 5])
def test_the_shortest_sequences_pass(frames: int) -> None:
    clean = MOTIONS["walk"].keypoints()
    cut = Keypoints(clean.points[:frames], clean.scores[:frames], clean.boxes[:frames], clean.width, clean.height)
    assert np.allclose(repair(cut, FPS)[0].points, cut.points)


def test_nobody_is_left_as_nobody() -> None:
    nothing = Keypoints(
        np.full((9, 1, POINTS, 2), np.nan), np.zeros((9, 1, POINTS)), np.full((9, 1, 4), np.nan), 64, 64
    )
    assert not repair(nothing, FPS)[0].present.any()


def test_everything_can_be_switched_off() -> None:
    broken = with_flip(with_jitter(MOTIONS["dance"].keypoints(), 3.0), 40, 2)
    off = RepairSettings(sides=False, outliers=False, longest_gap_seconds=0, smooth=False)
    assert np.allclose(repair(broken, FPS, off)[0].points, broken.points)


def test_several_people_are_refused() -> None:
    clean = MOTIONS["walk"].keypoints()
    doubled = Keypoints(
        *(np.concatenate([array] * 2, axis=1) for array in (clean.points, clean.scores, clean.boxes)), 64, 64
    )
    with pytest.raises(ValueError, match="follow"):
        repair(doubled, FPS)
