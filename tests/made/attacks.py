"""What happens to a film after it is published: encoded again, scaled, cropped, mirrored, photographed off a screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import ffmpeg
import numpy as np

from stages.video.encode import Encoder, EncodeRecipe
from stages.video.ffmpeg_process import FfmpegProcess, local_file
from stages.video.limits import Limits
from stages.video.read import Frames

Change = Callable[[ffmpeg.Stream], ffmpeg.Stream]


def film(path: Path, frames: np.ndarray, fps: int = 25, crf: int = 18) -> Path:
    """Encode frames as a run does."""
    with Encoder(path, frames.shape[2], frames.shape[1], Fraction(fps), EncodeRecipe(crf=crf)) as encoder:
        encoder.write(frames)
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    """All frames of a film."""
    return list(Frames(path, Limits()).read())


def encoded_again(
    path: Path, target: Path, change: Change = lambda shown: shown, crf: int = 23, **options: object
) -> Path:
    """Another film of a film, after a filter."""
    shown = change(ffmpeg.input(local_file(path))["v:0"])
    made = shown.output(local_file(target), vcodec="libx264", crf=crf, pix_fmt="yuv420p", threads=1, **options)
    process = FfmpegProcess(made.global_args("-nostdin"))
    try:
        process.finish()
    finally:
        process.kill()
    return target


def remuxed(path: Path, target: Path) -> Path:
    """The same pictures in another file."""
    process = FfmpegProcess(ffmpeg.input(local_file(path)).output(local_file(target), vcodec="copy", map_metadata=-1))
    try:
        process.finish()
    finally:
        process.kill()
    return target


def halved(shown: ffmpeg.Stream) -> ffmpeg.Stream:
    """Half its size."""
    return shown.filter("scale", "trunc(iw/4)*2", "trunc(ih/4)*2")


def cropped(shown: ffmpeg.Stream) -> ffmpeg.Stream:
    """A tenth of each edge less."""
    return shown.filter("crop", "trunc(iw*0.9/2)*2", "trunc(ih*0.9/2)*2")


def zoomed(shown: ffmpeg.Stream) -> ffmpeg.Stream:
    """The same, at the old size."""
    return cropped(shown).filter("scale", "trunc(iw/0.9/2)*2", "trunc(ih/0.9/2)*2")


def mirrored(shown: ffmpeg.Stream) -> ffmpeg.Stream:
    """Left for right."""
    return shown.filter("hflip")


RE_ENCODED: dict[str, dict] = {
    "CRF 23": {"crf": 23},
    "CRF 28": {"crf": 28},
    "half size": {"change": halved},
    "10 % crop": {"change": cropped},
    "10 % crop, enlarged": {"change": zoomed},
    "25 → 24 fps": {"r": 24},
    "mirrored": {"change": mirrored},
    "half size, CRF 28": {"change": halved, "crf": 28},
}


def screenshots(path: Path, scale: float = 1.0, quality: int = 80, count: int = 4) -> Iterator[np.ndarray]:
    """JPEGs of a few frames, as shown at a scale."""
    frames = frames_of(path)
    for number in np.linspace(0, len(frames) - 1, count).astype(int):
        shown = cv2.resize(frames[number], None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        _, jpeg = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        yield np.ascontiguousarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1])
