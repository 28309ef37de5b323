"""Procedural people as training pictures, 12 of each character."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np

from pipelines.training.people import Pose, draw, random_character, random_motion, standing

SHAPES = ((192, 256), (224, 224))  # width, height
STILLS = 4
FRAMES = 8
PICTURES = STILLS + FRAMES
# Seeds of people and motions to train on lie below, those of people who are drawn while a training goes on are FRESH;
# those to evaluate and to show begin at HELD_OUT.
TRAINING = 100_000
FRESH = (200_000, 900_000)
HELD_OUT = 1_000_000


@dataclass(frozen=True)
class Sitting:
    """One character's pictures: 4 stills, then 8 consecutive frames of one motion.

    `pictures` uint8 (12, height, width, 3); `keypoints` float32 (12, 23, 3): x, y in pixels and visibility.
    """

    pictures: np.ndarray
    keypoints: np.ndarray


def sitting(seed: int, width: int, height: int, chosen: Sequence[int] = range(PICTURES)) -> Sitting:
    """The pictures of character `seed`, or the `chosen` ones of them.

    Training seeds draw their poses and motions from training seeds, held-out ones from held-out ones.
    """
    character, poses = random_character(seed), sitting_poses(seed)
    drawings = [draw(character, poses[at], width, height) for at in chosen]
    return Sitting(
        np.stack([drawing.picture for drawing in drawings]), np.stack([drawing.keypoints for drawing in drawings])
    )


def sitting_poses(seed: int) -> list[Pose]:
    """Two poses of a reference image, two of any motions, eight of one motion at 8 to 20 frames a second."""
    random = np.random.default_rng(seed)
    first = HELD_OUT if seed >= HELD_OUT else 0
    still, still_too, *others, motion = (int(drawn) for drawn in random.integers(first, first + TRAINING, 5))
    begin, step = random.uniform(0, 10), 1 / random.uniform(8, 20)
    moving = random_motion(motion)
    return [
        standing(still),
        standing(still_too),
        *(random_motion(other).pose(random.uniform(0, 10)) for other in others),
        *(moving.pose(begin + step * frame) for frame in range(FRAMES)),
    ]


@dataclass(frozen=True)
class Album:
    """Pictures of one shape, uint8 (n, height, width, 3), and where people are in them, float32 (n, 23, 3)."""

    pictures: np.ndarray
    keypoints: np.ndarray


def album(first_seed: int, people: int, width: int, height: int, each: int = 4) -> Album:
    """`each` random pictures of every one of `people` characters in a row."""
    with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
        drawn = pool.map(partial(_some, width=width, height=height, each=each), range(first_seed, first_seed + people))
        pictures, keypoints = zip(*drawn, strict=True)
    return Album(np.concatenate(pictures), np.concatenate(keypoints))


def _some(seed: int, width: int, height: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    sat = sitting(seed, width, height, sorted(np.random.default_rng(seed).choice(PICTURES, each, replace=False)))
    return sat.pictures, sat.keypoints
