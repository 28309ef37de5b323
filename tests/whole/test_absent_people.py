"""Driving videos that show nobody for a while, through every stage: a person in each frame of a film, or a reason."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from manifests.errors import Rejected
from manifests.results import Result
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.training.people import Motion, draw, random_character
from stages.video.encode import Encoder, EncodeRecipe
from tests.conftest import CHECKOUT

REFERENCE = CHECKOUT / "manifests" / "sample" / "catalogue" / "heart-tee.png"
ENTERS_LATE = CHECKOUT / "tests" / "media" / "enters_late.mp4"
WIDTH, HEIGHT, FPS = 192, 256, 12


def write_visits(path: Path, frames: int, *visits: range) -> Path:
    """A film of a drawn person who is there in the frames of `visits` alone."""
    character, motion = random_character(1_000_202), Motion.named("dance", 1)
    film = np.stack([draw(character, motion.pose(frame / FPS), WIDTH, HEIGHT).picture for frame in range(frames)])
    for frame in set(range(frames)).difference(*visits):
        film[frame] = film[frame][:, :1]  # the backdrop at its left edge
    with Encoder(path, WIDTH, HEIGHT, Fraction(FPS), EncodeRecipe(crf=12)) as encoder:
        encoder.write(film)
    return path


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> StageChain:
    return StageChain(RunConfig(), str(tmp_path_factory.mktemp("out")))


def film_of(chain: StageChain, driving: Path, **fields: Any) -> Result:
    row = {"id": driving.stem, "reference": str(REFERENCE), "driving": str(driving), "animator": "drawn", "steps": 1}
    return chain.film(chain.work({**row, **fields}))


def frames_of(film: str) -> np.ndarray:
    """(frames, height, width, 3) from 0 to 255."""
    with av.open(film) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(float)


def test_a_range_in_which_somebody_is_there_throughout_is_a_film(chain: StageChain) -> None:
    result = film_of(chain, ENTERS_LATE, start="2.5", duration="1")
    assert (result.status, result.frames, len(frames_of(result.film))) == ("done", 12, 12)
    assert (result.pose["present"], result.pose["held"], result.pose["bridged"]) == (12, [], [])


def test_a_range_of_nobody_is_rejected_and_told_where_somebody_is(chain: StageChain) -> None:
    with pytest.raises(Rejected, match="nobody is found in any of the 12 frames that the film shows") as refused:
        film_of(chain, ENTERS_LATE, start="1", duration="1")
    assert "between 2.50 s and 5.00 s" in refused.value.remedy
    with pytest.raises(Rejected, match="not found in 50 %"):
        film_of(chain, ENTERS_LATE)


def test_a_first_second_of_nobody_holds_the_first_pose(chain: StageChain, tmp_path: Path) -> None:
    result = film_of(chain, write_visits(tmp_path / "late.mp4", 40, range(12, 40)))
    frames = frames_of(result.film)
    assert (len(frames), result.pose["held"]) == (40, [[0, 11]])
    assert np.abs(frames[:12] - frames[12]).mean(axis=(1, 2, 3)).max() < 8
    poster = np.asarray(Image.open(result.poster)).astype(float)
    assert np.abs(frames[12:] - poster).mean(axis=(1, 2, 3)).min() < 3


def test_somebody_who_steps_out_and_leaves_early_is_in_every_frame(chain: StageChain, tmp_path: Path) -> None:
    result = film_of(chain, write_visits(tmp_path / "out.mp4", 40, range(14), range(22, 36)))
    frames = frames_of(result.film)
    assert (result.pose["held"], result.pose["bridged"]) == ([[36, 39]], [[14, 21]])
    for filled, beside in ((range(14, 22), (13, 22)), (range(36, 40), (35,))):
        nearest = np.min([np.abs(frames[filled] - frames[one]).mean(axis=(1, 2, 3)) for one in beside], axis=0)
        assert nearest.max() < 10  # frames without a pose are noise, 22 levels away


def test_latents_of_frames_of_nobody_are_made_again(chain: StageChain, tmp_path: Path) -> None:
    driving = write_visits(tmp_path / "twice.mp4", 24, range(6, 24))
    first = film_of(chain, driving, seed=1)
    work = chain.work(
        {
            "id": "again",
            "reference": str(REFERENCE),
            "driving": str(driving),
            "animator": "drawn",
            "steps": 1,
            "seed": 1,
        }
    )
    stored = Path(chain.settings.layout.latents(work.latents_key))
    made = load_file(stored)["latents"]
    before = '{"frames": 24, "present": 18, "repairs": {"filled_frames": 0}}'
    save_file({"latents": made * 0}, stored, {"pose": before})
    again = chain.film(work)
    assert np.array_equal(frames_of(again.film), frames_of(first.film))
    assert bool((load_file(stored)["latents"] == made).all())
