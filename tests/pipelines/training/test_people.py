"""Drawn people: the same for a seed, anatomically right, whole in the picture, and true to their keypoints."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from pipelines.training.people import (
    MOTIONS,
    Character,
    Motion,
    Pose,
    densepose,
    draw,
    random_character,
    random_motion,
    standing,
)
from pipelines.training.people.skeleton import pose_skeleton
from tests.conftest import CHECKOUT

PORTRAIT, SQUARE = (192, 256), (224, 224)
NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR = range(5)
PAIRS = [(5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)]  # left, right: shoulders … ankles
UPRIGHT = [motion for motion in MOTIONS if motion not in ("walk", "jumping_jack")]  # these keep a foot on the floor
BANDS = {  # mean RGB of four bands of the standing person of each seed
    0: [(222.8, 210.8, 177.2), (205.5, 193.7, 167.4), (205.2, 201.6, 179.8), (213.2, 208.7, 187.7)],
    7: [(226.3, 210.8, 201.9), (214.9, 195.5, 196.4), (212.2, 197.1, 188.0), (205.7, 190.6, 183.2)],
    1000000: [(220.9, 215.1, 222.5), (200.5, 194.3, 200.5), (191.6, 189.6, 198.7), (180.2, 178.5, 187.7)],
    1000003: [(187.6, 199.8, 220.0), (179.4, 194.3, 213.6), (162.5, 180.4, 202.2), (178.1, 187.8, 203.0)],
}


def body(character: Character, pose: Pose, size: tuple[int, int]) -> np.ndarray:
    """Where the person hides the studio: bool (h, w), from pictures in a light and in a dark one."""
    studios = (
        replace(character.backdrop, wall=grey, floor=grey, strength=0.0) for grey in ((250, 250, 250), (10, 10, 10))
    )
    light, dark = (draw(replace(character, backdrop=studio), pose, *size).picture.astype(int) for studio in studios)
    return np.abs(light - dark).max(-1) < 40


def near(mask: np.ndarray, x: float, y: float) -> bool:
    """Whether the mask is set within a pixel of a point."""
    row, column = round(y), round(x)
    return bool(mask[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].any())


def people(count: int) -> list[tuple[Character, Pose, tuple[int, int]]]:
    """Random people in random moments of random motions."""
    return [
        (random_character(i), random_motion(i).pose(0.37 * i), SQUARE if i % 4 == 3 else PORTRAIT) for i in range(count)
    ]


def test_a_seed_draws_the_same_picture_in_another_process() -> None:
    program = (
        "import hashlib; from pipelines.training.people import *;"
        "d = draw(random_character(5), random_motion(5).pose(1.5), 192, 256);"
        "print(hashlib.sha256(d.picture.tobytes() + d.keypoints.tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    drawing = draw(random_character(5), random_motion(5).pose(1.5), *PORTRAIT)
    assert other.stdout.strip() == hashlib.sha256(drawing.picture.tobytes() + drawing.keypoints.tobytes()).hexdigest()


def test_other_seeds_are_other_people_in_other_poses() -> None:
    pictures = {draw(random_character(i), Pose(), *PORTRAIT).picture.tobytes() for i in range(40)}
    assert len(pictures) == 40
    assert len({standing(i) for i in range(40)}) == 40
    assert len({random_motion(i).pose(0.5) for i in range(40)}) == 40


@pytest.mark.parametrize("seed", BANDS)
def test_people_look_as_when_the_bundled_weights_were_trained(seed: int) -> None:
    picture = draw(random_character(seed), standing(seed), *PORTRAIT).picture
    means = [band.reshape(-1, 3).mean(0) for band in np.split(picture, 4)]
    np.testing.assert_allclose(means, BANDS[seed], atol=0.6)


@pytest.mark.parametrize("size", [PORTRAIT, SQUARE])
def test_a_drawing_has_the_size_asked_for(size: tuple[int, int]) -> None:
    drawing = draw(random_character(1), standing(1), *size)
    assert drawing.picture.shape == (size[1], size[0], 3)
    assert drawing.picture.dtype == np.uint8
    assert drawing.keypoints.shape == (23, 3)
    assert drawing.keypoints.dtype == np.float32
    assert set(np.unique(drawing.keypoints[:, 2])) <= {0.0, 1.0}


def test_the_whole_body_stays_in_the_picture() -> None:
    for seed in range(50):
        motion = Motion.named(MOTIONS[seed % len(MOTIONS)], seed)
        size = SQUARE if seed % 4 == 3 else PORTRAIT
        for seconds in (0.0, 0.7):
            mask = body(random_character(seed), motion.pose(seconds), size)
            rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
            assert not rim.any(), f"{motion} at {seconds} s"


def test_keypoints_lie_on_the_body() -> None:
    for character, pose, size in people(50):
        mask = body(character, pose, size)
        for number, (x, y, visible) in enumerate(draw(character, pose, *size).keypoints):
            assert not visible or near(mask, x, y), f"keypoint {number} of {character} in {pose}"


@pytest.mark.parametrize("seed", range(6))
def test_left_is_the_persons_own_left(seed: int) -> None:
    character, straight = random_character(seed), Pose()
    front = draw(character, straight, *PORTRAIT).keypoints
    back = draw(character, straight._replace(yaw=180), *PORTRAIT).keypoints
    for left, right in [*PAIRS, (17, 20), (LEFT_EYE, RIGHT_EYE), (LEFT_EAR, RIGHT_EAR)]:
        assert front[left, 0] > front[right, 0] + 2
        assert back[left, 0] < back[right, 0] - 2


def test_raising_the_left_arm_raises_it_at_the_pictures_right() -> None:
    pose = Pose(left_arm=Pose().left_arm._replace(out=110, fore_out=150))
    character = random_character(2)
    change = np.abs(
        draw(character, pose, *PORTRAIT).picture.astype(int) - draw(character, Pose(), *PORTRAIT).picture
    ).sum(-1)
    raised = draw(character, pose, *PORTRAIT).keypoints
    assert raised[9, 1] < raised[10, 1] - 30
    assert change[:120, 110:].sum() > 10 * change[:120, :82].sum()


def test_the_back_of_the_head_hides_the_face() -> None:
    points = draw(random_character(3), Pose(yaw=180), *PORTRAIT).keypoints
    assert not points[[NOSE, LEFT_EYE, RIGHT_EYE], 2].any()
    assert points[5:, 2].all()
    profile = draw(random_character(3), Pose(yaw=80), *PORTRAIT).keypoints
    assert profile[[NOSE, RIGHT_EAR], 2].all()
    assert not profile[LEFT_EAR, 2]


def test_a_logo_is_on_the_chest_and_not_on_the_back() -> None:
    bare = random_character(0)
    bare = replace(bare, garments=replace(bare.garments, logo=None, jacket=None, buttons=None))
    marked = replace(bare, garments=replace(bare.garments, logo="circle", logo_colour=(255, 0, 255)))
    pose = Pose(left_arm=Pose().left_arm._replace(out=60), right_arm=Pose().right_arm._replace(out=60))
    for yaw, shown in ((0, True), (180, False)):
        pictures = [draw(who, pose._replace(yaw=yaw), *PORTRAIT).picture for who in (bare, marked)]
        assert (pictures[0] != pictures[1]).any() == shown


def test_skirts_cover_the_thighs_whatever_the_legs_do() -> None:
    skirted = [who for who in map(random_character, range(60)) if who.garments.kind in ("dress", "skirt")]
    assert len(skirted) > 10
    for number, character in enumerate(skirted):
        character = replace(character, garments=replace(character.garments, length=0.16, jacket=None))
        other = replace(character, skin=(0, 255, 0))
        for name in ("walk", "squat", "kick", "dance"):
            pose = Motion.named(name, number).pose(0.6)._replace(yaw=0)
            drawing = draw(character, pose, *PORTRAIT)
            same = (drawing.picture == draw(other, pose, *PORTRAIT).picture).all(-1)
            wrists = drawing.keypoints[9:11, :2]
            for hip, knee in ((11, 13), (12, 14)):
                x, y = drawing.keypoints[hip, :2] * 0.4 + drawing.keypoints[knee, :2] * 0.6
                if np.hypot(*(wrists - [x, y]).T).min() > 25:
                    assert same[round(float(y)), round(float(x))], f"{name} of {character}"


def test_feet_stand_on_the_floor_and_jumps_leave_it() -> None:
    floors = []
    for seed in range(20):
        motion = Motion.named(UPRIGHT[seed % len(UPRIGHT)], seed)
        mask = body(random_character(seed), motion.pose(seed * 0.3), PORTRAIT)
        floors.append(int(np.flatnonzero(mask.any(1)).max()))
    assert max(floors) - min(floors) <= 6
    jump = Motion.named("jumping_jack")
    heights = [draw(random_character(1), jump.pose(t), *PORTRAIT).keypoints[17:, 1].max() for t in (0.0, 0.3)]
    assert heights[1] < heights[0] - 4


@pytest.mark.parametrize("name", MOTIONS)
def test_motions_are_continuous_and_do_move(name: str) -> None:
    proportions = random_character(4).proportions
    for seed in (0, 3, 8):
        motion = Motion.named(name, seed)
        skeletons = [pose_skeleton(proportions, motion.pose(i / 100)) for i in range(160)]
        points = np.stack([[*one.wrists, *one.knees, *one.ankles, one.pelvis, one.skull] for one in skeletons])
        steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)  # in heights of the tallest person, per 10 ms
        assert steps.max() < 0.03
        assert np.ptp(points, axis=0).max() > 0.03


def test_an_unknown_motion_is_refused() -> None:
    with pytest.raises(ValueError, match="no motion 'fly'; there are walk"):
        Motion.named("fly")


def test_references_stand_and_face_the_camera() -> None:
    for seed in range(40):
        drawing = draw(random_character(seed), standing(seed), *PORTRAIT)
        assert drawing.keypoints[[NOSE, LEFT_EYE, RIGHT_EYE], 2].all()
        assert drawing.keypoints[5, 0] > drawing.keypoints[6, 0] + 10
        assert drawing.keypoints[15:17, 1].min() > 200


def test_heights_of_people_vary_and_all_fit() -> None:
    heights = [random_character(i).proportions.height for i in range(200)]
    assert 0.845 < min(heights) < 0.87
    assert 0.98 < max(heights) <= 1.0


def test_body_parts_are_those_of_the_drawn_person() -> None:
    for character, pose, size in people(12):
        parts, uv = densepose(character, pose, *size)
        assert parts.shape == size[::-1]
        assert uv.shape == (2, *size[::-1])
        assert (uv >= 0).all()
        assert (uv <= 1).all()
        assert not uv[:, parts == 0].any()
        assert parts.max() <= 24
        assert body(character, pose, size)[parts > 0].mean() > 0.93


def test_body_parts_tell_left_from_right_and_front_from_back() -> None:
    character = random_character(6)
    front, _ = densepose(character, Pose(), *PORTRAIT)
    back, _ = densepose(character, Pose(yaw=180), *PORTRAIT)
    points = draw(character, Pose(), *PORTRAIT).keypoints
    assert {2, 9, 10, 13, 14} <= set(np.unique(front))
    assert {1, 7, 8, 11, 12} <= set(np.unique(back))
    assert 1 not in front
    assert 2 not in back
    for part, keypoint in ((4, 9), (3, 10), (10, 13), (9, 14), (5, 17), (6, 20), (17, 7), (18, 8)):
        rows, columns = np.nonzero(front == part)
        assert np.hypot(rows - points[keypoint, 1], columns - points[keypoint, 0]).min() < 6, part
    middle = points[NOSE, 0]
    assert np.nonzero(front == 24)[1].mean() > middle > np.nonzero(front == 23)[1].mean()
