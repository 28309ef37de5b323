"""Which estimator finds the people of a driving video: who is in it, what is configured, and what is there."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.results import of_clip
from manifests.storage import Allowed
from manifests.work import Source, Work
from pipelines.configuration import RunConfig
from pipelines.keying import Keying
from pipelines.settings import settled
from stages.diffusion.animators import ANIMATORS
from stages.driving import recipe_of, reference_estimator
from stages.poses.estimators.drawn_or_real import people_of
from stages.poses.estimators.load import load_dwpose, load_people
from stages.poses.people_nets import NETS
from stages.poses.recipes import (
    WHO_ALGORITHM,
    DWPoseSettings,
    Estimators,
    PeopleSettings,
    key_parts,
    reference_parts,
)
from stages.validate import Validate
from stages.video.encode import Encoder, EncodeRecipe
from stages.video.image import read_image
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.made.sample_media import write_driving, write_reference

CATALOGUE = Path(__file__).resolve().parents[2] / "manifests" / "sample" / "catalogue"
DWPOSE = DWPoseSettings(detector="yolox_l.onnx", pose="dw-ll_ucoco_384.onnx")
REAL = Source(uri="film.mp4", digest="d", width=9, height=16, people="real")
CHECKPOINTS = {name: f"/models/{name}" for name in ANIMATORS if name != "drawn"}


@pytest.fixture
def nets(tmp_path: Path) -> PeopleSettings:
    """A folder in which the nets seem to be."""
    folder = tmp_path / "nets"
    folder.mkdir()
    for name in NETS:
        (folder / name).write_bytes(b"")
    return PeopleSettings(folder=str(folder))


def chosen(animator: str, estimators: Estimators, driving: Source | None = None, **fields: Any) -> str:
    clip = Clip(id="c", animator=animator, driving_kind="video", **fields)
    return recipe_of(clip, estimators, driving).estimator


SKELETONS = ["animate_anyone", "text2video_zero", "wan_vace", "wan_animate"]


@pytest.mark.parametrize("animator", SKELETONS)
def test_a_filmed_person_is_dwposes_where_it_is_configured_and_in_parity(animator: str) -> None:
    alone, both = Estimators(), Estimators(dwpose=DWPOSE)
    assert (chosen(animator, alone), chosen(animator, both)) == ("people", "dwpose")
    assert chosen(animator, alone, mode="parity") == "dwpose"
    assert reference_estimator(ANIMATORS[animator], alone) == "people"
    assert reference_estimator(ANIMATORS[animator], both) == "dwpose"


def test_the_bundled_animator_is_driven_by_whom_its_film_shows() -> None:
    estimators = Estimators()
    drawn = REAL.model_copy(update={"people": "drawn"})
    assert [chosen("drawn", estimators, driving) for driving in (None, drawn, REAL)] == ["drawn", "drawn", "people"]
    assert chosen("drawn", Estimators(dwpose=DWPOSE), REAL) == "dwpose"
    assert reference_estimator(ANIMATORS["drawn"], estimators) == "drawn"


def test_all_animators_driven_by_skeletons_share_the_poses_of_a_film() -> None:
    estimators = Estimators()
    clips = [Clip(id="c", animator=name, driving_kind="video") for name in (*SKELETONS, "drawn")]
    parts = [key_parts(recipe_of(clip, estimators, REAL), estimators) for clip in clips]
    assert all(one == parts[0] for one in parts)
    assert parts[0]["estimator"] == "people"


def test_what_people_does_around_its_nets_is_in_its_keys_alone() -> None:
    assert reference_parts("people") == {"reference": True, "algorithm": 1}
    assert reference_parts("dwpose") == {"reference": True}
    assert reference_parts("drawn") == {"reference": True, "algorithm": 1}
    recipe = recipe_of(Clip(id="c", animator="drawn", driving_kind="video"), Estimators())
    assert key_parts(recipe, Estimators()) == {
        **{"estimator": "drawn", "stored": "keypoints", "channels": "as_trained"},
        **{"batch": 1, "detect_every": 1, "detector": "whole_image"},
    }


def validated(folder: Path, estimators: Estimators, **fields: Any) -> Work:
    row = {"id": "a", "reference": "reference.png", "driving": "driving.mp4", "driving_kind": "video", **fields}
    stage = Validate(str(folder), Allowed(), Limits(), CHECKPOINTS, str(folder / "cache" / "sources"), estimators)
    return stage(0, row)


def write_film(path: Path, frames: list[np.ndarray]) -> None:
    with Encoder(path, frames[0].shape[1], frames[0].shape[0], Fraction(12), EncodeRecipe()) as encoder:
        encoder.write(np.stack(frames))


def test_a_row_is_rejected_where_no_net_for_real_people_is_there(tmp_path: Path, nets: PeopleSettings) -> None:
    write_reference(tmp_path / "reference.png")
    write_driving(tmp_path / "driving.mp4")
    with pytest.raises(Rejected, match="the nets that find people are not here") as refused:
        validated(tmp_path, Estimators(people=PeopleSettings(folder=str(tmp_path))), animator="animate_anyone")
    assert "catalogue" not in refused.value.remedy
    assert "catwalk models fetch people" in refused.value.remedy
    assert "estimators.dwpose" in refused.value.remedy
    assert validated(tmp_path, Estimators(people=nets), animator="animate_anyone").driving
    with pytest.raises(Rejected, match="no dwpose estimator is configured"):
        validated(tmp_path, Estimators(people=nets), animator="animate_anyone", mode="parity")


def test_drawn_people_are_told_from_others_and_remembered(
    tmp_path: Path, people_nets: PeopleSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reference(tmp_path / "reference.png")
    estimators, films = Estimators(people=people_nets), {}
    random = np.random.default_rng(0)
    blurred = [cv2.GaussianBlur(random.integers(0, 255, (96, 64, 3), dtype=np.uint8), (0, 0), 9) for _ in range(4)]
    write_film(tmp_path / "other.mp4", blurred)
    for name, driving in (("drawn", str(CATALOGUE / "dance.mp4")), ("real", "other.mp4")):
        films[name] = validated(tmp_path, estimators, animator="drawn", driving=driving)
        assert films[name].driving.people == name
    assert films["drawn"].clip.retarget == "none"
    assert films["real"].clip.retarget == "bone_length", "of a row that says nothing"
    said = validated(tmp_path, estimators, animator="drawn", driving="other.mp4", retarget="none")
    assert said.clip.retarget == "none"
    nowhere = Estimators(people=PeopleSettings(folder="/gone"))
    without = validated(tmp_path, nowhere, animator="drawn", driving="other.mp4")
    assert without.driving.people == "", "nobody else could find them"
    monkeypatch.setattr("stages.poses.estimators.drawn_or_real.people_of", None)
    assert validated(tmp_path, estimators, animator="drawn", driving="other.mp4").driving.people == "real"
    monkeypatch.setattr("stages.poses.estimators.drawn_or_real.people_of", lambda *_: "drawn")
    net = onnx.load(estimators.drawn.files()[-1])
    net.doc_string = "another"
    onnx.save(net, tmp_path / "net.onnx")
    changed = estimators.model_copy(
        update={"drawn": estimators.drawn.model_copy(update={"pose": str(tmp_path / "net.onnx")})}
    )
    assert validated(tmp_path, changed, animator="drawn", driving="other.mp4").driving.people == "drawn"
    monkeypatch.setattr("stages.poses.estimators.drawn_or_real.people_of", lambda *_: "real")
    monkeypatch.setattr("stages.validate.WHO_ALGORITHM", WHO_ALGORITHM + 1)
    assert validated(tmp_path, changed, animator="drawn", driving="other.mp4").driving.people == "real"


def test_photographs_are_not_taken_for_drawings(shared: Path, people_nets: PeopleSettings) -> None:
    nowhere = Path("/nowhere")
    nets = load_dwpose(Estimators().drawn, "as_trained", nowhere), load_people(people_nets, nowhere)
    for photograph in (
        *("people/coco_785.jpg", "people/coco_196141.jpg", "people/human-pose.jpeg"),
        *("magicanimate/multi1_source.png", "magicanimate/demo4.png", "animate_anyone/anyone-3.png"),
    ):
        assert people_of([read_image(shared / "media" / photograph, Limits())], 1, *nets) == "real", photograph


@pytest.mark.parametrize("film", ["dance.mp4", "turn.mp4", "jumping_jack.mp4"])
def test_the_sample_catalogue_is_driven_by_drawn_people(film: str, people_nets: PeopleSettings) -> None:
    frames, nowhere = Frames(CATALOGUE / film, Limits()), Path("/nowhere")
    nets = load_dwpose(Estimators().drawn, "as_trained", nowhere), load_people(people_nets, nowhere)
    assert people_of(frames.read(), frames.facts.frames, *nets) == "drawn"


def test_the_result_says_which_estimator_found_the_poses(tmp_path: Path, people_nets: PeopleSettings) -> None:
    write_reference(tmp_path / "reference.png")
    config = RunConfig(estimators=Estimators(people=people_nets))
    keying = Keying(settled(config, str(tmp_path / "manifest.parquet"), str(tmp_path / "out"), None))
    work = keying(validated(tmp_path, config.estimators, animator="drawn", driving=str(CATALOGUE / "dance.mp4")))
    assert of_clip(work, "done").pose_estimator == "drawn"
    filmed = keying(work.model_copy(update={"driving": work.driving.model_copy(update={"people": "real"})}))
    assert of_clip(filmed, "done").pose_estimator == "people"
    assert filmed.pose_key != work.pose_key
    assert filmed.film_key != work.film_key
