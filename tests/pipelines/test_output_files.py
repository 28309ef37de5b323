"""No command writes to a file that it reads, whatever the spelling, nor unasked over one that is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines import cli
from pipelines.demo import CATALOGUE

SPELLINGS = ["plain", "dotted", "symbolic link", "hard link", "relative", "file URI"]


def spelt(path: Path, how: str) -> Path:
    """The same file under another name, which ends alike."""
    if how == "dotted":
        return path.parent / ".." / path.parent.name / path.name
    if how == "relative":
        return Path(os.path.relpath(path))
    if how in ("plain", "file URI"):
        return path
    other = path.with_name(f"other{path.suffix}")
    other.symlink_to(path) if how == "symbolic link" else other.hardlink_to(path)
    return other


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Path]:
    """A user's own files."""
    files = {"hero.jpg": b"a photograph", "move.mp4": b"a video", "detector.onnx": b"a net", "pose.onnx": b"a net"}
    files |= {"settings.json": b"{}", "clips.jsonl": b'{"id": "a", "animator": "drawn"}\n'}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in files}


COMMANDS = {
    "clip over its driving video": ("move.mp4", ["clip", "hero.jpg", "move.mp4", "OUT"]),
    "clip with its reference as poster": ("hero.jpg", ["clip", "hero.jpg", "move.mp4", "new.mp4", "--poster", "OUT"]),
    "poses over their video": ("move.mp4", ["poses", "move.mp4", "OUT", *("--detector", "detector.onnx")]),
    "poses' keypoints over the net": ("pose.onnx", ["poses", "move.mp4", "new.mp4", "--json", "OUT"]),
    "poses' report over their video": ("move.mp4", ["poses", "move.mp4", "new.mp4", "--report", "OUT"]),
    "poses' keypoints over the settings": ("settings.json", ["poses", "move.mp4", "new.mp4", "--json", "OUT"]),
}


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_writes_to_a_file_it_reads(
    name: str, how: str, own: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    read, command = COMMANDS[name]
    words = [str(spelt(own[read], how)) if word == "OUT" else str(own.get(word, word)) for word in command]
    if how == "file URI" and words[0] == "clip":  # what is read may be spelt so, what is written not
        words[1:3] = [own[word].as_uri() for word in command[1:3]]
    words = [str(own["move.mp4"].parent / word) if word == "new.mp4" else word for word in words]
    if command[0] == "poses":
        nets = {"--detector": str(own["detector.onnx"]), "--pose": str(own["pose.onnx"])}
        words += [text for option, net in nets.items() if option not in words for text in (option, net)]
        words += ["--config", str(own["settings.json"])]
    before = {path: path.read_bytes() for path in own.values()}
    assert cli.main([*words, "--overwrite"]) == cli.WRONG_USAGE
    assert "is read by this very command" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in own.values()} == before


def test_a_manifest_is_not_built_over_its_own_source(own: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    link = own["clips.jsonl"].with_name("clips.parquet")
    link.symlink_to(own["clips.jsonl"])
    assert cli.main(["manifest", "build", str(own["clips.jsonl"]), str(link)]) == cli.WRONG_USAGE
    assert "is read by this very command" in capsys.readouterr().err
    assert own["clips.jsonl"].read_bytes().startswith(b'{"id"')


def test_what_is_there_is_kept_unless_overwriting_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film, poster = tmp_path / "film.mp4", tmp_path / "film.jpg"
    film.write_bytes(b"an older film")
    poster.write_bytes(b"the user's own picture of that name")
    media = [str(CATALOGUE / "heart-tee.png"), str(CATALOGUE / "turn.mp4"), str(film)]
    short = ["--animator", "drawn", "--set", "frame_count=2", "--set", "steps=1"]
    assert cli.main(["clip", *media, *short]) == cli.WRONG_USAGE
    assert "add --overwrite" in capsys.readouterr().err
    assert film.read_bytes() == b"an older film"
    assert cli.main(["clip", *media, *short, "--overwrite"]) == cli.OK
    assert film.stat().st_size > 500
    # a poster is written where one is asked for, and nowhere else
    assert poster.read_bytes() == b"the user's own picture of that name"
    assert cli.main(["clip", *media, *short, "--overwrite", "--poster", str(poster)]) == cli.OK
    assert poster.read_bytes()[:2] == b"\xff\xd8"
    assert f"{poster}: its sharpest frame" in capsys.readouterr().err


def test_two_outputs_are_two_files(own: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    film = own["move.mp4"].with_name("drawn.mp4")
    command = ["poses", str(own["move.mp4"]), str(film), "--json", str(film)]
    nets = ["--detector", str(own["detector.onnx"]), "--pose", str(own["pose.onnx"])]
    assert cli.main([*command, *nets]) == cli.WRONG_USAGE
    assert "is named twice" in capsys.readouterr().err


@pytest.mark.parametrize("link", [False, True])
def test_a_run_does_not_write_its_tables_over_its_manifest(
    link: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "out" / "runs" / "night" / "results.parquet"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(b"a table")
    asked = manifest
    if link:
        (tmp_path / "last").symlink_to(manifest.parent)
        asked = tmp_path / "last" / "results.parquet"
    assert cli.main(["animate", str(asked), str(tmp_path / "out"), "--run-id", "night"]) == cli.WRONG_USAGE
    assert "lies in the folder of the run that is to read it" in capsys.readouterr().err
    assert manifest.read_bytes() == b"a table"
