"""Drawn people in front of a camera, whose films are right in every frame, and what can go wrong with a film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import cv2
import numpy as np

from pipelines.training.catalogue import DRIVING, HEIGHT, REFERENCES, WIDTH
from pipelines.training.people import Motion, draw, random_character, standing
from stages.video.quality.outline import Outline, outline_of_points

FPS = Fraction(12)
BORDER = 20  # first frame of a second segment
TORSO = (5, 6, 12, 11)  # shoulders and hips among COCO's body points, around the torso
LEGS = (11, 13, 15), (12, 14, 16)


@dataclass(frozen=True)
class Footage:
    """A film, uint8 (frames, height, width, 3), the keypoints that it was drawn by (frames, 23, 3); its reference."""

    film: np.ndarray
    keypoints: np.ndarray
    reference: np.ndarray
    reference_torso: np.ndarray

    def outline(self, frame: int) -> Outline:
        """Where the person is to be, whatever the film shows."""
        points = self.keypoints[frame]
        return outline_of_points(points[points[:, 2] > 0, :2], (WIDTH, HEIGHT), points[list(TORSO), :2])

    def of(self, frames: Sequence[int]) -> Footage:
        """The film of other frames of it, in this order."""
        return replace(self, film=self.film[list(frames)], keypoints=self.keypoints[list(frames)])

    def faulty(self, frames: np.ndarray) -> Footage:
        """The same with other frames."""
        return replace(self, film=np.asarray(frames).round().clip(0, 255).astype(np.uint8))


@cache
def footage(person: str, motion: str, frames: int = 30) -> Footage:
    """The sample catalogue's person, drawn in one of its motions."""
    character, moves = random_character(REFERENCES[person]), Motion.named(motion, DRIVING[motion][1])
    shown = [draw(character, moves.pose(float(number / FPS)), WIDTH, HEIGHT) for number in range(frames)]
    reference = draw(character, standing(REFERENCES[person]), WIDTH, HEIGHT)
    film, keypoints = np.stack([one.picture for one in shown]), np.stack([one.keypoints for one in shown])
    film.setflags(write=False)
    return Footage(film, keypoints, reference.picture, reference.keypoints[list(TORSO), :2])


def _flicker(clip: Footage) -> np.ndarray:
    return clip.film * np.where(np.arange(len(clip.film)) % 2, 1.01, 0.99)[:, None, None, None]


def _frozen(clip: Footage) -> np.ndarray:
    film = clip.film.copy()
    film[8:14] = film[7]
    return film


def _black(clip: Footage) -> np.ndarray:
    film = clip.film.copy()
    film[13] = 0
    return film


def _hue(clip: Footage) -> np.ndarray:
    turned = []
    for frame in clip.film:
        colours = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
        colours[..., 0] = (colours[..., 0].astype(int) + 5) % 180
        turned.append(cv2.cvtColor(colours, cv2.COLOR_HSV2RGB))
    return np.stack(turned)


def _seam(clip: Footage) -> np.ndarray:
    film = clip.film.astype(np.float32)
    film[BORDER:] *= [1.015, 0.99, 0.985]
    return film


def _blur(clip: Footage) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 0.7) for frame in clip.film])


def _background(clip: Footage) -> np.ndarray:
    person = np.any([clip.outline(number).hull for number in range(len(clip.film))], axis=0)
    drift = np.linspace(0, 14, len(clip.film))[:, None, None, None]
    return clip.film + drift * ~person[..., None]


def _boiling(clip: Footage) -> np.ndarray:
    random, film = np.random.default_rng(0), clip.film.astype(np.float32)
    for frame, points in zip(film, clip.keypoints, strict=True):
        grain = random.normal(0, 50, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.float32)
        legs = np.zeros((HEIGHT, WIDTH), np.uint8)
        for leg in LEGS:
            cv2.polylines(legs, [np.round(points[list(leg), :2]).astype(np.int32)], False, 1, thickness=24)
        frame += cv2.resize(grain, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) * legs[..., None]
    return film


FAULTS: dict[str, tuple[Callable[[Footage], np.ndarray], str]] = {
    "1 % flicker": (_flicker, "flicker"),
    "six frames frozen": (_frozen, "frozen"),
    "a black frame": (_black, "black"),
    "hue turned by 5": (_hue, "garment"),
    "1.5 % of colour at a border": (_seam, "seam"),
    "blur of 0.7 pixels": (_blur, "sharpness"),
    "background brighter by 14 of 255": (_background, "background"),
    "legs that boil": (_boiling, "warping_error"),
}
