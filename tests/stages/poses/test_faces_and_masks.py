"""What Wan-Animate is shown beside poses: faces of the driving person, and where somebody is who is replaced."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from stages.diffusion.wan_animate.replacing import Background
from stages.poses.conditioning import DRAWINGS
from stages.poses.drawing import wan
from stages.poses.keypoints import People
from stages.poses.motion.faces import SIZE, FacePictures, crop, face_box
from stages.poses.motion.person_masks import GivenMasks, PersonMasks, blocks
from stages.poses.wholebody import BODY, FACE, FEET, POINTS
from stages.video.encode import Encoder, EncodeRecipe
from stages.video.limits import Limits
from stages.video.read import Frames

WIDTH, HEIGHT = 160, 120


def people(face: tuple[int, int] | None = (40, 30), body: tuple[int, int] = (40, 60)) -> People:
    points, scores = np.zeros((1, POINTS, 2)), np.zeros((1, POINTS))
    points[0, BODY] = np.array(body) + np.random.default_rng(1).uniform(-15, 15, (18, 2))
    scores[0, BODY] = 0.9
    if face is not None:
        points[0, FACE] = np.array(face) + np.random.default_rng(2).uniform(-8, 8, (68, 2))
        scores[0, FACE] = 0.9
    return People(points, scores, np.full((1, 4), np.nan))


def test_where_no_face_is_seen_the_last_place_is_looked_at_and_before_the_first_nothing() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, HEIGHT, WIDTH, 3), np.uint8)
    outside = people((-300, 30))
    sequence = [people(None), people((40, 30)), people(None), outside, people((90, 50))]
    faces = FacePictures(frames, sequence)
    assert faces.unseen.tolist() == [True, False, True, True, False]
    assert faces[0] is None
    box = face_box(sequence[1].points[0, FACE], WIDTH, HEIGHT)
    for frame in (1, 2, 3):
        assert np.array_equal(faces[frame], crop(frames[frame], box, SIZE)), "of each frame, at the last place"
    assert not np.array_equal(faces[4], crop(frames[4], box, SIZE))
    assert len(faces[1:]) == 4


def test_only_the_person_who_is_followed_is_masked_grown_and_filled_to_a_box() -> None:
    mask = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    mask[0, 40:80, 30:50] = 255
    mask[0, 40:80, 120:140] = 255  # somebody else
    mask[0, 60, 30:50] = 100  # unsure
    made = PersonMasks(mask, [people()])[0]
    rows, columns = np.nonzero(made)
    # three times seven pixels wide: nine on each side
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (31, 88, 21, 58)
    assert made[31:88, 21:58].all()
    nobody = People(*(one[:0] for one in (people().points, people().scores, people().boxes)))
    assert not PersonMasks(mask, [nobody])[0].any()
    where_found = np.concatenate([mask, mask[:, ::-1], np.zeros_like(mask)])
    masks = PersonMasks(where_found, [people(), nobody, people()])
    assert np.array_equal(masks[1], made), "not found: the nearest frame's"
    assert masks[2][45:75, 30:50].all(), "found, but without a mask: what it surrounds"
    assert masks[2].mean() < 128
    assert blocks(np.zeros((9, 9), np.uint8)).sum() == 0
    assert blocks(np.eye(9, dtype=np.uint8), 1, 1, across=99, down=99).any(), "narrower than its blocks"


def test_masks_of_a_file_are_grey_and_otherwise_as_they_are() -> None:
    given = np.zeros((1, 4, 4, 3), np.uint8)
    given[0, 1] = [77, 77, 77]
    assert GivenMasks(given, 1)[0].tolist() == [[0] * 4, [77] * 4, [0] * 4, [0] * 4]


def test_feet_are_drawn_where_an_estimator_finds_one_toe_of_each_and_limbs_where_others_draw_them() -> None:
    found = people()
    for toe, ankle in ((FEET.start, 13), (FEET.start + 3, 10)):
        found.points[0, toe] = found.points[0, ankle] + [9, 6]
        found.scores[0, toe] = 0.9
    drawn = DRAWINGS["toes"](found, WIDTH, HEIGHT)
    for colour in ((200, 200, 0), (100, 100, 0)):
        assert (drawn == colour).all(axis=-1).any()
    assert not np.array_equal(drawn, wan.draw(wan.figure_of(found), HEIGHT, WIDTH))
    dim = People(found.points, found.scores * 0.4, found.boxes)
    assert np.array_equal(DRAWINGS["toes"](dim, WIDTH, HEIGHT), drawn)
    assert not DRAWINGS["toes"](People(found.points, found.scores * 0.3, found.boxes), WIDTH, HEIGHT).any()


def test_a_background_keeps_as_much_of_a_frame_as_its_mask_leaves_of_it(tmp_path: Path) -> None:
    mask, frame = np.zeros((1, 96, 96, 3), np.uint8), np.full((96, 96, 3), 200, np.uint8)
    mask[0, 30:60, 30:60] = 255
    with Encoder(tmp_path / "m.mp4", 96, 96, Fraction(5), EncodeRecipe()) as encoder:
        encoder.write(mask)
    video = Frames(tmp_path / "m.mp4", Limits())
    grey = GivenMasks(list(video.read()), 1)[0]
    nearly = (grey > 0) & (grey < 16)
    assert nearly.any(), "which a lossy film made of black"
    kept = Background([frame], [grey])[0]
    assert (kept[nearly] >= 187).all()
    assert np.abs(kept - 200.0 * (255 - grey[..., None]) / 255).max() <= 0.5
    sharp = Background([frame], [mask[0, ..., 0]])[0]
    assert np.array_equal(sharp, np.where(mask[0] > 0, np.uint8(0), frame))
