"""A stranger's files, read in the sandbox: what everything that is not itself in there reads them by.

Each takes a path, or a file that is held open, and raises `Rejected` as the reader of its kind does, and where reading
it crashes, or takes more memory or time than `limits` allow. What comes back is looked at again: whoever took over a
reading process can give wrong pixels and numbers, but none beyond the limits or of another form.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from manifests import storage
from manifests.errors import Problem, Rejected
from stages.poses.files.uv_file import UVFacts
from stages.poses.keypoints import Keypoints
from stages.provenance.credentials.carrying import LONGEST
from stages.provenance.verdict import CredentialsVerdict
from stages.sandbox.child import Answer
from stages.sandbox.confinement import Bounds
from stages.sandbox.held_file import HeldFile
from stages.sandbox.process import SANDBOX, WRITE_ANEW, Fault, Reading
from stages.video.limits import Limits
from stages.video.probe import VideoFacts
from stages.video.quality.container import Wanted
from stages.video.stream import MOST_CHANNELS

log = logging.getLogger(__name__)

File = Path | HeldFile
Made = TypeVar("Made")

# Of processor time, at most, beside `limits.cpu_seconds`.
SECONDS_PER_FRAME = 1.0
SECONDS_PER_MIB = 2.0
# On the clock, before something comes: so often that time, but less than a row is given (`pipelines/time_limits.py`),
# for a row over its time costs the worker, a file over its own that file alone.
SILENT_TIMES = 3
SILENT_BASE = 540.0
SILENT_PER_MIB = 3.6
LONGEST_TEXT = 300
LARGEST = 2**62
TABLE_BYTES = 2 * 2**30  # of memory, to read a manifest a few rows at a time


def read_image(image: File, limits: Limits) -> np.ndarray:
    """An image as uint8 RGB (height, width, 3), as `stages.video.image.read_image` reads it."""
    return read_managed(image, limits)[0]


def read_managed(image: File, limits: Limits) -> tuple[np.ndarray, bool]:
    """The image, and whether its colour profile changed its colours."""
    reading = _reading("image", image, limits, {}, "image", limits.pixels * 3)
    managed, (pixels,), _ = _checked(reading, SANDBOX.read(reading), lambda given: _picture(given, limits.pixels))
    return pixels, bool(managed)


class Frames:
    """An opened driving video, as `stages.video.read.Frames` reads it; the file is held open meanwhile."""

    facts: VideoFacts
    timestamps: list[Fraction]

    def __init__(self, video: File, limits: Limits) -> None:
        self._file, self._limits = _opened(video), limits
        reading = _reading("video", self._file, limits, {}, "video", limits.frames * 16)
        self.facts, self.timestamps = _checked(reading, SANDBOX.read(reading), lambda given: _facts(given, limits))

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames as uint8 RGB (height, width, 3), as shown, in presentation order, a few in memory at a time.

        `indices` (not descending, repeats allowed) chooses frames; by default all. Raises `Rejected` at a damaged one.
        """
        chosen = list(range(self.facts.frames) if indices is None else map(int, indices))
        if chosen != sorted(chosen) or (chosen and not 0 <= chosen[0] <= chosen[-1] < self.facts.frames):
            raise ValueError(f"indices must not descend or leave 0…{self.facts.frames - 1}: {chosen[:8]}…")
        repeats = [(index, len(list(group))) for index, group in groupby(chosen)]
        if not repeats:
            return
        distinct = np.array([index for index, _ in repeats], np.int64)
        size = self.facts.width * self.facts.height * 3
        asked = {"facts": _plain(self.facts)}
        reading = _reading("frames", self._file, self._limits, asked, "video", size, chosen[-1] + 1)
        with closing(SANDBOX.stream(replace(reading, arrays=(distinct,)))) as answers:
            for _, times in repeats:
                picture = _checked(reading, next(answers), self._frame)
                for _ in range(times):
                    yield picture
            _checked(reading, next(answers), _end)  # frames are counted after the last one

    def _frame(self, given: Answer) -> np.ndarray:
        (picture,) = given.arrays
        if given.last or picture.dtype != np.uint8 or picture.shape != (self.facts.height, self.facts.width, 3):
            raise ValueError(f"a frame of {picture.shape}")
        return picture


def probe(video: File, limits: Limits) -> VideoFacts:
    """What a video is."""
    return Frames(video, limits).facts


def extract_sound(video: File, target: Path, begin: float, limits: Limits) -> None:
    """Write the first sound track as FLAC, as `stages.video.sound.extract_sound` does."""

    def channels(given: Answer) -> dict[str, Any]:
        layout, names = given.data
        if len(names) > MOST_CHANNELS:
            raise ValueError(f"{len(names)} channels")
        return {"layout": _text(layout), "channels": [_text(name) for name in names]}

    video = _opened(video)
    reading = _reading("channels", video, limits, {}, "sound of video", 0)
    asked = {"begin": begin, **_checked(reading, SANDBOX.read(reading), channels)}
    target.touch()
    reading = _reading("sound", video, limits, asked, "sound of video", 0)
    bounds = reading.bounds._replace(written_bytes=2 * limits.bytes)
    SANDBOX.read(replace(reading, target=HeldFile(target), bounds=bounds))


def probe_keypoints(file: File, limits: Limits) -> tuple[int, int, int, Fraction | None]:
    """(frames, width, height, frame rate if it states one) of a user's keypoint file."""
    reading = _reading("keypoints", file, limits, {"whole": False}, "keypoint file", 0)
    return _checked(reading, SANDBOX.read(reading), lambda given: _sizes(given, limits))


def import_keypoints(file: File, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    """A user's keypoint file, as `stages.poses.files.keypoint_file.import_keypoints` reads it."""

    def keypoints(given: Answer) -> tuple[Keypoints, Fraction | None]:
        frames, width, height, fps = _sizes(given, limits)
        points, scores, boxes = given.arrays
        if any(array.dtype != np.float64 or len(array) != frames for array in given.arrays):
            raise ValueError("keypoints of another form")
        return Keypoints(points, scores, boxes, width, height), fps

    # beside three numbers a point, a box
    reading = _reading("keypoints", file, limits, {"whole": True}, "keypoint file", 2 * limits.unpacked_bytes)
    return _checked(reading, SANDBOX.read(reading), keypoints)


def probe_uv(file: File, limits: Limits) -> UVFacts:
    """Sizes and rate of a user's U/V file."""
    reading = _reading("uv facts", file, limits, {}, "U/V file", 0)
    return _checked(reading, SANDBOX.read(reading), lambda given: _uv_facts(given, limits))


def read_uv(file: File, facts: UVFacts, limits: Limits) -> Iterator[np.ndarray]:
    """float32 (2, height, width) of every frame, one in memory at a time."""

    def frame(given: Answer) -> np.ndarray:
        (values,) = given.arrays
        if given.last or values.dtype != np.float32 or values.shape != (2, facts.height, facts.width):
            raise ValueError(f"a frame of {values.shape}")
        return values

    size = facts.width * facts.height * 8
    reading = _reading("uv", file, limits, {}, "U/V file", size, facts.frames)
    with closing(SANDBOX.stream(reading)) as answers:
        for _ in range(facts.frames):
            yield _checked(reading, next(answers), frame)
        _checked(reading, next(answers), _end)


def container_faults(film: File, wanted: Wanted | None, limits: Limits) -> list[str]:
    """What is wrong with the file of an MP4, in words, as `stages.video.quality.container` finds it."""
    asked = wanted and [wanted.frames, [wanted.fps.numerator, wanted.fps.denominator], wanted.width, wanted.height]
    reading = _reading("container", film, limits, {"wanted": asked}, "film", 0)
    return _checked(reading, SANDBOX.read(reading), lambda given: [_text(fault) for fault in given.data])


def read_credentials(file: File, roots: Sequence[str], limits: Limits) -> CredentialsVerdict:
    """What a file's content credentials say; `root` is the number of the one of `roots` (PEM) that they come from."""

    def verdict(given: Answer) -> CredentialsVerdict:
        told = dict(given.data)
        root = told.pop("root", None)
        texts = [value for value in told.values() if isinstance(value, str)] + list(told.get("problems", ()))
        for text in texts:
            _text(text)
        return CredentialsVerdict(**told, root=None if root is None else str(_whole(root, len(roots) - 1)))

    reading = _reading("credentials", file, limits, {"roots": list(roots)}, "file", 0)
    return _checked(reading, SANDBOX.read(reading), verdict)


def carried_credentials(image: File, digest: str, limits: Limits) -> bytes | None:
    """Content credentials that a reference image carries, as `stages.provenance.credentials.carrying` has them.

    None where there are none, or none that could be read: a picture is a picture without them.
    """

    def archive(given: Answer) -> bytes | None:
        if not given.arrays:
            return None
        (found,) = given.arrays
        if found.dtype != np.uint8 or found.ndim != 1:
            raise ValueError(f"credentials of {found.dtype} {found.shape}")
        return found.tobytes()

    reading = _reading("carried", image, limits, {"digest": digest}, "image", LONGEST)
    try:
        return _checked(reading, SANDBOX.read(reading), archive)
    except (Rejected, Fault) as error:
        said = error.error if isinstance(error, Rejected) else str(error).strip().rpartition("\n")[2]
        log.warning("%s: its content credentials are left out: %s", image.name, said)
        return None


class Protections(NamedTuple):
    """What a reading process tried and was denied, what it could do, and by what it is denied."""

    denied: list[str]
    allowed: list[str]
    by: list[str]


def protections() -> Protections:
    """What reading a file is kept from on this machine, by trying."""
    reading = Reading("tries", [], {}, Bounds(Limits().memory_bytes, 60), "nothing", 120, 0)
    return Protections(*SANDBOX.read(reading).data)


def probe_lora(file: File, limits: Limits) -> dict[str, Any]:
    """Nothing, where the header names layers of a LoRA."""
    SANDBOX.read(_reading("lora", file, limits, {}, "LoRA", 0))
    return {}


def require_modest_table(uri: str, path: Path) -> None:
    """Read a file of a manifest once, as `manifests.table_limits.require_modest` does. Raises `Problem`."""
    reading = _reading("table", path, Limits(memory_bytes=TABLE_BYTES), {"uri": uri}, "manifest file", 0)
    try:
        SANDBOX.read(replace(reading, what=f"manifest file {storage.redact(uri)}"))
    except Rejected as rejected:
        raise Problem(rejected.error, "cut it into several manifests, or write it again") from None


def _opened(file: File) -> File:
    """Held open; what cannot be, stays a path, of which its reader says what is wrong."""
    if isinstance(file, HeldFile):
        return file
    try:
        return HeldFile(file)
    except OSError:
        return file


def _reading(
    reader: str, file: File, limits: Limits, asked: dict[str, Any], kind: str, most_bytes: int, frames: int = 0
) -> Reading:
    opened = _opened(file)
    size = opened.size if isinstance(opened, HeldFile) else 0
    mib = size / 2**20
    seconds = math.ceil(
        min(limits.cpu_seconds + mib * SECONDS_PER_MIB + frames * SECONDS_PER_FRAME, limits.most_cpu_seconds)
    )
    return Reading(
        reader,
        [opened],
        asked if reader in _WITHOUT_LIMITS else {**asked, "limits": limits.model_dump()},
        Bounds(limits.memory_bytes, seconds),
        f"{kind} {file.name!r}",
        min(SILENT_TIMES * seconds, SILENT_BASE + mib * SILENT_PER_MIB),
        most_bytes,
    )


_WITHOUT_LIMITS = ("credentials", "carried", "channels", "sound", "lora", "container", "table")


def _checked(reading: Reading, given: Answer, form: Callable[[Answer], Made]) -> Made:
    """What was given, in its form. Raises `Rejected` for anything else: nobody who means well gives it."""
    try:
        return form(given)
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError) as wrong:
        raise Rejected(f"{reading.what} made its reader answer nonsense: {wrong}"[:LONGEST_TEXT], WRITE_ANEW) from wrong


def _end(given: Answer) -> None:
    if not given.last:
        raise ValueError("more than was asked for")


def _picture(given: Answer, pixels: int) -> Answer:
    (picture,) = given.arrays
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not 0 < picture.size <= pixels * 3:
        raise ValueError(f"a picture of {picture.dtype} {picture.shape}")
    return given


def _sizes(given: Answer, limits: Limits) -> tuple[int, int, int, Fraction | None]:
    frames, width, height, fps = given.data
    sizes = _whole(frames, limits.frames), _whole(width), _whole(height)
    if not 0 < width * height <= limits.frame_pixels:
        raise ValueError(f"frames of {width}×{height}")
    return (*sizes, None if fps is None else _ratio(fps))


def _uv_facts(given: Answer, limits: Limits) -> UVFacts:
    return UVFacts(*_sizes(given, limits))


def _facts(given: Answer, limits: Limits) -> tuple[VideoFacts, list[Fraction]]:
    told, (seconds,) = given.data, given.arrays
    facts = VideoFacts(
        frames=_whole(told["frames"], limits.frames),
        fps=_ratio(told["fps"]),
        seconds=_ratio(told["seconds"]),
        width=_whole(told["width"]),
        height=_whole(told["height"]),
        stored=cast(tuple[int, int], tuple(_whole(side) for side in told["stored"])),
        rotation=_whole(told["rotation"], 270),
        mirrored=bool(told["mirrored"]),
        codec=_text(told["codec"]),
        audio=bool(told["audio"]),
        variable=bool(told["variable"]),
        start=_ratio(told["start"], least=0),
        corrected=_text(told["corrected"]),
    )
    if max(facts.width * facts.height, math.prod(facts.stored)) > limits.frame_pixels or facts.seconds > limits.seconds:
        raise ValueError(f"{facts.width}×{facts.height}, {float(facts.seconds)} s")
    if seconds.dtype != np.int64 or seconds.shape != (facts.frames, 2) or seconds[:, 1].min() < 1:
        raise ValueError(f"timestamps of {seconds.shape}")
    timestamps = [Fraction(*pair) for pair in seconds.tolist()]
    if timestamps[0] != 0 or timestamps != sorted(timestamps):
        raise ValueError("timestamps that do not ascend from 0")
    return facts, timestamps


def _plain(facts: VideoFacts) -> dict[str, Any]:
    ratios = {name: [value.numerator, value.denominator] for name, value in vars(facts).items() if _is_ratio(value)}
    return {**vars(facts), **ratios}


def _is_ratio(value: object) -> bool:
    return isinstance(value, Fraction)


def _whole(number: object, most: int = LARGEST) -> int:
    if type(number) is not int or not 0 <= number <= most:
        raise ValueError(f"{str(number)[:40]} as a number")
    return number


def _ratio(given: Sequence[object], least: int = 1) -> Fraction:
    numerator, denominator = given
    ratio = Fraction(_whole(numerator), _whole(denominator))
    if ratio.numerator < least:
        raise ValueError(f"{ratio} as a ratio")
    return ratio


def _text(given: object) -> str:
    if not isinstance(given, str) or len(given) > LONGEST_TEXT or not given.isprintable():
        raise ValueError(f"{str(given)[:40]!r} as a text")
    return given
