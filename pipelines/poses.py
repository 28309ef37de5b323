"""`catwalk poses`: draw what is extracted from a video over it, so that a person can look."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from manifests import storage
from manifests.errors import WrongUsage
from manifests.temporary import temporary_folder
from pipelines.configuration import RunConfig
from pipelines.output_files import require_writable
from pipelines.progress import Say
from stages.progress import Told, counted, silent

if TYPE_CHECKING:
    from stages.poses.keypoints import Keypoints
    from stages.poses.motion.subject import Choice
    from stages.poses.recipes import Estimators
    from stages.video.limits import Limits

Estimator = Literal["people", "dwpose", "drawn"]
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class Outputs(NamedTuple):
    """Files to write."""

    film: Path
    documents: Path | None = None  # the keypoints as OpenPose JSON
    report: Path | None = None  # HTML

    @property
    def files(self) -> list[Path]:
        """Those that are asked for."""
        return [file for file in self if file is not None]


@dataclass(frozen=True)
class _Footage:
    """A video, or a picture as a video of one frame."""

    read: Callable[[], Iterator[np.ndarray]]  # uint8 (height, width, 3), upright, every time from the beginning
    seconds: Sequence[Fraction]  # of every frame
    fps: Fraction
    width: int
    height: int
    shown: Sequence[int]  # the frame that each frame of the film shows: of one rate, where the video has none


def draw_poses(
    config: RunConfig,
    video: Path,
    outputs: Outputs,
    subject: Choice | None,
    say: Say,
    overwrite: bool = False,
    estimator: Estimator | None = None,
    told: Told = silent,
) -> None:
    """Write the film: the video, dimmed, with the skeletons of everyone found, or of the one `subject`, repaired.

    The documents are keypoints as OpenPose JSON, one for each frame of the film: a driving file of kind `keypoints`.
    The report is on one person, the `subject` or whoever stays longest. `estimator` is by default DWPose where it is
    configured, else the one for real people that comes set. Says what the quality report says; `told` is told of
    frames. Raises `WrongUsage` where a file to write is one that is read, or is there already and not to be
    overwritten; `Problem` when the video or the estimator's files cannot be used.
    """
    chosen: Estimator = estimator or ("dwpose" if config.estimators.dwpose else "people")
    _require_outputs(config, video, outputs, chosen, overwrite)
    footage = _opened(video, config.limits)
    keypoints = _found(config.estimators, chosen, counted(footage.read(), len(footage.seconds), _FINDING, told))
    report = None
    if outputs.report is not None:
        from pipelines.pose_report import Findings, page

        report = Findings.of(video.name, chosen, keypoints, footage.seconds, footage.fps, subject or "persistent")
    if subject is not None:
        from stages.poses.conditioning import followed

        keypoints, figures = followed(keypoints, footage.fps, subject)
        say("\n".join(f"{name}: {value}" for name, value in figures.items()))
    wanted = report.worst if report else []
    written, kept = _draw(footage, keypoints, outputs.film, wanted, told)
    if outputs.documents is not None:
        _write_json(outputs.documents, keypoints, footage)
    if report is not None and outputs.report is not None:
        storage.publish_bytes(page(report, kept).encode(), str(outputs.report.absolute()))
        say(f"{outputs.report}: {report.summary}")
    people = keypoints.present.sum(axis=1)
    nobody = (~keypoints.detected).all(axis=1).sum()
    say(f"{outputs.film}: {written} frames, {people.min()} to {people.max()} people, {nobody} frames in which nobody "
        f"was found (estimator {chosen})")  # fmt: skip


_FINDING, _DRAWING = "finding poses, frame", "drawing, frame"


def _require_outputs(config: RunConfig, video: Path, outputs: Outputs, estimator: Estimator, overwrite: bool) -> None:
    if getattr(config.estimators, estimator) is None:
        raise WrongUsage(f"no estimator {estimator} is configured", f"set `estimators.{estimator}` (--config)")
    endings = [".mp4", *(PICTURES[:3] if _is_picture(video) else ())]
    if outputs.film.suffix.lower() not in endings:
        raise WrongUsage(f"film {str(outputs.film)!r}", f"name a file that ends in {' or '.join(endings)}")
    read = [str(video), *config.estimators.files(estimator)]
    require_writable(outputs.files, read, overwrite)


def _is_picture(video: Path) -> bool:
    return video.suffix.lower() in PICTURES


def _opened(video: Path, limits: Limits) -> _Footage:
    """Raises `Rejected` for what is neither a video nor a picture."""
    if _is_picture(video):
        from stages.sandbox.reading import read_image

        pixels = read_image(video, limits)
        height, width, _ = pixels.shape
        return _Footage(lambda: iter([pixels]), [Fraction(0)], Fraction(1), width, height, [0])
    from stages.sandbox.reading import Frames
    from stages.video.timing import select

    frames = Frames(video, limits)
    facts = frames.facts
    shown = select(frames.timestamps, facts.fps) if facts.variable else range(facts.frames)
    return _Footage(frames.read, frames.timestamps, facts.fps, facts.width, facts.height, shown)


def _found(estimators: Estimators, estimator: Estimator, frames: Iterator[np.ndarray]) -> Keypoints:
    from stages.poses.estimators.load import load_keypoints
    from stages.poses.estimators.weights import WEIGHTS

    return load_keypoints(estimators, estimator, WEIGHTS)(frames)


def _draw(
    footage: _Footage, keypoints: Keypoints, film: Path, wanted: Sequence[int], told: Told
) -> tuple[int, dict[int, np.ndarray]]:
    """Write the film, or the one picture; returns how many frames it has, and the `wanted` ones as drawn."""
    from PIL import Image

    from stages.video.encode import EncodeRecipe
    from stages.video.film import write_film

    kept: dict[int, np.ndarray] = {}
    drawn = counted(_overlaid(footage, keypoints, set(wanted), kept), len(footage.shown), _DRAWING, told)
    with temporary_folder("poses") as scratch:
        made, still = scratch / f"poses{film.suffix.lower()}", scratch / "still.jpg"
        if film.suffix.lower() != ".mp4":
            (picture,) = drawn
            Image.fromarray(picture).save(made, quality=92)
            written = 1
        else:
            even = footage.height - footage.height % 2, footage.width - footage.width % 2
            batches = (picture[None, : even[0], : even[1]] for picture in drawn)
            written = write_film(made, still, batches, footage.fps, EncodeRecipe()).frames
        storage.publish(made, str(film.absolute()))
    return written, kept


def _overlaid(
    footage: _Footage, keypoints: Keypoints, wanted: set[int], kept: dict[int, np.ndarray]
) -> Iterator[np.ndarray]:
    """The film's frames, dimmed, with skeletons; those of the video that are `wanted` are `kept` as well."""
    from stages.poses.drawing.dwpose import draw
    from stages.poses.drawing.skeleton import dwpose

    times = np.bincount(footage.shown, minlength=len(footage.seconds))
    for number, frame in enumerate(footage.read()):
        if not times[number] and number not in wanted:
            continue
        height, width, _ = frame.shape
        drawn = draw(dwpose(keypoints.people(number), width, height), height, width)
        picture = np.where(drawn.any(axis=2, keepdims=True), drawn, frame // 2)
        if number in wanted:
            kept[number] = picture
        for _ in range(times[number]):
            yield picture


def _write_json(documents: Path, keypoints: Keypoints, footage: _Footage) -> None:
    from stages.poses.files import openpose_json

    frames = [openpose_json.write(keypoints.people(number)) for number in footage.shown]
    stated = {"width": keypoints.width, "height": keypoints.height, "fps": str(footage.fps), "frames": frames}
    storage.publish_bytes(json.dumps(stated).encode(), str(documents.absolute()))
