"""What one training step of the animator sees: latents of references and targets, and the targets' skeletons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import cv2
import numpy as np
import torch

from pipelines.training.pictures import FRAMES, PICTURES, STILLS
from stages.diffusion.drawn.codec import DrawnCodec
from stages.diffusion.drawn.looks import Look
from stages.diffusion.drawn.rigid_parts import Posture
from stages.diffusion.drawn.warp import ReferenceWarp, encoded
from stages.poses.conditioning import joints_of
from stages.poses.drawing.dwpose import draw
from stages.poses.drawing.skeleton import dwpose
from stages.poses.keypoints import People
from stages.poses.wholebody import openpose_order

HELD_BACK = 32  # characters at a dataset's end that are shown and measured, never trained on
# How often each still of a character is its reference: mostly the poses of a catalogue.
REFERENCE_SHARES = (0.44, 0.44, 0.06, 0.06)
JITTER = 0.2  # pixels: a film shows what its poses say, so hardly any; a network blurs what it cannot know
DROPPED = 0.01  # of the points, as an estimator misses them
REFERENCE_JITTER = (0.5, 0.8, 0.8, 1.2)  # pixels, as the keypoint net errs: a reference is warped wrongly by as much
WITHOUT_WARP = 0.06  # of the rows: their reference's keypoints are unknown
PERSON_WEIGHT, HAND_WEIGHT, FACE_WEIGHT = 2.0, 3.0, 4.0  # beside a backdrop's 1

_COCO_POINTS = 133


class Latents(Protocol):
    """A dataset of one shape."""

    latents: np.ndarray  # float16 (characters, 12, channels, height/8, width/8), not normalised
    keypoints: np.ndarray  # float32 (characters, 12, 23, 3): x, y in pixels and visibility
    stills: np.ndarray  # uint8 (characters, 4, height, width, 3): the pictures that can be references
    latent_std: float


@dataclass(frozen=True)
class Batch:
    """Rows of one reference each, with frames of the same character to make from it."""

    references: torch.Tensor  # (rows, channels, height, width), unit variance
    targets: torch.Tensor  # (rows · frames, channels, height, width), unit variance
    poses: torch.Tensor  # (rows · frames, 3, 8 · height, 8 · width) in [0, 1]
    warped: torch.Tensor  # (rows · frames, 2 · channels + 3, height, width): latents and maps as `encoded`, or zeros
    weights: torch.Tensor  # (rows · frames, height, width): how much an error counts

    def to(self, device: str) -> Batch:
        """The batch on a device."""
        return Batch(*(getattr(self, one.name).to(device) for one in fields(self)))


def pictures_of(dataset: Latents, codec: DrawnCodec, rows: int, frames: int, random: np.random.Generator) -> Batch:
    """Characters to train on, each with any of its other pictures as targets."""
    chosen = []
    for character in random.choice(len(dataset.latents) - HELD_BACK, rows, replace=False):
        reference = random.choice(STILLS, p=REFERENCE_SHARES)
        others = np.delete(np.arange(PICTURES), reference)
        chosen.append((character, reference, random.choice(others, frames, replace=False)))
    return gathered(dataset, codec, chosen, random)


def clips_of(dataset: Latents, codec: DrawnCodec, rows: int, random: np.random.Generator) -> Batch:
    """Characters to train on, each with the frames of its motion as targets, forwards or backwards."""
    chosen = []
    for character in random.choice(len(dataset.latents) - HELD_BACK, rows, replace=False):
        frames = np.arange(STILLS, STILLS + FRAMES)[:: random.choice((1, -1))]
        chosen.append((character, random.choice(STILLS, p=REFERENCE_SHARES), frames))
    return gathered(dataset, codec, chosen, random)


def gathered(
    dataset: Latents,
    codec: DrawnCodec,
    chosen: Sequence[tuple[int, int, Sequence[int] | np.ndarray]],
    random: np.random.Generator | None = None,
    looks: list[Look | None] | None = None,
) -> Batch:
    """The batch of (character, reference's number, targets' numbers).

    With `random` keypoints err as estimated ones, and some references cannot be warped. `looks` becomes longer by those
    of all targets.
    """
    height, width = (8 * side for side in dataset.latents.shape[-2:])
    references, targets, poses, warped, weights = [], [], [], [], []
    for character, reference, wanted in chosen:
        references.append(dataset.latents[character, reference])
        targets.append(dataset.latents[character, wanted])
        known, keypoints = dataset.keypoints[character, reference], dataset.keypoints[character, wanted]
        weights += [weights_of(one, width, height) for one in keypoints]
        if random is not None:
            known, keypoints = disturbed(known, random, random.choice(REFERENCE_JITTER)), disturbed(keypoints, random)
        poses += [skeleton_picture(one, width, height) for one in keypoints]
        if random is not None and random.random() < WITHOUT_WARP:
            known = np.zeros_like(known)
        warp = ReferenceWarp(dataset.stills[character, reference], posture(known))
        shown = [warp.to(posture(one)) for one in keypoints]
        warped += shown
        if looks is not None:
            pictures = poses[-len(shown) :]
            looks += [one and Look.made(warp, one, drawn) for one, drawn in zip(shown, pictures, strict=True)]
    return Batch(
        _normalised(np.stack(references), dataset),
        _normalised(np.concatenate(targets), dataset),
        torch.from_numpy(np.stack(poses)).permute(0, 3, 1, 2).float() / 255,
        encoded(warped, codec, (height, width)).float(),
        torch.from_numpy(np.stack(weights)),
    )


def posture(keypoints: np.ndarray) -> Posture:
    """Keypoints (23, 3) in COCO-WholeBody's order → the posture that a reference is warped from or to."""
    return Posture.of(*joints_of(person(keypoints)))


def weights_of(keypoints: np.ndarray, width: int, height: int) -> np.ndarray:
    """float32 (height/8, width/8): what errors of every cell count, a backdrop's 1.

    A person fills a fifth of a picture, a face a hundredth, and viewers look at faces and hands first.
    """
    cells = np.stack(np.meshgrid(np.arange(width // 8), np.arange(height // 8)), axis=-1) * 8 + 3.5
    points, unit = keypoints[:, :2], height / 256
    middles = [(points[:5].mean(axis=0), 20 * unit, FACE_WEIGHT)]
    for elbow, wrist in ((7, 9), (8, 10)):
        middles.append((points[wrist] + 0.35 * (points[wrist] - points[elbow]), 11 * unit, HAND_WEIGHT))
    limbs = skeleton_picture(keypoints, width, height).max(axis=-1) > 0
    body = limbs.reshape(height // 8, 8, width // 8, 8).any(axis=(1, 3)).astype(np.uint8)
    weights = 1 + PERSON_WEIGHT * cv2.dilate(body, np.ones((3, 3), np.uint8)).astype(np.float32)
    for middle, radius, weight in middles:
        weights[np.linalg.norm(cells - middle, axis=-1) < radius] = 1 + weight
    return weights


def _normalised(latents: np.ndarray, dataset: Latents) -> torch.Tensor:
    return torch.from_numpy(latents.astype(np.float32)) / dataset.latent_std


def disturbed(keypoints: np.ndarray, random: np.random.Generator, jitter: float = JITTER) -> np.ndarray:
    """Keypoints (…, 23, 3) moved by about `jitter` pixels and now and then missing."""
    moved = keypoints.copy()
    moved[..., :2] += random.normal(0, jitter, moved[..., :2].shape)
    moved[..., 2] *= random.random(moved.shape[:-1]) >= DROPPED
    return moved


def skeleton_picture(keypoints: np.ndarray, width: int, height: int) -> np.ndarray:
    """Keypoints (23, 3) in COCO-WholeBody's order → the skeleton an animator is shown, uint8 (height, width, 3)."""
    return draw(dwpose(person(keypoints), width, height), height, width)


def person(keypoints: np.ndarray) -> People:
    """Keypoints (23, 3) in COCO-WholeBody's order → the person that an estimator would find there."""
    points, scores = np.zeros((1, _COCO_POINTS, 2)), np.zeros((1, _COCO_POINTS))
    points[0, : len(keypoints)], scores[0, : len(keypoints)] = keypoints[:, :2], keypoints[:, 2]
    return People(*openpose_order(points, scores), np.full((1, 4), np.nan))
