"""All that may be asked of a reading process, by name. Each imports what it needs when it is called."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np

from stages.sandbox.child import Answer, Answers, Reader
from stages.sandbox.system_calls import forbid_starting

Json = Mapping[str, Any]


def _image(path: Path, limits: Json) -> Answer:
    from stages.video.image import read_managed
    from stages.video.limits import Limits

    pixels, managed = read_managed(path, Limits(**limits))
    return Answer(managed, (pixels,))


def _video(path: Path, limits: Json) -> Answer:
    from stages.video.limits import Limits
    from stages.video.read import Frames

    frames = Frames(path, Limits(**limits))
    seconds = [(second.numerator, second.denominator) for second in frames.timestamps]
    return Answer(_plain(asdict(frames.facts)), (np.array(seconds, np.int64).reshape(-1, 2),))


def _plain(facts: Json) -> dict[str, Any]:
    fractions = {name: [value.numerator, value.denominator] for name, value in facts.items() if type(value) is Fraction}
    return {**facts, **fractions}


def _frames(path: Path, indices: np.ndarray, limits: Json, facts: Json) -> Answers:
    from stages.video.limits import Limits
    from stages.video.probe import VideoFacts
    from stages.video.read import Frames

    # as found, or it would be looked at from end to end again
    fractions = {name: Fraction(*facts[name]) for name in ("fps", "seconds", "start")}
    known = {**facts, **fractions, "stored": tuple(facts["stored"])}
    video = Frames(path, Limits(**limits), VideoFacts(**known))
    for picture in video.read(indices.tolist()):
        yield Answer(None, (picture,))
    return None


def _channels(video: Path) -> Answer:
    from stages.video.stream import sound_channels

    return Answer(sound_channels(video))


def _sound(video: Path, target: Path, begin: float, layout: str, channels: list[str]) -> None:
    """The file is first opened by ffmpeg, which can start no process: whoever takes this one over has none to gain."""
    from stages.video.sound import extract_sound

    extract_sound(video, target, begin, (layout, channels), forbid_starting)


def _keypoints(path: Path, limits: Json, whole: bool) -> Answer:
    from stages.poses.files.keypoint_file import import_keypoints
    from stages.video.limits import Limits

    found, fps = import_keypoints(path, Limits(**limits))
    rate = fps and [fps.numerator, fps.denominator]
    arrays = (found.points, found.scores, found.boxes) if whole else ()
    return Answer([len(found), found.width, found.height, rate], arrays)


def _uv_facts(path: Path, limits: Json) -> Answer:
    from stages.poses.files.uv_file import probe_uv
    from stages.video.limits import Limits

    facts = probe_uv(path, Limits(**limits))
    return Answer([facts.frames, facts.width, facts.height, facts.fps and [facts.fps.numerator, facts.fps.denominator]])


def _uv(path: Path, limits: Json) -> Answers:
    from stages.poses.files.uv_file import read_uv
    from stages.video.limits import Limits

    for frame in read_uv(path, Limits(**limits)):
        yield Answer(None, (frame,))
    return None


def _container(film: Path, wanted: Sequence[Any] | None) -> Answer:
    from stages.video.quality.container import Wanted, container_faults

    if wanted is None:
        return Answer(container_faults(film))
    frames, fps, width, height = wanted
    return Answer(container_faults(film, Wanted(frames, Fraction(*fps), width, height)))


def _credentials(path: Path, roots: Sequence[str]) -> Answer:
    from stages.provenance.credentials.reading import read_credentials

    return Answer(read_credentials(path, roots))


def _carried(path: Path, digest: str) -> Answer:
    from stages.provenance.credentials.carrying import carried_in_image

    archive = carried_in_image(path, digest)
    return Answer(None, () if archive is None else (np.frombuffer(archive, np.uint8),))


def _lora(path: Path) -> Answer:
    from stages.diffusion.weights.lora_file import probe_lora

    return Answer(probe_lora(path))


def _table(path: Path, uri: str) -> None:
    from manifests.table import UNREADABLE, unreadable
    from manifests.table_limits import require_modest

    try:
        require_modest(uri, path)
    except MemoryError:
        raise
    except UNREADABLE as error:
        raise unreadable(uri, ValueError(str(error).replace(str(path), uri))) from None


def _ffmpeg() -> str:
    from stages.video.ffmpeg_process import program

    return program()


def _tries(active: Mapping[str, str]) -> Answer:
    """What is denied to this process, by trying: for `catwalk doctor`."""
    denied = [name for name, attempt in _ATTEMPTS.items() if _fails(attempt)]
    allowed = [name for name in _ATTEMPTS if name not in denied]
    return Answer([denied, allowed, [f"{name}: {how}" for name, how in active.items() if how]])


def _fails(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, MemoryError):
        return True
    return False


def _write() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"-" * 100)


_ATTEMPTS: dict[str, Callable[[], object]] = {
    "network": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
    "programs": lambda: subprocess.run(["/bin/sh", "-c", ":"], check=True),
    "reading other files": lambda: Path("/etc/passwd").read_bytes(),
    "writing files": _write,
    "signals to other processes": lambda: os.kill(os.getppid(), 0),
    "memory without end": lambda: mmap(-1, 2**40),
}


_PICTURES = ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "Tiff", "WebP")  # Pillow looks these up before any other
_IMAGE = (
    *("stages.video.image", "PIL.ImageChops", "PIL.features", "mmap"),
    *(f"PIL.{name}ImagePlugin" for name in _PICTURES),
)
_UV = ("stages.poses.files.uv_file", "encodings.cp437")  # in which zip files write names
_VIDEO = ("stages.video.read", "av.subtitles.stream")
READERS: dict[str, Reader] = {
    "image": Reader(_image, _IMAGE),
    "video": Reader(_video, _VIDEO),
    "frames": Reader(_frames, _VIDEO),
    "channels": Reader(_channels, _VIDEO),
    "sound": Reader(_sound, ("stages.video.sound", "imageio_ffmpeg.binaries", *_VIDEO), program=_ffmpeg),
    "keypoints": Reader(_keypoints, ("stages.poses.files.keypoint_file", "encodings.cp437")),
    "uv facts": Reader(_uv_facts, _UV),
    "uv": Reader(_uv, _UV),
    "container": Reader(_container, ("stages.video.quality.container", "av.subtitles.stream")),
    "credentials": Reader(_credentials, ("stages.provenance.credentials.reading", "c2pa")),
    "carried": Reader(_carried, ("stages.provenance.credentials.carrying", "c2pa")),
    "lora": Reader(_lora, ("stages.diffusion.weights.lora_file",)),
    "table": Reader(_table, ("manifests.table",)),
    "tries": Reader(_tries, told=True),
}
