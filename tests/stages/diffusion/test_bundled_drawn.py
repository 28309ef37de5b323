"""The bundled animator as it is committed: its bytes, its size, and that it draws people it has never seen."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.clip import Clip
from manifests.errors import Problem
from pipelines.clip import make_clip
from pipelines.configuration import RunConfig
from pipelines.demo import CATALOGUE
from pipelines.training.batches import person
from pipelines.training.catalogue import clips
from pipelines.training.people import draw, random_character, random_motion, standing
from pipelines.training.pictures import HELD_OUT
from stages.bundled import bundled
from stages.diffusion.animators import ANIMATORS, load_animator
from stages.diffusion.drawn.animator import Drawn
from stages.poses.conditioning import DrawnPoses
from stages.poses.drawing.dwpose import draw as skeleton_drawing
from stages.poses.drawing.skeleton import dwpose
from stages.poses.keypoints import Keypoints
from tests.made.seam import film_of

FOLDER = Path(bundled("bundled:drawn"))
FRAMES = 4


@pytest.fixture(scope="module")
def animator() -> Drawn:
    return load_animator("drawn", FOLDER, "cpu", torch.float32)


def decibels(film: np.ndarray, truth: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(film.astype(float) - truth).mean()))


def test_the_weights_are_small_enough_for_a_clone() -> None:
    files = [path for path in FOLDER.parent.rglob("*") if path.is_file() and path.suffix in (".safetensors", ".onnx")]
    assert max(path.stat().st_size for path in files) <= 16_000_000
    assert sum(path.stat().st_size for path in files) <= 30_000_000


def test_weights_with_a_bit_flipped_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "drawn")
    weights = folder / "motion" / "diffusion_pytorch_model.safetensors"
    assert str(weights.relative_to(folder)) in json.loads((folder / "digests.json").read_text())
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    with pytest.raises(Problem, match=r"motion.*digests"):
        load_animator("drawn", folder, "cpu", torch.float32)


@pytest.mark.parametrize(("seed", "width", "height"), [(0, 192, 256), (1, 192, 256), (2, 224, 224)])
def test_a_person_never_seen_follows_the_motion_in_their_own_clothes(
    animator: Drawn, seed: int, width: int, height: int
) -> None:
    character, motion = random_character(HELD_OUT + seed), random_motion(HELD_OUT + seed)
    still = draw(character, standing(HELD_OUT + seed), width, height)
    drawn = [draw(character, motion.pose(frame / 4), width, height) for frame in range(FRAMES)]
    facts = ANIMATORS["drawn"]
    clip = Clip(
        id="clip",
        animator="drawn",
        width=width,
        height=height,
        fit="cover",
        fps=Fraction(4),
        steps=facts.steps,
        window=facts.window,
        overlap=facts.overlap,
    )
    known = Keypoints.from_people([person(one.keypoints) for one in drawn], width, height)
    pictures = [skeleton_drawing(dwpose(known.people(frame), width, height), height, width) for frame in range(FRAMES)]
    poses = DrawnPoses(pictures.__getitem__, range(FRAMES), known, person(still.keypoints))
    truth = np.stack([one.picture for one in drawn])

    def close(**options: bool) -> float:
        made = clip.model_copy(update={"options": options})
        return decibels(film_of(animator, made, still.picture, poses), truth)

    copied = decibels(np.broadcast_to(still.picture, truth.shape), truth)
    assert close() > close(warp=False) > copied + 3


def test_the_sample_catalogue_is_animated_from_its_videos_with_what_is_bundled_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CATALOGUE)
    row = {**clips()[0], "frame_count": 3}
    result = make_clip(RunConfig(), row, tmp_path / "film.mp4", None, lambda line: None)
    assert (result.frames, result.width, result.height, result.checkpoint) == (3, 192, 256, "bundled:drawn")
    assert (result.pose["people"], result.pose["present"]) == (1, 3)
    assert result.pose["visible"] > 0.9
