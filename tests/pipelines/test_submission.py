"""What a submitted night is told on its cluster: the same command, with paths as the job sees them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from cluster.jobs import Job
from manifests.errors import WrongUsage
from pipelines import cli
from pipelines.commands.jobs import as_options
from pipelines.commands.nights import until_of
from pipelines.submission import CODE, NightOrder, _arguments, _taken, ended_as, values_of


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that passes for a checkout, and is the current one."""
    folder = tmp_path / "checkout"
    (folder / CODE).parent.mkdir(parents=True)
    (folder / CODE).touch()
    for name in ("clips.parquet", "night.yaml", "weights/model.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    (tmp_path / "elsewhere.parquet").touch()
    monkeypatch.chdir(folder)
    return folder


def told(order: NightOrder, folder: Path | None, scratch: Path) -> tuple[list[str], str]:
    """Arguments of the job, and what is said about them."""
    said: list[str] = []
    taken = _taken(folder, order, scratch, said.append)
    return _arguments(order, taken, said.append), "\n".join(said)


def test_what_is_taken_along_is_named_as_the_job_finds_it(checkout: Path, tmp_path: Path) -> None:
    order = NightOrder(
        "n", "clips.parquet", "s3://films/spring", Path("night.yaml"), None, ("drawn=weights",), ("--x",)
    )
    arguments, said = told(order, Path(), tmp_path)
    assert arguments == ["clips.parquet", "s3://films/spring", "--run-id=n", "--config=night.yaml",
                         "--checkpoint=drawn=weights", "--x"]  # fmt: skip
    assert said == ""
    absolute = NightOrder("n", str(checkout / "clips.parquet"), "s3://films/spring")
    assert told(absolute, Path(), tmp_path)[0][0] == "clips.parquet"


def test_a_place_that_media_may_lie_in_is_named_as_the_job_finds_it(checkout: Path, tmp_path: Path) -> None:
    (checkout / "media" / "a").mkdir(parents=True)
    (checkout / "media" / "a" / "clip.mp4").touch()
    allow = ("./media", "media/a/../a", "../elsewhere", "s3://catalogue", "/data")
    arguments, said = told(NightOrder("n", "clips.parquet", "s3://films", allow=allow), Path(), tmp_path)
    places = ["media", "media/a", str(tmp_path / "elsewhere"), "s3://catalogue", "/data"]
    assert arguments[3:] == [f"--allow={place}" for place in places]
    assert said.startswith(f"allowed place {tmp_path}/elsewhere is no URI and not taken along")
    assert said.count("allowed place") == 1


def test_what_only_this_machine_may_have_is_warned_of(checkout: Path, tmp_path: Path) -> None:
    order = NightOrder("n", "../elsewhere.parquet", "out", checkpoints=("a=/models/a", "b=org/model"))
    arguments, said = told(order, Path(), tmp_path)
    assert arguments[:2] == [str(tmp_path / "elsewhere.parquet"), str(checkout / "out")]
    assert arguments[3:] == ["--checkpoint=a=/models/a", "--checkpoint=b=org/model"], "the nodes' own paths"
    assert f"manifest {tmp_path}/elsewhere.parquet is no URI and not taken along" in said
    assert f"output {checkout}/out is no URI: every node" in said


def test_films_and_cache_of_the_night_are_not_taken_along(checkout: Path, tmp_path: Path) -> None:
    for name in ("films/a.mp4", "cache/poses/b.arrow", "other/c.mp4"):
        (checkout / name).parent.mkdir(parents=True)
        (checkout / name).touch()
    taken = _taken(Path(), NightOrder("n", "clips.parquet", "films", cache="cache"), tmp_path, print)
    assert taken.dir is not None
    assert [name for name in taken.dir.sizes if name.startswith(("films", "cache"))] == []
    assert "other/c.mp4" in taken.dir.sizes


def test_where_the_image_holds_the_code_only_the_configuration_is_taken_along(checkout: Path, tmp_path: Path) -> None:
    order = NightOrder("n", "s3://catalogue/clips.parquet", "s3://films/spring", checkout / "night.yaml")
    taken = _taken(None, order, tmp_path, print)
    assert taken.dir is not None
    assert list(taken.dir.sizes) == ["night.yaml"]
    assert _arguments(order, taken, print)[-1] == "--config=night.yaml"
    assert _taken(None, NightOrder("n", "s3://c/m.parquet", "s3://f"), tmp_path, print).dir is None


def test_a_folder_without_catwalk_is_not_uploaded(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match=r"no Catwalk lies in it.*--image-only"):
        _taken(tmp_path, NightOrder("n", "m.parquet", "out"), tmp_path, print)


def test_variables_are_named_and_their_values_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATWALK_SECRET", "hush")
    assert values_of(["CATWALK_SECRET"]) == {"CATWALK_SECRET": "hush"}
    with pytest.raises(WrongUsage, match="not set here") as absent:
        values_of(["CATWALK_SECRET", "CATWALK_ABSENT"])
    assert "CATWALK_ABSENT" in str(absent.value)
    with pytest.raises(WrongUsage, match="give the name alone") as given:
        values_of(["CATWALK_SECRET=hush"])
    assert "hush" not in str(given.value)


def test_every_option_of_a_night_is_handed_on_as_it_was_given() -> None:
    words = ["--only=a", "--only=b c", "--limit=3", "--until=23:59", "--ok-if=rejected", "--strict", "--gpus=0.5"]
    words += ["--max-gpu-hours=2.5", "--retry-failed", "--allow=s3://catalogue", "--crf=20", "-v", "--log-format=json"]
    arguments = cli.build_parser().parse_args(["submit", "m.parquet", "out", *words, "--env=A", "--detach"])
    handed_on = list(as_options(arguments, until_of(arguments)))
    again = cli.build_parser().parse_args(["animate", "m.parquet", "out", *handed_on])
    for name in (
        "only",
        "limit",
        "ok_if",
        "strict",
        "gpus",
        "max_gpu_hours",
        "retry_failed",
        "crf",
        "verbose",
    ):
        assert getattr(again, name) == getattr(arguments, name), name
    assert datetime.fromisoformat(again.until) == until_of(arguments), "by the clock here, not by the cluster's"
    assert not any("env" in word or "detach" in word for word in handed_on)


def test_how_a_job_ended_is_an_exit_code_of_catwalk() -> None:
    def job(state: str, code: int | None, message: str = "") -> Job:
        return Job("n", 1, "n", state, "", {}, exit_code=code, message=message)

    assert [ended_as(job(state, code)) for state, code in (("SUCCEEDED", 0), ("FAILED", 2), ("FAILED", 3))] == [
        (0, None), (2, None), (3, None)]  # fmt: skip
    assert ended_as(job("STOPPED", None)) == (
        1,
        ("job n was stopped", "run again under the same run id: it goes on where it stopped"),
    )
    code, why = ended_as(job("FAILED", -9))
    assert code == 1
    assert why is not None
    assert "ended with exit code -9" in why[0]
    code, why = ended_as(job("FAILED", None, "The runtime environment failed\nto be set up"))
    assert (code, why and why[0]) == (1, "job n failed before its command had ended: The runtime environment failed")
