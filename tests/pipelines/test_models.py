"""What `catwalk models` says is here and what is lacking, and how the nets that find people come to be here."""

from __future__ import annotations

import fnmatch
import json
import os
import runpy
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from manifests import storage
from manifests.errors import Problem
from pipelines import cli
from pipelines.configuration import RunConfig
from pipelines.fetch_people import fetch_people
from pipelines.models import Model, models
from pipelines.published_weights import PUBLISHED
from stages.diffusion.animators import ANIMATORS
from stages.poses.people_nets import NETS, Net
from stages.poses.recipes import DWPoseSettings, Estimators, PeopleSettings
from tests.conftest import CHECKOUT

WEIGHTS = CHECKOUT / "tests" / "golden" / "magicanimate" / "checkpoint"
WHEEL = "mediapipe-0.10.21-cp312-cp312-manylinux_2_28_x86_64.whl"


def the(name: str, kind: str, config: RunConfig | None = None) -> Model:
    (found,) = (one for one in models(config or RunConfig()) if (one.name, one.kind) == (name, kind))
    return found


# What is here


def test_every_animator_and_every_estimator_is_told_of_once() -> None:
    told = [(model.kind, model.name) for model in models(RunConfig(checkpoints={"drawn": "bundled:drawn"}))]
    assert sorted(name for kind, name in told if kind == "animator") == sorted(ANIMATORS)
    assert {name for kind, name in told if kind == "estimator"} == set(Estimators.model_fields)
    assert len(set(told)) == len(told)


def test_what_is_not_configured_says_what_it_needs_and_under_what_licence() -> None:
    animator, estimator = the("magicanimate", "animator"), the("dwpose", "estimator")
    assert "needs the published weights, 11 GB in float32; weights BSD-3-Clause" in str(animator)
    assert "→ --checkpoint magicanimate=FOLDER" in str(animator)
    assert "yolox_l.onnx" in str(estimator)
    assert "→ set `estimators.dwpose`" in str(estimator)
    assert "not for commercial use" in str(the("densepose", "estimator"))


def test_weights_that_are_there_are_ready_with_their_size() -> None:
    config = RunConfig(checkpoints={"magicanimate": str(WEIGHTS), "mine": str(WEIGHTS)})
    for model in (the("magicanimate", "animator", config), the("mine", "checkpoint", config)):
        assert str(model).startswith("ready")
        assert str(WEIGHTS) in str(model)
        assert model.to_dict()["bytes"] > 10_000
    assert the("drawn", "animator").lacks == []
    assert the("drawn", "estimator").lacks == []


def test_missing_parts_are_named_and_hide_no_other_model(tmp_path: Path) -> None:
    (tmp_path / "MagicAnimate").mkdir()
    (tmp_path / "MagicAnimate" / "appearance_encoder").symlink_to(WEIGHTS / "MagicAnimate" / "appearance_encoder")
    pose = tmp_path / "dw-ll_ucoco_384.onnx"
    pose.write_bytes(b"weights")
    config = RunConfig(
        checkpoints={"magicanimate": str(tmp_path), "far": "s3://catwalk-no-such-bucket/::"},
        estimators=Estimators(dwpose=DWPoseSettings(detector=str(tmp_path / "yolox_l.onnx"), pose=str(pose))),
    )
    lacking = the("magicanimate", "animator", config).lacks
    assert "MagicAnimate/temporal_attention" in lacking
    assert "MagicAnimate/appearance_encoder" not in lacking
    assert the("dwpose", "estimator", config).lacks == [str(tmp_path / "yolox_l.onnx")]
    assert f"{tmp_path} lacks yolox_l.onnx;" in str(the("dwpose", "estimator", config))
    assert "contains '::'" in str(the("far", "checkpoint", config))


def test_nets_without_the_package_that_runs_them_say_how_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NETS:
        (tmp_path / name).write_bytes(b"weights")
    config = RunConfig(estimators=Estimators(people=PeopleSettings(folder=str(tmp_path))))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = the("people", "estimator", config)
    assert told.lacks == ["package ai_edge_litert"]
    assert told.remedy == "pip install 'catwalk[people]'"


def test_the_list_is_for_programs_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--checkpoint", f"magicanimate={WEIGHTS}", "--json"]) == cli.OK
    listed = json.loads(capsys.readouterr().out)["models"]
    ready = {(model["kind"], model["name"]) for model in listed if model["ready"]}
    assert {("animator", "magicanimate"), ("animator", "drawn"), ("estimator", "drawn")} <= ready
    assert all(bool(model["lacks"]) == bool(model["remedy"]) == (not model["ready"]) for model in listed)
    assert cli.main(["models"]) == cli.OK
    assert "animator dreampose: needs" in capsys.readouterr().out


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_what_gets_the_published_weights_is_told_for_the_folder_they_belong_into(tmp_path: Path) -> None:
    told = the("text2video_zero", "animator")
    command = "$ hf download stable-diffusion-v1-5/stable-diffusion-v1-5 --local-dir FOLDER/stable-diffusion-v1-5 "
    assert command in str(told)
    config = RunConfig(checkpoints={"text2video_zero": str(tmp_path / "t2v")})
    lacking = the("text2video_zero", "animator", config).to_dict()
    assert f" --local-dir {tmp_path}/t2v/stable-diffusion-v1-5 --include 'tokenizer/*'" in lacking["commands"][0]


@pytest.mark.parametrize("animator", PUBLISHED)
def test_those_commands_bring_every_part_that_the_animator_reads(animator: str) -> None:
    brought = [f"{one.below}/{file}".lstrip("/") for one in PUBLISHED[animator] for file in one.files]
    for part in ANIMATORS[animator].checkpoint:
        assert any(file.startswith(f"{part}/") or fnmatch.fnmatch(part, file) for file in brought), part


def test_the_hub_is_asked_only_where_the_configuration_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"checkpoints": {"magicanimate": f"hub:mine/magicanimate@{COMMIT}"}}
    told = the("magicanimate", "animator", RunConfig.load(None, named))
    assert told.lacks == [f"hub:mine/magicanimate@{COMMIT}, on the Hugging Face hub, which may not be asked"]
    assert told.commands == (f"hf download mine/magicanimate --revision {COMMIT} --local-dir FOLDER",)
    allowed = RunConfig.load(None, {**named, "model_cache": {"allow_hub": True}})
    assert the("magicanimate", "animator", allowed).lacks == []
    for uri, said in (
        (f"hub:mine/magicanimate@{COMMIT}", "which may not be asked"),
        ("hub:mine/magicanimate@main", "names no commit"),
    ):
        row = ["reference.png", "driving.mp4", str(tmp_path / "film.mp4"), "--animator", "magicanimate"]
        assert cli.main(["clip", *row, "--checkpoint", f"magicanimate={uri}"]) == cli.WRONG_USAGE
        assert said in capsys.readouterr().err


# Fetching the nets that find people


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes pip find a small wheel in the place of MediaPipe's; `altered` nets hold other bytes than are expected."""
    contents = {name: f"weights of {name}" for name in NETS}
    monkeypatch.setitem(os.environ, "PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setitem(os.environ, "PIP_NO_INDEX", "1")
    monkeypatch.setitem(os.environ, "PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    modules = {name: net.module for name, net in NETS.items()}
    for name, text in contents.items():
        monkeypatch.setitem(NETS, name, Net(modules[name], len(text), storage.sha256_text(text)))

    def write(altered: str = "") -> None:
        described = "mediapipe-0.10.21.dist-info"
        with zipfile.ZipFile(tmp_path / "wheels" / WHEEL, "w") as archive:
            for name, text in contents.items():
                archive.writestr(f"mediapipe/modules/{modules[name]}/{name}", "other" if name == altered else text)
            archive.writestr(f"{described}/LICENSE", "Apache License")
            archive.writestr(f"{described}/METADATA", "Metadata-Version: 2.1\nName: mediapipe\nVersion: 0.10.21\n")
            archive.writestr(f"{described}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
            archive.writestr(f"{described}/RECORD", "")

    return write


def test_the_nets_come_from_wherever_pip_is_told_to_look(
    tmp_path: Path, wheels: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels()
    said: list[str] = []
    monkeypatch.setattr("sys.prefix", str(tmp_path / "environment"))
    fetch_people(None, said.append)
    folder = tmp_path / "environment" / "share" / "catwalk" / "people"
    assert {path.name for path in folder.iterdir()} == {*NETS, "LICENSE"}
    assert the("people", "estimator").place == str(folder)
    (tmp_path / "wheels" / WHEEL).unlink()
    fetch_people(None, said.append)
    assert said[-1] == f"people: the nets are in {folder}", "what is there is not fetched again"
    (folder / "face_landmark.tflite").write_bytes(b"damaged")
    with pytest.raises(Problem, match="could not be fetched"):
        fetch_people(None, said.append)
    wheels()
    fetch_people(None, said.append)
    assert storage.digest(str(folder / "face_landmark.tflite")) == NETS["face_landmark.tflite"].digest


def test_a_wheel_of_another_hand_is_refused_and_nothing_is_unpacked(
    tmp_path: Path, wheels: Callable[..., None]
) -> None:
    wheels(altered="hand_recrop.tflite")
    with pytest.raises(Problem, match=r"hand_recrop.tflite are others than were published"):
        fetch_people(str(tmp_path / "nets"), print)
    assert not (tmp_path / "nets").exists()


def test_a_bucket_receives_the_nets_for_a_cluster(s3: str, wheels: Callable[..., None]) -> None:
    wheels()
    said: list[str] = []
    fetch_people(f"{s3}/people", said.append)
    assert set(storage.listing(f"{s3}/people")) == {*NETS, "LICENSE"}
    assert f"`estimators: {{people: {{folder: {s3}/people}}}}`" in said[-1]


def test_without_an_index_setup_says_so_in_one_line_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setitem(os.environ, "PIP_INDEX_URL", "http://user:hunter2@127.0.0.1:9/simple")
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    runpy.run_path(str(CHECKOUT / "pipelines" / "fetch_people.py"), run_name="__main__")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("setup: the nets that find people could not be fetched (mediapipe==0.10.21): pip reaches no")
    assert line.endswith("run `catwalk models fetch people`; everything else works without them")
    assert "hunter2" not in line
    assert list(tmp_path.iterdir()) == []
    assert cli.main(["models", "fetch", "people"]) == cli.BROKE_OFF
    assert "→ with an index in pip's reach" in capsys.readouterr().err
