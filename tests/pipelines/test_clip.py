"""`catwalk clip`: what it chooses where nothing is said, and what it leaves behind."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from manifests import storage
from manifests.errors import Problem
from pipelines import cli
from pipelines.clip import StageChain, make_clip
from pipelines.configuration import RunConfig
from pipelines.demo import CATALOGUE
from stages.diffusion.animator import Denoised, Driving
from stages.diffusion.animators import ANIMATORS
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.conftest import CHECKOUT
from tests.made.plain_animators import FACTS, Plain
from tests.made.sample_media import CHECKPOINT, clip_row, write_driving, write_manifest, write_reference
from tests.made.segmented import IMPLEMENTATION, Segmented, made

SHORT = ["--set", "frame_count=2", "--set", "steps=1"]


@pytest.fixture
def media(tmp_path: Path) -> list[str]:
    """A drawn person, somebody who turns, and a film to write."""
    return [str(CATALOGUE / "heart-tee.png"), str(CATALOGUE / "turn.mp4"), str(tmp_path / "film.mp4")]


# Which animator


def test_the_first_clip_of_a_new_user_is_made_by_what_is_there(
    media: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["clip", *media, *SHORT]) == cli.OK
    said = capsys.readouterr().err
    assert "animator drawn: bundled with Catwalk, for drawn references only; for another, --checkpoint" in said
    assert Path(media[2]).stat().st_size > 500


def test_where_no_net_finds_real_people_that_is_said(
    media: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings.yaml").write_text(f"estimators: {{people: {{folder: {tmp_path}}}}}")
    assert cli.main(["clip", *media, *SHORT, "--config", str(tmp_path / "settings.yaml")]) == cli.OK
    said = capsys.readouterr().err
    assert "note: the driving person is taken for a drawn one; for real ones run `catwalk models fetch people`" in said


def test_a_configured_animator_comes_before_the_bundled_one(
    media: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--set", "driving_kind=densepose", "--set", "width=48", "--set", "height=64"]
    weights = ["--checkpoint", f"magicanimate={CHECKPOINT}", "--checkpoint", "mine=/models"]
    assert cli.main(["clip", *media, *SHORT, *small, *weights]) == cli.OK
    said = capsys.readouterr().err
    assert "animator magicanimate: configured; --animator NAME chooses another" in said
    assert "magicanimate, standard mode, 2 frames" in said


def test_what_is_delivered_is_signed_and_of_a_film_without_credentials_that_is_said(
    media: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--set", "driving_kind=densepose", "--set", "width=48", "--set", "height=64"]
    asked += [*SHORT, "--checkpoint", f"magicanimate={CHECKPOINT}", "--poster", str(tmp_path / "film.jpg")]
    assert cli.main(["clip", *media, *asked]) == cli.OK
    assert "no credentials" not in capsys.readouterr().err
    assert cli.main(["verify", media[2], str(tmp_path / "film.jpg")]) == cli.OK
    (tmp_path / "settings.yaml").write_text("provenance: {credentials: {sign: false}}")
    assert cli.main(["clip", *media, *asked, "--overwrite", "--config", str(tmp_path / "settings.yaml")]) == cli.OK
    assert "carries no credentials, as the configuration says" in capsys.readouterr().err
    assert cli.main(["verify", media[2]]) == cli.SOME_FAILED


@pytest.mark.parametrize(
    ("asked", "lacks"),
    [
        (["--checkpoint", "magicanimate=/models"], "no densepose estimator is configured"),
        (["--animator", "animate_anyone", "--set", "driving_kind=skeleton"], "none is configured for animate_anyone"),
    ],
)
def test_an_animator_that_lacks_something_says_what_and_which_one_works(
    asked: list[str], lacks: str, media: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["clip", *media, *asked]) == cli.SOME_FAILED
    said = capsys.readouterr().err
    assert lacks in said
    assert "what works now: --animator drawn (bundled with Catwalk" in said


def test_what_another_animator_could_not_mend_names_none(media: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clip", "nobody.png", *media[1:], "--checkpoint", f"drawn={CHECKPOINT}"]) == cli.SOME_FAILED
    assert "what works now" not in capsys.readouterr().err


def test_weights_without_their_animator_are_wrong_usage(media: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clip", *media, "--set", "checkpoint=/models"]) == cli.WRONG_USAGE
    assert "add --animator NAME" in capsys.readouterr().err


def test_a_film_may_have_any_name(media: list[str], tmp_path: Path) -> None:
    assert cli.main(["clip", *media[:2], str(tmp_path / "Ün film, 2..mp4"), *SHORT]) == cli.OK


def test_a_film_has_the_threads_that_its_pool_says_with_replicas_and_without(tmp_path: Path) -> None:
    for pool, threads in (({"threads": 3}, 3), ({"threads": 2, "gpus_per_clip": 2}, 2), ({}, 2)):
        StageChain(RunConfig.load(None, {"animate_pool": {"device": "cpu", **pool}}), str(tmp_path))
        assert torch.get_num_threads() == threads, "and what is not said stays as it was"


# Where it is written


def full(target: str) -> Callable[[Path, str], None]:
    """A publish for which the disk below `target` is full."""
    real = storage.publish

    def publish(local: Path, uri: str) -> None:
        if uri.startswith(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(local, uri)

    return publish


@pytest.mark.parametrize("cached", [False, True])
def test_a_film_that_cannot_be_written_is_kept_and_its_place_named(
    cached: bool,
    media: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(storage, "publish", full(media[2]))
    cache = ["--cache", str(tmp_path / "cache")] if cached else []
    assert cli.main(["clip", *media, *SHORT, *cache]) == cli.SOME_FAILED
    said = capsys.readouterr().err
    assert "the disk is full" in said
    kept = Path(said.strip().rpartition("the finished film is at ")[2])
    assert kept.name == "film.mp4"
    assert kept.is_relative_to(tmp_path / ("cache" if cached else "tmp"))
    assert kept.stat().st_size > 500


def test_a_run_keeps_a_film_that_it_cannot_publish_in_the_cache(
    media: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = StageChain(RunConfig(cache=str(tmp_path / "cache")), str(tmp_path / "out"))
    row = {"id": "a", "reference": media[0], "driving": media[1], "animator": "drawn", "frame_count": 2, "steps": 1}
    work = chain.work(row)
    monkeypatch.setattr(storage, "publish", full(chain.settings.layout.films))
    with pytest.raises(Problem, match="the disk is full") as refused:
        chain.film(work)
    kept = Path(refused.value.remedy.rpartition("the finished film is kept at ")[2])
    assert kept.is_relative_to(tmp_path / "cache")
    assert kept.stat().st_size > 500
    monkeypatch.setattr(storage, "publish", full(str(tmp_path)))
    with pytest.raises(OSError, match="No space"):
        StageChain(RunConfig(cache=str(tmp_path / "other")), str(tmp_path / "out")).film(work)


def test_no_step_is_taken_for_a_film_that_has_no_room(
    media: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=100))
    monkeypatch.setattr("stages.animate.Animate.__call__", lambda *_: pytest.fail("denoised"))
    assert cli.main(["clip", *media, *SHORT]) == cli.SOME_FAILED
    assert "0.1 kB are free, and 1 film(s) with what is stored for them need" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["clip", "animate"])
def test_a_place_that_cannot_be_written_is_found_before_anything_is_done(
    command: str, media: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("needs a folder that even root cannot write to")
    if command == "clip":
        words = [*media[:2], "/proc/film.mp4"]
    else:
        words = [write_manifest(tmp_path / "m.parquet", [clip_row("a")]), "/proc/out"]
    assert cli.main([command, *words]) == cli.WRONG_USAGE
    said = capsys.readouterr().err
    assert "output '/proc/film.mp4'" in said or "output /proc/out cannot be written" in said


@pytest.mark.parametrize(
    ("device", "said"),
    [("cuda", "0 CUDA device(s) are here"), ("cudda", "is no device of torch → did you mean 'cuda'?")],
)
@pytest.mark.parametrize("command", ["clip", "animate"])
def test_a_device_that_is_not_there_is_wrong_usage(
    command: str, device: str, said: str, media: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    words = media
    if command == "animate":
        words = [write_manifest(tmp_path / "m.parquet", [clip_row("a")]), str(tmp_path / "out"), "--gpus", "1"]
    assert cli.main([command, *words, "--device", device]) == cli.WRONG_USAGE
    assert said in capsys.readouterr().err.replace("\n  →", " →")


def test_attention_that_this_machine_cannot_compute_is_wrong_usage(
    media: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "settings.yaml").write_text("animate_pool: {attention: xformers}")
    assert cli.main(["clip", *media, "--config", str(tmp_path / "settings.yaml")]) == cli.WRONG_USAGE
    assert "animate_pool.attention xformers: it has no operator for device cpu" in capsys.readouterr().err
    assert not Path(media[2]).exists()


# What is heard of it, and how it ends


def test_poses_steps_and_frames_are_told_of(media: list[str]) -> None:
    told: list[tuple[str, float, float]] = []
    row = {"id": "a", "reference": media[0], "driving": media[1], "animator": "drawn", "frame_count": 2, "steps": 2}
    film = Path(media[2])
    make_clip(RunConfig(), row, film, None, lambda line: None, told=lambda *one: told.append(one))
    assert told[29] == ("finding poses, frame", 30, 30)
    assert told[30:] == [
        ("denoising, step", 1, 2),
        ("denoising, step", 2, 2),
        ("drawing, frame", 1, 2),
        ("drawing, frame", 2, 2),
    ]


def test_the_outcome_is_json_on_stdout_and_quiet_says_nothing(
    media: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poster = ["--poster", str(tmp_path / "film.jpg")]
    assert cli.main(["clip", *media, *SHORT, *poster, "--json", "--quiet"]) == cli.OK
    printed = capsys.readouterr()
    assert printed.err == ""
    outcome = json.loads(printed.out)
    assert (outcome["exit_code"], outcome["film"], outcome["frames"]) == (0, media[2], 2)
    assert Path(outcome["poster"]).is_file()
    assert cli.main(["clip", *media, *SHORT, "--json", "--quiet"]) == cli.WRONG_USAGE
    printed = capsys.readouterr()
    assert "is there already" in printed.err, "why it failed is said all the same"
    assert json.loads(printed.out)["remedy"] == "name another file, or add --overwrite"


def test_a_verbose_command_says_where_it_failed(media: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clip", "nobody.png", *media[1:], "-v"]) == cli.SOME_FAILED
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.rstrip().splitlines()[-2].startswith("catwalk: reference")


def test_a_clip_that_is_told_to_end_leaves_nothing_behind(media: list[str], tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "pipelines.cli", "clip", *media, "--set", "steps=500"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(command, cwd=CHECKOUT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        heard = []
        for line in process.stderr:
            heard.append(line)
            if "500 steps" in line:  # the temporary folder is there
                process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode == cli.BROKE_OFF
    assert heard[-1] == "catwalk: terminated\n"
    assert list((tmp_path / "tmp").glob("catwalk-*")) == []
    assert not Path(media[2]).exists()


def test_a_long_clip_that_is_ended_loses_one_segment_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_reference(tmp_path / "reference.png")
    write_driving(tmp_path / "long.mp4", 35)
    (tmp_path / "made").mkdir()
    (tmp_path / "night.yaml").write_text(f"animators: {{segmented: {IMPLEMENTATION}}}\n")
    film, options = tmp_path / "film.mp4", json.dumps({"folder": str(tmp_path / "made")})
    command = ["clip", str(tmp_path / "reference.png"), str(tmp_path / "long.mp4"), str(film)]
    command += ["--config", str(tmp_path / "night.yaml"), "--animator", "segmented"]
    command += ["--set", "driving_kind=skeleton", "--set", f"options={options}"]
    paint = Segmented.segment

    def ended(self: Segmented, *asked: Any) -> Denoised:
        if asked[-1].number == 2:
            raise KeyboardInterrupt
        return paint(self, *asked)

    monkeypatch.setattr(Segmented, "segment", ended)
    assert cli.main(command) != cli.OK
    assert f"kept in {film}.unfinished" in capsys.readouterr().err
    assert not film.exists()
    monkeypatch.setattr(Segmented, "segment", paint)
    assert cli.main(command) == cli.OK
    assert "going on with what" in capsys.readouterr().err
    assert made(tmp_path / "made")[0] == [0, 1, 2, 3]
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "film.mp4", "long.mp4", "made", "night.yaml", "reference.png"
    ]  # fmt: skip
    ANIMATORS.pop("segmented")


class Onlooker(Plain):
    """Asks for more than poses, and keeps what it is given."""

    given: ClassVar[list[Driving]] = []

    def segment(self, clip: Any, reference: Any, driving: Driving, segment: Any) -> Denoised:
        self.given.append(driving)
        self.seen = [driving.frames[frame].copy() for frame in range(segment.start, segment.stop)]
        self.given.append(self.seen)
        return super().segment(clip, reference, driving, segment)


def test_an_animator_is_given_the_driving_frames_and_keypoints_that_it_asks_for(
    media: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = frozenset({"frames", "keypoints"})
    facts = replace(FACTS, name="onlooker", implementation=f"{__name__}:Onlooker", keypoints="drawn", asks=asks)
    monkeypatch.setitem(ANIMATORS, "onlooker", facts)
    monkeypatch.setattr(Onlooker, "given", [])
    part = ["--set", "first_frame=20", "--set", "frame_count=3", "--cache", str(tmp_path / "cache")]
    assert cli.main(["clip", *media, "--animator", "onlooker", *part]) == cli.OK
    driving, seen = Onlooker.given
    filmed = list(Frames(Path(media[1]), Limits()).read([20, 21, 22]))
    assert all(np.array_equal(own, one) for own, one in zip(seen, filmed, strict=True))
    height, width, _ = filmed[0].shape
    backdrop = np.median(filmed[0][:8].reshape(-1, 3), axis=0)
    for people, picture in zip(driving.keypoints, filmed, strict=True):
        assert people.points.shape[:2] == (1, 134)
        (hips,) = people.points[:, [8, 11]].mean(axis=1)
        assert 0 <= hips[0] < width
        assert 0 <= hips[1] < height
        there = picture[round(hips[1]), round(hips[0])].astype(float)
        assert np.abs(there - backdrop).max() > 20, "the hips lie on the backdrop"
