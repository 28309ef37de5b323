"""What the pose report says, and which clips it turns away."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from manifests.errors import Rejected
from stages.poses.keypoints import Keypoints
from stages.poses.motion.quality import PoseReport, QualityRules, assess, judge
from stages.poses.motion.repair import repair
from stages.poses.motion.subject import follow
from tests.made.pose_motions import FPS, Body, crossing, dancing, observe, walking, with_gap, with_jitter


def report_on(keypoints: Keypoints, shown: range | None = None) -> PoseReport:
    followed = follow(keypoints, FPS, shown=shown)
    return assess(followed, FPS, *repair(followed.subject, FPS), shown)


def shifted(keypoints: Keypoints, x: float, y: float) -> Keypoints:
    """Moved towards a border, as a detector and a pose net see that: what is outside is unsure."""
    points = keypoints.points + [x, y]
    inside = ((points >= 0) & (points <= [keypoints.width - 1, keypoints.height - 1])).all(axis=-1)
    boxes = np.clip(keypoints.boxes + [x, y, x, y], 0, [keypoints.width, keypoints.height] * 2)
    return replace(keypoints, points=points, scores=np.where(inside, keypoints.scores, 0.1), boxes=boxes)


def test_a_good_clip_passes_and_is_described() -> None:
    report = report_on(observe([dancing(Body())], np.random.default_rng(0)))
    judge(report)
    judge(report, QualityRules(people=1, truncated=0.0, doubts=0))
    assert (report.frames, report.present, report.people, report.longest_gap) == (100, 100, 1, 0)
    assert report.confidence == pytest.approx(0.85, abs=0.03)
    assert report.jitter == pytest.approx(1.0 / 440, rel=0.6)
    assert report.jitter_left < report.jitter
    assert (report.truncated, report.cut_off) == (0, 0)


def test_the_report_fits_into_a_result_row() -> None:
    for keypoints in (
        observe(crossing(57), np.random.default_rng(1057)),
        with_gap(dancing(Body()).keypoints(), 0, 100),
    ):
        row = report_on(keypoints).to_dict()
        assert json.loads(json.dumps(row, allow_nan=False)) == row


@pytest.mark.parametrize(
    ("keypoints", "rules", "reason"),
    [
        (lambda: with_gap(dancing(Body()).keypoints(), 0, 100), {}, "nobody is found in any of the 100 frames"),
        (lambda: with_gap(dancing(Body()).keypoints(), 20, 45), {}, "not found in 45 %"),
        (lambda: with_gap(dancing(Body(), 200).keypoints(), 50, 45), {}, "for 1.8 s on end"),
        (lambda: shifted(dancing(Body()).keypoints(), 0, -340), {}, "head or shoulders are outside the picture in"),
        (lambda: shifted(dancing(Body()).keypoints(), 0, 250), {"truncated": 0.1}, "part of the body is outside"),
        (lambda: with_jitter(dancing(Body()).keypoints(), 25.0), {}, "jitters by"),
    ],
)
def test_an_unusable_clip_is_rejected_with_reason_and_remedy(keypoints, rules: dict, reason: str) -> None:  # noqa: ANN001
    with pytest.raises(Rejected) as rejected:
        judge(report_on(keypoints()), QualityRules(**rules))
    assert reason in rejected.value.error
    assert "driving video" in rejected.value.remedy


def test_what_the_film_shows_is_judged_and_nothing_else() -> None:
    late = with_gap(dancing(Body()).keypoints(), 0, 60)
    with pytest.raises(Rejected, match="not found in 60 %") as rejected:
        judge(report_on(late))
    assert "between 2.40 s and 4.00 s" in rejected.value.remedy
    report = report_on(late, range(60, 85))
    judge(report)
    assert (report.first, report.frames, report.present, report.longest_gap) == (60, 25, 25, 0)
    with pytest.raises(Rejected, match="the film shows of the driving video") as rejected:
        judge(report_on(late, range(10, 40)))
    assert "between 2.40 s and 4.00 s" in rejected.value.remedy
    shaken = with_jitter(dancing(Body(), 150).keypoints(), 25.0)
    calm = dancing(Body(), 150).keypoints()
    half = replace(calm, points=np.where(np.arange(150)[:, None, None, None] < 100, shaken.points, calm.points))
    judge(report_on(half, range(110, 150)))
    with pytest.raises(Rejected, match="jitters by"):
        judge(report_on(half, range(0, 40)))


def test_of_a_range_too_short_to_tell_noise_from_motion_the_whole_files_is_judged() -> None:
    shaken = with_jitter(dancing(Body()).keypoints(), 25.0)
    report = report_on(shaken, range(50, 56))
    assert report.frames == 6
    assert report.jitter == pytest.approx(report_on(shaken).jitter)


def test_a_blurred_clip_is_rejected() -> None:
    blurred = observe([dancing(Body())], np.random.default_rng(0))
    scores = np.where(np.arange(134) % 3 == 0, 0.5, 0.15) * np.ones_like(blurred.scores)
    with pytest.raises(Rejected, match=r"confidence of only 0\.2"):
        judge(report_on(replace(blurred, scores=scores)))


def test_half_a_body_is_usable_unless_the_whole_is_asked_for() -> None:
    report = report_on(shifted(dancing(Body()).keypoints(), 0, 250))
    assert report.truncated == 1
    assert report.cut_off == 0
    judge(report)


def test_two_people_where_one_is_expected_are_rejected() -> None:
    people = [dancing(Body(), 60, 300), dancing(Body(), 60, 900, seed=2)]
    report = report_on(observe(people, np.random.default_rng(0)))
    assert (report.people, report.most_people) == (2, 2)
    judge(report)
    with pytest.raises(Rejected, match="2 people are in the driving video, at most 1"):
        judge(report, QualityRules(people=1))


def test_a_passer_by_of_a_moment_is_not_counted() -> None:
    people = [dancing(Body(), 100, 300), walking(Body(), 100, 900)]
    keypoints = observe(people, np.random.default_rng(0))
    points = keypoints.points.copy()
    points[5:][points[5:, :, 1, 0] > 700] = np.nan
    assert report_on(replace(keypoints, points=points)).people == 1


def test_doubts_about_identity_can_be_a_reason() -> None:
    report = report_on(observe(crossing(57), np.random.default_rng(1057), noise=1.5, misses=0.02))
    assert report.doubts
    judge(report)
    with pytest.raises(Rejected, match="mistaken for another"):
        judge(report, QualityRules(doubts=0))


def test_a_share_at_its_limit_is_let_through() -> None:
    judge(report_on(with_gap(dancing(Body(), 60).keypoints(), 20, 18)))  # 30 %, and 0.72 s
