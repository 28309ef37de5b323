"""Retargeting as Wan-Animate's preprocessing does it: limb by limb from the neck outward, onto the reference's feet.

Source: stages/diffusion/wan_animate/SPEC.md section 13.5; numbers in comments are its steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from stages.poses.drawing.wan import LIMBS_WITH_FEET, Figure

_NOSE, _NECK, _WRISTS = 0, 1, (4, 7)
_HIPS, _ANKLES, _TOES = [8, 11], [10, 13], [19, 18]  # of one side after the other: right, left
_LONGER_OF = ((0, 1), (2, 4), (3, 5), (6, 9), (7, 10), (8, 11), (17, 18))  # limbs of either side
_MEAN_OF = ((13, 15), (14, 16))
_CALF_OF_FOOT = {17: 11, 18: 8}
_SURE, _KEPT = 0.5, 0.4


@dataclass(frozen=True)
class Measures:
    """What is measured once, on the driving film's first frame and the reference."""

    ratios: np.ndarray  # (19,): the reference's limbs by the driving person's
    offset: np.ndarray  # (2,): in the driving frame's pixels, once the reference is brought to that scale
    scale: float  # the driving person's height by the reference's


def measure(driving: Figure, reference: Figure, size: tuple[int, int], reference_size: tuple[int, int]) -> Measures:
    """Sizes are (width, height) of the pictures in which they were found."""
    b, d = driving.body, reference.body
    (width, height), (own_width, own_height) = size, reference_size
    scale = _scale(b, d) or sqrt(height * width / (own_height * own_width))  # 1
    canvas = int(own_width * scale), int(own_height * scale)
    d = np.concatenate([d[:, :2] / [own_width, own_height] * canvas, d[:, 2:]], axis=1)  # 2
    full = min(_how_much(b, height), _how_much(d, canvas[1])) == 2  # 3
    lengths = [_lengths(d), _lengths(b)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = lengths[0] / lengths[1]  # 4
    # a limb without length, as one along the line of sight, is left as it is; the published code fails there
    ratios = np.where(np.isfinite(ratios), ratios, 1.0)
    for pair in _LONGER_OF:
        ratios[list(pair)] = ratios[list(pair)].max()
    for pair in _MEAN_OF:
        ratios[list(pair)] = ratios[list(pair)].mean()
    g, d = _grown(b[:, :2], ratios), d[:, :2]  # 5
    offset = g[_NECK] - d[_NECK]  # 6
    if full:
        feet = (d[_ANKLES] + d[_TOES])[:, 1] / 2
        offset = np.array([g[_HIPS, 0].mean() - d[_HIPS, 0].mean(), g[_ANKLES, 1].max() - feet.max()])
    return Measures(ratios, offset, scale)


def retargeted(figure: Figure, measures: Measures, size: tuple[int, int]) -> Figure:
    """A frame's person with the reference's limbs, in the reference's pixels; `size` is the driving film's.

    Hands keep the names that the published code gives them. Points that are left out have a score of 0.
    """
    old = figure.body[:, :2]
    new = (_grown(old, measures.ratios, short_feet=True) - measures.offset) / measures.scale  # 7
    body = np.concatenate([new, figure.body[:, 2:]], axis=1)
    return Figure(body, *_hands(figure, old, new, measures, size))


def _scale(b: np.ndarray, d: np.ndarray) -> float | None:
    for ends in (_ANKLES, _HIPS):
        if all((one[[_NOSE, *ends], 2] > _SURE).all() for one in (b, d)):
            heights = [abs(one[ends, 1].mean() - one[_NOSE, 1]) for one in (b, d)]
            return heights[0] / heights[1]
    return None


def _how_much(body: np.ndarray, height: int) -> int:
    """2: all of a body is in the picture, 1: three quarters, 0: a half."""

    def inside(joints: list[int]) -> bool:
        return bool((body[joints, 1] <= height).all() and (body[joints, 2] >= _KEPT).all())

    return 2 if inside(_HIPS + _ANKLES) else int(inside(_HIPS))


def _lengths(body: np.ndarray) -> np.ndarray:
    starts, ends = np.array(LIMBS_WITH_FEET).T
    return np.linalg.norm(body[ends, :2] - body[starts, :2], axis=1)


def _grown(body: np.ndarray, ratios: np.ndarray, short_feet: bool = False) -> np.ndarray:
    grown = body.copy()
    for limb, (start, end) in enumerate(LIMBS_WITH_FEET):
        vector = ratios[limb] * (body[end] - body[start])
        if short_feet and limb in _CALF_OF_FOOT:
            knee, ankle = LIMBS_WITH_FEET[_CALF_OF_FOOT[limb]]
            longest = np.linalg.norm(grown[ankle] - grown[knee]) / 2
            length = np.linalg.norm(vector)
            vector = vector if length <= longest else vector * (longest / length)
        grown[end] = grown[start] + vector
    return grown


def _hands(
    figure: Figure, old: np.ndarray, new: np.ndarray, measures: Measures, size: tuple[int, int]
) -> list[np.ndarray]:  # 8
    times = measures.ratios[:2].max() / measures.scale
    hands = [figure.right_hand, figure.left_hand]
    scaled, moves = [], []
    for hand, wrist in zip(hands, _WRISTS, strict=True):
        root, kept = hand[0, :2], hand[:, 2] >= _KEPT
        points = root + (hand[:, :2] - root) * times
        move = new[wrist] - old[wrist]
        if kept[0]:
            move = move + old[wrist] - root
        scaled.append(np.where(kept[:, None], np.concatenate([points, hand[:, 2:]], axis=1), np.nan))
        moves.append(move)
    root = np.negative(size) if np.isnan(scaled[0][0, 0]) else hands[0][0, :2]
    nearer = [np.linalg.norm(root - old[wrist]) for wrist in _WRISTS]
    if nearer[0] > nearer[1]:
        scaled.reverse()
    made = []
    for hand, move in zip(scaled, moves, strict=True):
        kept = ~np.isnan(hand[:, 0])
        points = np.where(kept[:, None], hand[:, :2] + move, 0).astype(np.int64)
        made.append(np.concatenate([points, np.where(kept, hand[:, 2], 0)[:, None]], axis=1).astype(np.float64))
    return made
