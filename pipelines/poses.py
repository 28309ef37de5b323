"""`catwalk poses`: draw what is extracted from a video over it, so that a person can look."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manifests import storage
from manifests.errors import WrongUsage
from pipelines.configuration import RunConfig
from pipelines.output_files import require_writable
from pipelines.progress import Say

if TYPE_CHECKING:
    from stages.poses.keypoints import Keypoints
    from stages.poses.motion.subject import Choice
    from stages.video.read import Frames


def draw_poses(
    config: RunConfig,
    video: Path,
    film: Path,
    documents: Path | None,
    subject: Choice | None,
    say: Say,
    overwrite: bool = False,
) -> None:
    """Write `film`: the video, dimmed, with the skeletons of everyone found, or of the one `subject`, repaired.

    `documents` receives the keypoints as OpenPose JSON, one document per frame: a driving file of kind `keypoints`.
    Says what the quality report says. Raises `WrongUsage` where a file to write is one that is read, or is there
    already and not to be overwritten; `Problem` when the video or the estimator's files cannot be used.
    """
    from stages.poses.conditioning import followed
    from stages.poses.estimators.load import load_dwpose
    from stages.video.encode import EncodeRecipe
    from stages.video.film import write_film
    from stages.video.read import Frames

    if config.estimators.dwpose is None:
        raise WrongUsage("no estimator is configured", "set `estimators.dwpose` (--config), or --detector and --pose")
    if film.suffix.lower() != ".mp4":
        raise WrongUsage(f"film {str(film)!r}", "name a file that ends in .mp4")
    read = [str(video), *config.estimators.files("dwpose")]
    require_writable([film] if documents is None else [film, documents], read, overwrite)
    opened = Frames(video, config.limits)
    with tempfile.TemporaryDirectory(prefix="catwalk-poses-") as scratch:
        estimator = load_dwpose(config.estimators.dwpose, "as_trained", Path(scratch))
        keypoints = estimator(opened.read())
        if subject is not None:
            keypoints, report = followed(keypoints, opened.facts.fps, subject)
            say("\n".join(f"{name}: {value}" for name, value in report.items()))
        movie, still = Path(scratch) / "poses.mp4", Path(scratch) / "poses.jpg"
        even = opened.facts.height - opened.facts.height % 2, opened.facts.width - opened.facts.width % 2
        batches = (over[None, : even[0], : even[1]] for over in _overlaid(opened, keypoints))
        written = write_film(movie, still, batches, opened.facts.fps, EncodeRecipe())
        storage.publish(movie, str(film.absolute()))
    if documents is not None:
        _write_json(documents, keypoints, opened.facts.fps)
    people = keypoints.present.sum(axis=1)
    say(f"{film}: {written} frames, {people.min()} to {people.max()} people, {(~keypoints.detected).all(axis=1).sum()} "
        "frames in which the detector found nobody")  # fmt: skip


def _write_json(documents: Path, keypoints: Keypoints, fps: Fraction) -> None:
    from stages.poses.files import openpose_json

    frames = [openpose_json.write(keypoints.people(number)) for number in range(len(keypoints))]
    stated = {"width": keypoints.width, "height": keypoints.height, "fps": str(fps), "frames": frames}
    storage.publish_bytes(json.dumps(stated).encode(), str(documents.absolute()))


def _overlaid(video: Frames, keypoints: Keypoints) -> Iterator[np.ndarray]:
    from stages.poses.drawing.dwpose import draw
    from stages.poses.drawing.skeleton import dwpose

    for number, frame in enumerate(video.read()):
        height, width, _ = frame.shape
        drawn = draw(dwpose(keypoints.people(number), width, height), height, width)
        yield np.where(drawn.any(axis=2, keepdims=True), drawn, frame // 2)
