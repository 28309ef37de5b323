"""What following one person promises: the same one to the end, and a word where that is unsure."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from stages.poses.keypoints import Keypoints, People
from stages.poses.motion.assignment import assign
from stages.poses.motion.subject import follow
from stages.poses.motion.tracks import TrackingSettings
from tests.bench.pose_crossings import kept
from tests.made.memory import peak_of
from tests.made.pose_motions import (
    FPS,
    Body,
    Motion,
    dancing,
    observe,
    observe_with_truth,
    walking,
    with_flip,
    with_gap,
)


def two_apart(frames: int = 60, **how: float) -> tuple[list[Motion], Keypoints, np.ndarray]:
    people = [dancing(Body(), frames, 300), dancing(Body(height=380), frames, 900, seed=1)]
    keypoints, whom = observe_with_truth(people, np.random.default_rng(0), **how)
    return people, keypoints, whom


def test_assignment_is_the_cheapest_of_all() -> None:
    random = np.random.default_rng(0)
    for rows, columns in itertools.product(range(1, 6), range(1, 6)):
        cost = random.uniform(0, 1, (rows, columns))
        pairs = assign(cost)
        wide = cost if rows <= columns else cost.T
        best = min(
            sum(wide[row, column] for row, column in enumerate(chosen))
            for chosen in itertools.permutations(range(wide.shape[1]), wide.shape[0])
        )
        assert sum(cost[pair] for pair in pairs) == pytest.approx(best)


def test_what_is_forbidden_is_never_paired() -> None:
    cost = np.array([[np.inf, 1.0], [np.inf, 2.0]])
    assert assign(cost) == [(0, 1)]
    assert assign(np.full((2, 3), np.inf)) == []
    assert assign(np.empty((0, 2))) == []


def test_people_keep_their_slots_whatever_order_they_are_found_in() -> None:
    people, keypoints, whom = two_apart()
    assert (np.diff(whom[:, 0]) != 0).any()  # the detector's order does change
    followed = follow(keypoints, FPS)
    assert followed.tracks.points.shape[1] == 2
    assert followed.tracks.present.all()
    for slot in range(2):
        apart = [np.abs(followed.tracks.points[:, slot] - one.points).max() for one in people]
        assert min(apart) < 10 < max(apart)
    assert followed.doubts == ()


def test_at_least_eleven_of_twelve_crossings_keep_both_people() -> None:
    results = [kept(seed) for seed in range(200, 212)]
    assert sum(both for both, *_ in results) >= 11
    assert all(followed.doubts for both, _, _, followed in results if not both)


@pytest.mark.parametrize(("choose", "wanted"), [("largest", 0), ("central", 1), ("persistent", 2)])
def test_the_subject_is_chosen_as_asked(choose: str, wanted: int) -> None:
    heights, places = (480, 300, 390), (250, 640, 1000)
    people = [dancing(Body(height=height), 50, place) for height, place in zip(heights, places, strict=True)]
    keypoints, whom = observe_with_truth(people, np.random.default_rng(0))
    points = keypoints.points.copy()
    for one, gone in ((0, slice(0, 6)), (1, slice(-9, None))):
        points[gone][whom[gone] == one] = np.nan
    followed = follow(replace(keypoints, points=points), FPS, choose)
    frame = 30
    apart = np.abs(followed.subject.points[frame, 0] - people[wanted].points[frame]).max()
    assert apart < 10


@pytest.mark.parametrize("choose", ["persistent", "largest", "central"])
def test_the_subject_is_one_of_those_whom_the_film_shows(choose: str) -> None:
    first = observe([dancing(Body(height=480), 90, 640)], np.random.default_rng(0))
    second = observe([dancing(Body(height=300), 90, 1000)], np.random.default_rng(1))
    pictures = [first.people(frame) if frame < 60 else second.people(frame) for frame in range(90)]
    keypoints = Keypoints.from_people(pictures, first.width, first.height)
    whole = follow(keypoints, FPS, choose)
    assert np.flatnonzero(whole.subject.present).tolist() == list(range(60))
    late = follow(keypoints, FPS, choose, shown=range(62, 90))
    assert np.flatnonzero(late.subject.present).tolist() == list(range(60, 90))
    assert [doubt.kind for doubt in whole.doubts] == ["lost"]
    assert late.doubts == ()


@pytest.mark.parametrize("shown", [range(20), range(30, 60)])
def test_parts_of_a_film_show_the_same_person_where_both_are_there(shown: range) -> None:
    _, keypoints, _ = two_apart()
    points = keypoints.points.copy()
    points[20:25][points[20:25, :, 1, 0] < 600] = np.nan  # the larger one is gone for a moment
    slots = {follow(replace(keypoints, points=points), FPS, shown=part).slot for part in (None, shown)}
    assert len(slots) == 1


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="'tallest'"):
        follow(dancing(Body(), 10).keypoints(), FPS, "tallest")  # type: ignore[arg-type]


def test_a_gap_does_not_make_a_new_person() -> None:
    followed = follow(with_gap(walking(Body()).keypoints(), 40, 20), FPS)
    assert followed.tracks.points.shape[1] == 1
    assert followed.subject.present[:, 0].sum() == 80


def test_a_flip_of_left_and_right_does_not_make_a_new_person() -> None:
    followed = follow(with_flip(dancing(Body(), seed=1).keypoints(), 50, 2), FPS)
    assert followed.tracks.points.shape[1] == 1


def test_somebody_else_far_away_is_never_taken_for_the_subject() -> None:
    first = observe([dancing(Body(), 60, 250)], np.random.default_rng(0))
    second = observe([dancing(Body(), 60, 1000)], np.random.default_rng(1))
    pictures = [first.people(frame) if frame < 35 else second.people(frame) for frame in range(60)]
    followed = follow(Keypoints.from_people(pictures, first.width, first.height), FPS)
    assert followed.tracks.points.shape[1] == 2
    assert not followed.subject.present[35:].any()
    assert [(doubt.kind, doubt.first, doubt.others) for doubt in followed.doubts] == [("lost", 34, (1,))]


def test_a_person_seen_twice_is_one_person() -> None:
    once = dancing(Body(), 30).keypoints()
    twice = [People(*(np.repeat(array, 2, axis=0) for array in vars(once.people(k)).values())) for k in range(30)]
    followed = follow(Keypoints.from_people(twice, once.width, once.height), FPS)
    assert followed.tracks.points.shape[1] == 1


def test_a_pseudo_person_is_nobody() -> None:
    seen = dancing(Body(), 20).keypoints()
    empty = Keypoints(seen.points, seen.scores * 0.1, np.full_like(seen.boxes, np.nan), seen.width, seen.height)
    followed = follow(empty, FPS)
    assert (followed.slot, followed.tracks.points.shape[1]) == (None, 0)
    assert not followed.subject.present.any()


def test_poses_without_boxes_are_followed_too() -> None:
    seen = dancing(Body(), 20).keypoints()
    followed = follow(replace(seen, boxes=np.full_like(seen.boxes, np.nan)), FPS)
    assert followed.subject.present.all()


def test_memory_does_not_grow_with_the_people_who_come_and_go() -> None:
    passing = [dancing(Body(height=300), 300, 200 + 800 * (number % 2)).keypoints() for number in range(2)]
    pictures = [passing[frame // 10 % 2].people(frame) for frame in range(300)]
    keypoints = Keypoints.from_people(pictures, passing[0].width, passing[0].height)
    settings = TrackingSettings(memory_seconds=0.1)
    followed, peak = peak_of(lambda: follow(keypoints, FPS, settings=settings))
    assert followed.present.shape == (300, 30)
    assert (followed.present.sum(axis=1) == 1).all()
    assert np.array_equal(followed.tracks.present, followed.present)
    assert peak < 4 * keypoints.points.nbytes
