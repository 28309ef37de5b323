"""Frames in which nobody is found, although the film shows them."""

from __future__ import annotations

import numpy as np
import pytest

from manifests.errors import Rejected
from stages.poses.motion.absence import empty_stretches, fill_absence, left_empty, spans
from stages.poses.wholebody import BODY, VISIBLE
from tests.made.pose_motions import Body, walking, with_gap

WALK = walking(Body()).keypoints()


def test_the_nearest_pose_is_held_at_both_ends() -> None:
    broken = with_gap(with_gap(WALK, 0, 20), 85, 15)
    filled, held, bridged = fill_absence(broken, range(100))
    assert filled.present.all()
    assert np.flatnonzero(held).tolist() == [*range(20), *range(85, 100)]
    assert not bridged.any()
    for frames, nearest in ((range(20), 20), (range(85, 100), 84)):
        for frame in frames:
            assert np.array_equal(filled.points[frame], WALK.points[nearest])
            assert np.array_equal(filled.boxes[frame], WALK.boxes[nearest])
    assert (filled.scores[:, 0, BODY] > VISIBLE).all()
    assert np.array_equal(filled.points[20:85], WALK.points[20:85])


def test_a_gap_inside_is_bridged_without_a_jump() -> None:
    filled, held, bridged = fill_absence(with_gap(WALK, 40, 30), range(100))
    assert (held.sum(), np.flatnonzero(bridged).tolist()) == (0, list(range(40, 70)))
    steps = np.linalg.norm(np.diff(filled.points[:, 0, BODY], axis=0), axis=-1)
    walked = np.linalg.norm(np.diff(WALK.points[:, 0, BODY], axis=0), axis=-1)
    assert steps[39:71].max() < 1.5 * walked.max()


def test_only_what_the_film_shows_is_looked_at() -> None:
    broken = with_gap(WALK, 30, 30)
    filled, held, bridged = fill_absence(broken, range(45, 80))
    assert np.flatnonzero(held).tolist() == list(range(45, 60)), "the other end of the gap is not in the film"
    assert not bridged.any()
    assert np.array_equal(filled.points[50], WALK.points[60])
    assert np.array_equal(filled.points[:45], broken.points[:45], equal_nan=True)


@pytest.mark.parametrize("shown", [range(100), range(20, 30)])
def test_who_is_there_throughout_is_left_alone(shown: range) -> None:
    seen = with_gap(WALK, 50, 0) if len(shown) == 100 else with_gap(WALK, 50, 20)
    filled, held, bridged = fill_absence(seen, shown)
    assert filled is seen
    assert not held.any()
    assert not bridged.any()


def test_stretches_are_told_in_frames_of_the_film() -> None:
    marked = np.zeros(10, bool)
    marked[[2, 3, 8]] = True
    assert spans(marked, [2, 2, 3, 3, 4, 4, 8]) == [[0, 3], [6, 6]]
    assert spans(marked, [4, 5]) == []


def drawn(lines: int, noise: int = 0) -> np.ndarray:
    picture = np.full((64, 48, 3), (68, 1, 84), np.uint8)
    picture[10:50, 20 : 20 + lines] = (33, 145, 140)
    jitter = np.random.default_rng(0).integers(0, noise + 1, picture.shape)
    return (picture + jitter).astype(np.uint8)


@pytest.mark.parametrize(
    ("nobody", "somebody"),
    [
        (drawn(0), drawn(1)),
        (drawn(0, noise=12), drawn(2, noise=12)),
        (np.zeros((2, 64, 48), np.float32), np.pad(np.full((2, 1, 1), 0.5, np.float32), ((0, 0), (9, 54), (9, 38)))),
    ],
)
def test_stored_poses_of_nobody_are_told_and_a_film_of_nothing_else_is_rejected(
    nobody: np.ndarray, somebody: np.ndarray
) -> None:
    assert empty_stretches([nobody, nobody, somebody, nobody]) == [[0, 1], [3, 3]]
    assert empty_stretches([somebody]) == []
    with pytest.raises(Rejected, match="nobody's pose in any of the 2 frames") as refused:
        empty_stretches([nobody, nobody])
    assert "another range" in refused.value.remedy


def test_films_with_frames_of_nobody_are_told_by_their_reports() -> None:
    before = {"frames": 48, "present": 36, "repairs": {"filled_frames": 0}}
    assert left_empty(before)
    assert not left_empty({**before, "held": [[0, 11]], "bridged": []}), "made since"
    assert not left_empty({**before, "repairs": {"filled_frames": 12}}), "short gaps were always crossed"
    assert not left_empty({**before, "present": 48})
    assert not left_empty({}), "no person is followed"
