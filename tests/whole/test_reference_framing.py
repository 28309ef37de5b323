"""A reference of another shape than its film, through every stage: cover keeps a retargeted clip's person in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from manifests.results import Result
from manifests.work import Work
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from stages.poses.estimators.load import load_dwpose
from stages.poses.motion.framing import FRAMED_BY
from stages.poses.recipes import Estimators
from stages.poses.wholebody import VISIBLE
from tests.conftest import CHECKOUT

CATALOGUE = CHECKOUT / "manifests" / "sample" / "catalogue"
NOSE = 0


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> StageChain:
    return StageChain(RunConfig(), str(tmp_path_factory.mktemp("out")))


def write_tall(path: Path, above: int, below: int) -> Path:
    """The sample's 192×256 person with more of the backdrop above and below."""
    picture = np.asarray(Image.open(CATALOGUE / "heart-tee.png").convert("RGB"))
    Image.fromarray(np.pad(picture, ((above, below), (0, 0), (0, 0)), mode="edge")).save(path)
    return path


def work_of(chain: StageChain, reference: Path, **fields: Any) -> Work:
    row = {"id": reference.stem, "reference": str(reference), "driving": str(CATALOGUE / "turn.mp4")}
    return chain.work({**row, "animator": "drawn", "steps": 1, "frame_count": 2, **fields})


def noses(result: Result, folder: Path) -> np.ndarray:
    """How far down the nose is in the film's frames, as a share of its height; NaN where there is none."""
    with av.open(str(result.film)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    found = load_dwpose(Estimators().drawn, "as_trained", folder)(frames)
    down = found.points[:, 0, NOSE, 1] / found.height
    return np.where(found.scores[:, 0, NOSE] > VISIBLE, down, np.nan)


def test_a_head_in_the_upper_part_of_a_tall_reference_is_in_the_film(chain: StageChain, tmp_path: Path) -> None:
    reference = write_tall(tmp_path / "tall.png", 0, 256)
    result = chain.film(work_of(chain, reference, retarget="bone_length", steps=2))
    assert (result.width, result.height, result.reference_left_out) == (192, 256, 0.5)
    left, top, width, height = result.pose["window"]
    assert (left, width, height, result.pose["cut"], result.warnings) == (0, 192, 256, 0, [])
    assert top < 40
    assert np.nanmin(noses(result, tmp_path)) < 0.35


def test_without_keypoints_of_the_reference_the_middle_is_shown_and_that_is_said(
    chain: StageChain, tmp_path: Path
) -> None:
    reference = write_tall(tmp_path / "plain.png", 0, 256)
    result = chain.film(work_of(chain, reference))
    assert "window" not in result.pose
    assert "50 % of the reference (192×512) lies outside the film (192×256)" in result.warnings[0]


@pytest.mark.parametrize(
    ("name", "above", "below", "stored", "again"),
    [
        ("unseen", 0, 192, {}, True),
        ("elsewhere", 0, 192, {"window": [0, 30, 192, 256], "cut": 0.0, "framed_by": 1}, True),
        ("there", 0, 192, {"window": "as it is", "cut": 0.0, "framed_by": 1}, False),
        ("middle", 96, 96, {}, False),
    ],
)
def test_latents_of_a_person_who_would_be_cropped_otherwise_are_made_again(
    chain: StageChain, tmp_path: Path, name: str, above: int, below: int, stored: dict, again: bool
) -> None:
    reference = write_tall(tmp_path / f"{name}.png", above, below)
    work = work_of(chain, reference, retarget="bone_length", seed=len(name))
    first = chain.film(work)
    kept = Path(chain.settings.layout.latents(work.latents_key))
    marked = load_file(kept)["latents"] * 0
    report = {"frames": 2, "present": 2, "repairs": {}, **stored}
    if stored.get("window") == "as it is":
        report["window"] = first.pose["window"]
    save_file({"latents": marked}, kept, {"pose": json.dumps(report)})
    second = chain.film(work.keyed(film_key="ab" * 16))
    assert bool(load_file(kept)["latents"].any()) == again
    assert second.pose.get("window") == first.pose.get("window")
    assert ("window" in second.pose) == (name != "middle")
    assert (second.pose["cut"], second.pose["framed_by"]) == (0, FRAMED_BY)
