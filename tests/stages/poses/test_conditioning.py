"""Stored keypoints to the pictures a clip is conditioned on."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from manifests.clip import Clip
from manifests.errors import Rejected
from stages.poses.conditioning import DrawnPoses, placed, reference_torso, skeleton_pictures
from stages.poses.drawing import skeleton
from stages.poses.drawing.controlnet10 import draw_controlnet10
from stages.poses.keypoints import Keypoints, People
from stages.poses.motion.quality import QualityRules
from stages.video.image import fit
from tests.made.pose_motions import NOBODY

FPS = Fraction(25)


def clip(width: int = 96, height: int = 128, **fields: object) -> Clip:
    return Clip(id="a", animator="animate_anyone", width=width, height=height, **{"fit": "cover", **fields})


def standing(frames: int = 12, left: float = 80, width: int = 240, height: int = 200, step: float = 1.0) -> Keypoints:
    """One person of 134 plausible points, walking to the right."""
    random = np.random.default_rng(0)
    body = np.array(
        [[20, 10], [20, 30], [10, 30], [6, 55], [4, 78], [30, 30], [34, 55], [36, 78], [13, 82], [12, 115], [12, 148]]
        + [[27, 82], [28, 115], [28, 148], [17, 7], [23, 7], [14, 9], [26, 9]],
        float,
    )
    rest = body[random.integers(0, 18, 134 - 18)] + random.normal(0, 2, (134 - 18, 2))
    person = np.concatenate([body, rest]) + [left, 20]
    people = []
    for frame in range(frames):
        points = (person + [step * frame, 0])[None]
        box = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        people.append(People(points, np.full((1, 134), 0.9), box))
    return Keypoints.from_people(people, width, height)


@pytest.mark.parametrize("how", ["stretch", "cover", "contain"])
def test_keypoints_move_as_the_picture_they_belong_to(how: str) -> None:
    picture = np.zeros((200, 240, 3), np.uint8)
    picture[96:104, 146:154] = 255
    keypoints = standing(frames=1)
    keypoints.points[0, 0, 0] = (149.5, 99.5)
    moved = placed(keypoints, clip(96, 128, fit=how)).points[0, 0, 0]
    seen = np.argwhere(fit(picture, 96, 128, how)[..., 0] > 127)
    assert np.abs(seen.mean(axis=0)[::-1] - moved).max() < 0.75


def test_a_skeleton_is_drawn_at_the_films_size_for_every_shown_frame() -> None:
    drawn, report = skeleton_pictures(standing(), FPS, clip(), [0, 0, 5, 11])
    pictures = np.stack(drawn)
    assert (pictures.shape, pictures.dtype) == ((4, 128, 96, 3), np.uint8)
    assert pictures.any(axis=(1, 2, 3)).all()
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[3])
    assert (report["frames"], report["people"]) == (12, 1)


@pytest.mark.parametrize("mode", ["standard", "parity"])
def test_pictures_are_drawn_one_at_a_time_when_they_are_asked_for(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    name = "animate_anyone" if mode == "parity" else "dwpose"
    real = getattr(skeleton, name)
    monkeypatch.setattr(skeleton, name, lambda *given: asked.append(1) or real(*given))
    film = [7] * 20_000  # 700 MB of pictures at this size
    pictures, _ = skeleton_pictures(standing(), FPS, clip(mode=mode), film)
    assert (len(pictures), len(asked)) == (20_000, 0)
    assert pictures[19_999].any()
    assert len(asked) == 1
    with pytest.raises(IndexError):
        pictures[20_000]


def test_of_two_people_one_is_drawn_and_the_choice_is_the_rows() -> None:
    near, far = standing(left=20), standing(left=150)
    small = replace(far, points=(far.points - 200) * 0.5 + 200)
    both = Keypoints(
        *(
            np.concatenate([getattr(near, name), getattr(small, name)], axis=1)
            for name in ("points", "scores", "boxes")
        ),
        240,
        200,
    )
    alone, _ = skeleton_pictures(near, FPS, clip(fit="stretch"), [3])
    largest, report = skeleton_pictures(both, FPS, clip(fit="stretch", subject="largest"), [3])
    assert report["people"] == 2
    assert np.abs(largest[0].astype(int) - alone[0]).mean() < 1


def test_poses_without_a_person_are_rejected_with_a_remedy() -> None:
    nobody = Keypoints.from_people([NOBODY] * 12, 240, 200)
    with pytest.raises(Rejected) as refused:
        skeleton_pictures(nobody, FPS, clip(), [0])
    assert refused.value.remedy


def test_a_film_is_made_of_the_range_in_which_somebody_is_there() -> None:
    late = standing(40)
    late.points[:25], late.boxes[:25], late.scores[:25] = np.nan, np.nan, 0
    with pytest.raises(Rejected, match="not found in 62 %"):
        skeleton_pictures(late, FPS, clip(), range(40))
    pictures, report = skeleton_pictures(late, FPS, clip(), range(25, 40))
    assert all(picture.any() for picture in pictures)
    assert (report["first"], report["frames"], report["missing"]) == (25, 15, 0)
    for mode in ("standard", "parity"):
        with pytest.raises(Rejected, match="that the film shows") as refused:
            skeleton_pictures(late, FPS, clip(mode=mode), range(5, 20))
        assert "another range" in refused.value.remedy


def test_frames_in_which_nobody_is_found_show_the_nearest_pose_and_the_report_says_which() -> None:
    late = standing(100)
    for gone in (slice(0, 10), slice(50, 65)):
        late.points[gone], late.boxes[gone], late.scores[gone] = np.nan, np.nan, 0
    shown = [frame for frame in range(100) for _ in range(2)]  # at twice the rate
    pictures, report = skeleton_pictures(late, FPS, clip(240, 200, fit="stretch"), shown)
    assert all(picture.any() for picture in pictures)
    assert all(np.array_equal(pictures[frame], pictures[20]) for frame in range(20))
    assert (report["held"], report["bridged"]) == ([[0, 19]], [[100, 129]])
    middles = [np.nonzero(pictures[frame].any(axis=2))[1].mean() for frame in range(98, 132, 2)]
    assert np.diff(middles) == pytest.approx(1.0, abs=0.8)  # walks on, at about its pixel per frame


def test_held_poses_do_not_change_how_a_motion_is_retargeted() -> None:
    reference = standing(frames=1)
    half = replace(reference, points=(reference.points - [100, 168]) * 0.5 + [100, 168])
    row = clip(240, 200, fit="stretch", retarget="bone_length")
    late = standing(60)
    whole, _ = skeleton_pictures(late, FPS, row, range(10, 60), half)
    late.points[:10], late.boxes[:10], late.scores[:10] = np.nan, np.nan, 0
    part, _ = skeleton_pictures(late, FPS, row, range(10, 60), half)
    held, _ = skeleton_pictures(late, FPS, row, range(60), half)
    assert np.array_equal(part[20], held[30])
    assert not np.array_equal(whole[20], part[20])  # a motion's place follows from all of it


def test_a_person_whom_the_films_shape_cuts_away_is_told_and_rejected() -> None:
    walking = standing(60, left=-10, step=4.0)  # from the left edge to the right one
    pictures, report = skeleton_pictures(walking, FPS, clip(96, 192), range(20, 47))
    assert 0 < report["outside"] < 0.3
    assert pictures[0].any()
    assert not pictures[26].any()
    with pytest.raises(Rejected, match=r"outside the film \(96×192\) in 100 %") as refused:
        skeleton_pictures(walking, FPS, clip(96, 192), range(10))
    assert "contain" in refused.value.remedy
    for how in ("contain", "stretch"):
        assert skeleton_pictures(walking, FPS, clip(96, 192, fit=how), range(12))[1]["outside"] == 0
    lenient = QualityRules(missing=None)
    assert skeleton_pictures(walking, FPS, clip(96, 192), range(10), rules=lenient)[1]["outside"] == 1


def test_parity_draws_what_the_published_tool_would_and_repairs_nothing() -> None:
    gone = standing()
    gone.scores[4:7] = 0.0  # the published tool draws nothing there; repair would cross the gap
    pictures, report = skeleton_pictures(gone, FPS, clip(mode="parity", fit="stretch"), list(range(12)))
    assert report == {}
    assert [bool(picture.any()) for picture in pictures] == [True] * 4 + [False] * 3 + [True] * 5
    repaired, _ = skeleton_pictures(gone, FPS, clip(), list(range(12)))
    assert all(repaired[frame].any() for frame in (4, 5, 6))


def test_a_reference_without_a_person_cannot_be_retargeted_to() -> None:
    nobody = Keypoints.from_people([NOBODY], 100, 100)
    with pytest.raises(Rejected, match="no person"):
        skeleton_pictures(standing(), FPS, clip(retarget="bone_length"), [0], nobody)


@pytest.mark.parametrize("mode", ["none", "bone_length"])
def test_who_is_drawn_and_the_reference_are_told_in_the_films_pixels(mode: str) -> None:
    row = clip(120, 100, fit="stretch", retarget=mode)
    reference = standing(frames=1, left=20)
    drawn, _ = skeleton_pictures(standing(), FPS, row, [2, 5], reference)
    points, seen = drawn.reference_joints
    assert np.allclose(points, (reference.points[0, 0, :18] + 0.5) / 2 - 0.5)
    assert seen.all()
    # limbs are drawn between these joints, so the picture is not black there
    points, seen = drawn.joints(1)
    shoulder, elbow = points[2], points[3]
    assert drawn[1][tuple(np.round((shoulder + elbow)[::-1] / 2).astype(int))].any()
    assert seen.all()


def test_a_frame_of_nobody_has_no_joints() -> None:
    keypoints = Keypoints.from_people([NOBODY, standing(frames=1).people(0)], 240, 200)
    drawn = DrawnPoses(lambda frame: np.zeros((200, 240, 3), np.uint8), [1, 0], keypoints)
    assert drawn.joints(1) is None
    assert drawn.joints(0) is not None
    assert drawn.reference_joints is None


def test_a_reference_without_a_person_only_matters_where_it_is_retargeted_to() -> None:
    nobody = Keypoints.from_people([NOBODY], 100, 100)
    drawn, _ = skeleton_pictures(standing(), FPS, clip(), [0], nobody)
    assert drawn.reference_joints is None
    assert drawn[0].any()


def test_retargeting_takes_the_references_height() -> None:
    reference = standing(frames=1)
    half = replace(reference, points=(reference.points - [100, 168]) * 0.5 + [100, 168])
    plain, _ = skeleton_pictures(standing(), FPS, clip(240, 200, fit="stretch"), [0])
    for mode in ("similarity", "bone_length"):
        fitted, _ = skeleton_pictures(standing(), FPS, clip(240, 200, fit="stretch", retarget=mode), [0], half)
        tall, short = (np.ptp(np.nonzero(one[0].any(axis=(1, 2)))[0]) for one in (plain, fitted))
        assert short / tall == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("mode", ["standard", "parity"])
def test_the_openpose_style_is_18_joints_with_limbs_laid_over_them_and_no_hands_or_face(mode: str) -> None:
    person = standing()
    row = clip(240, 200, fit="stretch", mode=mode)
    drawn, report = skeleton_pictures(person, FPS, row, [3], style="openpose")
    with_hands, _ = skeleton_pictures(person, FPS, clip(240, 200, fit="stretch"), [3])
    assert report["people"] == 1
    assert drawn[0].any(axis=-1).sum() < 0.9 * with_hands[0].any(axis=-1).sum()
    (candidate,) = person.points[3, :, :18]
    expected = draw_controlnet10(candidate, np.arange(18)[None], 200, 240)
    assert (drawn[0] != expected).mean() < 0.02  # repair smooths the pose a little


def test_the_torso_is_known_in_the_films_pixels_and_the_references_where_the_film_shows_it() -> None:
    walk, seen = standing(), clip(120, 100)  # half the size
    drawn, _ = skeleton_pictures(walk, FPS, seen, range(12))
    corners = np.array([[30, 30], [10, 30], [13, 82], [27, 82]])  # left and right shoulder, right and left hip
    expected = (corners + [80, 20] + 0.5) / 2 - 0.5
    assert drawn.torso(0) == pytest.approx(expected, abs=1)
    assert drawn.torso(11) == pytest.approx(expected + [5.5, 0], abs=1)
    assert reference_torso(standing(frames=1), seen, None) == pytest.approx(expected)
    window = (40, 0, 120, 100)  # shown at its own size
    assert reference_torso(standing(frames=1), seen, window) == pytest.approx(corners + [40, 20])
    hidden = replace(walk, scores=walk.scores * np.where(np.arange(134) == 2, 0, 1))
    assert skeleton_pictures(hidden, FPS, seen, range(12), rules=QualityRules(missing=None))[0].torso(3) is None
