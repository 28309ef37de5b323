"""The command line: it explains itself, answers at once, and its exit code says how things went."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from manifests.check import check
from manifests.results import Result
from manifests.table import read_files
from pipelines import cli, demo
from pipelines.code_version import code_version
from pipelines.commands import installation
from pipelines.training.catalogue import FRAMES
from stages.diffusion.animators import ANIMATORS
from tests.conftest import CHECKOUT
from tests.made.consents import USE, record, write_records

COMMANDS = [
    [],
    ["animate"],
    ["submit"],
    ["status"],
    ["stop"],
    ["logs"],
    ["clip"],
    ["manifest"],
    ["manifest", "build"],
    ["manifest", "check"],
    ["poses"],
    ["models"],
    ["models", "fetch"],
    ["release"],
    ["revoke"],
    ["doctor"],
    ["config"],
]
HEAVY = {"torch", "ray", "diffusers", "transformers", "pyarrow", "numpy", "av", "decord", "fsspec", "pydantic"}

GOOD = {"id": "a", "reference": "a.png", "driving": "a.mp4", "driving_kind": "densepose", "animator": "magicanimate"}


def json_lines(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# It explains itself.


@pytest.mark.parametrize("command", [["config"], ["models", "--json"]], ids=" ".join)
def test_a_reader_who_has_read_enough_may_go(command: list[str]) -> None:
    program = [sys.executable, "-m", "pipelines.cli", *command]
    with subprocess.Popen(program, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        assert (running.stderr.read(), running.wait(timeout=60)) == ("", cli.OK)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == cli.OK
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(" ".join(["usage: catwalk", *command]))
    if command != ["manifest"]:
        assert "exit codes: 0 all done, 1 the run itself failed or was interrupted, 2 wrong usage" in shown


def test_the_version_names_the_code_and_its_commit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == cli.OK
    number, _, rest = capsys.readouterr().out.removeprefix("catwalk ").partition(", commit ")
    assert number.strip() == code_version()
    if (CHECKOUT / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
        assert head.stdout.startswith(rest.strip().removesuffix("-dirty")[:12])


def test_the_module_that_a_cluster_job_names_is_the_same_command() -> None:
    command = [sys.executable, "-m", "pipelines.animate", "--help"]
    shown = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert shown.startswith("usage: catwalk animate")


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, pipelines.cli as cli; cli.build_parser().format_help(); print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert not HEAVY.intersection(imported.stdout.split())


def test_the_printed_configuration_can_be_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.main(["config", "--crf", "23", "--allow", "s3://media", "--checkpoint", "magicanimate=/models"]) == cli.OK
    )
    printed = capsys.readouterr()
    assert "crf: 23" in printed.out
    assert printed.err == ""
    saved = tmp_path / "catwalk.yaml"
    saved.write_text(printed.out)
    assert cli.main(["config", "--config", str(saved)]) == cli.OK
    assert capsys.readouterr().out == printed.out


# Its exit code says how things went.


def test_a_good_manifest_is_built_and_checked_with_exit_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = json_lines(tmp_path / "clips.jsonl", GOOD), str(tmp_path / "clips.parquet")
    assert cli.main(["manifest", "build", str(source), target]) == cli.OK
    assert cli.main(["manifest", "check", target]) == cli.OK
    assert capsys.readouterr().out == "", "what a person reads goes to stderr"


def test_a_manifest_is_built_from_and_into_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    json_lines(Path("clips.jsonl"), GOOD)
    assert cli.main(["manifest", "build", "clips.jsonl", "clips.parquet"]) == cli.OK
    assert cli.main(["manifest", "check", "clips.parquet"]) == cli.OK
    assert read_files("clips.parquet")[0][1]["reference"].to_pylist() == ["a.png"], "beside its source, paths stay"
    Path("sub").mkdir()
    assert cli.main(["manifest", "build", "clips.jsonl", "sub/clips.parquet"]) == cli.OK
    assert read_files("sub/clips.parquet")[0][1]["reference"].to_pylist() == [str(tmp_path / "a.png")]


def test_bad_rows_end_with_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = json_lines(tmp_path / "clips.jsonl", GOOD, {**GOOD, "id": "../b"})
    target = str(tmp_path / "clips.parquet")
    assert cli.main(["manifest", "build", "--all-or-nothing", str(source), target]) == cli.SOME_FAILED
    assert "row 1 (line 2): id '../b'" in capsys.readouterr().err
    assert not Path(target).exists()
    assert cli.main(["manifest", "build", str(source), target]) == cli.SOME_FAILED
    assert "row 1 (line 2): id '../b'" in capsys.readouterr().err
    assert cli.main(["manifest", "check", target]) == cli.OK


def test_a_check_holds_rows_against_the_consents_that_a_configuration_requires(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**GOOD, "id": name, "likeness_consent": name, "performer_consent": "C-1"} for name in ("C-1", "C-2")]
    target = str(tmp_path / "clips.parquet")
    assert cli.main(["manifest", "build", str(json_lines(tmp_path / "clips.jsonl", *rows)), target]) == cli.OK
    assert cli.main(["manifest", "check", target]) == cli.OK
    records = write_records(tmp_path / "records.json", record("C-1"), record("C-2", ends="2026-01-02"))
    for mode, code in (("required", cli.SOME_FAILED), ("recorded", cli.OK)):
        (tmp_path / "c.yaml").write_text(json.dumps({"consent": {"mode": mode, "records": records, **USE}}))
        capsys.readouterr()
        assert cli.main(["manifest", "check", target, "--config", str(tmp_path / "c.yaml")]) == code
        assert ("row 1 (clips.parquet): likeness_consent 'C-2': held until" in capsys.readouterr().err) == bool(code)


def test_a_check_with_media_looks_at_files_sizes_and_ranges_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    (tmp_path / "half.png").write_bytes((demo.CATALOGUE / "heart-tee.png").read_bytes()[:2000])
    row = demo.demo_clips()[2]
    rows = [
        row,
        row | {"id": "gone", "driving": "gone.mp4"},
        row | {"id": "half", "reference": str(tmp_path / "half.png")},
        row | {"id": "late", "first_frame": 100_000, "frame_count": 2},
        row | {"id": "odd", "width": 50, "height": 50},
    ]
    source, target = json_lines(tmp_path / "clips.jsonl", *rows), str(tmp_path / "clips.parquet")
    assert cli.main(["manifest", "build", str(source), target]) == cli.OK
    assert cli.main(["manifest", "check", target]) == cli.OK
    assert "were not looked at → --media does" in capsys.readouterr().err
    assert cli.main(["manifest", "check", "--media", "--allow", str(demo.CATALOGUE), target]) == cli.SOME_FAILED
    said = capsys.readouterr().err.splitlines()
    for line, wrong in zip(said, ["gone.mp4", "half.png", "first_frame 100000", "width 50"], strict=False):
        assert wrong in line.partition(" → ")[0]
    assert len(said) == 5, "the first row is good, the last line a summary"
    assert not any("looked at" in line for line in said)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_one_clip_that_cannot_be_made_ends_with_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "film.mp4"
    media = [str(tmp_path / "nobody.png"), str(tmp_path / "nothing.mp4"), str(film), "--set", "driving_kind=densepose"]
    assert cli.main(["clip", *media, "--checkpoint", "magicanimate=/models"]) == cli.SOME_FAILED
    assert "nobody.png" in capsys.readouterr().err
    assert not film.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["animate", "m.parquet", "out", "--limit", "0"], "--limit 0"),
        (["animate", "m.parquet", "out", "--workers", "0"], "animate_pool.size"),
        (["animate", "m.parquet", "out", "--checkpoint", "magicanimate"], "NAME=FOLDER"),
        (["clip", "a.png", "a.mp4", "film.mp4", "--set", "steps"], "FIELD=VALUE"),
        (["clip", "a.png", "a.mp4", "film.mp4", "--set", "frame_coun=4"], "did you mean 'frame_count'?"),
        (["clip", "a.png", "a.mp4", "film.mp4", "--set", "sku=7"], 'metadata={"NAME": "VALUE"}'),
        (["clip", "a.png", "a.mp4", "film.mp4", "--set", "steps=ten"], "steps 'ten': is not a whole number"),
        (["clip", "a.png", "a.mp4", "film.mp4", "--animator", "drwn"], "did you mean 'drawn'?"),
        (["clip", "a.png", "a.mp4", "film.mp4", "--crf", "99"], "encode.crf"),
        (["config", "--config", "no-such-file.yaml"], "no-such-file.yaml"),
        (["manifest", "build", "clips.xlsx", "clips.parquet"], "clips.xlsx"),
        ([], "usage: catwalk"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_ends_with_exit_2_and_names_what_is_wrong(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == cli.WRONG_USAGE
    printed = capsys.readouterr()
    assert named in printed.err + printed.out


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("animate_pol: {size: 2}", "animate_pol: is not a field of the configuration, did you mean 'animate_pool'?"),
        ("animate_pool: {sise: 2}", "animate_pool.sise: is not a field of the configuration, did you mean 'size'?"),
        ("estimators: {dwpose: {detector: a, pose: b, thread: 3}}", "estimators.dwpose.thread: is not a field"),
        ("estimators: {dwpose: {detector: a, pose: b, thread: 3}}", "did you mean 'threads'?"),
        ("limits: {frame: 3}", "did you mean 'frames'?"),
    ],
)
def test_a_misspelt_field_of_the_configuration_is_told_what_it_meant(
    text: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "night.yaml").write_text(text)
    assert cli.main(["config", "--config", str(tmp_path / "night.yaml")]) == cli.WRONG_USAGE
    assert meant in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, "attempts: " + "9" * 5000, "attempts: 2026-99-99"])
def test_a_configuration_that_no_parser_takes_is_refused_by_name(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "night.yaml").write_text(text)
    assert cli.main(["config", "--config", str(tmp_path / "night.yaml")]) == cli.WRONG_USAGE
    assert "night.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["anmate", "m.parquet", "out"], "animate"),
        (["manifest", "chek", "m.parquet"], "check"),
        (["animate", "m.parquet", "out", "--strickt"], "--strict"),
        (["clip", "a.png", "a.mp4", "film.mp4", "--annimator=drawn"], "--animator"),
        (["config", "--dtype", "floaat16"], "float16"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_misspelt_word_is_told_what_it_meant(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == cli.WRONG_USAGE
    assert f"did you mean {meant!r}?" in capsys.readouterr().err


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray must not be started."""

    def started() -> str:
        pytest.fail("Ray was started before the arguments were looked at")

    monkeypatch.setattr("pipelines.animate.connect", started)


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("manifest", "options", "named"),
    [
        ("clips.jsonl", [], "catwalk manifest build"),
        ("nothing.parquet", [], "no .parquet file at"),
        ("empty", [], "no .parquet file at"),
        ("clips.parquet", ["--only", "nobody"], "--only nobody: no such id in the manifest"),
        ("clips.parquet", ["--only", "tee-trun"], "did you mean 'tee-turn'?"),
    ],
)
def test_wrong_arguments_are_found_before_ray_is_started(
    manifest: str, options: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    source = json_lines(tmp_path / "clips.jsonl", {**GOOD, "id": "tee-turn"}, {**GOOD, "id": 7})
    cli.main(["manifest", "build", str(source), str(tmp_path / "clips.parquet")])
    arguments = ["animate", str(tmp_path / manifest), str(tmp_path / "out"), *options]
    assert cli.main(arguments) == cli.WRONG_USAGE
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["fly"], ["animate"], ["animate", "m", "o", "--limit", "x"]], ids=" ".join)
def test_what_the_parser_refuses_ends_with_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == cli.WRONG_USAGE
    assert "usage: catwalk" in capsys.readouterr().err


def test_an_interrupted_command_ends_with_exit_1_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(installation, "config", interrupted)
    assert cli.main(["config"]) == cli.BROKE_OFF
    assert capsys.readouterr().err == "catwalk: interrupted\n"


def test_no_secret_of_a_uri_is_in_the_traceback_of_what_nobody_foresaw(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> int:
        raise RuntimeError("http://store/bucket/a.mp4%3FX-Amz-Signature%3DSECRET and s3://bucket/a.mp4?sig=SECRET")

    monkeypatch.setattr(installation, "doctor", broken)
    assert cli.main(["doctor"]) == cli.BROKE_OFF
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "http://store/bucket/a.mp4 and s3://bucket/a.mp4" in said
    assert "SECRET" not in said


def test_no_secret_of_a_uri_is_in_the_log() -> None:
    code = """
import logging
from pipelines import cli
from pipelines.commands import nights
def log(_): logging.getLogger("manifests.retries").info("failed: s3://bucket/a.mp4?sig=SECRET, again")
nights.animate = log
cli.main(["animate", "m.parquet", "out", "--verbose"])
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert ran.stderr == "manifests.retries: failed: s3://bucket/a.mp4 again\n"


# The demo, as far as it goes without Ray.


def test_the_demo_animates_a_manifest_without_a_fault(tmp_path: Path) -> None:
    manifest = demo.write_manifest(demo.demo_clips(), tmp_path)
    report = check(str(manifest), ANIMATORS)
    assert report.ok, report.lines()
    assert report.rows == 6


def test_the_demo_writes_the_same_manifest_again_so_that_films_are_found(tmp_path: Path) -> None:
    first = demo.write_manifest(demo.demo_clips(), tmp_path / "first").read_bytes()
    assert demo.write_manifest(demo.demo_clips(), tmp_path / "second").read_bytes() == first


def test_a_clip_that_failed_stands_on_the_contact_sheet_without_a_film() -> None:
    clip = demo.demo_clips()[0]
    row = demo.sheet_row(clip, Result(row=0, status="failed", error="the disk is full", remedy="make room"))
    assert row.title == f"{clip['id']} (failed)"
    assert row.reference is not None
    assert len(row.driving) == FRAMES
    assert row.result is None
