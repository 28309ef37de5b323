"""MimicMotion's alignment: one similarity transform brings a whole driving clip to the reference person.

It matches the average height and position of the body, not the length of limbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from manifests.errors import Problem
from stages.poses.drawing.skeleton import Skeleton

# All but elbows and wrists, which move most.
JOINTS = (0, 1, 2, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)
FRAME_RATE = 24  # driving videos are thinned to about it


@dataclass(frozen=True)
class Alignment:
    """x ← ax · x + bx, y ← ay · y + by, in fractions of the driving picture → of the reference picture."""

    ax: float
    bx: float
    ay: float
    by: float

    def __call__(self, skeleton: Skeleton) -> Skeleton:
        """Move every body, hand and face; scores and visibility stay."""
        scale, shift = np.array([self.ax, self.ay]), np.array([self.bx, self.by])
        moved = {name: getattr(skeleton, name) * scale + shift for name in ("candidate", "hands", "faces")}
        return replace(skeleton, **moved)


def used_frames(count: int, fps: float | Fraction, sample_stride: int = 1) -> range:
    """Which of `count` driving frames are used."""
    return range(0, count, sample_stride * max(1, int(fps / FRAME_RATE)))


def align(
    reference: Skeleton,
    driving: Sequence[Skeleton],
    reference_size: tuple[int, int],
    driving_size: tuple[int, int],
) -> Alignment:
    """Fit the driving bodies' heights to the reference person's; sizes are (height, width) of the pictures.

    Frames with exactly one person count, with their joints whatever the scores: a frame in which nobody was found
    counts too, as it holds one pseudo person. Raises `Problem` where there is nothing to fit.
    """
    joints = [joint for joint in JOINTS if len(reference) and reference.subset[0, joint] >= 0]
    frames = [skeleton for skeleton in driving if len(skeleton) == 1]
    if not joints:
        raise Problem("no joint of the reference person is visible", "use a reference image that shows the person")
    if not frames:
        raise Problem("no driving frame holds exactly one person", "use a driving video of one person")
    target = np.tile(reference.candidate[joints], (len(frames), 1))
    source = np.concatenate([skeleton.candidate[joints] for skeleton in frames])
    (reference_height, reference_width), (driving_height, driving_width) = reference_size, driving_size
    ay, by = np.polyfit(source[:, 1], target[:, 1], 1)
    # The same scale in pixels both ways.
    ax = ay * (driving_width / driving_height) * (reference_height / reference_width)
    bx = np.mean(target[:, 0] - ax * source[:, 0])
    return Alignment(float(ax), float(bx), float(ay), float(by))
