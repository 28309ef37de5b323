"""What retargeting promises: the motion stays, the body is the reference's, and feet stand where they stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from manifests.errors import Rejected
from stages.poses.keypoints import Keypoints, People
from stages.poses.motion.repair import repair
from stages.poses.motion.retarget import retarget
from stages.poses.wholebody import BODY, FACE, LEFT_HAND
from tests.bench.pose_retarget import SIZE, limb_error, sliding
from tests.made.pose_motions import BODIES, FPS, LANKY, STOCKY, Body, dancing, standing, walking, with_gap, with_jitter

DANCE, WALK = dancing(Body(), seed=1, flat=True), walking(Body())


def on(driving: Keypoints, reference: People, mode: str = "bone_length") -> np.ndarray:
    return retarget(driving, reference, SIZE, FPS, mode).keypoints.points[:, 0]  # type: ignore[arg-type]


@pytest.mark.parametrize("reference", BODIES.values(), ids=BODIES.keys())
def test_limbs_get_the_reference_s_lengths(reference: Body) -> None:
    moved = on(DANCE.keypoints(), standing(reference))
    assert limb_error(moved, DANCE, reference) < 0.005
    if reference is not BODIES["average"]:
        assert limb_error(on(DANCE.keypoints(), standing(reference), "similarity"), DANCE, reference) > 0.02


def test_limbs_that_point_at_the_viewer_do_not_pass_for_short_ones() -> None:
    motion = dancing(Body(), seed=2)
    assert limb_error(on(motion.keypoints(), standing(LANKY)), motion, LANKY) < 0.03


@pytest.mark.parametrize("motion", [DANCE, WALK, dancing(Body(), seed=2)], ids=["flat", "walk", "dance"])
@pytest.mark.parametrize("reference", [LANKY, STOCKY], ids=["lanky", "stocky"])
def test_standing_feet_slide_no_more_than_under_similarity(motion, reference: Body) -> None:  # noqa: ANN001
    clean = motion.keypoints()
    noisy = repair(with_jitter(clean, 1.0), FPS)[0]
    assert sliding(on(clean, standing(reference)), motion, reference) < 0.001
    similar = sliding(on(noisy, standing(reference), "similarity"), motion, reference)
    assert sliding(on(noisy, standing(reference)), motion, reference) < similar


def test_bones_keep_their_directions() -> None:
    moved = on(DANCE.keypoints(), standing(STOCKY))
    for a, b in ((2, 3), (3, 4), (5, 6), (6, 7), (1, 0)):
        turned = [np.arctan2(*(points[:, b] - points[:, a]).T[::-1]) for points in (moved, DANCE.points)]
        assert np.abs(np.angle(np.exp(1j * (turned[0] - turned[1])))).max() < 1e-9


def test_hands_hang_on_wrists_and_faces_on_noses() -> None:
    result = retarget(DANCE.keypoints(), standing(STOCKY), SIZE, FPS)
    moved, truth = result.keypoints.points[:, 0], DANCE.points
    for part, joint, bone in ((LEFT_HAND, 7, "3-4"), (FACE, 0, "0-14")):
        wanted = (truth[:, part] - truth[:, joint, None]) * result.ratios[bone]
        assert np.allclose(moved[:, part] - moved[:, joint, None], wanted)
    assert result.ratios["3-4"] == pytest.approx(STOCKY["forearm"] / Body()["forearm"], rel=0.01)
    assert result.ratios["0-14"] == pytest.approx(STOCKY["head"] / Body()["head"], rel=0.01)


def test_a_person_on_their_own_body_stays_as_they_are() -> None:
    for mode in ("similarity", "bone_length"):
        moved = on(DANCE.keypoints(), standing(Body()), mode)
        shift = (moved - DANCE.points)[:, BODY]
        assert np.ptp(shift, axis=(0, 1)).max() < 0.02 * Body().height


@pytest.mark.parametrize("mode", ["similarity", "bone_length"])
def test_the_person_stands_where_the_reference_stands(mode: str) -> None:
    reference = standing(LANKY, x=320, ground=700)
    moved = on(DANCE.keypoints(), reference, mode)
    assert np.median(moved[:, [10, 13], 1].max(axis=1)) == pytest.approx(700, abs=2)
    assert np.median(moved[:, [8, 11], 0].mean(axis=1)) == pytest.approx(320, abs=3)


def test_none_scales_picture_to_picture() -> None:
    clean = DANCE.keypoints()
    result = retarget(clean, standing(LANKY), (360, 1280), FPS, "none").keypoints
    assert np.allclose(result.points, clean.points * [1.0, 0.5])
    assert (result.width, result.height) == (1280, 360)


def test_similarity_is_not_fooled_by_frames_of_nobody() -> None:
    clean = DANCE.keypoints()
    garbage = clean.scores.copy()
    points = clean.points.copy()
    garbage[::4], points[::4] = 0.1, 40.0
    wanted = retarget(clean, standing(LANKY), SIZE, FPS, "similarity").scale
    found = retarget(replace(clean, points=points, scores=garbage), standing(LANKY), SIZE, FPS, "similarity").scale
    assert found == pytest.approx(wanted, rel=0.01)


def test_legs_unseen_in_the_reference_take_the_clip_s_scale() -> None:
    reference = standing(LANKY)
    scores = reference.scores.copy()
    scores[:, [9, 10, 12, 13, *range(18, 24)]] = 0.1
    result = retarget(DANCE.keypoints(), replace(reference, scores=scores), SIZE, FPS)
    assert result.ratios["9-10"] == result.scale
    assert np.isfinite(result.keypoints.points).all()


def test_frames_without_the_person_stay_without() -> None:
    gap = with_gap(WALK.keypoints(), 40, 10)
    moved = retarget(gap, standing(LANKY), SIZE, FPS).keypoints
    assert np.array_equal(moved.present, gap.present)
    assert np.array_equal(moved.scores, gap.scores)
    assert np.isfinite(moved.points[gap.present]).all()


def test_two_pictures_with_no_bone_in_common_are_rejected() -> None:
    reference = standing(LANKY)
    with pytest.raises(Rejected, match="no bone in common"):
        retarget(DANCE.keypoints(), replace(reference, scores=reference.scores * 0.1), SIZE, FPS)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'magic'"):
        retarget(DANCE.keypoints(), standing(LANKY), SIZE, FPS, "magic")  # type: ignore[arg-type]
