"""What one training step of the animator sees: latents of references and targets, and the targets' skeletons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from pipelines.training.pictures import FRAMES, PICTURES, STILLS
from stages.poses.drawing.dwpose import draw
from stages.poses.drawing.skeleton import dwpose
from stages.poses.keypoints import People
from stages.poses.wholebody import openpose_order

HELD_BACK = 32  # characters at a dataset's end that are shown and measured, never trained on
# How often each still of a character is its reference: mostly the poses of a catalogue.
REFERENCE_SHARES = (0.42, 0.42, 0.08, 0.08)
JITTER = 0.5  # pixels, as an estimator errs
DROPPED = 0.02  # of the points, as one that misses them

_COCO_POINTS = 133


class Latents(Protocol):
    """A dataset of one shape."""

    latents: np.ndarray  # float16 (characters, 12, channels, height/8, width/8), not normalised
    keypoints: np.ndarray  # float32 (characters, 12, 23, 3): x, y in pixels and visibility
    latent_std: float


@dataclass(frozen=True)
class Batch:
    """Rows of one reference each, with frames of the same character to make from it."""

    references: torch.Tensor  # (rows, channels, height, width), unit variance
    targets: torch.Tensor  # (rows · frames, channels, height, width), unit variance
    poses: torch.Tensor  # (rows · frames, 3, 8 · height, 8 · width) in [0, 1]

    def to(self, device: str) -> Batch:
        """The batch on a device."""
        return Batch(self.references.to(device), self.targets.to(device), self.poses.to(device))


def pictures_of(dataset: Latents, rows: int, frames: int, random: np.random.Generator) -> Batch:
    """Characters to train on, each with any of its other pictures as targets."""
    chosen = []
    for character in random.choice(len(dataset.latents) - HELD_BACK, rows, replace=False):
        reference = random.choice(STILLS, p=REFERENCE_SHARES)
        others = np.delete(np.arange(PICTURES), reference)
        chosen.append((character, reference, random.choice(others, frames, replace=False)))
    return gathered(dataset, chosen, random)


def clips_of(dataset: Latents, rows: int, random: np.random.Generator) -> Batch:
    """Characters to train on, each with the frames of its motion as targets, forwards or backwards."""
    chosen = []
    for character in random.choice(len(dataset.latents) - HELD_BACK, rows, replace=False):
        frames = np.arange(STILLS, STILLS + FRAMES)[:: random.choice((1, -1))]
        chosen.append((character, random.choice(STILLS, p=REFERENCE_SHARES), frames))
    return gathered(dataset, chosen, random)


def gathered(
    dataset: Latents,
    chosen: Sequence[tuple[int, int, Sequence[int] | np.ndarray]],
    random: np.random.Generator | None = None,
) -> Batch:
    """The batch of (character, reference's number, targets' numbers); with `random` keypoints err as estimated ones."""
    height, width = (8 * side for side in dataset.latents.shape[-2:])
    references, targets, poses = [], [], []
    for character, reference, wanted in chosen:
        references.append(dataset.latents[character, reference])
        targets.append(dataset.latents[character, wanted])
        keypoints = dataset.keypoints[character, wanted]
        keypoints = keypoints if random is None else disturbed(keypoints, random)
        poses += [skeleton_picture(one, width, height) for one in keypoints]
    return Batch(
        _normalised(np.stack(references), dataset),
        _normalised(np.concatenate(targets), dataset),
        torch.from_numpy(np.stack(poses)).permute(0, 3, 1, 2).float() / 255,
    )


def _normalised(latents: np.ndarray, dataset: Latents) -> torch.Tensor:
    return torch.from_numpy(latents.astype(np.float32)) / dataset.latent_std


def disturbed(keypoints: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Keypoints (n, 23, 3) moved a little and now and then missing."""
    moved = keypoints.copy()
    moved[..., :2] += random.normal(0, JITTER, moved[..., :2].shape)
    moved[..., 2] *= random.random(moved.shape[:2]) >= DROPPED
    return moved


def skeleton_picture(keypoints: np.ndarray, width: int, height: int) -> np.ndarray:
    """Keypoints (23, 3) in COCO-WholeBody's order → the skeleton an animator is shown, uint8 (height, width, 3)."""
    points, scores = np.zeros((1, _COCO_POINTS, 2)), np.zeros((1, _COCO_POINTS))
    points[0, : len(keypoints)], scores[0, : len(keypoints)] = keypoints[:, :2], keypoints[:, 2]
    person = People(*openpose_order(points, scores), np.full((1, 4), np.nan))
    return draw(dwpose(person, width, height), height, width)
