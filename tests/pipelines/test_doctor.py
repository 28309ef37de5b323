"""The doctor: it tries what a run will need, names the remedy of what fails, and gives no secret away."""

from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from manifests import storage
from manifests.errors import Problem
from pipelines import cli, doctor
from pipelines.configuration import AnimatePool, RunConfig
from pipelines.doctor import examine
from pipelines.settings import settled
from stages.diffusion import acceleration
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.networks import compiled_blocks
from stages.poses.recipes import DWPoseSettings, Estimators, PeopleSettings
from tests.conftest import CHECKOUT
from tests.made.certificates import issue
from tests.made.consents import record, write_records

WEIGHTS = CHECKOUT / "tests" / "golden" / "magicanimate" / "checkpoint"
CONFIG = RunConfig(checkpoints={"magicanimate": str(WEIGHTS)})

Examined = tuple[bool, list[str]]


def examined(config: RunConfig = CONFIG, output: str | None = None) -> Examined:
    said: list[str] = []
    return examine(config, output, with_ray=False, say=said.append), said


def the_line(said: list[str], *words: str) -> str:
    """The one finding with all these words."""
    found = [line for line in said if all(word in line for word in words)]
    assert len(found) == 1, (words, said)
    return found[0]


def test_a_whole_installation_passes_every_check(tmp_path: Path) -> None:
    whole, said = examined(output=str(tmp_path))
    assert whole, said
    assert not [line for line in said if line.startswith("FAIL")]
    assert f"torch {metadata.version('torch')}" in the_line(said, "diffusers")
    assert the_line(said, "libx264").startswith("ok")
    assert "2 of 2 frames" in the_line(said, "back with")
    denied = the_line(said, "whoever takes over a decoder is denied")
    assert all(name in denied for name in ("network", "programs", "writing files", "memory without end"))
    assert the_line(said, "films are signed by 'Catwalk development (untrusted)'").startswith("ok")
    assert "has all parts of magicanimate" in the_line(said, "checkpoint magicanimate")
    assert "write, read, claim, list and delete work" in the_line(said, "output")
    assert list(tmp_path.iterdir()) == [], "the doctor leaves nothing behind"


def test_who_signs_films_is_tried_by_signing(tmp_path: Path) -> None:
    def said_of(**credentials: object) -> list[str]:
        return examined(RunConfig.load(None, {"provenance": {"credentials": credentials}}))[1]

    house = issue(tmp_path / "house").section()["credentials"]
    assert the_line(said_of(**house), "films are signed by 'House of Tests'").startswith("ok")
    unfit = issue(tmp_path / "servers", purpose=False).section()["credentials"]
    assert the_line(said_of(**unfit), "credentials", "provenance.credentials").startswith("FAIL")
    assert the_line(said_of(**{**house, "private_key": "env:CATWALK_ABSENT"}), "CATWALK_ABSENT").startswith("FAIL")
    assert the_line(said_of(sign=False), "films are not signed").startswith("warning")


def test_object_storage_is_really_written_read_and_deleted(s3: str) -> None:
    whole, said = examined(output=f"{s3}/nights")
    assert whole, said
    assert the_line(said, "output", s3).startswith("ok")
    assert storage.listing(s3, recursive=True) == {}


def test_a_bucket_that_is_not_there_fails_with_a_remedy(s3_endpoint: str) -> None:
    whole, said = examined(output="s3://catwalk-no-such-bucket/nights")
    assert not whole
    line = the_line(said, "output s3://catwalk-no-such-bucket/nights")
    assert line.startswith("FAIL")
    assert "→ choose a place you may write to" in line


def test_an_output_that_cannot_be_written_fails_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    whole, said = examined(output=str(tmp_path / "file"))
    assert not whole
    assert "→ choose a place you may write to" in the_line(said, "FAIL", "output")


def test_secrets_in_uris_are_never_shown(tmp_path: Path) -> None:
    secret = "hunter2"
    config = RunConfig(checkpoints={"magicanimate": f"s3://KEY:{secret}@bucket/weights?token={secret}"})
    _, said = examined(config, output=f"s3://KEY:{secret}@bucket/out?signature={secret}")
    assert said
    assert secret not in "\n".join(said)


def test_an_incomplete_checkpoint_names_the_missing_parts(tmp_path: Path) -> None:
    partial = tmp_path / "weights"
    (partial / "MagicAnimate").mkdir(parents=True)
    for part in ("stable-diffusion-v1-5", "MagicAnimate/appearance_encoder"):
        (partial / part).symlink_to(WEIGHTS / part)
    (partial / "sd-vae-ft-mse").symlink_to(WEIGHTS / "sd-vae-ft-mse")
    config = RunConfig(checkpoints={"magicanimate": str(partial), "mine": str(WEIGHTS)})
    whole, said = examined(config)
    assert not whole
    line = the_line(said, "checkpoint magicanimate")
    assert "lacks MagicAnimate/densepose_controlnet, MagicAnimate/temporal_attention of magicanimate" in line
    assert "see stages/diffusion/README.md, 'magicanimate'" in line
    assert the_line(said, "checkpoint mine").startswith("ok"), "one bad folder hides no other"


def test_no_checkpoint_at_all_is_a_warning() -> None:
    whole, said = examined(RunConfig())
    assert whole
    line = the_line(said, "no checkpoints are configured")
    assert line.startswith("warning")
    assert "except for drawn" in line


def test_weights_that_come_with_catwalk_are_looked_at_like_configured_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    _, said = examined(RunConfig())
    assert the_line(said, "checkpoint drawn").startswith("ok")
    _, said = examined(RunConfig(checkpoints={"drawn": "bundled:drawn"}))
    assert the_line(said, "checkpoint drawn").startswith("ok")
    monkeypatch.setitem(ANIMATORS, "drawn", replace(ANIMATORS["drawn"], bundled="bundled:gone"))
    whole, said = examined(RunConfig())
    assert not whole
    assert "→ run `make setup`" in the_line(said, "FAIL", "checkpoint drawn", "lacks codec")


def test_a_bundled_folder_in_the_configuration_stays_named_as_such() -> None:
    config = RunConfig(checkpoints={"drawn": "bundled:drawn", "magicanimate": "weights"})
    folders = settled(config, "clips.parquet", "out", None).config.checkpoints
    assert folders == {"drawn": "bundled:drawn", "magicanimate": str(Path.cwd() / "weights")}


def test_a_configured_estimator_whose_file_is_not_there_fails(tmp_path: Path) -> None:
    there, gone = tmp_path / "yolox_l.onnx", tmp_path / "dw-ll_ucoco_384.onnx"
    there.write_bytes(b"weights")
    estimators = Estimators(dwpose=DWPoseSettings(detector=str(there), pose=str(gone)))
    whole, said = examined(CONFIG.model_copy(update={"estimators": estimators}))
    assert not whole
    assert the_line(said, "FAIL", "estimator dwpose").startswith(f"FAIL    estimator dwpose: {gone} missing")
    gone.write_bytes(b"weights")
    assert examined(CONFIG.model_copy(update={"estimators": estimators}))[0]


def test_nets_that_nobody_asked_for_and_are_not_there_are_a_warning_and_configured_ones_fail(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setattr("sys.prefix", str(tmp_path))
        whole, said = examined()
    assert whole, said
    line = the_line(said, "estimator people:", "face_landmark.tflite")
    assert line.startswith("warning")
    assert "→ run `catwalk models fetch people`" in line
    asked = Estimators(people=PeopleSettings(folder=str(tmp_path)))
    whole, said = examined(CONFIG.model_copy(update={"estimators": asked}))
    assert not whole
    assert the_line(said, "estimator people:").startswith("FAIL")


def test_an_ffmpeg_that_does_not_encode_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho 'Unknown encoder libx264' >&2\nexit 8\n")
    broken.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    whole, said = examined()
    assert not whole
    assert "Unknown encoder libx264" in the_line(said, "FAIL", "does not encode H.264")


def test_a_configured_gpu_that_is_not_there_fails_on_a_machine_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    config = CONFIG.model_copy(update={"animate_pool": AnimatePool(num_gpus=1)})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    whole, said = examined(config)
    assert not whole
    assert "→ set animate_pool.device to cpu" in the_line(said, "FAIL", "no CUDA device is here")
    monkeypatch.setenv("RAY_ADDRESS", "cluster:6379")
    whole, said = examined(config)
    assert whole
    assert the_line(said, "no CUDA device is here").startswith("warning"), "the driver of a cluster needs no GPU"


def test_xformers_is_tried_only_where_it_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    _, said = examined()
    assert the_line(said, "attention is torch's own").startswith("ok")
    config = CONFIG.model_copy(update={"animate_pool": AnimatePool(attention="xformers")})
    with monkeypatch.context() as without:
        without.setattr(acceleration, "XFORMERS", "no_such_package")
        whole, said = examined(config)
    assert not whole
    assert "→ pip install 'catwalk[gpu]'" in the_line(said, "FAIL", "the package is not installed here")
    pytest.importorskip("xformers", reason="needs xformers, from the extra 'gpu' or 'dev'")
    whole, said = examined(config)
    assert not whole
    assert "→ set animate_pool.attention to torch" in the_line(said, "FAIL", "xformers", "does not work on cpu")
    monkeypatch.setenv("RAY_ADDRESS", "cluster:6379")
    whole, said = examined(config)
    assert whole
    assert the_line(said, "xformers", "does not work on cpu").startswith("warning"), "the driver needs no GPU"


def test_torch_is_tried_as_a_compiler_only_where_that_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not [line for line in examined()[1] if "torch.compile" in line]
    monkeypatch.setattr(compiled_blocks, "BACKEND", "no_such_compiler")
    compiled_blocks.require_compiler.cache_clear()
    whole, said = examined(CONFIG.model_copy(update={"animate_pool": AnimatePool(compile=True)}))
    assert not whole
    assert "→ install a C++ compiler" in the_line(said, "FAIL", "torch.compile does not work on", "no_such_compiler")


@pytest.fixture
def a_release_of_2020(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[[str], str] = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "diffusers" else real(name))


@pytest.mark.usefixtures("a_release_of_2020")
def test_a_package_of_another_version_than_required_fails() -> None:
    whole, said = examined()
    assert not whole
    assert "→ run `make setup`" in the_line(said, "FAIL", "diffusers 0.1 is installed, required is ==0.42.1")


def test_the_command_ends_with_exit_1_when_a_check_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert cli.main(["doctor", "--no-ray", "--output", str(tmp_path / "file")]) == cli.BROKE_OFF
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "something is wrong: see FAIL above"
    assert cli.main(["doctor", "--no-ray", "--output", str(tmp_path)]) == cli.OK
    assert capsys.readouterr().err.splitlines()[-1] == "all is well"


def test_it_says_whether_people_are_asked_and_films_looked_at(tmp_path: Path) -> None:
    said = [str(one) for one in doctor.people(RunConfig())]
    assert ["not looked at" in said[0], "nobody looks at what films show" in said[1]] == [True, True]
    consent = {"mode": "recorded", "records": write_records(tmp_path / "r.json", record("C-1"))}
    config = RunConfig.load(None, {"consent": consent, "safety": {"enabled": True}})
    said = [str(one) for one in doctor.people(config)]
    assert ["1 records can be read" in said[0], "a grey picture scores" in said[1]] == [True, True]
    write_records(tmp_path / "r.json", record("C-1", role="x"))
    with pytest.raises(Problem, match="role 'x'"):
        list(doctor.people(config))
