"""ExtractPose: what is stored of a driving file, how often it is made, and what its key depends on."""

from __future__ import annotations

import json
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import storage
from manifests.errors import Problem, Rejected
from manifests.layout import OutputLayout
from manifests.work import Source
from pipelines.training.people import draw, random_character, standing
from stages.extract_pose import ExtractPose
from stages.poses.estimators.dwpose import DWPose
from stages.poses.estimators.load import load_dwpose
from stages.poses.estimators.yolox import PersonDetector
from stages.poses.files import keypoint_file, openpose_json
from stages.poses.files.array_file import read_header
from stages.poses.files.keypoint_file import import_keypoints, read_keypoints, write_keypoints
from stages.poses.files.sequence import PoseSequence
from stages.poses.keypoints import Keypoints, People
from stages.poses.recipes import DWPoseSettings, Estimators, Recipe, key_parts
from stages.video.encode import Encoder, EncodeRecipe
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.bench.drawn_keypoints import NET
from tests.made.memory import peak_of
from tests.made.sample_media import CHECKPOINT, write_driving
from tests.made.tiny_onnx import write_pose_net

DETECTOR = CHECKPOINT.parent.parent / "pose" / "checkpoint" / "DWPose" / "yolox_l.onnx"


def source(path: Path) -> Source:
    return Source(uri=str(path), digest=storage.digest(str(path)), width=48, height=64)


def somebody(frames: int = 4, people: int = 2) -> Keypoints:
    random = np.random.default_rng(3)
    pictures = []
    for _ in range(frames):
        points, scores = random.uniform(5, 90, (people, 134, 2)), random.uniform(0.1, 1, (people, 134))
        boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        pictures.append(People(points, scores, boxes))
    return Keypoints.from_people(pictures, 100, 120)


def same(one: Keypoints, other: Keypoints, within: float = 0.0) -> bool:
    pairs = ((one.points, other.points), (one.scores, other.scores))
    return (one.width, one.height) == (other.width, other.height) and all(
        np.allclose(a, b, atol=within, rtol=0, equal_nan=True) for a, b in pairs
    )


def test_a_drawn_driving_video_is_stored_frame_by_frame_as_it_is(tmp_path: Path) -> None:
    video = write_driving(tmp_path / "d.mp4", frames=5)
    stage, layout = ExtractPose(OutputLayout(str(tmp_path)), Limits(), Estimators()), OutputLayout(str(tmp_path))
    assert stage(source(video), Recipe("none", "frames"), "key") is True
    assert stage(source(video), Recipe("none", "frames"), "key") is False
    with PoseSequence(Path(layout.poses("key"))) as stored:
        assert (len(stored), stored.fps, stored[0].shape) == (5, Fraction(25), (64, 48, 3))
        assert stored.seconds == [Fraction(number, 25) for number in range(5)]


def test_a_film_that_is_damaged_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    video = write_driving(tmp_path / "d.mp4", frames=30)
    with av.open(str(video)) as container:
        spoilt = [packet for packet in container.demux(video=0) if packet.size][20]
    data = bytearray(video.read_bytes())
    data[spoilt.pos + 12 : spoilt.pos + spoilt.size] = b"\xff" * (spoilt.size - 12)
    video.write_bytes(data)
    layout = OutputLayout(str(tmp_path / "out"))
    with pytest.raises(Rejected, match="damaged"):
        ExtractPose(layout, Limits(), Estimators())(source(video), Recipe("none", "frames"), "key")
    assert not storage.exists(layout.poses("key"))


def test_a_driving_file_that_changed_since_it_was_validated_is_not_used(tmp_path: Path) -> None:
    video = write_driving(tmp_path / "d.mp4", frames=5)
    before = source(video)
    write_driving(tmp_path / "d.mp4", frames=6)
    with pytest.raises(Problem, match="changed while the run"):
        ExtractPose(OutputLayout(str(tmp_path)), Limits(), Estimators())(before, Recipe("none", "frames"), "key")


def test_stored_keypoints_are_read_as_they_were(tmp_path: Path) -> None:
    keypoints, seconds = somebody(), [Fraction(number, 30) for number in range(4)]
    write_keypoints(tmp_path / "k.arrow", keypoints, seconds, Fraction(30))
    read, timestamps, fps = read_keypoints(tmp_path / "k.arrow")
    assert same(read, keypoints)
    assert np.array_equal(read.boxes, keypoints.boxes, equal_nan=True)
    assert (timestamps, fps) == (seconds, Fraction(30))
    (tmp_path / "k.arrow").write_bytes(b"damaged")
    with pytest.raises(Problem, match="delete the file"):
        read_keypoints(tmp_path / "k.arrow")


def test_keypoints_that_an_earlier_version_stored_as_one_table_are_read_as_they_were(tmp_path: Path) -> None:
    keypoints = Keypoints.from_people([somebody(1, people).people(0) for people in (2, 1, 0)], 100, 120)
    columns = {name: list(getattr(keypoints, name).reshape(3, -1)) for name in ("points", "scores", "boxes")}
    table = pa.table({"second": ["0", "1/30", "1/15"], **columns})
    table = table.replace_schema_metadata({"width": "100", "height": "120", "slots": "2", "fps": "30"})
    with pa.ipc.new_file(str(tmp_path / "k.arrow"), table.schema) as file:
        file.write_table(table)
    read, seconds, fps = read_keypoints(tmp_path / "k.arrow")
    assert same(read, keypoints)
    assert np.array_equal(read.boxes, keypoints.boxes, equal_nan=True)
    assert (seconds, fps) == ([Fraction(0), Fraction(1, 30), Fraction(1, 15)], 30)


def test_people_are_stored_as_they_are_found_whatever_the_number_of_frames(tmp_path: Path) -> None:
    def store(frames: int) -> int:
        found = (somebody(1, 1 + frame % 2).people(0) for frame in range(frames))
        timed = ((Fraction(frame, 25), people) for frame, people in enumerate(found))
        return peak_of(lambda: keypoint_file.write_people(tmp_path / f"{frames}.arrow", timed, 100, 120, Fraction(25)))[
            1
        ]

    store(1)  # what is imported on the way is no part of it
    assert store(2048) < 1.5 * store(512)
    keypoints, seconds, _ = read_keypoints(tmp_path / "2048.arrow")
    assert (keypoints.present.sum(axis=1) == np.tile([1, 2], 1024)).all()
    assert seconds == [Fraction(frame, 25) for frame in range(2048)]


def write_documents(path: Path, keypoints: Keypoints) -> Path:
    documents = [openpose_json.write(keypoints.people(number)) for number in range(len(keypoints))]
    if path.suffix == ".zip":
        with ZipFile(path, "w") as archive:
            for number, document in reversed(list(enumerate(documents))):
                archive.writestr(f"clip_{number:012d}_keypoints.json", json.dumps(document | SIZE))
    else:
        path.write_text(json.dumps({"width": 100, "height": 120, "fps": "30000/1001", "frames": documents}))
    return path


SIZE = {"canvas_width": 100, "canvas_height": 120}


def write_arrays(path: Path, keypoints: Keypoints) -> Path:
    triples = np.concatenate([keypoints.points, keypoints.scores[..., None]], axis=-1)
    if path.suffix == ".npz":
        np.savez(path, keypoints=triples, width=100, height=120, fps="30000/1001")
        return path
    places = np.indices(triples.shape[:3]).reshape(3, -1)
    columns = dict(zip(("frame", "person", "point"), places, strict=True))
    columns |= dict(zip(("x", "y", "score"), triples.reshape(-1, 3).T, strict=True))
    table = pa.table(columns).replace_schema_metadata({"width": "100", "height": "120", "fps": "30000/1001"})
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("name", ["k.json", "k.zip", "k.npz", "k.parquet"])
def test_keypoints_come_in_as_openpose_json_numpy_and_parquet(tmp_path: Path, name: str) -> None:
    keypoints = somebody()
    write = write_documents if name.endswith(("json", "zip")) else write_arrays
    read, fps = import_keypoints(write(tmp_path / name, keypoints), Limits())
    assert same(read, keypoints, within=1e-9)
    assert fps == (None if name == "k.zip" else Fraction(30000, 1001))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"[1, 2]", b"not json"])
def test_a_keypoint_file_that_is_none_is_rejected(tmp_path: Path, content: bytes) -> None:
    for name in ("k.json", "k.npz", "k.parquet", "k.zip", "k.bvh"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Rejected):
            import_keypoints(tmp_path / name, Limits())


def test_a_pickle_in_a_numpy_file_is_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", keypoints=np.array([{"a": 1}], dtype=object), width=1, height=1)
    with pytest.raises(Rejected):
        import_keypoints(tmp_path / "k.npz", Limits())


def test_documents_of_a_zip_are_read_one_by_one(tmp_path: Path) -> None:
    packed = write_documents(tmp_path / "k.zip", somebody(frames=120))
    (keypoints, _), peak = peak_of(lambda: import_keypoints(packed, Limits()))
    assert len(keypoints) == 120
    assert peak < 6 * keypoints.points.nbytes  # as Python's numbers, the documents alone take more


def test_what_an_archiver_puts_beside_the_documents_is_left_out(tmp_path: Path) -> None:
    packed = write_documents(tmp_path / "k.zip", somebody(frames=4))
    with ZipFile(packed, "a") as archive:
        for name in ("__MACOSX/film/._film_000000000000_keypoints.json", "film/._film_000000000001_keypoints.json"):
            archive.writestr(name, b"\0\5\x16\7\0\2\0\0Mac OS X")
        for name in ("__MACOSX/film_000000000002_keypoints.json", ".DS_Store", "film/Thumbs.db", "desktop.ini"):
            archive.writestr(name, b"\0\0\0\1Bud1")
    assert len(import_keypoints(packed, Limits(frames=4))[0]) == 4


@pytest.mark.parametrize("name", ["k.json", "k.zip", "k.npz", "k.parquet"])
def test_more_frames_than_the_limit_are_rejected(tmp_path: Path, name: str) -> None:
    write = write_documents if name.endswith(("json", "zip")) else write_arrays
    path = write(tmp_path / name, somebody(frames=4))
    assert len(import_keypoints(path, Limits(frames=4))[0]) == 4
    with pytest.raises(Rejected, match="4 frames, allowed are 3"):
        import_keypoints(path, Limits(frames=3))


@pytest.mark.parametrize("wrong", [{"frame": [-1]}, {"point": [2**40]}, {"person": [np.nan]}, {"x": ["left"]}])
def test_parquet_of_impossible_places_is_rejected_before_memory_is_taken(tmp_path: Path, wrong: dict) -> None:
    columns = {"frame": [0], "person": [0], "point": [133], "x": [1.0], "y": [1.0], "score": [1.0]}
    facts = {"width": "100", "height": "120"}
    pq.write_table(pa.table(columns).replace_schema_metadata(facts), tmp_path / "good.parquet")
    assert len(import_keypoints(tmp_path / "good.parquet", Limits())[0]) == 1
    pq.write_table(pa.table(columns | wrong).replace_schema_metadata(facts), tmp_path / "k.parquet")
    with pytest.raises(Rejected, match=r"count from 0|have shape|expected numbers"):
        import_keypoints(tmp_path / "k.parquet", Limits())


SHOWN = {"people": [{"pose_keypoints_2d": [5, 5, 1] * 18}]}


@pytest.mark.parametrize("side", ["640", [1], {}, True, False, 640.5, float("nan"), float("inf"), 0, -5, 10**30, "é"])
@pytest.mark.parametrize("where", ["beside", "canvas"])
def test_a_picture_s_side_of_another_kind_is_told_by_its_name(tmp_path: Path, side: object, where: str) -> None:
    told = {"width": side, "height": 9} if where == "beside" else {}
    frame = SHOWN | ({"canvas_width": side, "canvas_height": 9} if where == "canvas" else {})
    (tmp_path / "k.json").write_text(json.dumps({"frames": [frame], **told}))
    with pytest.raises(Rejected, match=r"width × .*height is ") as caught:
        import_keypoints(tmp_path / "k.json", Limits())
    assert "whole numbers of pixels" in caught.value.remedy


def test_sides_that_are_whole_are_taken_however_they_are_written(tmp_path: Path) -> None:
    stated = {"a.json": {"width": 640.0, "height": 480}, "b.json": {"width": None, "height": None}}
    stated["c.json"] = {"width": 640, "height": 480, "fps": None}
    for name, facts in stated.items():
        canvas = {"canvas_width": 640.0, "canvas_height": 480} if name == "b.json" else {}
        (tmp_path / name).write_text(json.dumps({"frames": [SHOWN | canvas], **facts}))
    np.savez(tmp_path / "d.npz", keypoints=np.ones((1, 1, 18, 3)), width="640", height=480.0)
    columns = {"frame": [0], "person": [0], "point": [133], "x": [1.0], "y": [1.0], "score": [1.0]}
    pq.write_table(
        pa.table(columns).replace_schema_metadata({"width": "640.0", "height": "480"}), tmp_path / "e.parquet"
    )
    for path in sorted(tmp_path.iterdir()):
        read, fps = import_keypoints(path, Limits())
        assert [type(side) for side in (read.width, read.height)] == [int, int]
        assert (read.width, read.height, fps) == (640, 480, None)


@pytest.mark.parametrize("number", [1e300, -1e7, float("inf"), -float("inf")])
def test_points_that_no_picture_has_are_refused_before_anyone_computes_with_them(tmp_path: Path, number: float) -> None:
    for column in range(3):
        triples = np.full((2, 1, 18, 3), 5.0)
        triples[1, 0, 3, column] = number
        np.savez(tmp_path / "k.npz", keypoints=triples, width=9, height=9)
        frames = [{"people": [{"pose_keypoints_2d": frame[0].ravel().tolist()}]} for frame in triples]
        (tmp_path / "k.json").write_text(json.dumps({"frames": frames, "width": 9, "height": 9}))
        for name in ("k.npz", "k.json"):
            with pytest.raises(Rejected, match=r"frame 1.*1000000"):
                import_keypoints(tmp_path / name, Limits())


def test_a_shape_of_truth_values_is_none() -> None:
    stream = BytesIO()
    np.save(stream, np.ones((1, 1, 18, 3)))
    lying = stream.getvalue().replace(b"(1, 1, 18, 3)", b"(True,1,18,3)")
    with pytest.raises(ValueError, match="an array of shape"):
        read_header(BytesIO(lying))


def test_sizes_and_rates_that_cannot_be_are_rejected(tmp_path: Path) -> None:
    points = np.zeros((2, 1, 134, 3))
    for wrong in ({"width": 0}, {"height": -5}, {"fps": 0}, {"fps": -25}, {"fps": 10**9}):
        np.savez(tmp_path / "k.npz", **{"keypoints": points, "width": 9, "height": 9, "fps": 25, **wrong})
        with pytest.raises(Rejected):
            import_keypoints(tmp_path / "k.npz", Limits())
    np.savez(tmp_path / "k.npz", keypoints=np.asfortranarray(points), width=9, height=9, fps=29.97)
    assert import_keypoints(tmp_path / "k.npz", Limits())[1] == Fraction(30000, 1001)


@pytest.fixture(scope="module")
def estimators(tmp_path_factory: pytest.TempPathFactory) -> Estimators:
    net = write_pose_net(tmp_path_factory.mktemp("nets") / "pose.onnx")
    return Estimators(dwpose=DWPoseSettings(detector=str(DETECTOR), pose=str(net)))


def write_people(path: Path, frames: int = 6) -> Path:
    """A film with one bright blob, which the small recorded detector takes for a person."""
    film = np.full((frames, 240, 320, 3), 40, np.uint8)
    for number in range(frames):
        film[number, 60:180, 100 + 4 * number : 160 + 4 * number] = (230, 60, 60)
    with Encoder(path, 320, 240, Fraction(25), EncodeRecipe(crf=4)) as encoder:
        encoder.write(film)
    return path


def test_a_filmed_person_is_stored_as_keypoints(tmp_path: Path, estimators: Estimators) -> None:
    video, layout = write_people(tmp_path / "d.mp4"), OutputLayout(str(tmp_path))
    stage = ExtractPose(layout, Limits(), estimators)
    assert stage(source(video), Recipe("dwpose", "keypoints"), "key") is True
    keypoints, seconds, fps = read_keypoints(Path(layout.poses("key")))
    assert (len(keypoints), keypoints.width, keypoints.height, len(seconds), fps) == (6, 320, 240, 6, Fraction(25))
    assert keypoints.present.any(axis=1).all()


def test_following_people_between_detections_detects_in_every_nth_frame(
    estimators: Estimators, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    detect = PersonDetector.__call__

    def counting(self: PersonDetector, image: np.ndarray) -> np.ndarray:
        looked.append(1)
        found = detect(self, image)
        return found if len(found) else np.array([[100.0, 60, 160, 180]])

    monkeypatch.setattr(PersonDetector, "__call__", counting)
    frames = list(np.random.default_rng(0).integers(0, 255, (9, 240, 320, 3), dtype=np.uint8))
    settings = estimators.dwpose.model_copy(update={"detect_every": 4})
    estimator = load_dwpose(settings, "as_trained", Path("unused"))
    monkeypatch.setattr("stages.poses.estimators.dwpose._ENOUGH_POINTS", 0)
    monkeypatch.setattr("stages.poses.estimators.dwpose.VISIBLE", -np.inf)
    assert len(estimator(frames)) == 9
    assert len(looked) == 3


def test_what_changes_results_is_in_the_key_and_threads_are_not(estimators: Estimators) -> None:
    recipe = Recipe("dwpose", "keypoints")

    def parts(**changes: object) -> dict:
        changed = estimators.dwpose.model_copy(update=changes)
        return key_parts(recipe, estimators.model_copy(update={"dwpose": changed}))

    assert parts(threads=8) == parts(detector="elsewhere.onnx") == parts()
    assert len({json.dumps(one) for one in (parts(), parts(batch=4), parts(detect_every=2))}) == 3
    assert key_parts(Recipe("dwpose", "keypoints", "animate_anyone"), estimators) != parts()


def test_estimator_files_that_are_none_are_a_problem(tmp_path: Path, estimators: Estimators) -> None:
    wrong = estimators.dwpose.model_copy(update={"pose": str(DETECTOR)})
    video = write_people(tmp_path / "d.mp4", frames=2)
    stage = ExtractPose(OutputLayout(str(tmp_path)), Limits(), Estimators(dwpose=wrong))
    with pytest.raises(Problem, match="RTMPose"):
        stage(source(video), Recipe("dwpose", "keypoints"), "key")


def test_catwalk_poses_draws_everyone_and_writes_what_can_be_driven_by(tmp_path: Path, estimators: Estimators) -> None:
    from pipelines.cli import main

    video, net = write_people(tmp_path / "d.mp4"), estimators.dwpose
    command = ["poses", str(video), str(tmp_path / "out.mp4"), "--detector", net.detector, "--pose", net.pose]
    assert main([*command, "--json", str(tmp_path / "k.json")]) == 0
    drawn = list(Frames(tmp_path / "out.mp4", Limits()).read())
    assert (len(drawn), drawn[0].shape) == (6, (240, 320, 3))
    keypoints, fps = import_keypoints(tmp_path / "k.json", Limits())
    assert (len(keypoints), keypoints.width, keypoints.height, fps) == (6, 320, 240, Fraction(25))
    assert main([*command[:-2]]) == 2


@pytest.mark.parametrize("below", [0, 256])
def test_a_still_is_looked_at_until_the_crop_fits_its_person(below: int) -> None:
    drawn = draw(random_character(1_000_120), standing(1_000_120), 192, 256)
    tall = np.pad(drawn.picture, ((0, below), (0, 0), (0, 0)), mode="edge")
    found = DWPose.load(None, NET).still(tall)
    shown = drawn.keypoints[:17, 2] > 0
    errors = np.linalg.norm(found.points[0, :17] - drawn.keypoints[:17, :2], axis=1)[shown]
    assert errors.mean() < 2


@pytest.mark.parametrize("picture", [np.full((96, 64, 3), 128, np.uint8), np.zeros((64, 256, 3), np.uint8)])
def test_a_still_of_nobody_is_looked_at_without_a_crop_of_nothing(picture: np.ndarray) -> None:
    with np.errstate(all="raise"):
        found = DWPose.load(None, NET).still(picture)
    assert np.isfinite(found.points).all()
    assert np.isfinite(found.boxes).all()
