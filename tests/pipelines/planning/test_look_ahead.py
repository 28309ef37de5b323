"""`catwalk plan` as its user meets it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from manifests import storage
from pipelines import cli
from pipelines.configuration import RunConfig
from pipelines.planning import calibration as calibrating
from pipelines.planning import look_ahead as ahead
from pipelines.planning.calibration_file import Calibration, Setup
from pipelines.planning.look_ahead import look_ahead
from pipelines.planning.pace import Pace
from pipelines.settings import settled
from tests.made.sample_media import clip_row, config, write_manifest


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["plan", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_manifest_is_planned_without_weights_ray_or_an_output(
    media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [clip_row("a", steps=25, width=512, height=512), clip_row("b", steps=25, width=512, height=512, seed=1)]
    manifest = write_manifest(media / "m.parquet", [*rows, clip_row("c", reference="nobody.png")])
    before = set(media.rglob("*"))
    words = (manifest, "--card", "h200", "--gpus", "2", "--gpu-price", "3")
    code, made = planned(capsys, *words)
    assert code == cli.SOME_FAILED
    assert (made["films"], made["refused"], made["frames"], made["windows"]) == (2, 1, 12, 50)
    assert made["pflop"] > 0.5
    assert made["cost"] == pytest.approx(made["gpu_hours_held"] * 3, rel=1e-3)
    assert set(media.rglob("*")) == before, "nothing is written"
    assert cli.main(["plan", *words]) == cli.SOME_FAILED
    out, err = capsys.readouterr()
    assert "2 films to make: 12 frames" in out
    assert "assumed:" in out
    assert "nobody.png" in err


def test_the_limit_and_shared_driving_videos_count(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row(f"c{seed}", seed=seed) for seed in range(4)])
    _, four = planned(capsys, manifest)
    _, one = planned(capsys, manifest, "--limit", "1")
    assert (four["films"], one["films"]) == (4, 1)
    assert four["pose_bytes"] == one["pose_bytes"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpus", "0"], "--gpus 0"),
        (["--gpus", "2"], "nothing says which"),
        (["--card", "h2000"], "--card h2000: is not known"),
        (["--tflops", "-1"], "--tflops -1"),
        (["--calibrate", "--card", "h200"], "--calibrate and --card"),
        (["--calibrate", "--gpus", "1"], "nothing says which"),
        (["--calibrate", "--tflops", "9"], "--calibrate and --tflops"),
        (["--limit", "0"], "--limit 0"),
        (["--gpu-price", "-3"], "price.gpu_hour"),
    ],
)
def test_wrong_options_are_named(media: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    manifest = write_manifest(media / "m.parquet", [clip_row("a")])
    assert cli.main(["plan", manifest, *words]) == cli.WRONG_USAGE
    assert said in capsys.readouterr().err


def test_what_a_calibration_measures_is_kept_for_later_plans_and_its_films_are_not(cluster: str, media: Path) -> None:
    manifest, output = write_manifest(media / "m.parquet", [clip_row("a"), clip_row("b", steps=3)]), media / "out"
    measured = look_ahead(config(), manifest, str(output), calibrate=True)
    kept = Calibration.model_validate(storage.read_json(str(output / "calibration.json")))
    (pace,) = kept.paces
    assert (pace.animator, pace.pixels, kept.rows, kept.missing) == ("magicanimate", 48 * 64, 7, [])
    assert pace.tflops > 0
    assert pace.cpu is not None
    assert kept.start_seconds > 0
    assert measured.cpu_seconds
    assert not list(output.glob("calibration-*/**/*.mp4"))
    assert not list((output / "films").glob("*"))
    later = look_ahead(config(), manifest, str(output))
    assert later.wall_seconds == pytest.approx(measured.wall_seconds)


def test_gpus_are_measured_and_what_was_measured_counts_without_naming_a_card(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, output = write_manifest(media / "m.parquet", [clip_row("a")]), str(media / "out")
    on_gpus = RunConfig.load(None, {"animate_pool": {"num_gpus": 1, "device": "cpu"}})
    run = settled(on_gpus, manifest, output, None)
    pace = Pace(animator="magicanimate", pixels=48 * 64, tflops=9, clip=7, frame=0, drawing_clip=2, drawing_frame=0)
    seconds = {"start_seconds": 5, "end_seconds": 1, "inputs_seconds": 1, "load_seconds": {}, "pose_seconds": {}}
    about = {"setup": Setup.of(run), "measured": datetime(2026, 11, 29, tzinfo=UTC), "host": "here", "rows": 7}
    measured = Calibration.model_validate({**about, **seconds, "paces": [pace], "film_bytes": 1})
    monkeypatch.setattr(ahead, "reached", lambda say: 1.0)
    monkeypatch.setattr(ahead, "looked_at_there", ahead.looked_at_here)
    monkeypatch.setattr(calibrating, "calibrated", lambda *given: measured)
    first = look_ahead(on_gpus, manifest, output, calibrate=True)
    with_memory = look_ahead(on_gpus, manifest, output, calibrate=True, card="h100")
    later = look_ahead(on_gpus, manifest, output)
    assert first.worker_seconds == with_memory.worker_seconds == later.worker_seconds > 9
    assert (first.card_bytes, with_memory.card_bytes) == (None, 80 * 2**30)
