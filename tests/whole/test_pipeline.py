"""The whole path on a real local Ray cluster: manifest in, films and one result per row out."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
from c2pa import Reader
from PIL import Image

from manifests import results, storage
from manifests.clip import Clip
from manifests.errors import Problem
from manifests.layout import OutputLayout
from manifests.work import Work
from pipelines.animate import graph, run
from pipelines.planned_clip import planned_clip
from pipelines.report.report import write_report
from pipelines.running.following import followed
from pipelines.running.record import RunResults
from pipelines.settings import settled
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.made.made_night import report_data
from tests.made.sample_media import clip_row, config, write_driving, write_manifest, write_reference

pytestmark = pytest.mark.usefixtures("cluster")


def by_id(outcome: RunResults) -> dict[str, results.Result]:
    return {result.id: result for result in outcome.results}


def pixels(path: str) -> np.ndarray:
    """uint8 (frames, height, width, 3) of a film."""
    return np.stack(list(Frames(Path(path), Limits()).read()))


def film_facts(path: str) -> tuple[int, Fraction, Fraction, int, int]:
    """Frames, rate, seconds and size as PyAV sees them."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        return frames, stream.average_rate, stream.duration * stream.time_base, stream.width, stream.height


def test_every_row_ends_as_exactly_one_result_and_bad_rows_stop_nothing(media: Path) -> None:
    (media / "text.mp4").write_text("no video")
    (media / "half.png").write_bytes((media / "reference.png").read_bytes()[:200])
    write_driving(media / "ntsc.mp4", frames=9, fps=Fraction(30000, 1001))
    Image.new("RGB", (6000, 5000)).save(media / "greedy.png")
    film = bytearray((media / "driving.mp4").read_bytes())
    times = film.index(b"stts") + 12
    film[times : times + 4] = (2**32 - 1).to_bytes(4, "big")  # samples: decord aborted its process over it
    (media / "claims.mp4").write_bytes(film)
    rows = [
        clip_row("good", metadata={"sku": "A-1"}),
        clip_row("missing", reference="nobody.png"),
        clip_row("ntsc", driving="ntsc.mp4"),
        clip_row("corrupt", reference="half.png"),
        clip_row("text", driving="text.mp4"),
        clip_row("good"),
        clip_row("../up"),
        clip_row("odd", width=49),
        clip_row("unknown", animator="magic_animate"),
        clip_row("outside", reference="/etc/hostname"),
        clip_row("unweighted", checkpoint=str(media / "no-weights")),
        clip_row("greedy", reference="greedy.png"),
        clip_row("claims", driving="claims.mp4"),
    ]
    said: list[str] = []
    copying = shlex.join([sys.executable, "-c", "import shutil, sys; shutil.copy(sys.argv[2], sys.argv[1])"])
    settings = config(on_end=f"{copying} {media / 'told.json'}", limits={"memory_bytes": 100_000_000})
    outcome = run(settings, write_manifest(media / "m.parquet", rows), str(media / "out"), say=said.append)
    assert outcome.exit_code == 3
    assert [result.row for result in outcome.results] == list(range(len(rows)))
    status = [result.status for result in outcome.results]
    assert status == ["done", "rejected", "done", *["rejected"] * 7, "failed", "rejected", "rejected"]
    assert "reading it takes more than 0.1 GB of memory" in outcome.results[-2].error
    assert "4294967295 samples" in outcome.results[-1].error
    assert not [result.row for result in outcome.results if result.worker_deaths], "the sandbox's, not the worker's"
    for result in outcome.results:
        assert result.good or (result.stage and result.error and result.remedy)
    good, ntsc = outcome.results[0], outcome.results[2]
    assert film_facts(good.film) == (6, Fraction(25), Fraction(6, 25), 48, 64)
    assert film_facts(ntsc.film) == (9, Fraction(30000, 1001), Fraction(9 * 1001, 30000), 48, 64)
    assert good.metadata == {"sku": "A-1"}
    assert {"pose", "inputs", "load", "denoise", "encode", "publish"} <= good.seconds.keys()
    assert (good.seed, good.steps, good.crf, good.device, good.gpu_seconds) == (0, 1, 18, "cpu", 0)
    assert (good.reference, good.driving) == (str(media / "reference.png"), str(media / "driving.mp4"))
    assert good.host == socket.gethostname()
    assert len(good.worker or "") > 20, "the actor's id"
    assert good.film_bytes == os.path.getsize(good.film)
    assert outcome.results[1].reference == "nobody.png"
    assert results.read(storage.join(outcome.folder, "results.parquet")) == outcome.results
    assert storage.exists(storage.join(outcome.folder, "_SUCCESS"))
    assert any("row 0 has it already" in line for line in said)
    summary = storage.read_json(storage.join(outcome.folder, "summary.json"))
    assert json.loads((media / "told.json").read_text()) == {**summary, "exit_code": 3, "folder": outcome.folder}
    assert (summary["session"]["done"], summary["session"]["frames"]) == (2, 15)
    assert summary["session"]["cpu_seconds"] == pytest.approx(good.cpu_seconds + ntsc.cpu_seconds, abs=0.01)
    assert {name: summary["plan"][name]["ratio"] for name in ("films", "frames")} == {"films": 1.0, "frames": 1.0}
    assert "against the plan" in storage.read_bytes(storage.join(outcome.folder, "summary.txt")).decode()


def test_films_are_signed_on_workers_with_a_key_from_the_environment_that_is_in_no_file(media: Path) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row("a"), clip_row("b")])  # the same film twice
    named = {"certificate": "env:CATWALK_TEST_CHAIN", "private_key": "env:CATWALK_TEST_KEY"}
    outcome = run(config(provenance={"credentials": named}), manifest, str(media / "out"))
    assert [one.status for one in outcome.results] == ["done", "cached"], outcome.results
    assert {one.signed_by for one in outcome.results} == {"House of Workers"}
    for result in outcome.results:
        for file in (result.film, result.poster):
            with Reader(Path(file)) as reader:
                assert reader.get_validation_state() == "Valid"
                active = reader.get_active_manifest()
                assert active["signature_info"]["common_name"] == "House of Workers"
    summary = storage.read_json(storage.join(outcome.folder, "summary.json"))
    assert summary["signed_by"] == {"House of Workers": 2}
    key = os.environ["CATWALK_TEST_KEY"].splitlines()[1].encode()
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    written = [path for folder in (media / "out", session / "logs") for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert [path for path in written if key in path.read_bytes()] == []


def test_a_second_run_reads_no_media_and_makes_nothing_again(media: Path) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row("a"), clip_row("b", seed=1), clip_row("c", steps=0)])
    first = run(config(), manifest, str(media / "out"))
    assert [result.status for result in first.results] == ["done", "done", "rejected"], first.results
    before = {path: path.stat().st_mtime_ns for path in (media / "out" / "cache").rglob("*") if path.is_file()}
    # The same size and time but other bytes: whoever reads them again gets another digest, or fails.
    for path in (media / "reference.png", media / "driving.mp4"):
        stamp = path.stat()
        path.write_bytes(b"\0" * stamp.st_size)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    second = run(config(), manifest, str(media / "out"))
    after = {path: path.stat().st_mtime_ns for path in (media / "out" / "cache").rglob("*") if path.is_file()}
    assert [result.status for result in second.results] == ["cached", "cached", "rejected"], second.results
    assert after == before
    for old, new in zip(first.results[:2], second.results[:2], strict=True):
        assert new.model_copy(update={"status": "done"}) == old


def test_a_change_of_encoding_denoises_nothing_again(media: Path) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row("a")])
    first = run(config(), manifest, str(media / "out")).results[0]
    latents = media / "out" / "cache" / "latents" / f"{first.latents_key}.safetensors"
    made = latents.stat().st_mtime_ns
    said: list[str] = []
    second = run(config(encode={"crf": 40}), manifest, str(media / "out"), say=said.append).results[0]
    assert any(line.startswith("0 films to make (0 frames") and "1 to encode anew from stored latents (6" in line
               for line in said)  # fmt: skip
    assert (first.crf, second.crf) == (18, 40)
    assert second.status == "done"
    assert second.film_key != first.film_key
    assert (second.latents_key, latents.stat().st_mtime_ns) == (first.latents_key, made)
    assert os.path.getsize(second.film) < os.path.getsize(first.film)


def test_equal_films_under_two_ids_are_made_once(media: Path) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row("a"), clip_row("b", metadata={"other": 1})])
    outcome = run(config(), manifest, str(media / "out"))
    first, second = outcome.results
    assert (first.status, second.status) == ("done", "cached")
    assert storage.name(second.film).startswith("b.")
    assert storage.read_bytes(first.film) == storage.read_bytes(second.film)


def test_the_same_run_id_continues_a_night_and_its_films_count_as_done(media: Path) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row("a"), clip_row("b", seed=1)])
    run(config(), manifest, str(media / "out"), run_id="night", limit=1)
    outcome = run(config(), manifest, str(media / "out"), run_id="night")
    assert [result.status for result in outcome.results] == ["done", "done"], outcome.results
    other = write_manifest(media / "other.parquet", [clip_row("a")])
    with pytest.raises(Problem, match="was begun with"):
        run(config(), other, str(media / "out"), run_id="night")


def test_a_night_goes_on_with_rows_that_were_added_to_its_manifest(media: Path) -> None:
    rows = [clip_row("a"), clip_row("b", steps=0)]
    manifest = write_manifest(media / "m.parquet", rows)
    first = run(config(), manifest, str(media / "out"), run_id="night")
    assert [first.exit_code_if(ok) for ok in ((), ("failed",), ("rejected",))] == [3, 3, 0]
    write_manifest(media / "m.parquet", [*rows, clip_row("c", seed=1, colour="red")])
    second = run(config(), manifest, str(media / "out"), run_id="night")
    assert [result.status for result in second.results] == ["done", "rejected", "done"], second.results
    assert second.results[0].finished == first.results[0].finished, "made again"
    write_manifest(media / "m.parquet", [clip_row("a", seed=9), *rows[1:], clip_row("c", seed=1)])
    with pytest.raises(Problem, match="were others"):
        run(config(), manifest, str(media / "out"), run_id="night")


def test_only_what_failed_is_tried_again_and_the_night_keeps_all_its_results(media: Path) -> None:
    rows = [clip_row("a"), clip_row("b", reference="late.png"), clip_row("c", seed=1)]
    manifest, out = write_manifest(media / "m.parquet", rows), str(media / "out")
    with pytest.raises(Problem, match="--only-failed: a run has not ended"):
        run(config(), manifest, out, only_failed=True)
    first = run(config(), manifest, out, run_id="night")
    assert [result.status for result in first.results] == ["done", "rejected", "done"], first.results
    write_reference(media / "late.png", seed=5)
    again = run(config(), manifest, out, only_failed=True, dry_run=True)
    assert again.summary == {"to_make": 1}
    second = run(config(), manifest, out, run_id="night", only_failed=True)
    assert [result.status for result in second.results] == ["done", "done", "done"], second.results
    assert second.exit_code == 0
    assert results.read(storage.join(second.folder, "results.parquet")) == second.results
    assert run(config(), manifest, out, only_failed=True, dry_run=True).summary == {"to_make": 0}


def kill_workers(attempts: Path, wanted: str, times: int, stop: threading.Event) -> None:
    """Kill the worker that has begun a try whose marker matches, `times` times."""
    killed: set[Path] = set()
    while not stop.is_set() and len(killed) < times:
        for marker in set(attempts.glob(wanted)) - killed:
            killed.add(marker)
            with suppress(FileNotFoundError, ProcessLookupError):
                os.kill(json.loads(marker.read_text())["pid"], signal.SIGKILL)
        time.sleep(0.05)


def test_a_killed_worker_loses_no_clip(media: Path) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row(f"c{seed}", seed=seed, steps=2) for seed in range(4)])
    stop = threading.Event()
    attempts = media / "out" / "runs" / "night" / "attempts"
    killer = threading.Thread(target=kill_workers, args=(attempts, "animate.1.1.json", 1, stop))
    killer.start()
    try:
        outcome = run(config(), manifest, str(media / "out"), run_id="night")
    finally:
        stop.set()
        killer.join()
    assert [result.status for result in outcome.results] == ["done"] * 4, outcome.results
    assert max(result.attempts for result in outcome.results) == 2


def test_a_clip_that_kills_every_worker_fails_alone(media: Path) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row(f"c{seed}", seed=seed, steps=2) for seed in range(3)])
    stop = threading.Event()
    attempts = media / "out" / "runs" / "night" / "attempts"
    killer = threading.Thread(target=kill_workers, args=(attempts, "animate.1.*.json", 99, stop))
    killer.start()
    try:
        outcome = run(config(attempts=2), manifest, str(media / "out"), run_id="night")
    finally:
        stop.set()
        killer.join()
    assert [result.status for result in outcome.results] == ["done", "failed", "done"], outcome.results
    assert "worker died" in outcome.results[1].error
    assert len(list(attempts.glob("animate.1.*.json"))) == 3  # two tries among others, one alone
    assert outcome.exit_code == 3


def test_no_user_media_is_decoded_beside_the_model(media: Path) -> None:
    settings = settled(config(), str(media / "m.parquet"), str(media / "out"), "night")
    clip = Clip(id="a", animator="magicanimate", width=48, height=64, steps=1)
    bare = Work(row=0, clip=clip, frames=1)  # fails in the last stage
    whole = graph(settings, [[planned_clip(bare)]], 3)
    list(followed(whole, settings.config, lambda following: False))
    operators = [line for line in whole.stats().splitlines() if "AnimateWorker" in line]
    assert operators
    assert not [line for line in operators if "->Map(AnimateWorker)" in line]


def test_what_the_cluster_cannot_give_fails_in_seconds(media: Path) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row("a")])
    begun = time.monotonic()
    with pytest.raises(Problem, match="GPU 1 asked for"):
        run(config(animate_pool={"num_gpus": 1}), manifest, str(media / "out"))
    assert time.monotonic() - begun < 10


def test_pools_that_leave_no_whole_cpu_free_still_run(media: Path) -> None:
    import ray

    cores = ray.cluster_resources()["CPU"]
    pools = {
        "pose_pool": {"num_cpus": 0.4},
        "inputs_pool": {"num_cpus": 0.1},
        "animate_pool": {"num_cpus": cores - 0.5},
    }
    outcome = run(config(**pools), write_manifest(media / "m.parquet", [clip_row("a")]), str(media / "out"))
    assert [result.status for result in outcome.results] == ["done"], outcome.results


def test_a_dry_run_plans_and_writes_no_film(media: Path) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row("a"), clip_row("b", steps=0)])
    said: list[str] = []
    outcome = run(config(), manifest, str(media / "out"), dry_run=True, say=said.append)
    assert not (media / "out" / "films").exists()
    assert not (media / "out" / "runs").exists()
    assert [result.id for result in outcome.results] == ["b"]
    assert any(line.startswith("1 films to make (6 frames") for line in said)
    assert any("rejected in validate (row 1): steps 0" in line for line in said), "which row, and why"


def test_only_and_limit_restrict_the_run(media: Path) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row("a"), clip_row("b", seed=1), clip_row("c", seed=2)])
    picked = run(config(), manifest, str(media / "out"), only=["c"], dry_run=False)
    assert [(result.row, result.id) for result in picked.results] == [(2, "c")]
    with pytest.raises(Problem, match="no such id"):
        run(config(), manifest, str(media / "out"), only=["nobody"])


def test_rows_of_many_files_are_numbered_in_file_order_and_unknown_columns_become_metadata(media: Path) -> None:
    write_manifest(media / "in" / "1.parquet", [clip_row(f"a{n}", steps=0, colour="red") for n in range(30)])
    write_manifest(media / "in" / "2.parquet", [clip_row(f"b{n}", steps=0, options={}) for n in range(30)])
    write_manifest(media / "in" / "3.parquet", [clip_row(f"c{n}", steps=0, colour="blue") for n in range(30)])
    said: list[str] = []
    outcome = run(config(), str(media / "in"), str(media / "out"), say=said.append)
    expected = [f"{file}{number}" for file in "abc" for number in range(30)]
    assert [result.id for result in outcome.results] == expected
    assert outcome.results[0].metadata == {"colour": "red"}
    assert sum("unknown column 'colour'" in line for line in said) == 1
    with pytest.raises(Problem, match="colour"):
        run(config(), str(media / "in"), str(media / "out"), strict=True)


def test_a_damaged_manifest_breaks_the_run_off_with_its_name(media: Path) -> None:
    (media / "m.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(Problem, match=r"m\.parquet"):
        run(config(), str(media / "m.parquet"), str(media / "out"))


def test_a_cache_that_was_damaged_as_a_whole_is_made_anew_in_one_run(media: Path) -> None:
    manifest, output = write_manifest(media / "m.parquet", [clip_row("a"), clip_row("b", seed=1)]), media / "out"
    whole = by_id(run(config(), manifest, str(output)))
    pictures = {clip: pixels(result.film) for clip, result in whole.items()}
    entries = [path for path in (output / "cache").rglob("*") if path.is_file()]
    assert {path.parent.name for path in entries} == {"latents", "poses", "references", "sources"}
    for path in (*entries, *(output / "films").glob("*.json")):
        path.write_bytes(b"")
    said: list[str] = []
    again = by_id(run(config(), manifest, str(output), say=said.append))
    assert {clip: result.status for clip, result in again.items()} == {"a": "done", "b": "done"}
    assert sum("once more" in line for line in said) <= 2, "a loop"
    assert all(np.array_equal(pixels(result.film), pictures[clip]) for clip, result in again.items())
    assert all(path.stat().st_size for path in entries)


def test_the_whole_path_runs_on_object_storage(media: Path, s3: str) -> None:
    write_manifest(media / "m.parquet", [clip_row("a"), clip_row("b", reference="gone.png")])
    for name in ("m.parquet", "reference.png", "driving.mp4"):
        storage.publish(media / name, f"{s3}/in/{name}")
    outcome = run(config(), f"{s3}/in/m.parquet", f"{s3}/out")
    assert [result.status for result in outcome.results] == ["done", "rejected"], outcome.results
    film = storage.fetch(outcome.results[0].film, media / "down", None)
    assert film_facts(str(film))[:2] == (6, Fraction(25))
    again = run(config(), f"{s3}/in/m.parquet", f"{s3}/out")
    assert [result.status for result in again.results] == ["cached", "rejected"], again.results
    names = storage.listing(outcome.folder, recursive=True)
    assert {"run.json", "plan.parquet", "results.parquet", "summary.json", "_SUCCESS"} <= names.keys()

    page = report_data(write_report(OutputLayout(f"{s3}/out"), outcome.run_id, str(media / "page.html")))
    rejected, done = page["clips"]
    assert (page["notes"], rejected["id"], done["id"]) == ([], "b", "a")
    assert done["cells"]["driving"] == f"{s3}/in/driving.mp4"
    assert done["driving_frame"] == outcome.results[0].poster_frame
    assert {done["reference_picture"], done["driving_picture"]} == {0, 1}
    assert done["curves"].keys() <= done["quality"].keys()
    assert "flicker" in done["quality"]
    assert done["film"].startswith("http://")


def test_the_sound_of_the_driving_video_is_kept_on_request(media: Path) -> None:
    import ffmpeg
    import imageio_ffmpeg

    tone = ffmpeg.input("sine=frequency=440:duration=1", format="lavfi")
    film = ffmpeg.input(str(media / "driving.mp4"))
    mixed = ffmpeg.output(film["v"], tone["a"], str(media / "sound.mp4"), vcodec="copy", acodec="aac", t=0.24)
    mixed.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    rows = [clip_row("kept", driving="sound.mp4", audio="driving"), clip_row("dropped", driving="sound.mp4")]
    outcome = run(config(), write_manifest(media / "m.parquet", rows), str(media / "out"))
    sounds = []
    for result in outcome.results:
        with av.open(result.film) as container:
            sounds.append(len(container.streams.audio))
        assert film_facts(result.film)[0] == 6
    assert sounds == [1, 0]


def test_references_of_one_driving_video_share_its_poses(media: Path) -> None:
    rows = []
    for seed in range(3):
        write_reference(media / f"r{seed}.png", seed)
        rows.append(clip_row(f"r{seed}", reference=f"r{seed}.png"))
    outcome = run(config(), write_manifest(media / "m.parquet", rows), str(media / "out"))
    assert len({result.pose_key for result in outcome.results}) == 1
    assert sum("pose" in result.seconds for result in outcome.results) == 1
    plan = pq.read_table(storage.join(outcome.folder, "plan.parquet"))
    assert plan["intent"].to_pylist() == ["make"] * 3
