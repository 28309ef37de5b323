"""The bundled keypoint net: a pose net like the published one, for drawn people and without a person detector."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from manifests import storage
from manifests.layout import OutputLayout
from manifests.work import Source
from pipelines.configuration import RunConfig
from pipelines.doctor import estimators as doctor_estimators
from pipelines.training import keypoint_crops, keypoints
from pipelines.training.keypoint_crops import training_crops
from pipelines.training.keypoint_net import HEIGHT, POINTS, SPREAD, STRIDE, WIDTH, KeypointNet, responses
from pipelines.training.keypoint_onnx import write_onnx
from pipelines.training.keypoints import EACH, Gallery, any_pose
from pipelines.training.optimisation import Settings, Training
from pipelines.training.people import draw, random_character, random_motion, standing
from pipelines.training.pictures import HELD_OUT, SHAPES, Album
from stages.extract_pose import ExtractPose
from stages.poses.estimators.dwpose import DWPose
from stages.poses.estimators.rtmpose import PoseNet, decode_simcc
from stages.poses.files.keypoint_file import read_keypoints
from stages.poses.motion.subject import follow
from stages.poses.recipes import DWPoseSettings, Estimators, Recipe, key_parts
from stages.poses.wholebody import MIRRORED, VISIBLE, WHOLE_IMAGE, openpose_order
from stages.video.encode import Encoder, EncodeRecipe
from stages.video.limits import Limits
from tests.bench.drawn_keypoints import NET

ESTIMATORS = Estimators(dwpose=DWPoseSettings(detector=WHOLE_IMAGE, pose=str(NET)))
BODY_AND_FEET = [joint for joint in range(24) if joint != 1]  # of the stored points: all but the neck


def stored(folder: Path, frames: np.ndarray):  # noqa: ANN201
    """What the pose stage stores of a film of these frames."""
    video, layout = folder / "driving.mp4", OutputLayout(str(folder))
    with Encoder(video, frames.shape[2], frames.shape[1], Fraction(12), EncodeRecipe()) as encoder:
        encoder.write(frames)
    source = Source(uri=str(video), digest=storage.digest(str(video)), width=frames.shape[2], height=frames.shape[1])
    ExtractPose(layout, Limits(), ESTIMATORS)(source, Recipe("dwpose", "keypoints"), "key")
    return read_keypoints(Path(layout.poses("key")))[0]


@pytest.mark.parametrize(("seed", "width", "height"), [(11, 192, 256), (12, 224, 224), (13, 384, 512)])
def test_a_drawn_driving_video_becomes_keypoints_without_a_detector(
    tmp_path: Path, seed: int, width: int, height: int
) -> None:
    character, motion = random_character(HELD_OUT + seed), random_motion(HELD_OUT + seed)
    drawings = [draw(character, motion.pose(frame / 12), width, height) for frame in range(6)]
    found = stored(tmp_path, np.stack([drawing.picture for drawing in drawings]))
    assert (len(found), found.width, found.height, found.points.shape[1]) == (6, width, height, 1)
    assert found.detected.all()
    truth = np.stack([drawing.keypoints for drawing in drawings])
    whole = np.zeros((6, 133, 3))
    whole[:, :23] = truth
    true, seen = openpose_order(whole[..., :2], whole[..., 2])
    torso = np.linalg.norm(truth[:, 5, :2] - truth[:, 12, :2], axis=1)
    near = np.linalg.norm(found.points[:, 0] - true, axis=2) < 0.2 * torso[:, None]
    assert near[:, BODY_AND_FEET][seen[:, BODY_AND_FEET] > 0].mean() > 0.93


def test_what_is_found_is_good_enough_to_animate_from(tmp_path: Path) -> None:
    character, motion = random_character(HELD_OUT + 21), random_motion(HELD_OUT + 21)
    drawings = [draw(character, motion.pose(frame / 12), 192, 256).picture for frame in range(12)]
    from stages.poses.conditioning import followed

    _, report = followed(stored(tmp_path, np.stack(drawings)), Fraction(12), "persistent")
    assert report["present"] == 12
    assert report["confidence"] > 0.6


def test_a_face_is_not_seen_from_behind() -> None:
    estimator, character = DWPose.load(None, NET), random_character(HELD_OUT + 31)
    front, back = (draw(character, standing(HELD_OUT)._replace(yaw=yaw), 192, 256).picture for yaw in (0.0, 180.0))
    seen = [one.scores[0, :POINTS] > VISIBLE for one in estimator.detect([front, back])]
    assert seen[0].all()
    assert not seen[1][:3].any(), "nose and eyes"
    assert seen[1][5:].all()


def test_nobody_is_found_in_an_empty_picture() -> None:
    backdrop = np.linspace((200, 190, 180), (150, 140, 130), 256)[:, None].repeat(192, axis=1).astype(np.uint8)
    found = DWPose.load(None, NET)([backdrop, backdrop[::-1]])
    assert found.present.all(), "the pseudo person"
    assert not found.detected.any()
    assert follow(found).slot is None


def test_the_net_is_a_small_pose_net_that_knows_no_hands_and_faces() -> None:
    net = PoseNet(NET, batch=4)
    assert NET.stat().st_size < 2_000_000
    assert (net.model.width, net.model.height) == (WIDTH, HEIGHT)
    noise = np.random.default_rng(0).integers(0, 255, (3, 200, 150, 3), dtype=np.uint8)
    points, scores = net([crop for image in noise for crop in net.cut(image, np.array([[0.0, 0, 150, 200]]))])
    assert points.shape == (3, 133, 2)
    assert not scores[:, POINTS:].any()


def test_a_person_without_a_detector_has_the_box_of_their_visible_points() -> None:
    drawing = draw(random_character(HELD_OUT + 41), standing(HELD_OUT + 41), 192, 256)
    (box,) = next(DWPose.load(None, NET).detect([drawing.picture])).boxes
    points = drawing.keypoints[:, :2]
    assert np.abs(box - [*points.min(axis=0), *points.max(axis=0)]).max() < 8


def test_the_choice_of_the_whole_image_is_in_the_key_and_published_keys_stay() -> None:
    recipe = Recipe("dwpose", "keypoints")
    detected = Estimators(dwpose=DWPoseSettings(detector="yolox_l.onnx", pose=str(NET)))
    assert key_parts(recipe, ESTIMATORS) == key_parts(recipe, detected) | {"detector": WHOLE_IMAGE}
    assert "detector" not in key_parts(recipe, detected)
    assert "detector" not in key_parts(Recipe("none", "keypoints"), ESTIMATORS)


def test_the_whole_image_is_a_word_and_no_file(tmp_path: Path) -> None:
    assert ESTIMATORS.files("dwpose") == [str(NET)]
    moved = ESTIMATORS.moved(lambda uri: f"elsewhere/{Path(uri).name}").dwpose
    assert (moved.detector, moved.pose) == (WHOLE_IMAGE, "elsewhere/keypoints.onnx")
    finding = next(iter(doctor_estimators(RunConfig(estimators=ESTIMATORS))))
    assert (finding.verdict, WHOLE_IMAGE in finding.text, str(NET) in finding.text) == ("ok", True, True)


def test_the_onnx_file_computes_what_the_network_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = KeypointNet((4, 4, 8, 8, 8)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        network.head.weight.mul_(60)
        write_onnx(network, tmp_path / "net.onnx")
        images = torch.randn(2, 3, HEIGHT, WIDTH)
        wanted = responses(network(images))
    for curves, found in zip(wanted, PoseNet(tmp_path / "net.onnx", batch=2).model(images.numpy()), strict=True):
        assert curves.max() > 0.1
        np.testing.assert_allclose(found, curves, atol=2e-3)


def test_the_written_graph_with_the_bundled_weights_is_the_bundled_net(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    write_onnx(KeypointNet(), path)
    written = onnx.load(path)
    for mine, theirs in zip(written.graph.initializer, onnx.load(NET).graph.initializer, strict=True):
        assert (mine.name, mine.data_type, mine.dims) == (theirs.name, theirs.data_type, theirs.dims)
        if mine.data_type == onnx.TensorProto.FLOAT16 or (mine.data_type, len(mine.dims)) == (1, 1):  # float32 biases
            mine.CopyFrom(theirs)
    onnx.save(written, path)
    crops = np.random.default_rng(3).normal(size=(2, 3, HEIGHT, WIDTH)).astype(np.float32)
    for mine, theirs in zip(PoseNet(path, batch=2).model(crops), PoseNet(NET, batch=2).model(crops), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_place_is_read_to_the_nearest_bin_from_an_ideal_heat_map() -> None:
    random = np.random.default_rng(1)
    places = random.uniform((12, 12), (WIDTH - 12, HEIGHT - 12), (POINTS, 2))
    axes = [np.arange(side // STRIDE) * STRIDE + (STRIDE - 1) / 2 for side in (WIDTH, HEIGHT)]
    x, y = (-0.5 * ((axis - places[:, at, None]) / (SPREAD * STRIDE)) ** 2 for at, axis in enumerate(axes))
    logits = torch.from_numpy(np.concatenate([y[:, :, None] + x[:, None, :], np.full((POINTS, 64, 48), 9.0)])[None])
    points, scores = decode_simcc(*(curve.numpy() for curve in responses(logits)))
    assert np.abs(points[0, :POINTS] - places).max() <= 0.26
    assert np.abs(scores[0, :POINTS] - 1).max() < 0.02


def test_training_crops_keep_every_point_where_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    for spoiling in ("softened", "occluded", "relit"):
        monkeypatch.setattr(keypoint_crops, spoiling, lambda picture, random: picture)
    monkeypatch.setattr(keypoint_crops, "EMPTY", 0)
    random = np.random.default_rng(2)
    columns, rows = np.meshgrid(np.arange(6) * 24 + 30, np.arange(4) * 50 + 40)
    places = np.stack([columns.ravel(), rows.ravel()], axis=1)[random.permutation(POINTS)]
    colours = np.stack(np.unravel_index(np.arange(1, POINTS + 1), (3, 3, 3)), axis=1) * 127
    picture = np.full((256, 192, 3), 60, np.uint8)
    for place, colour in zip(places, colours, strict=True):
        cv2.circle(picture, place.tolist(), 6, colour.tolist(), -1)
    keypoints = np.column_stack([places, np.ones(POINTS)]).astype(np.float32)
    crops = training_crops([Album(picture[None], keypoints[None])], 40, random)
    mirrored = 0
    for image, points, present in zip(crops.images, crops.points, crops.present, strict=True):
        x, y = points[present].round().astype(int).T
        shown = image[y, x].astype(int)
        plain, flipped = (np.abs(shown - wanted[present]).max() < 64 for wanted in (colours, colours[MIRRORED]))
        assert plain != flipped
        mirrored += flipped
    assert 5 < mirrored < 35
    assert crops.present.mean() > 0.8


def test_training_lowers_the_loss_and_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keypoints, "SETTLING", 2)
    monkeypatch.setattr(
        keypoints, "Training", lambda *given, **named: Training(*given, **named, clock=count().__next__)
    )
    monkeypatch.setattr(keypoints, "FIRST", 2)
    galleries = [Gallery(12, *shape) for shape in SHAPES]
    for steps in (5, 30):
        keypoints.train(galleries, Settings(output=tmp_path), seconds=steps, batch=4)
    lines = [json.loads(line) for line in (tmp_path / "keypoints" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 15, 25, 30]
    assert lines[-1]["place"] < lines[1]["place"] < lines[0]["place"]


def test_a_gallery_exchanges_its_oldest_pictures_for_those_of_other_people() -> None:
    gallery, random = Gallery(6, 96, 128), np.random.default_rng(0)
    assert len(gallery.album.pictures) == 0
    gallery.renew(random)
    first = gallery.album
    assert first.pictures.shape == (EACH, 128, 96, 3)
    kept = first.pictures.copy()
    gallery.renew(random)
    after = gallery.album
    assert (len(after.pictures), len(after.keypoints)) == (6, 6)
    same = [any(np.array_equal(one, other) for other in after.pictures) for one in kept]
    assert same == [False, False, True, True]


def test_people_are_seen_from_all_sides() -> None:
    yaws = [abs((any_pose(np.random.default_rng(seed)).yaw + 180) % 360 - 180) for seed in range(600)]
    behind = np.mean(np.array(yaws) > 120)
    assert 0.08 < behind < 0.3
