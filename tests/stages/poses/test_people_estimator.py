"""The estimator `people` without its nets: regions, anchors, suppression, tiles, mapping, and following people."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from manifests.errors import Problem
from stages.poses.estimators.people.anchors import Finds, anchors, decoded, suppressed
from stages.poses.estimators.people.body import Body, refined
from stages.poses.estimators.people.detector import ROOM
from stages.poses.estimators.people.estimator import PeopleEstimator, Sight
from stages.poses.estimators.people.face import IBUG, MESH, Face, head_of
from stages.poses.estimators.people.hands import Hand, end_of_arm
from stages.poses.estimators.people.lite_model import LiteModel
from stages.poses.estimators.people.lookout import LONGEST_PAUSE, Lookout
from stages.poses.estimators.people.person import Person
from stages.poses.estimators.people.region import Picture, Region
from stages.poses.estimators.people.search import SURE, Search, distinct, squares, there
from stages.poses.wholebody import LEFT_HAND, RIGHT_HAND

TURNED = Region(np.array([40.0, 30.0]), 20.0, np.pi / 6)


def spot(width: int, height: int, place: tuple[float, float], radius: float = 3.0) -> np.ndarray:
    """A bright Gaussian on black, about a continuous place."""
    x, y = np.arange(width) + 0.5 - place[0], np.arange(height) + 0.5 - place[1]
    bright = 255 * np.exp(-0.5 * (x[None] ** 2 + y[:, None] ** 2) / radius**2)
    return np.repeat(bright.round().astype(np.uint8)[..., None], 3, axis=2)


def centre_of(pixels: np.ndarray) -> np.ndarray:
    """The centre of mass of a picture, continuous."""
    weights = pixels[..., 0].astype(float)
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]] + 0.5
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


def test_a_region_points_upwards_from_its_centre_to_the_rim() -> None:
    region = Region.around(np.array([10.0, 20.0]), np.array([13.0, 16.0]), 1.25)
    assert region.side == pytest.approx(12.5)
    np.testing.assert_allclose(region.to_picture(np.array([0.5, 0.5 - 0.4])), [13, 16])
    np.testing.assert_allclose(Region(region.centre, 4.0).to_picture(np.array([[0, 0], [1, 1]])), [[8, 18], [12, 22]])


def test_places_come_back_from_a_turned_region() -> None:
    places = np.random.default_rng(0).uniform(-1, 2, (5, 3, 2))
    np.testing.assert_allclose(TURNED.from_picture(TURNED.to_picture(places)), places, atol=1e-12)


@pytest.mark.parametrize("side", [25, 56, 128])
@pytest.mark.parametrize("size", [(200, 160), (201, 163)])
@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi])
def test_a_cut_shows_each_place_where_the_region_says(side: int, size: tuple[int, int], angle: float) -> None:
    place, region = (111.3, 78.9), Region(np.array([104.0, 83.0]), 100.0, angle)
    found = centre_of(region.cut(Picture(spot(*size, place, 8.0)), side, cv2.BORDER_CONSTANT)) / side
    np.testing.assert_allclose(region.to_picture(found), place, atol=0.15)


def test_a_large_region_is_cut_without_aliasing() -> None:
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = Region(np.array([512.0, 512.0]), 1024.0, 0.1).cut(Picture(stripes), 128)
    assert np.abs(pixels.astype(int) - 127).max() < 30


def test_beyond_the_picture_is_what_the_border_says() -> None:
    picture, outside = Picture(np.full((8, 8, 3), 200, np.uint8)), Region(np.array([-20.0, 4.0]), 8.0)
    assert outside.cut(picture, 16).min() == 200
    assert outside.cut(picture, 16, cv2.BORDER_CONSTANT).max() == 0


def test_the_detectors_have_the_published_anchors() -> None:
    person, face = anchors(224, (8, 16, 32, 32, 32)), anchors(128, (8, 16, 16, 16))
    assert (len(person), len(face)) == (2254, 896)
    np.testing.assert_allclose(person[[0, 1, 2]], [[0.5 / 28] * 2, [0.5 / 28] * 2, [1.5 / 28, 0.5 / 28]])
    np.testing.assert_allclose(person[-6:], [[6.5 / 7] * 2] * 6)
    np.testing.assert_allclose(face[512:518], [[0.5 / 8] * 2] * 6)


def test_boxes_and_points_are_read_beside_their_anchors() -> None:
    centres = np.array([[0.25, 0.75], [0.5, 0.5]])
    values = np.array([[0, 0, 64, 32, 12.8, 0, 0, -12.8], [0] * 8], np.float32)
    found = decoded(values, np.array([[2.0], [-1.0]], np.float32), centres, 128, 0.5)
    np.testing.assert_allclose(found.boxes, [[0, 0.625, 0.5, 0.875]])
    np.testing.assert_allclose(found.points, [[[0.35, 0.75], [0.25, 0.65]]])
    assert found.scores == pytest.approx([1 / (1 + np.exp(-2))])


def test_finds_of_one_person_are_averaged_by_score_and_others_stay() -> None:
    boxes = np.array([[0, 0, 0.5, 0.5], [0.1, 0, 0.6, 0.5], [0.8, 0.8, 1, 1]])
    merged = suppressed(Finds(boxes, boxes[:, None, :2], np.array([0.9, 0.6, 0.5])), 0.3)
    np.testing.assert_allclose(merged.boxes, [[0.04, 0, 0.54, 0.5], [0.8, 0.8, 1, 1]])
    np.testing.assert_allclose(merged.points[:, 0], [[0.04, 0], [0.8, 0.8]])
    assert merged.scores.tolist() == [0.9, 0.5]
    assert len(suppressed(Finds(np.empty((0, 4)), np.empty((0, 2, 2)), np.empty(0)), 0.3)) == 0


@pytest.mark.parametrize("size", [(640, 425), (540, 960), (64, 64), (1000, 60), (20, 20)])
def test_squares_cover_the_picture_at_half_overlap(size: tuple[int, int]) -> None:
    tiles = squares(*size)
    if min(size) < 32:
        assert tiles == []
    for side in {tile.side for tile in tiles}:
        corners = [tile.to_picture(np.array([[0, 0], [1, 1]])) for tile in tiles if tile.side == side]
        for axis, length in enumerate(size):
            edges = sorted({(round(a[axis], 6), round(b[axis], 6)) for a, b in corners})
            assert (edges[0][0], edges[-1][1]) == (0, pytest.approx(length))
            assert all(later[0] <= (now[0] + now[1]) / 2 + 1e-6 for now, later in itertools.pairwise(edges))


def test_a_heat_map_moves_a_point_to_its_centre_and_an_unclear_one_does_not() -> None:
    maps = np.zeros((64, 64, 3))
    maps[20:22, 30, 0] = 0.8, 0.4
    maps[20, 30, 1] = 0.4
    places = np.array([[29.5, 21.5], [29.5, 21.5], [70.0, 3.0]]) / 64
    np.testing.assert_allclose(refined(places, maps) * 64, [[30, 20 + 1 / 3], [29.5, 21.5], [70, 3]])


def standing(x: float, y: float, height: float = 100.0) -> Body:
    """A front view of somebody who stands with the middle of their hips there."""
    points = np.zeros((33, 2))
    points[:11] = [[0, -0.42]]
    points[1:4, 0], points[4:7, 0], points[7, 0], points[8, 0] = 0.02, -0.02, 0.04, -0.04
    for joint, across, down in (
        *((11, 0.12, -0.3), (13, 0.15, -0.15), (15, 0.16, 0.0), (17, 0.18, 0.04), (19, 0.15, 0.05), (21, 0.14, 0.03)),
        *((23, 0.08, 0.0), (25, 0.08, 0.25), (27, 0.08, 0.45), (29, 0.07, 0.48), (31, 0.1, 0.5)),
    ):
        points[joint], points[joint + 1] = (across, down), (-across, down)
    points = points * height + [x, y]
    centre = np.array([x, y])
    region = Region.around(centre, centre - [0, 0.55 * height], ROOM)
    mask = np.full((256, 256), -5.0, np.float32)
    mask[20:236, 90:166] = 5.0
    return Body(points, np.full(33, 0.9), 0.99, region, region, mask)


def test_a_person_seen_twice_is_one_and_two_neighbours_are_two() -> None:
    first, second = standing(100, 100), standing(160, 104)
    again = replace(first, points=first.points + np.random.default_rng(0).normal(0, 3, (33, 2)))
    assert distinct([first, again, second]) == [first, second]


def test_an_arm_is_no_person_and_a_head_has_one_body() -> None:
    person, arm, child = standing(100, 100, 200), standing(110, 95, 30), standing(160, 160, 70)
    assert distinct([person, arm, child]) == [person, child]
    bust = replace(standing(100, 38, 50))
    bust = replace(bust, points=bust.points + person.points[0] - bust.points[0])
    assert distinct([person, bust]) == [person]


def test_whose_points_are_unsure_or_outside_the_picture_is_nobody() -> None:
    picture = Picture(np.zeros((200, 200, 3), np.uint8))
    body = standing(100, 100)
    assert there(body, picture, SURE)
    unsure = replace(body, scores=np.full(33, 0.4))
    assert not there(unsure, picture, SURE)
    assert there(unsure, picture), "who was there in the frame before"
    assert not there(replace(body, points=body.points + 500), picture)
    bust = replace(
        body, points=(body.points - [100, 58]) * 4 + [100, 100], scores=np.where(np.arange(33) < 13, 0.9, 0.05)
    )
    assert there(bust, picture, SURE), "of whom no more is in the picture"
    assert not there(replace(body, flag=0.3), picture)


def test_the_body_is_put_in_the_order_of_coco() -> None:
    body = standing(100, 100)
    points, scores = Person(body, (None, None), None).wholebody()
    assert (points.shape, scores.shape) == ((133, 2), (133,))
    # one pixel's centre is half a pixel from its corner
    np.testing.assert_allclose(points[[5, 6, 9, 15, 16]], body.points[[11, 12, 15, 27, 28]] - 0.5)
    np.testing.assert_allclose(points[[17, 19, 20, 22]], body.points[[31, 29, 32, 30]] - 0.5)
    assert scores[[17, 18, 19, 20, 21, 22]].tolist() == [0.9, 0, 0.9, 0.9, 0, 0.9]
    assert not scores[23:].any()
    assert np.isfinite(points).all()


def test_hands_and_faces_lie_where_the_pose_has_them() -> None:
    hands = [Hand(np.random.default_rng(seed).uniform(0, 99, (21, 2)), 0.8, TURNED, 0.5) for seed in (0, 1)]
    face = Face(np.random.default_rng(2).uniform(0, 99, (MESH, 2)), 0.7, TURNED)
    points, scores = Person(standing(100, 100), (hands[0], hands[1]), face).wholebody()
    np.testing.assert_allclose(points[91:112] + 0.5, hands[0].points)
    np.testing.assert_allclose(points[112:] + 0.5, hands[1].points)
    np.testing.assert_allclose(points[23:91] + 0.5, face.mesh[IBUG])
    assert (set(scores[91:]), set(scores[23:91])) == ({0.8}, {0.7})
    assert LEFT_HAND.start - 1 == 91
    assert RIGHT_HAND.start - 1 == 112


def test_nose_and_eyes_are_not_seen_on_the_back_of_a_head() -> None:
    front = standing(100, 100, 400)
    behind = replace(front, points=front.points * [-1, 1] + [200, 0])
    far = standing(100, 100, 60)
    far_behind = replace(far, points=far.points * [-1, 1] + [200, 0])
    seen = [Person(body, (None, None), None).wholebody()[1][:5] > 0 for body in (front, behind, far, far_behind)]
    assert [one[:3].any() for one in seen] == [False, False, True, False], "a small face is not asked for"
    assert all(one[3:].all() for one in seen), "ears are seen from behind too"


def test_a_hand_is_looked_for_beyond_the_wrist_and_a_face_around_the_head() -> None:
    arm = end_of_arm(np.array([10.0, 10]), np.array([14.0, 10]), np.array([12.0, 10]))
    np.testing.assert_allclose([*arm.centre, arm.side, arm.angle], [13.33, 10, 18, np.pi / 2], atol=0.01)
    head = head_of(np.array([[10.0, 10], [30, 20], [20, 14]]))
    assert (head.centre.tolist(), head.side) == ([20.0, 15.0], 60.0)


def test_the_next_region_of_a_hand_holds_the_hand_upright() -> None:
    fingers = np.array([[0, 0], *([x, -1 - 0.5 * n] for x in (-0.6, -0.3, 0, 0.3, 0.6) for n in range(4))])
    turned = Region(np.array([50.0, 40.0]), 10.0, 0.8)
    hand = Hand(turned.to_picture(fingers + 0.5), 0.9, turned, 0.5)
    assert hand.next.angle == pytest.approx(0.8)
    places = hand.next.from_picture(hand.points)
    assert ((places > 0) & (places < 1)).all()
    assert places[0, 1] > 0.6, "the wrist is below"


def test_searches_in_vain_become_rare_and_a_find_ends_them() -> None:
    lookout = Lookout()
    assert [n for n in range(100) if lookout.everywhere(n, True)] == [0, 1, 3, 7, 15, 31, 63, 95]
    assert not lookout.everywhere(200, False)
    lookout.found(200, TURNED)
    assert [n for n in range(201, 210) if lookout.everywhere(n, True)] == [201, 202, 204, 208]


def test_who_was_lost_is_looked_for_there_until_given_up_or_found() -> None:
    elsewhere, lookout = Region(np.array([400.0, 30.0]), 20.0), Lookout()
    lookout.lost(5, TURNED)
    lookout.lost(5, elsewhere)
    assert lookout.places(5) == [TURNED, elsewhere]
    lookout.found(5, replace(TURNED, centre=TURNED.centre + 3))
    due = [n for n in range(6, 300) if lookout.places(n)]
    assert due == [6, 8, 12, 20, 36]
    assert due[-1] - 5 <= LONGEST_PAUSE


# Stand-ins for the nets, which see discs as people: what is tested is when and where they are asked.
DISC = 6.0


class Discs:
    """A detector and a body net: the brightest blob of a region, of a colour of its own, is somebody's hips."""

    def __init__(self) -> None:
        self.detections = 0
        self.bodies = 0

    def detector(self, picture: Picture, square: Region) -> list[tuple[float, Region]]:
        self.detections += 1
        if square.side > 100:  # small people are not seen in large squares
            return []
        found = []
        grey = square.cut(picture, 100, cv2.BORDER_CONSTANT).max(axis=2)
        _, _, _, centres = cv2.connectedComponentsWithStats((grey > 100).astype(np.uint8))
        for centre in centres[1:]:
            place = square.to_picture((centre + 0.5) / 100)
            found.append((0.9, Region(place, 40.0)))
        return found

    def body(self, picture: Picture, region: Region) -> Body:
        self.bodies += 1
        bright = Region(region.centre, 30.0).cut(picture, 60, cv2.BORDER_CONSTANT).max(axis=2) > 100
        if bright.sum() < 20:
            return replace(standing(*region.centre, 40), flag=0.1)
        rows, columns = np.nonzero(bright)
        place = Region(region.centre, 30.0).to_picture((np.array([columns.mean(), rows.mean()]) + 0.5) / 60)
        return replace(standing(*place, 40), next=Region(place, 40.0))


def film(ways: list[list[tuple[float, float] | None]]) -> list[np.ndarray]:
    """Frames of 240 × 160 in which each disc goes its way; None: it is not there."""
    frames = []
    for places in zip(*ways, strict=True):
        frame = np.zeros((160, 240, 3), np.uint8)
        for place in filter(None, places):
            cv2.circle(frame, (round(place[0]), round(place[1])), int(DISC), (255, 255, 255), -1)
        frame[0, len(frames) % 240] = 1  # no frame repeats the one before it
        frames.append(frame)
    return frames


def bodies_alone(picture: Picture, body: Body, before: Person | None) -> Person:
    """People without hands and faces."""
    return Person(body, (None, None), None)


def watching(nets: Discs) -> PeopleEstimator:
    return PeopleEstimator(Search(nets.detector, nets.body), nets.body, bodies_alone)  # type: ignore[arg-type]


def followed(frames: list[np.ndarray]) -> tuple[list[np.ndarray], Discs, list[bool]]:
    """Hips of everyone in each frame, what the nets were asked, and in which frames the detector was."""
    nets = Discs()
    sights = list(watching(nets).follow(frames))
    hips = [np.array([one.body.next.centre for one in sight.people]).reshape(-1, 2) for sight in sights]
    return hips, nets, [sight.searched for sight in sights]


def test_people_are_followed_without_the_detector_and_keep_their_order() -> None:
    left, right = [(40.0 + 2 * n, 80.0) for n in range(20)], [(200.0 - 2 * n, 60.0) for n in range(20)]
    hips, nets, searched = followed(film([left, right]))
    for n, found in enumerate(hips):
        order = np.argsort([np.linalg.norm(hips[0][k] - left[0]) for k in range(2)])
        np.testing.assert_allclose(found[order], [left[n], right[n]], atol=1)
    assert [n for n, there in enumerate(searched) if there] == [0, 8, 16]
    assert nets.bodies < 2 * 20 + 30, "one pass per person and frame, and the first search"


def test_somebody_who_was_covered_is_found_again_where_they_were() -> None:
    way: list = [(60.0, 80.0) if not 10 <= n < 13 else None for n in range(20)]
    hips, _, searched = followed(film([way, [(180.0, 80.0)] * 20]))
    assert [len(found) for found in hips] == [2] * 10 + [1] * 3 + [2] * 7
    assert searched[10]
    assert not any(searched[17:20])


def test_an_empty_picture_is_searched_ever_more_rarely() -> None:
    hips, nets, _ = followed(film([[None] * 64]))
    assert not any(map(len, hips))
    assert nets.detections <= 7 * (1 + len(squares(240, 160))) + 8


def test_another_scene_is_looked_at_afresh() -> None:
    frames = film([[(60.0, 80.0)] * 3]) + [255 - frame for frame in film([[(180.0, 80.0)] * 3])]
    assert [len(found) for found in followed(frames)[0]][:3] == [1, 1, 1]
    assert followed(frames)[2][3], "the cut is no multiple of the frames between two glances"


def test_a_frame_that_repeats_is_not_looked_at_again() -> None:
    frame = film([[(60.0, 80.0)]])[0]
    once, twice = followed([frame])[1], followed([frame, frame.copy(), frame.copy()])
    assert (twice[1].bodies, len(twice[0])) == (once.bodies, 3)


def test_nobody_is_an_empty_sequence_of_the_films_size() -> None:
    estimator = watching(Discs())
    found = estimator(film([[None] * 3]))
    assert (len(found), found.width, found.height, found.points.shape[1]) == (3, 240, 160, 0)
    assert len(estimator([])) == 0
    with pytest.raises(ValueError, match="differ in size"):
        estimator([np.zeros((40, 40, 3), np.uint8), np.zeros((40, 50, 3), np.uint8)])


def test_a_net_that_is_missing_or_another_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra `people` is not installed")
    with pytest.raises(Problem, match="there is no file"):
        LiteModel(tmp_path / "net.tflite", 224, ((1,),))
    (tmp_path / "net.tflite").write_bytes(b"no net at all")
    with pytest.raises(Problem, match="cannot be opened"):
        LiteModel(tmp_path / "net.tflite", 224, ((1,),))


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_a_mask_lies_over_the_picture_where_its_person_is(angle: float) -> None:
    body = standing(100, 80, 100)
    region = replace(body.seen_in, angle=angle)
    mask = Sight([Person(replace(body, seen_in=region), (None, None), None)], False, 200, 160).mask()
    assert (mask.shape, mask.dtype) == ((160, 200), np.uint8)
    rows, columns = np.nonzero(mask > 127)
    places = region.from_picture(np.column_stack([columns, rows]) + 0.5)
    assert ((places > [89 / 256, 19 / 256]) & (places < [167 / 256, 237 / 256])).all()
    area = 76 * 216 * (region.side / 256) ** 2
    assert len(rows) == pytest.approx(area, rel=0.03)
    assert mask[0, 0] == 0
    assert not Sight([], False, 20, 16).mask().any()
