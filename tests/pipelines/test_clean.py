"""`catwalk clean`: what dead runs left is found and, if that is asked for, removed; nothing else ever is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manifests import storage, temporary
from manifests.layout import Film, OutputLayout
from manifests.results import Result
from pipelines import cli
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.running import lease
from tests.conftest import CHECKOUT
from tests.made.sample_media import clip_row

pytestmark = pytest.mark.usefixtures("plain_animators", "own_temporary_folder")

KEY = "0" * 32


@pytest.fixture
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's processes have their temporary folders; other people's are none of its business."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "out") if request.param == "local" else request.getfixturevalue("s3") + "/out"


def film(output: str, media: Path, **fields: Any) -> Result:
    """A film made by a run that is over."""
    files = {"reference": str(media / "reference.png"), "driving": str(media / "driving.mp4")}
    row = clip_row("clip", **{**files, "driving_kind": "skeleton", "animator": "plain", "steps": None, **fields})
    stages = StageChain(RunConfig(), output)
    return stages.film(stages.work(row))


def leave_behind(output: str, made: Result) -> dict[str, str]:
    """What dead runs leave, by kind."""
    layout, unpublished = OutputLayout(output), Film("clip", made.film_key)
    left = {
        "latents of films that were never finished": layout.latents(KEY),
        "films without a marker": layout.film(Film("half", KEY)),
        "posters without a film": layout.poster(Film("half", KEY)),
        "markers without a film": layout.film_marker(Film("deleted", KEY)),
        "unpublished films that are published since": layout.unpublished(unpublished),
        "notes of dead runs": layout.run("dead", "attempts", "animate.3.1.json"),
        "claims of dead runs": storage.join(output, "claims", f"{KEY}.json"),
    }
    for uri in left.values():
        storage.publish_bytes(b'{"run": "dead"}', uri)
    storage.publish_bytes(b"", layout.run("dead", "_SUCCESS"))
    # not to be published anywhere yet
    storage.publish_bytes(b"film", layout.unpublished(Film("waiting", KEY)))
    if storage.is_local(output):
        part = Path(output) / "films" / f".{KEY}{storage.UNFINISHED}"
        part.write_bytes(b"half a film")
        left["half-written files"] = str(part)
    return left


def everything(output: str) -> set[str]:
    return {storage.join(output, name) for name in storage.written_files(output)}


def found(capsys: pytest.CaptureFixture[str], output: str, *options: str) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.main(["clean", output, "--json", *options]) == cli.OK
    return json.loads(capsys.readouterr().out)


def test_what_dead_runs_left_is_told_and_only_removed_if_that_is_asked_for(
    output: str, media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = film(output, media)
    storage.delete(OutputLayout(output).latents(made.latents_key))
    kept = everything(output)
    left = leave_behind(output, made)
    before = everything(output)
    told = found(capsys, output, "--older-than", "0")
    assert told["leftovers"].keys() == left.keys()
    assert told["bytes"] == sum(storage.stamp(uri).size for uri in left.values()) > 0
    assert not told["deleted"]
    assert everything(output) == before, "a dry run has touched something"

    assert found(capsys, output, "--older-than", "0", "--delete")["deleted"]
    assert before - everything(output) == set(left.values())
    assert kept <= everything(output)
    assert found(capsys, output, "--older-than", "0")["leftovers"] == {}


def test_what_is_young_stays(output: str, media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_behind(output, film(output, media))
    told = found(capsys, output)["leftovers"]
    assert told.keys() == {"unpublished films that are published since"}  # which is known to be so


def test_nothing_of_a_living_run_goes(media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "out")
    left = leave_behind(output, film(output, media))
    layout = OutputLayout(output)
    long_ago = 1_000_000_000
    for uri in everything(output):
        os.utime(uri, (long_ago, long_ago))
    with lease.held(layout, "dead", "session", print):
        told = found(capsys, output, "--older-than", "0", "--superseded")["leftovers"]
        assert told.keys() == {"half-written files", "unpublished films that are published since"}
    told = found(capsys, output, "--older-than", "0")["leftovers"]
    assert told.keys() == left.keys() | {"latents of finished films"}


def test_what_other_runs_may_be_using_stays_for_a_day(
    media: Path, tmp_path: Path, own_temporary_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loading = own_temporary_folder / "catwalk" / "checkpoints" / KEY / "model.safetensors"
    loading.parent.mkdir(parents=True)
    loading.write_bytes(b"weights")
    output, cache = str(tmp_path / "out"), str(tmp_path / "cache")
    shared = OutputLayout(output, cache)
    storage.publish_bytes(b"{}", shared.latents(KEY))
    storage.publish_bytes(b"{}", shared.run("dead", "run.json"))
    (Path(cache) / f".{KEY}{storage.UNFINISHED}").write_bytes(b"half")
    options = ("--cache", cache, "--older-than", "0")
    assert found(capsys, output, *options)["leftovers"] == {}
    for path in (loading, *Path(cache).rglob("*")):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    told = found(capsys, output, *options)["leftovers"]
    assert told.keys() == {
        "local copies of weights", "half-written files", "latents of films that were never finished"
    }  # fmt: skip


def test_older_films_of_a_clip_go_only_if_that_is_asked_for(
    output: str, media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = film(output, media), film(output, media, seed=7)
    for number, one in enumerate((old, new)):
        marker = one.film.replace(".mp4", ".json")
        if storage.is_local(output):
            os.utime(marker, (1_700_000_000 + number,) * 2)
    assert old.film != new.film
    assert "superseded films" not in found(capsys, output)["leftovers"]
    told = found(capsys, output, "--superseded", "--delete")["leftovers"]
    if not storage.is_local(output) and "superseded films" not in told:
        pytest.skip("moto wrote both within a second")
    assert told["superseded films"]["count"] == 1
    assert [storage.exists(one.film) for one in (old, new)] == [False, True]
    assert not storage.exists(old.poster)


def test_an_upload_that_died_half_way_is_dropped(s3: str, s3_endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    import boto3

    client, bucket = boto3.client("s3", endpoint_url=s3_endpoint), s3.removeprefix("s3://")
    storage.publish_bytes(b"", s3 + "/out/films/x")
    for key in ("out/films/clip.mp4", "outside/clip.mp4"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    told = found(capsys, s3 + "/out", "--delete")["leftovers"]  # moto says of all that they were begun in 2010
    assert told["half-done uploads"]["count"] == 1
    left = [one["Key"] for one in client.list_multipart_uploads(Bucket=bucket)["Uploads"]]
    assert left == ["outside/clip.mp4"]


HOLDS = """
import sys, time
from manifests.temporary import temporary_folder
with temporary_folder("animate") as folder:
    (folder / "film.mp4").write_bytes(bytes(5000))
    print(folder, flush=True)
    time.sleep(60)
"""


def test_the_temporary_folder_of_a_killed_process_is_found_and_no_other(
    own_temporary_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (own_temporary_folder / "catwalk-of-somebody-else").mkdir()
    (own_temporary_folder / "catwalk-animate-ffffffff-1-1-abc").mkdir()  # of another machine
    holder = subprocess.Popen([sys.executable, "-c", HOLDS], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    folder = Path(holder.stdout.readline().strip())
    with temporary.temporary_folder("pose") as own:
        assert temporary.dead_folders() == []
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert temporary.dead_folders() == [folder]
        told = found(capsys, str(tmp_path / "out"))["leftovers"]
        assert told == {"temporary folders of killed processes": {"count": 1, "bytes": 5000}}
        temporary.remove_dead_folders()  # as a worker does that begins
        assert own.is_dir()
    assert sorted(path.name for path in own_temporary_folder.iterdir()) == [
        "catwalk-animate-ffffffff-1-1-abc",
        "catwalk-of-somebody-else",
    ]


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clean", str(tmp_path / "nowhere")]) == cli.WRONG_USAGE
    assert "there is no such folder" in capsys.readouterr().err
