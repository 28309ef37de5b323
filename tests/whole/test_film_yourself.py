"""A person films a person with a phone: what is found, drawn and told, with MediaPipe's nets as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from pipelines import cli
from stages.poses.files.keypoint_file import import_keypoints
from stages.poses.recipes import PeopleSettings
from stages.poses.wholebody import BODY, VISIBLE
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.conftest import CHECKOUT

FRAMES = 12
SIZE = 480, 720
SCALE = 1.28  # pixels of the still for one of the film


def moved(frame: int) -> tuple[float, float]:
    """Where the still's corner is in the film's picture, in pixels of the still."""
    return 6.0 * frame, 2.0 * frame


def camera(still: Path) -> Iterator[np.ndarray]:
    """A camera that pans over a still."""
    picture = Image.open(still).convert("RGB")
    for frame in range(FRAMES):
        left, top = moved(frame)
        shown = picture.transform(
            SIZE, Image.Transform.AFFINE, (SCALE, 0, left, 0, SCALE, top), Image.Resampling.BICUBIC
        )
        yield np.asarray(shown)


def ffmpeg(*arguments: str | Path, pixels: bytes | None = None) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, input=pixels, stdin=None if pixels else subprocess.DEVNULL, check=True, timeout=120)


@pytest.fixture(scope="module")
def phone_video(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HEVC, stored lying down and shown upright, at a rate that falters: as phones write it."""
    folder = tmp_path_factory.mktemp("phone")
    frames = b"".join(np.ascontiguousarray(np.rot90(frame)).tobytes() for frame in camera(shared / PERSON))
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIZE[1]}x{SIZE[0]}", "-r", "25", "-i", "-")
    hevc = ("-c:v", "libx265", "-x265-params", "log-level=error", "-tag:v", "hvc1", "-pix_fmt", "yuv420p", "-crf", "16")
    falter = ("-vf", r"setpts='PTS+floor(N/5)*1.5/25/TB'", "-fps_mode", "vfr")
    ffmpeg(*raw, *falter, *hevc, folder / "lying.mp4", pixels=frames)
    ffmpeg("-display_rotation", "-90", "-i", folder / "lying.mp4", "-c", "copy", folder / "phone.mp4")
    return folder / "phone.mp4"


PERSON = Path("media", "animate_anyone", "anyone-3.png")  # one person, from head to foot


def test_a_phone_video_becomes_a_pose_film_keypoints_and_a_report(
    phone_video: Path, people_nets: PeopleSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film, documents, report = tmp_path / "film.mp4", tmp_path / "poses.json", tmp_path / "report.html"
    command = ["poses", str(phone_video), str(film), "--json", str(documents), "--report", str(report)]
    assert cli.main(command) == cli.OK
    video, drawn = Frames(phone_video, Limits()), Frames(film, Limits())
    assert (video.facts.codec, video.facts.rotation % 180, video.facts.variable) == ("hevc", 90, True)
    assert (drawn.facts.width, drawn.facts.height) == SIZE
    assert abs(drawn.facts.seconds - video.facts.seconds) < Fraction(1, 10), "a faltering rate keeps its time"
    keypoints, fps = import_keypoints(documents, Limits())
    assert (len(keypoints), keypoints.width, keypoints.height) == (drawn.facts.frames, *SIZE)
    assert fps == drawn.facts.fps
    assert keypoints.points.shape[1] == 1
    assert (keypoints.scores[:, 0, BODY] > VISIBLE).mean() > 0.9
    nose, ankle = keypoints.points[:, 0, 0], keypoints.points[:, 0, 10]
    assert (nose[:, 1] < ankle[:, 1] - 300).all(), "upright"
    assert "data:image/jpeg" in report.read_text(encoding="utf-8")
    said = capsys.readouterr().err
    assert f"{report}: good enough to animate from" in said
    assert "1 to 1 people, 0 frames in which nobody was found (estimator people)" in said


def test_poses_follow_the_person_through_the_picture(shared: Path, people_nets: PeopleSettings, tmp_path: Path) -> None:
    frames = b"".join(frame.tobytes() for frame in camera(shared / PERSON))
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "{}x{}".format(*SIZE), "-r", "25", "-i", "-")
    ffmpeg(*raw, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "12", tmp_path / "pan.mp4", pixels=frames)
    command = ["poses", str(tmp_path / "pan.mp4"), str(tmp_path / "film.mp4"), "--json", str(tmp_path / "k.json"), "-q"]
    assert cli.main(command) == cli.OK
    keypoints, _ = import_keypoints(tmp_path / "k.json", Limits())
    shoulders = keypoints.points[:, 0, [2, 5]].mean(axis=1)
    expected = shoulders[0] - np.array([moved(frame) for frame in range(FRAMES)]) / SCALE
    assert np.abs(shoulders - expected).max() < 0.01 * SIZE[1]


def test_a_picture_is_a_film_of_one_frame(shared: Path, people_nets: PeopleSettings, tmp_path: Path) -> None:
    for ending in (".jpg", ".png", ".mp4"):
        film, documents = tmp_path / f"out{ending}", tmp_path / f"out{ending}.json"
        assert cli.main(["poses", str(shared / PERSON), str(film), "--json", str(documents), "-q"]) == cli.OK
        assert film.stat().st_size > 5000
        keypoints, _ = import_keypoints(documents, Limits())
        assert (len(keypoints), keypoints.width, keypoints.height) == (1, 614, 922)
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size == (614, 922)
    assert json.loads((tmp_path / "out.jpg.json").read_text()) == json.loads((tmp_path / "out.png.json").read_text())


def test_a_quiet_command_says_nothing(shared: Path, people_nets: PeopleSettings, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "poses", str(shared / PERSON), str(tmp_path / "out.jpg"), "-q"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=300)
    assert (done.stdout, done.stderr) == ("", "")


def test_without_the_nets_the_remedy_is_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.yaml").write_text(f"estimators: {{people: {{folder: {tmp_path}}}}}")
    Image.new("RGB", (64, 64)).save(tmp_path / "me.jpg")
    config = ["--config", str(tmp_path / "settings.yaml")]
    assert cli.main(["poses", str(tmp_path / "me.jpg"), str(tmp_path / "out.jpg"), *config]) == cli.SOME_FAILED
    assert "→ run `catwalk models fetch people`" in capsys.readouterr().err
    assert not (tmp_path / "out.jpg").exists()


def test_a_video_has_no_picture_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["poses", "video.mp4", str(tmp_path / "out.jpg")]) == cli.WRONG_USAGE
    assert "name a file that ends in .mp4" in capsys.readouterr().err
