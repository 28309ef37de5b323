"""Which part of a reference a film of another shape shows."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from manifests.clip import Clip
from stages.poses.conditioning import framing_of, placed, skeleton_pictures
from stages.poses.keypoints import People
from stages.poses.motion.framing import Framing, Window, cut_to, frame_person
from stages.video.image import fit
from tests.stages.poses.test_conditioning import standing

BODY = 148 - 7  # pixels from the top of `standing`'s head points to its ankles


def person(left: float, top: float, scale: float = 1.0) -> People:
    """`standing`'s body of about 30 × 141 pixels with its upper left corner there."""
    found = standing(frames=1).people(0)
    return replace(found, points=(found.points - found.points[0, :18].min(axis=0)) * scale + [left, top])


def rows(framing: Framing) -> tuple[int, int]:
    assert framing.window is not None
    return framing.window.top, framing.window.top + framing.window.height


def test_the_middle_is_kept_where_the_person_is_in_it() -> None:
    assert frame_person(person(80, 128), (200, 400), (200, 200)) == Framing(None, 0.0)
    assert frame_person(person(180, 30), (400, 200), (100, 100)) == Framing(None, 0.0)


def test_a_head_above_the_middle_moves_the_window_no_farther_than_it_must() -> None:
    framing = frame_person(person(80, 60), (200, 400), (200, 200))
    top, bottom = rows(framing)
    assert (bottom - top, framing.cut) == (200, 0)
    assert 60 - 0.2 * BODY < top < 60 - 0.03 * BODY, "hair lies above the points of the head"
    top, bottom = rows(frame_person(person(80, 240), (200, 400), (200, 200)))
    assert 240 + BODY < bottom <= 400
    assert bottom - top == 200


def test_nobody_is_lost_beside_the_middle() -> None:
    for left in (10, 350):
        window, cut, _ = frame_person(person(left, 30), (400, 200), (100, 200))
        assert window is not None
        assert (window.width, window.height, cut) == (100, 200, 0)
        assert window.left <= left
        assert left + 30 <= window.left + window.width


def test_who_is_too_tall_keeps_the_head_and_the_rest_is_told() -> None:
    framing = frame_person(person(80, 60), (200, 400), (400, 200))
    top, bottom = rows(framing)
    assert bottom - top == 100
    assert 60 - 0.2 * BODY < top < 60
    assert framing.cut == pytest.approx(1 - 100 / (1.16 * BODY), abs=0.08)


def test_a_picture_of_nearly_the_films_shape_is_left_as_it_is() -> None:
    assert frame_person(person(80, 0), (200, 400), (199, 400)) == Framing(None, 0.0)


def test_the_window_lies_within_the_picture_wherever_somebody_is() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        picture, film = tuple(random.integers(60, 500, 2)), tuple(random.integers(60, 500, 2))
        window, cut, _ = frame_person(person(*random.uniform(-50, 400, 2), random.uniform(0.2, 3)), picture, film)
        assert 0 <= cut <= 1
        if window is not None:
            assert window.of(np.zeros((picture[1], picture[0], 3))).shape == (window.height, window.width, 3)
            assert (window.width, window.height)[int(window.width == picture[0])] < max(picture)


def clip(width: int, height: int, **fields: str) -> Clip:
    return Clip(
        id="a", animator="drawn", width=width, height=height, **{"fit": "cover", "retarget": "bone_length"} | fields
    )


def test_the_pose_stays_on_the_person_of_the_picture() -> None:
    reference = standing(frames=1, left=20, width=240, height=200)
    framing = framing_of(reference, clip(96, 192))
    assert framing.window is not None
    picture = np.zeros((200, 240, 3), np.uint8)
    x, y = reference.points[0, 0, 1].round().astype(int)
    picture[y - 4 : y + 5, x - 4 : x + 5] = 255
    moved = placed(cut_to(reference, framing.window), clip(96, 192)).points[0, 0, 1]
    seen = np.argwhere(fit(framing.window.of(picture), 96, 192, "cover")[..., 0] > 127)
    assert np.abs(seen.mean(axis=0)[::-1] - moved).max() < 1.0


def test_a_retargeted_clip_shows_the_window_and_every_other_one_the_middle() -> None:
    reference = standing(frames=1, left=20)
    shown = range(12)
    pictures, report = skeleton_pictures(standing(), Fraction(25), clip(96, 192), shown, reference)
    left, top, width, height = report["window"]
    assert (left < 20, top, width, height, report["cut"]) == (True, 0, 100, 200, 0)
    assert pictures[0][:, 8:-8].any()
    assert not pictures[0][:, -8:].any()
    _, plain = skeleton_pictures(standing(), Fraction(25), clip(96, 192, retarget="none"), shown)
    assert "window" not in plain
    for how in ("contain", "stretch"):
        _, whole = skeleton_pictures(standing(), Fraction(25), clip(96, 192, fit=how), shown, reference)
        assert (whole["window"], whole["cut"]) == (None, 0)


def test_a_window_is_that_part_of_the_pixels() -> None:
    picture = np.arange(5 * 7 * 3).reshape(5, 7, 3)
    assert np.array_equal(Window(2, 1, 3, 4).of(picture), picture[1:5, 2:5])
