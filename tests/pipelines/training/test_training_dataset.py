"""The bundled animator's training data: which people it draws, and what the stages find on disk."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from manifests.errors import Problem
from pipelines.training import dataset, pictures
from pipelines.training.codec import as_input
from pipelines.training.dataset import Dataset
from pipelines.training.optimisation import Settings
from pipelines.training.people import Pose, random_motion, standing
from pipelines.training.pictures import FRAMES, HELD_OUT, PICTURES, SHAPES, TRAINING, sitting
from pipelines.training.sheets import sheet
from stages.diffusion.drawn.codec import DrawnCodec

PEOPLE = (3, 2)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder after a tiny dataset stage, its codec untrained."""
    output = tmp_path_factory.mktemp("drawn")
    torch.manual_seed(0)
    DrawnCodec(encoder_channels=(8, 8), decoder_channels=(8, 8, 8)).save_pretrained(output / "codec")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "SHARD", 2)
        patch.setattr(dataset, "workers", lambda: ThreadPoolExecutor(1))  # processes would take longer to begin
        dataset.build(Settings(output=output), PEOPLE)
    return output


def test_every_shape_has_its_people_as_latents_with_keypoints(built: Path) -> None:
    for (width, height), people in zip(SHAPES, PEOPLE, strict=True):
        data = Dataset(built / "data" / f"{width}x{height}")
        assert len(data) == people
        assert (data.width, data.height) == (width, height)
        assert data.latents.shape == (people, PICTURES, 8, height // 8, width // 8)
        assert data.latents.dtype == np.float16
        assert data.keypoints.shape == (people, PICTURES, 23, 3)
        assert data.keypoints.dtype == np.float32


def test_latents_are_those_of_the_characters_own_pictures(built: Path) -> None:
    codec = DrawnCodec.from_pretrained(built / "codec")
    for (width, height), first in zip(SHAPES, (0, PEOPLE[0]), strict=True):
        data = Dataset(built / "data" / f"{width}x{height}")
        sat = sitting(first + len(data) - 1, width, height)
        with torch.no_grad():
            latents = codec.encode(as_input(sat.pictures)).numpy()
        assert np.allclose(data.latents[-1], latents, atol=0.02 * np.abs(latents).max())  # bfloat16
        assert np.array_equal(data.keypoints[-1], sat.keypoints)
        assert np.array_equal(data.stills[-1], sat.pictures[: pictures.STILLS])


def test_one_standard_deviation_of_all_shapes_stands_in_the_codec_and_every_index(built: Path) -> None:
    sets = [Dataset(built / "data" / f"{width}x{height}") for width, height in SHAPES]
    std = np.concatenate([data.latents.astype(np.float64).ravel() for data in sets]).std()
    config = json.loads((built / "codec" / "config.json").read_text())
    assert [data.latent_std for data in sets] == pytest.approx([std, std])
    assert config["latent_std"] == pytest.approx(std)


def test_pictures_are_gone_once_they_are_encoded(built: Path) -> None:
    assert not [file for file in (built / "pictures").rglob("*") if file.is_file()]


def test_a_missing_dataset_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"pipelines\.training dataset"):
        Dataset(tmp_path)


def test_no_character_is_drawn_in_two_shapes_and_all_are_to_train_on(tmp_path: Path) -> None:
    planned = dataset.plan(tmp_path, (120, 70))
    drawn = [range(shard.first_seed, shard.first_seed + shard.characters) for shards in planned for shard in shards]
    assert [seed for seeds in drawn for seed in seeds] == list(range(190))
    assert {(shard.width, shard.height) for shard in planned[1]} == {SHAPES[1]}


@pytest.mark.parametrize("recipe", ["cpu", "gpu"])
def test_no_recipe_reaches_a_held_out_seed(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(dataset, "build", lambda settings, people: asked.append(people))
    dataset.run(Settings(output=tmp_path, recipe=recipe))
    last = dataset.plan(tmp_path, asked[0])[-1][-1]
    assert last.first_seed + last.characters <= TRAINING < HELD_OUT


@pytest.mark.parametrize("seed", [0, 17, TRAINING - 1, HELD_OUT, HELD_OUT + 3])
def test_poses_and_motions_come_from_the_characters_side_of_the_border(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(pictures, "standing", lambda chosen: drawn.append(chosen) or standing(chosen))
    monkeypatch.setattr(pictures, "random_motion", lambda chosen: drawn.append(chosen) or random_motion(chosen))
    pictures.sitting_poses(seed)
    assert len(drawn) == 5
    assert all((chosen >= HELD_OUT) == (seed >= HELD_OUT) for chosen in drawn)
    assert all(0 <= chosen < TRAINING or HELD_OUT <= chosen < HELD_OUT + TRAINING for chosen in drawn)


def test_a_sitting_is_the_same_again_and_another_characters_is_not() -> None:
    first, again, other = sitting(5, 96, 128), sitting(5, 96, 128), sitting(6, 96, 128)
    assert np.array_equal(first.pictures, again.pictures)
    assert np.array_equal(first.keypoints, again.keypoints)
    assert not np.array_equal(first.pictures, other.pictures)


def test_chosen_pictures_are_those_of_the_whole_sitting() -> None:
    assert np.array_equal(sitting(5, 96, 128, (1, 7)).pictures, sitting(5, 96, 128).pictures[[1, 7]])


def test_the_last_eight_poses_go_on_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Timed:
        def pose(self, seconds: float) -> Pose:
            asked.append(seconds)
            return standing(0)

    monkeypatch.setattr(pictures, "random_motion", lambda seed: Timed())
    assert len(pictures.sitting_poses(4)) == PICTURES
    steps = np.diff(asked[-FRAMES:])
    assert np.allclose(steps, steps[0])
    assert 1 / 20 <= steps[0] <= 1 / 8


def test_a_sheet_holds_its_pictures_in_rows(tmp_path: Path) -> None:
    red, blue = np.full((10, 8, 3), (255, 0, 0), np.uint8), np.full((6, 8, 3), (0, 0, 255), np.uint8)
    sheet([[red, blue], [blue]], tmp_path / "deep" / "sheet.png", note="two rows", scale=2)
    drawn = np.asarray(Image.open(tmp_path / "deep" / "sheet.png"))
    assert (drawn == (255, 0, 0)).all(-1).sum() == 4 * 80
    assert (drawn == (0, 0, 255)).all(-1).sum() == 2 * 4 * 48
