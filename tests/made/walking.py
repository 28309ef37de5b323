"""Skeletons of a made-up person, with the joints behind them: what an animator that aligns its reference is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.diffusion.animator import Joints


class Walking:
    """Pictures of any content; joints that lie all over them, the same for a frame whichever asks."""

    def __init__(self, pictures: Sequence[np.ndarray], reference: Joints | None) -> None:
        """Pictures (height, width, 3) of one size; `reference` are the joints of the reference."""
        self._pictures = pictures
        self.reference_joints = reference

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, frame: int) -> np.ndarray:
        return self._pictures[frame]

    def joints(self, frame: int) -> Joints | None:
        """Of one frame."""
        height, width = self._pictures[frame].shape[:2]
        return joints(frame, width, height)


def joints(seed: int, width: int, height: int) -> Joints:
    """18 points in a picture of that size, all of them seen."""
    return np.random.default_rng(seed).uniform(4, (width - 4, height - 4), (18, 2)), np.ones(18, bool)
