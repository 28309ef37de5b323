"""The estimator `people` with its nets on real pictures: who is found, how exactly, and who is followed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from manifests import storage
from manifests.layout import OutputLayout
from manifests.work import Source
from stages.extract_pose import ExtractPose
from stages.poses.estimators.load import load_people
from stages.poses.estimators.people.estimator import PeopleEstimator
from stages.poses.estimators.people.hands import HandNet
from stages.poses.files.keypoint_file import read_keypoints
from stages.poses.files.sequence import PoseSequence
from stages.poses.recipes import Estimators, PeopleSettings, Recipe
from stages.poses.wholebody import FACE, LEFT_HAND, RIGHT_HAND, VISIBLE
from stages.video.image import read_image
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.bench.people_quality import PARTS, TALL, Matched, annotations, looked_at, measured, measures, moved

NOSE_AND_EYES, EARS = [0, 14, 15], [16, 17]
LEFT, RIGHT = [5, 6, 7, 11, 12, 13, 15, 17], [2, 3, 4, 8, 9, 10, 14, 16]


@pytest.fixture(scope="module")
def estimator(people_nets: PeopleSettings) -> PeopleEstimator:
    return load_people(people_nets, Path("/nowhere"))


@pytest.fixture(scope="module")
def media(shared: Path) -> Path:
    return shared / "media"


@pytest.fixture(scope="module")
def annotated(estimator: PeopleEstimator, media: Path) -> list[Matched]:
    """Every annotated person, and who was found there; nobody else was."""
    everyone = []
    for name, _, sight, people in looked_at(estimator, media / "people"):
        assert len(sight.people) == len(people), name
        everyone += people
    return everyone


def test_everyone_annotated_is_found_however_small(annotated: list[Matched]) -> None:
    assert min(one.truth.box[3] for one in annotated) < 100
    assert min(one.oks for one in annotated) > 0.8, [round(one.oks, 2) for one in annotated]
    assert np.mean([one.oks for one in annotated if one.truth.box[3] >= TALL]) > 0.88


@pytest.mark.parametrize(
    ("part", "error", "near", "seen"), [("body", 0.035, 0.95, 0.9), ("feet", 0.05, 0.85, 0.6), ("face", 0.01, 1.0, 1.0)]
)
def test_each_part_is_found_as_exactly_as_was_measured(
    annotated: list[Matched], part: str, error: float, near: float, seen: float
) -> None:
    tall = [one for one in annotated if one.truth.box[3] >= TALL]
    found = measures(tall, part)
    assert found[0] < error
    assert found[2] >= near
    assert found[3] >= seen


def test_nobody_is_found_where_nobody_is(estimator: PeopleEstimator, media: Path) -> None:
    piste = read_image(media / "people" / "coco_785.jpg", Limits())[:, :270]
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    for picture in (piste, noise, np.full((300, 400, 3), 128, np.uint8)):
        assert not estimator([np.ascontiguousarray(picture)]).present.any()


def test_a_film_of_one_person_is_followed_without_the_detector(
    estimator: PeopleEstimator, media: Path, tmp_path: Path
) -> None:
    name = "coco_785.jpg"
    pixels = read_image(media / "people" / name, Limits())
    film = measured(estimator, moved(pixels, tmp_path), annotations(media / "people")[name])
    assert (film.found, film.kept, film.people) == (1.0, 1, 1)
    assert film.error < 0.035
    assert film.jitter < 0.012
    assert film.searched < 0.2


def test_a_mirrored_picture_has_the_same_person_with_left_and_right_exchanged(
    estimator: PeopleEstimator, media: Path
) -> None:
    pixels = read_image(media / "animate_anyone" / "anyone-3.png", Limits())
    one, other = (estimator([np.ascontiguousarray(picture)]) for picture in (pixels, pixels[:, ::-1]))
    points, mirrored = one.points[0, 0], other.points[0, 0] * [-1, 1] + [pixels.shape[1] - 1, 0]
    for mine, theirs in ((LEFT, RIGHT), (RIGHT, LEFT), (LEFT_HAND, RIGHT_HAND), (RIGHT_HAND, LEFT_HAND)):
        apart = points[mine] - mirrored[theirs]
        assert np.linalg.norm(apart, axis=1).mean() < 6, "of 820 pixels"
        assert (one.scores[0, 0, mine] > VISIBLE).all()
    middle = [0, 1]
    assert abs((points[[*LEFT, *RIGHT, *middle]] - mirrored[[*RIGHT, *LEFT, *middle]])[:, 0].mean()) < 4, (
        "twice the bias"
    )


def test_hands_are_on_their_arms_and_faces_on_their_heads(estimator: PeopleEstimator, media: Path) -> None:
    found = estimator([read_image(media / "magicanimate" / "multi1_source.png", Limits())])
    hands = 0
    for points, scores in zip(found.points[0], found.scores[0], strict=True):
        assert (scores[FACE] > VISIBLE).all()
        assert np.linalg.norm(points[FACE].mean(axis=0) - points[0]) < 20
        for hand, wrist in ((LEFT_HAND, 7), (RIGHT_HAND, 4)):
            if (scores[hand] > VISIBLE).all():
                hands += 1
                assert np.linalg.norm(points[hand][0] - points[wrist]) < 25
    assert (len(found.points[0]), hands) == (2, 3), "the fourth is outside the picture"


def test_a_hand_that_is_followed_costs_one_look(
    estimator: PeopleEstimator, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    net = HandNet.__call__
    monkeypatch.setattr(HandNet, "__call__", lambda self, *of: looks.append(1) or net(self, *of))
    pixels = read_image(media / "animate_anyone" / "anyone-3.png", Limits())
    counts = []
    for sight in estimator.follow([np.roll(pixels, 3 * number, axis=1) for number in range(4)]):
        assert all(sight.people[0].hands)
        counts.append(len(looks))
    assert np.diff(counts).tolist() == [2, 2, 2], "one for each hand"
    assert counts[0] == 4, "two for each on a first look"


def test_pedestrians_from_behind_have_no_face(estimator: PeopleEstimator, media: Path) -> None:
    found = estimator(list(Frames(media / "people" / "street.mp4", Limits()).read()))
    assert found.present.sum(axis=1).min() >= 3
    assert not (found.scores[found.present][:, NOSE_AND_EYES] > VISIBLE).any()
    assert not (found.scores[found.present][:, FACE] > VISIBLE).any()
    assert (found.scores[found.present][:, EARS] > VISIBLE).any()


def test_the_same_frames_give_the_same_keypoints_with_any_number_of_threads(
    estimator: PeopleEstimator, people_nets: PeopleSettings, media: Path
) -> None:
    frames = list(Frames(media / "people" / "street.mp4", Limits()).read())[:2]
    again = load_people(people_nets.model_copy(update={"threads": 1}), Path("/nowhere"))
    for one, other in ((estimator(frames), estimator(frames)), (estimator(frames), again(frames))):
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_masks_are_stored_beside_the_poses_where_they_are_asked_for(
    people_nets: PeopleSettings, media: Path, tmp_path: Path
) -> None:
    film, layout, recipe = media / "people" / "street.mp4", OutputLayout(str(tmp_path)), Recipe("people", "keypoints")
    source = Source(uri=str(film), digest=storage.sha256_file(film), width=960, height=540)
    with_masks = people_nets.model_copy(update={"masks": True})
    stages = [ExtractPose(layout, Limits(), Estimators(people=one)) for one in (people_nets, with_masks)]
    assert [stage(source, recipe, "plain") for stage in (stages[0], stages[0])] == [True, False]
    assert not storage.exists(layout.masks("plain"))
    assert stages[1](source, recipe, "plain"), "asked for later"
    assert not stages[1](source, recipe, "plain")
    stages[1](source, recipe, "both")
    assert Path(layout.poses("both")).read_bytes() == Path(layout.poses("plain")).read_bytes()
    with PoseSequence(Path(layout.masks("both"))) as masks:
        assert (len(masks), masks.fps, masks[0].shape, masks[0].dtype) == (5, Fraction(5), (540, 960), np.uint8)
        keypoints, seconds, _ = read_keypoints(Path(layout.poses("both")))
        assert masks.seconds == seconds
        for number in range(len(masks)):
            trunk = keypoints.points[number, keypoints.present[number]][:, [1, 8, 11]].mean(axis=1).round().astype(int)
            assert (masks[number][trunk[:, 1], trunk[:, 0]] > 200).all()
            assert 0.02 < (masks[number] > 127).mean() < 0.2


def test_no_part_is_left_out_of_the_measures() -> None:
    assert sum(part.stop - part.start for part in PARTS.values()) == 133
