"""Pose estimators of a worker: loaded when the first driving file needs them, kept for the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from stages.poses.estimators.densepose import paint, uv_array
from stages.poses.estimators.dwpose import CALLERS, DWPose
from stages.poses.estimators.people.estimator import PeopleEstimator
from stages.poses.estimators.weights import local_file, local_people
from stages.poses.keypoints import Keypoints, People
from stages.poses.recipes import DensePoseSettings, DWPoseSettings, Estimators, PeopleSettings


class KeypointEstimator(Protocol):
    """RGB frames, uint8 (height, width, 3) of one size, to the keypoints of everyone in them."""

    def __call__(self, frames: Iterable[np.ndarray]) -> Keypoints:
        """Of all frames together."""

    def people(self, frames: Iterable[np.ndarray]) -> Iterator[People]:
        """Frame by frame."""


def load_keypoints(estimators: Estimators, name: str, scratch: Path, channels: str = "as_trained") -> KeypointEstimator:
    """A configured estimator of keypoints by its name; `channels` as `load_dwpose` has them."""
    if name == "people":
        return load_people(estimators.people, scratch)
    return load_dwpose(getattr(estimators, name), channels, scratch)


def keypoints_of_still(estimators: Estimators, name: str, picture: np.ndarray, scratch: Path) -> Keypoints:
    """Everyone in one picture, uint8 RGB: a reference, which the net for drawn people looks at more than once."""
    if name != "drawn":
        return load_keypoints(estimators, name, scratch)([picture])
    found = load_dwpose(estimators.drawn, "as_trained", scratch).still(picture)
    return Keypoints.from_people([found.people()], picture.shape[1], picture.shape[0])


@lru_cache(maxsize=4)  # a run may mix three: two channel orders, and the net for drawn people
def load_dwpose(settings: DWPoseSettings, channels: str, scratch: Path) -> DWPose:
    """DWPose with the channel order of a published caller. Raises `Problem` for wrong or missing files."""
    *detector, pose = (local_file(uri, scratch) for uri in settings.files())
    return DWPose.load(
        detector[0] if detector else None,
        pose,
        CALLERS[channels],
        settings.threads,
        settings.batch,
        detect_every=settings.detect_every,
    )


@lru_cache(maxsize=1)
def load_people(settings: PeopleSettings, scratch: Path) -> PeopleEstimator:
    """MediaPipe's nets. Raises `Problem` for wrong or missing files, and where their runtime is not installed."""
    folder, body = local_people(settings, scratch)
    return PeopleEstimator.load(folder, body, settings.threads)


def densepose_frames(settings: DensePoseSettings, frames: Iterable[np.ndarray], scratch: Path) -> Iterator[np.ndarray]:
    """uint8 RGB frames → MagicAnimate's pictures of them: opaque viridis part labels, the same size."""
    network = _load_densepose(settings, scratch)
    for frame in frames:
        yield paint(network(frame), *frame.shape[:2])


def densepose_uv(settings: DensePoseSettings, frames: Iterable[np.ndarray], scratch: Path) -> Iterator[np.ndarray]:
    """uint8 RGB frames → U and V of the first person in them, float32 (2, height, width); zeros where nobody is."""
    network = _load_densepose(settings, scratch)
    for frame in frames:
        yield uv_array(network(frame), *frame.shape[:2]).astype(np.float32)


@lru_cache(maxsize=1)
def _load_densepose(settings: DensePoseSettings, scratch: Path):  # noqa: ANN202 - imports torch only when it is used
    from stages.poses.estimators.densepose_model import DensePose

    return DensePose(local_file(settings.model, scratch), channels=settings.channels)
