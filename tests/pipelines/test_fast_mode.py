"""A film in mode fast says what it leaves out, and a run how far that is from standard by measurement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manifests import results, storage
from manifests.layout import Film
from manifests.result_summary import summarise
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.running.record import fast_lines
from stages.diffusion.fast import MEASURED, recipe_of
from tests.made.sample_media import clip_row

RECIPE = {"steps": 1, "sampler": "own", "guided": 1.0, "reuse": 1}


def row(media: Path, **fields: Any) -> dict[str, Any]:
    files = {"reference": str(media / "reference.png"), "driving": str(media / "driving.mp4")}
    drawn = {"animator": "drawn", "driving_kind": "skeleton", "width": 64, "height": 64, "steps": None}
    return clip_row("clip", **{**files, **drawn, **fields})


def test_recipe_and_deviation_stand_in_row_marker_and_summary(media: Path) -> None:
    stages = StageChain(RunConfig.load(None, {}), str(media / "out"))
    work = stages.work(row(media, mode="fast"))
    made = stages.film(work)
    (deviation,) = [known for recipe, known in MEASURED["bundled:drawn"] if recipe == RECIPE]
    assert made.recipe == {**RECIPE, "deviation": deviation._asdict()}
    marker = storage.read_json(stages.settings.layout.film_marker(Film("clip", work.film_key)))
    assert marker["recipe"] == made.recipe
    assert stages.film(work).recipe == made.recipe, "of a film that is there already"

    uri = str(media / "results.parquet")
    plain = made.model_copy(update={"row": 1, "recipe": {}})
    results.write([made, plain], uri)
    assert [one.recipe for one in results.read(uri)] == [made.recipe, {}]

    said = fast_lines(summarise([made, plain])["fast"])
    assert said == [
        "1 films of drawn in mode fast: steps 1, sampler own, guided 1.0, reuse 1",
        f"  from standard {deviation.psnr:.1f} dB PSNR, SSIM {deviation.ssim:.3f}, "
        f"warping error {deviation.warping_error:+.4f}, measured on {deviation.clips} clips "
        "of 192×256, 16 frames",
    ]


@pytest.mark.parametrize(
    ("fields", "checkpoint"), [({}, "/models/mine"), ({"options": {"fast": {"reuse": 2}}, "steps": 2}, "bundled:drawn")]
)
def test_what_was_not_measured_is_not_said_to_be(media: Path, fields: dict[str, Any], checkpoint: str) -> None:
    clip = StageChain(RunConfig.load(None, {}), str(media / "out")).work(row(media, mode="fast", **fields)).clip
    recipe = recipe_of(clip, checkpoint)
    assert recipe["deviation"] is None
    assert "has not been measured" in fast_lines([{"animator": "drawn", "films": 1, "recipe": recipe}])[1]
    assert json.loads(json.dumps(recipe)) == recipe
    assert recipe_of(clip.model_copy(update={"mode": "standard"}), checkpoint) == {}
