"""Promises of the reference warped into another posture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from pipelines.training.batches import posture
from pipelines.training.people import draw, random_character, standing
from pipelines.training.people.pose import Arm, Leg
from stages.diffusion.drawn.codec import DrawnCodec
from stages.diffusion.drawn.rigid_parts import Posture
from stages.diffusion.drawn.warp import ReferenceWarp, Warped, encoded

WIDTH, HEIGHT = 192, 256
WRIST, ELBOW = 7, 6  # the left ones


def person(seed: int = 1_000_120, **pose: object) -> tuple[np.ndarray, Posture]:
    """A drawn person's picture and posture; from the front unless the pose says otherwise."""
    still = standing(0)._replace(**{"yaw": 0.0, "look": 0.0, **pose})
    drawn = draw(random_character(seed), still, WIDTH, HEIGHT)
    return drawn.picture, posture(drawn.keypoints)


def at_pixels(one: np.ndarray) -> np.ndarray:
    """A map of every second place as one of pixels."""
    return one.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize(("degrees", "scale"), [(0.0, 1.0), (12.0, 1.0), (0.0, 0.85), (-8.0, 1.15)])
def test_a_similarity_of_the_whole_body_is_found_exactly(degrees: float, scale: float) -> None:
    _, known = person()
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT * 0.55), degrees, scale)
    moved = Posture((known.points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32), known.seen)
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT) * 0.99)
    picture = np.stack([columns, rows, rows], axis=-1).astype(np.uint8)  # colours tell places
    result = ReferenceWarp(picture, known).to(moved)
    wanted = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    body = (at_pixels(result.maps[0]) > 0.99) & (at_pixels(result.maps[1]) > 0.99)
    body = cv2.erode(body.astype(np.uint8), np.ones((5, 5))) > 0  # places are interpolated at its edge
    assert body.mean() > 0.05
    errors = np.abs(result.picture.astype(int) - wanted)[body]
    assert errors.mean() < 0.1
    assert np.quantile(errors, 0.999) <= 3


def test_a_raised_arm_goes_along_and_leaves_the_backdrop_where_it_hung() -> None:
    picture, known = person()
    _, raised = person(left_arm=Arm(out=100.0, fore_out=100.0))
    result = ReferenceWarp(picture, known).to(raised)
    between = [(one.points[ELBOW] + one.points[WRIST]) / 2 for one in (known, raised)]
    (x, y), (x_raised, y_raised) = (np.round(place).astype(int) for place in between)
    arm, backdrop = picture[y, x].astype(int), picture[y, x + 25].astype(int)
    assert np.abs(arm - backdrop).max() > 40
    assert np.abs(result.picture[y_raised, x_raised] - arm).max() < 15
    assert np.abs(result.picture[y, x] - backdrop).max() < 15
    # the first map says where the body is now, the second that the reference hides what was behind the arm
    assert result.maps[0][y_raised // 2, x_raised // 2] > 0.9
    assert result.maps[1][y // 2, x // 2] < 0.5 < result.maps[1][2, 2]


def test_what_turns_away_is_not_trusted() -> None:
    picture, known = person()
    warp = ReferenceWarp(picture, known)

    def trust(yaw: float) -> float:
        maps = warp.to(person(yaw=yaw)[1]).maps
        return float(maps[1][maps[0] > 0.9].mean())

    assert trust(0) > trust(50) > trust(180)


def test_a_turned_head_shows_its_face_to_the_side() -> None:
    picture, known = person()
    _, turned = person(look=35.0)
    straight, moved = (ReferenceWarp(picture, known).to(one).picture.astype(int) for one in (known, turned))
    face = slice(*np.round(known.points[[14, 15, 0], 1].min() + [-3, 12]).astype(int))
    shifts = np.arange(-12, 13)
    middle = int(known.points[0, 0])

    def alike(shift: int) -> float:
        here, there = (slice(middle - 5 + by, middle + 6 + by) for by in (0, shift))
        return float(np.abs(straight[face, here] - moved[face, there]).mean())

    nose = turned.points[0, 0] - known.points[0, 0]
    assert nose > 5
    assert abs(shifts[np.argmin([alike(shift) for shift in shifts])] - nose) <= 2


def test_parts_that_one_of_the_two_does_not_show_are_left_out() -> None:
    picture, known = person()
    hidden = known.seen.copy()
    hidden[WRIST] = False
    x, y = np.round((known.points[ELBOW] + 2 * known.points[WRIST]) / 3).astype(int)
    whole, without = (ReferenceWarp(picture, known).to(Posture(known.points, seen)) for seen in (known.seen, hidden))
    assert whole.maps[0][y // 2, x // 2] > 0.9 > without.maps[0][y // 2, x // 2]
    nobody = Posture(known.points, np.zeros(18, bool))
    assert ReferenceWarp(picture, known).to(nobody) is None
    assert ReferenceWarp(picture, nobody).to(known) is None
    together = Posture(np.full((18, 2), 50, np.float32), known.seen)
    assert ReferenceWarp(picture, known).to(together) is None


def test_warped_references_are_latents_of_unit_variance_with_maps_and_missing_ones_zeros() -> None:
    torch.manual_seed(0)
    codec = DrawnCodec(encoder_channels=(8, 8), decoder_channels=(8, 8, 8), latent_std=0.5)
    maps = np.random.default_rng(0).random((3, HEIGHT // 2, WIDTH // 2), np.float32)
    picture, skirted = (person(seed)[0] for seed in (1_000_120, 1_000_101))
    one, none = encoded([Warped(picture, skirted, maps), None], codec, (HEIGHT, WIDTH))
    with torch.no_grad():
        latents = codec.encode(torch.from_numpy(np.stack([picture, skirted])).permute(0, 3, 1, 2) / 127.5 - 1)
    torch.testing.assert_close(one[:8], latents[0] * 2)
    torch.testing.assert_close(one[10:18], latents[1] * 2)
    means = maps.reshape(3, HEIGHT // 8, 4, WIDTH // 8, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(one[[8, 9, 18]].numpy(), means, atol=1e-6)
    assert not none.any()


def test_a_skirt_hangs_between_the_legs_wherever_they_go() -> None:
    apart = {"left_leg": Leg(18.0, 4.0, 6.0), "right_leg": Leg(18.0, 4.0, 6.0)}
    dressed, trousers = 1_000_000, 1_000_004  # a long striped dress; and legs of their own
    closest = []
    for seed in (dressed, trousers):
        (picture, known), (truth, spread) = person(seed), person(seed, **apart)
        result = ReferenceWarp(picture, known).to(spread)
        x, y = ((spread.points[9] + spread.points[12]) / 2).astype(int)  # between the knees
        there = (slice(y - 6, y + 7), slice(x - 6, x + 7))
        errors = [np.abs(of[there].astype(int) - truth[there]).mean() for of in (result.picture, result.skirted)]
        closest.append(int(np.argmin(errors)))
        assert result.maps[2][y // 2, x // 2] > result.maps[0][y // 2, x // 2]
    assert closest == [1, 0]


def test_what_hangs_between_legs_that_cross_has_a_place_everywhere() -> None:
    picture, known = person()
    points = known.points.copy()
    knees, ankles = [9, 12], [10, 13]
    points[knees, 1] = 200.5  # halfway to the ankles, where legs cross, is a place that is looked up
    points[ankles] = points[knees][::-1] + (0, 40)
    with np.errstate(divide="raise", invalid="raise"):
        result = ReferenceWarp(picture, known).to(Posture(points, known.seen))
    grey = ReferenceWarp(np.full_like(picture, 90), known).to(Posture(points, known.seen)).skirted
    assert np.abs(grey.astype(int) - 90).max() <= 3, "one colour stays one, wherever it is taken from"
    assert np.isfinite(result.maps).all()
