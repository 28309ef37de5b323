"""What the pose library promises beyond the recorded arithmetic: files, batches, threads, empty pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from manifests.errors import Problem, Rejected
from stages.poses import wholebody
from stages.poses.drawing import skeleton
from stages.poses.drawing.controlnet10 import draw_controlnet10
from stages.poses.drawing.dwpose import draw
from stages.poses.drawing.resize import resized_size
from stages.poses.estimators import yolox
from stages.poses.estimators.dwpose import CALLERS, Channels, DWPose
from stages.poses.estimators.rtmpose import PoseNet
from stages.poses.estimators.yolox import PersonDetector
from stages.poses.files import openpose_json
from stages.poses.keypoints import Keypoints, People
from tests.conftest import CHECKOUT
from tests.made.pose_motions import NOBODY, somebody
from tests.made.tiny_onnx import write_pose_net

RECORDED = CHECKOUT / "tests" / "golden" / "pose"
# Sees magenta, red and blue blobs as people.
DETECTOR = RECORDED / "checkpoint" / "DWPose" / "yolox_l.onnx"


@pytest.fixture(scope="module")
def pose_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pose_net(tmp_path_factory.mktemp("net") / "pose.onnx")


def picture(*people: tuple[int, int], height: int = 240, width: int = 320) -> np.ndarray:
    """Magenta blobs at (x, y) on grey noise."""
    noise = np.random.default_rng(0).integers(90, 110, (height, width, 1), dtype=np.uint8)
    canvas = np.repeat(noise, 3, axis=2)
    for x, y in people:
        canvas[y : y + 90, x : x + 40] = (255, 0, 255)
    return canvas


# The estimator


def test_a_blob_is_found_where_it_is_and_two_are_two() -> None:
    boxes = PersonDetector(DETECTOR)(picture((40, 60), (220, 100)))
    assert len(boxes) == 2
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert np.abs(centres[centres[:, 0].argsort()] - [[60, 105], [240, 145]]).max() < 20


@pytest.mark.parametrize("batch_axis", ["batch", 5])
def test_crops_in_batches_give_the_keypoints_of_crops_one_by_one(
    tmp_path: Path, pose_net: Path, batch_axis: str | int
) -> None:
    net = write_pose_net(tmp_path / "net.onnx", batch=batch_axis)
    image, boxes = picture((40, 60)), np.random.default_rng(1).uniform([0, 0, 130, 130], [120, 120, 250, 250], (7, 4))
    one_by_one, batched = PoseNet(pose_net), PoseNet(net, batch=3)
    assert (one_by_one.model.batch, batched.model.batch) == (1, 3 if batch_axis == "batch" else 5)
    points, scores = one_by_one(one_by_one.cut(image, boxes))
    in_batches, their_scores = batched(batched.cut(image, boxes))
    assert scores == pytest.approx(their_scores, rel=1e-5)
    assert (points == in_batches).mean() > 0.99  # all but bins that tie


def test_a_sequence_in_batches_is_the_sequence_frame_by_frame(pose_net: Path) -> None:
    frames = [picture((x, 60), *[(250, 20)] * (x % 40 == 0)) for x in range(20, 160, 20)]
    single, batched = (DWPose.load(DETECTOR, pose_net, batch=batch)(frames) for batch in (1, 4))
    assert single.present.sum(axis=1).tolist() == [1, 2, 1, 2, 1, 2, 1]
    assert np.array_equal(single.present, batched.present)
    assert np.array_equal(single.boxes, batched.boxes, equal_nan=True)
    assert single.scores == pytest.approx(batched.scores, rel=1e-5)


def test_a_picture_of_nobody_holds_one_pseudo_person_who_is_not_detected(pose_net: Path) -> None:
    frames = [np.zeros((120, 90, 3), np.uint8), picture((40, 60), height=120, width=90)]
    found = DWPose.load(DETECTOR, pose_net)(frames)
    assert (found.width, found.height) == (90, 120)
    assert found.present.tolist() == [[True], [True]]
    assert found.detected.tolist() == [[False], [True]]


def test_a_repeated_frame_is_looked_at_once_and_counted_each_time(pose_net: Path) -> None:
    class Counted(PersonDetector):
        looked = 0

        def __call__(self, image: np.ndarray) -> np.ndarray:
            self.looked += 1
            return super().__call__(image)

    detector = Counted(DETECTOR)
    first, second = picture((40, 60)), picture((200, 60))
    found = DWPose(detector, PoseNet(pose_net, batch=4))([first, first.copy(), second, first])
    assert (detector.looked, len(found)) == (3, 4)
    assert np.array_equal(found.points[0], found.points[1])
    assert np.array_equal(found.points[0], found.points[3])


def test_frames_of_two_sizes_are_no_sequence(pose_net: Path) -> None:
    with pytest.raises(ValueError, match="differ in size"):
        DWPose.load(DETECTOR, pose_net)([picture(), picture(height=200)])


def test_no_frames_are_no_keypoints(pose_net: Path) -> None:
    assert len(DWPose.load(DETECTOR, pose_net)([])) == 0


def test_the_callers_show_the_networks_their_own_channel_order(pose_net: Path) -> None:
    image, shown = picture((40, 60)), {}
    image[..., 2] = image[..., 2] // 2 + 20  # no longer the same backwards
    orders = CALLERS | {"rgb": Channels("rgb", "rgb")}
    for caller in ("animate_anyone", "rgb", "as_trained"):
        estimator = DWPose.load(DETECTOR, pose_net, orders[caller])
        shown[caller] = next(estimator.detect([image])).scores
    assert np.array_equal(shown["rgb"], shown["as_trained"])  # the pose net sees RGB in both
    assert not np.array_equal(shown["rgb"], shown["animate_anyone"])


def test_networks_run_on_one_thread_unless_told_otherwise(pose_net: Path) -> None:
    assert PersonDetector(DETECTOR).model.threads == (1, 1)
    assert PoseNet(pose_net, threads=3).model.threads == (3, 1)


def test_suppressing_people_alone_is_suppressing_all_80_classes() -> None:
    random = np.random.default_rng(3)
    for _ in range(3):
        output = np.zeros((400, 85), np.float32)
        output[:, 4:] = random.uniform(0, 1, (400, 81))
        corners = random.uniform(0, 500, (400, 2)).astype(np.float32)
        boxes = np.concatenate([corners, corners + random.uniform(20, 200, (400, 2)).astype(np.float32)], axis=1)
        everything = np.concatenate([yolox.candidates(boxes, output, label) for label in range(80)])
        alone = yolox.people(yolox.candidates(boxes, output))
        assert len(alone) > 10
        assert np.array_equal(yolox.people(everything), alone)


# Model files


def test_a_missing_network_is_a_problem_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"person detector .* is missing: there is no file .*nowhere\.onnx"):
        PersonDetector(tmp_path / "nowhere.onnx")


def test_networks_given_the_wrong_way_round_are_told_what_is_expected(pose_net: Path) -> None:
    with pytest.raises(Problem, match=r"simcc_x \['batch', 133, 576\].*expected .*\[1, 3, 640, 640\].*\[1, 8400, 85\]"):
        PersonDetector(pose_net)
    with pytest.raises(Problem, match=r"\[1, 8400, 85\]; expected .*\[batch, 133, 576\].*\[batch, 133, 768\]"):
        PoseNet(DETECTOR)


@pytest.mark.parametrize("change", [{"keypoints": 17}, {"outputs": ["simcc_x"]}])
def test_a_pose_net_of_another_kind_is_a_problem(tmp_path: Path, change: dict) -> None:
    with pytest.raises(Problem, match=r"is not the whole-body pose net.*expected .*\[batch, 133, 576\]"):
        PoseNet(write_pose_net(tmp_path / "other.onnx", **change))


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x07" * 50])
def test_a_file_that_is_no_onnx_is_a_problem(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.onnx").write_bytes(content)
    with pytest.raises(Problem, match=r"cannot be opened as an ONNX network.*expected one float input"):
        PoseNet(tmp_path / "broken.onnx")


def test_a_smaller_variant_of_the_pose_net_works(tmp_path: Path) -> None:
    small = PoseNet(write_pose_net(tmp_path / "small.onnx", width=192, height=256))
    points, scores = small(small.cut(picture((40, 60)), np.array([[30.0, 50, 90, 160]])))
    assert (points.shape, scores.shape) == ((1, 133, 2), (1, 133))


# Keypoints and skeletons


def test_keypoints_give_back_the_people_of_every_frame() -> None:
    frames = [somebody(2, 1), NOBODY, somebody(3, 2)]
    sequence = Keypoints.from_people(frames, 320, 240)
    assert sequence.points.shape == (3, 3, 134, 2)
    assert sequence.present.sum(axis=1).tolist() == [2, 0, 3]
    for number, expected in enumerate(frames):
        assert np.array_equal(sequence.people(number).points, expected.points)
        assert np.array_equal(sequence.people(number).scores, expected.scores)


def test_keypoints_of_another_layout_are_refused() -> None:
    with pytest.raises(ValueError, match=r"points have shape \(1, 133, 2\), expected \(1, 134, 2\)"):
        People(np.zeros((1, 133, 2)), np.zeros((1, 134)), np.zeros((1, 4)))


def test_animate_anyone_takes_the_person_with_the_best_body() -> None:
    people = somebody(3)
    people.scores[:, wholebody.BODY] = [[0.5], [0.9], [0.7]]
    chosen = skeleton.animate_anyone(people, 320, 240)
    assert len(chosen) == 1
    assert np.array_equal(chosen.candidate, people.points[1, wholebody.BODY] / [320, 240])


def test_a_score_of_exactly_the_threshold_hides_a_joint_and_shows_a_point_of_a_hand() -> None:
    people = somebody()
    people.scores[:] = wholebody.VISIBLE
    drawn = skeleton.dwpose(people, 320, 240)
    assert (drawn.subset == -1).all()
    assert np.array_equal(drawn.hands[0], people.points[0, wholebody.LEFT_HAND] / [320, 240])
    _, scores = wholebody.openpose_order(np.zeros((1, 133, 2)), np.full((1, 133), wholebody.VISIBLE))
    assert scores[0, 1] == 0  # the neck


@pytest.mark.parametrize("caller", [skeleton.dwpose, skeleton.animate_anyone])
def test_an_empty_frame_is_drawn_black(caller: object) -> None:
    canvas = draw(caller(NOBODY, 64, 48), 48, 64)
    assert canvas.shape == (48, 64, 3)
    assert not canvas.any()
    assert not draw_controlnet10(np.zeros((0, 4)), np.zeros((0, 18)), 48, 64).any()


def test_people_outside_the_picture_are_drawn_without_an_error() -> None:
    people = somebody(2)
    people.points[:] = people.points * 40 - 4000
    draw(skeleton.dwpose(people, 64, 48), 48, 64)


@pytest.mark.parametrize(
    ("size", "expected"), [((544, 512), (512, 512)), ((608, 512), (640, 512)), ((400, 300), (704, 512))]
)
def test_animate_anyones_sides_round_halves_to_even_multiples_of_64(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert resized_size(*size) == expected


# OpenPose JSON


def test_body_25_documents_keep_every_point_and_its_score() -> None:
    people = somebody(2)
    document = json.loads(json.dumps(openpose_json.write(people)))
    read = openpose_json.read([document], 320, 240).people(0)
    assert np.array_equal(read.points, people.points)
    assert np.array_equal(read.scores, people.scores)
    person = document["people"][0]
    assert [len(person[f"{part}_keypoints_2d"]) for part in ("pose", "face", "hand_left", "hand_right")] == [
        75,
        210,
        63,
        63,
    ]


def test_body_25_has_the_middle_of_the_hips() -> None:
    people = somebody()
    hips = people.points[0, [8, 11]], people.scores[0, [8, 11]]
    body = np.reshape(openpose_json.write(people)["people"][0]["pose_keypoints_2d"], (25, 3))
    assert np.allclose(body[8], [*hips[0].mean(axis=0), hips[1].min()])


def test_points_that_were_not_found_are_zeros_and_come_back_unseen() -> None:
    people = somebody()
    people.scores[0, 3], people.scores[0, wholebody.FACE], people.scores[0, 14:16] = -0.2, 0.0, 0.0
    document = openpose_json.write(people)
    assert document["people"][0]["pose_keypoints_2d"][9:12] == [0, 0, 0]
    assert document["people"][0]["face_keypoints_2d"] == []
    read = openpose_json.read([document], 320, 240).people(0)
    assert read.scores[0, 3] == 0
    assert not read.points[0, wholebody.FACE].any()


def test_both_dialects_of_one_body_read_alike() -> None:
    samples = json.loads((RECORDED / "openpose_json_samples.json").read_text(encoding="utf-8"))
    official = openpose_json.read([samples["openpose_body25"]], 240, 320)
    community = openpose_json.read([samples["community_coco18"]])
    body = slice(0, 17)  # the sample's left ear is unseen in one of them only
    assert np.array_equal(official.points[0, 0, body], community.points[0, 0, body])
    assert official.scores[0, 0, wholebody.FEET].tolist() == [0, 0, 0, 0.5, 0.45, 0.52]


def in_fractions(people: People, scale: float, shift: float) -> dict:
    """A community document of 18 body points, given as `scale` · fraction of 320 × 240 + `shift`."""
    places = people.points[0, wholebody.BODY] / [320, 240] * scale + shift
    body = np.column_stack([places, people.scores[0, wholebody.BODY]])
    person = {"pose_keypoints_2d": body.ravel().tolist(), "face_keypoints_2d": None}
    return {"people": [person], "canvas_width": 320, "canvas_height": 240}


def test_fractions_become_pixels() -> None:
    people = somebody()
    read = openpose_json.read([in_fractions(people, 1, 0)])
    assert read.points[0, 0, wholebody.BODY] == pytest.approx(people.points[0, wholebody.BODY])


def test_fractions_around_the_middle_are_rejected() -> None:
    with pytest.raises(Rejected, match="fractions from −1 to 1"):
        openpose_json.read([in_fractions(somebody(), 2, -1)])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "frame 0 has no list of people"),
        ({"people": [[1, 2]]}, "frame 0 has no list of people"),
        ({"people": [{"pose_keypoints_2d": [0.0] * 45}]}, "frame 0, person 0: pose_keypoints_2d has 45 .* 54 or 75"),
        ({"people": [{"hand_left_keypoints_2d": [1.0] * 62}]}, "hand_left_keypoints_2d has 62 numbers, expected 63"),
        ({"people": [{"pose_keypoints_2d": ["1"] * 54}]}, "not a list of finite numbers"),
        ({"people": [{"face_keypoints_2d": [float("nan")] * 210}]}, "not a list of finite numbers"),
    ],
)
def test_a_malformed_document_is_rejected_by_field(document: object, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        openpose_json.read([document], 320, 240)


def test_pixels_without_a_picture_size_are_rejected() -> None:
    with pytest.raises(Rejected, match="name no size of the picture"):
        openpose_json.read([openpose_json.write(somebody())])


def test_openpose_file_names_carry_the_frame() -> None:
    assert openpose_json.frame_number("walk_000000000042_keypoints.json") == 42
    assert openpose_json.frame_number("walk.json") is None
