"""The sample catalogue: drawn by our own code, committed as that code draws it, ready to animate."""

import json
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from manifests.sample import CATALOGUE, PEOPLE, clips, motion_frames
from manifests.sample.densepose import VIRIDIS, Part, render
from manifests.sample.motions import FPS, FRAMES, MOTIONS

FRONT_AND_ARMS = {0, 2, 3, 4, 5, 6, 9, 10, 13, 14, *range(15, 25)}  # all but the back of trunk and legs


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    subprocess.run([sys.executable, "-m", "manifests.sample", str(folder)], check=True, cwd=CATALOGUE.parents[2])
    return folder


@pytest.fixture(scope="module")
def frames() -> dict[str, np.ndarray]:
    return {motion: motion_frames(motion) for motion in MOTIONS}


def film(path: Path) -> np.ndarray:
    """Frames of a 192×256 film through ffmpeg alone, uint8 (frames, 256, 192, 3)."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8).reshape(
        -1, 256, 192, 3
    )


def test_the_committed_catalogue_is_what_the_command_draws(drawn: Path) -> None:
    assert sorted(p.name for p in drawn.iterdir()) == sorted(p.name for p in CATALOGUE.iterdir())
    assert (drawn / "clips.jsonl").read_text() == (CATALOGUE / "clips.jsonl").read_text()
    for person in PEOPLE:
        with Image.open(drawn / f"{person}.png") as new, Image.open(CATALOGUE / f"{person}.png") as committed:
            assert committed.size == (192, 256)
            np.testing.assert_array_equal(np.asarray(new), np.asarray(committed))
    for motion in MOTIONS:
        new, committed = film(drawn / f"{motion}.mp4"), film(CATALOGUE / f"{motion}.mp4")
        assert len(new) == len(committed) == FRAMES
        assert np.abs(new.astype(int) - committed).mean() < 1


def test_every_person_meets_every_motion_in_the_manifest() -> None:
    rows = [json.loads(line) for line in (CATALOGUE / "clips.jsonl").read_text().splitlines()]
    assert rows == clips()
    assert len({(row["reference"], row["driving"]) for row in rows}) == len({row["id"] for row in rows}) == 6
    assert all((CATALOGUE / row[field]).is_file() for row in rows for field in ("reference", "driving"))


def test_the_catalogue_stays_small() -> None:
    assert sum(p.stat().st_size for p in CATALOGUE.iterdir()) < 400_000


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_driving_film_keeps_its_label_colours_and_rate(motion: str, frames: dict[str, np.ndarray]) -> None:
    true, decoded = frames[motion], film(CATALOGUE / f"{motion}.mp4")
    close = np.abs(decoded.astype(int) - true).max(-1) <= 6
    assert close.mean() > 0.95  # the rest are chroma-subsampled edges between parts
    told = imageio_ffmpeg.read_frames(str(CATALOGUE / f"{motion}.mp4"))
    assert next(told)["fps"] == FPS
    told.close()


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_motion_shows_the_parts_of_a_person_and_no_other_colour(motion: str, frames: dict[str, np.ndarray]) -> None:
    place = np.array([1, 256, 65536])
    seen, palette = np.unique(frames[motion] @ place), (VIRIDIS @ place).tolist()
    assert {palette.index(colour) for colour in seen.tolist()} >= FRONT_AND_ARMS  # a foreign colour is a ValueError
    assert (frames[motion][:, :, [0, -1]] == VIRIDIS[0]).all(), "the person leaves the picture"


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_motion_moves_smoothly_and_loops(motion: str, frames: dict[str, np.ndarray]) -> None:
    changed = (frames[motion] != np.roll(frames[motion], -1, axis=0)).any(-1).mean((1, 2))  # last: to the first frame
    assert changed.min() > 0.01
    assert changed.max() < 2 * np.median(changed)


def test_the_nearer_part_hides_the_farther_one_and_each_side_has_its_label() -> None:
    sideways = np.array([1.0, 0.0, 0.0])
    far = Part(np.array([16.0, 4, 0]), np.array([16.0, 28, 0]), sideways, (8, 8), (7, 9))
    near = Part(np.array([4.0, 16, 20]), np.array([28.0, 16, 20]), np.array([0.0, -1.0, 0.0]), (3, 3), (19, 21))
    for order in ([far, near], [near, far]):
        labels = render(order, 32, 32)
        assert labels[16 - 2, 16] == 21
        assert labels[16 + 2, 16] == 19
        assert labels[24, 12] == 7
        assert labels[24, 20] == 9
        assert labels[0, 0] == 0


def test_label_colours_are_those_of_the_recorded_palette(shared: Path) -> None:
    from safetensors.numpy import load_file

    recorded = load_file(shared / "golden" / "pose" / "densepose" / "palette.safetensors")
    np.testing.assert_array_equal(VIRIDIS, recorded["viridis25_rgb"])
