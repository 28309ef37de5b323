"""A film's file: what players and shops stumble over is found without decoding it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import pytest

from stages.video.encode import Encoder, EncodeRecipe
from stages.video.quality.container import Wanted, container_faults
from tests.made.faults import FPS, footage

WANTED = Wanted(30, FPS, 192, 256)


def encoded(path: Path, frames: int = 30, fps: Fraction = FPS, width: int = 192) -> Path:
    with Encoder(path, width, 256, fps, EncodeRecipe(preset="ultrafast")) as encoder:
        encoder.write(footage("striped-dress", "dance").film[:frames, :, :width].copy())
    return path


def remade(path: Path, *options: str) -> Path:
    other = path.with_name(f"other-{path.name}")
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-y",
        "-i",
        str(path),
        "-c",
        "copy",
        *options,
        str(other),
    ]
    subprocess.run(command, check=True)
    return other


def cut_short(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:400])
    return path


FAULTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a frame too few": (lambda path: encoded(path, frames=29), "29 frames instead of 30"),
    "another rate": (lambda path: encoded(path, fps=Fraction(25)), "25 frames per second instead of 12"),
    "another size": (lambda path: encoded(path, width=160), "160×256 pixels instead of 192×256"),
    "no faststart": (lambda path: remade(encoded(path), "-movflags", "0"), "its index is at the end (no faststart)"),
    "another container": (lambda path: remade(encoded(path), "-f", "matroska"), "it is no MP4 with an index"),
    "cut short": (lambda path: cut_short(encoded(path)), "it cannot be opened"),
    "no film": (lambda path: path, "it cannot be opened"),
}


def test_a_film_as_it_is_encoded_has_no_fault(tmp_path: Path) -> None:
    assert container_faults(encoded(tmp_path / "film.mp4"), WANTED) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_alone(fault: str, tmp_path: Path) -> None:
    make, told = FAULTS[fault]
    (found,) = container_faults(make(tmp_path / "film.mp4"), WANTED)
    assert found.startswith(told)


def test_frames_that_last_unequally_are_told(tmp_path: Path) -> None:
    shifted = remade(encoded(tmp_path / "film.mp4"), "-bsf:v", "setts=ts=TS+TS*lt(N\\,10)", "-movflags", "+faststart")
    assert any(fault.startswith("its frames last") for fault in container_faults(shifted))
