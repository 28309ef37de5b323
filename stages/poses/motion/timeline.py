"""How well one person is seen from frame to frame: what a person reads to learn why, and where, a video is hard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.poses.anatomy import NECK
from stages.poses.keypoints import Keypoints
from stages.poses.motion.left_right import runs
from stages.poses.wholebody import BODY, FACE, LEFT_HAND, RIGHT_HAND, VISIBLE

PARTS = {"body": BODY, "face": FACE, "left hand": LEFT_HAND, "right hand": RIGHT_HAND}
LIMBS = {
    "head": (0, 14, 15, 16, 17),
    "right arm": (2, 3, 4),
    "left arm": (5, 6, 7),
    "right leg": (8, 9, 10),
    "left leg": (11, 12, 13),
}
_SPREAD = 0.4  # seconds between two of the worst frames: neighbours look the same

Kind = Literal["bridged", "empty", "patched"]


@dataclass(frozen=True)
class Stretch:
    """Frames [first, last] in which something was missing.

    `bridged`: nobody was found, and repair put the person in. `empty`: nobody is there after repair either. `patched`:
    some limb was not seen, and repair filled it in.
    """

    kind: Kind
    first: int
    last: int
    limbs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Timeline:
    """One person over a sequence, as found and as repaired."""

    found: Keypoints  # one slot
    repaired: Keypoints

    def __post_init__(self) -> None:
        slots = self.found.points.shape[1], self.repaired.points.shape[1]
        if slots != (1, 1):
            raise ValueError(f"expected keypoints of one person in one slot, not of {slots}")

    @property
    def present(self) -> np.ndarray:
        """bool (frames,): whether the person was found."""
        return self.found.present[:, 0]

    def confidence(self, part: str) -> np.ndarray:
        """float64 (frames,): mean score of a part of `PARTS` as found, 0 where nobody is; the neck is derived."""
        scores = self.found.scores[:, 0].clip(0)
        places = [place for place in range(scores.shape[1])[PARTS[part]] if place != NECK]
        return np.where(self.present, scores[:, places].mean(axis=1), 0.0)

    @property
    def faceless(self) -> list[tuple[int, int]]:
        """Stretches [first, last] in which the person is there, and no face: what reads expressions finds none."""
        return [(start, end - 1) for start, end in runs(self.present & (self.confidence("face") <= VISIBLE))]

    def unseen(self, frame: int) -> list[str]:
        """Limbs of which most joints were not seen in a frame, and hands of which no point was."""
        scores = self.found.scores[frame, 0]
        limbs = [name for name, joints in LIMBS.items() if (scores[list(joints)] > VISIBLE).mean() < 0.5]
        return limbs + [name for name in ("left hand", "right hand") if (scores[PARTS[name]] <= VISIBLE).all()]

    def stretches(self) -> list[Stretch]:
        """Every stretch in which something was missing, in order."""
        there = self.repaired.present[:, 0]
        kinds: list[tuple[Kind, np.ndarray]] = [("bridged", ~self.present & there), ("empty", ~self.present & ~there)]
        found = [Stretch(kind, start, end - 1) for kind, marked in kinds for start, end in runs(marked)]
        found += [Stretch("patched", start, end - 1, limbs) for start, end, limbs in self._patches()]
        return sorted(found, key=lambda stretch: (stretch.first, stretch.last))

    def _patches(self) -> Iterator[tuple[int, int, tuple[str, ...]]]:
        seen, now = (keypoints.scores[:, 0] > VISIBLE for keypoints in (self.found, self.repaired))
        patched = {
            name: (~seen[:, joints] & now[:, joints]).any(axis=1) & self.present
            for name, joints in ((name, list(joints)) for name, joints in LIMBS.items())
        }
        for start, end in runs(np.any(list(patched.values()), axis=0)):
            yield start, end, tuple(name for name, marked in patched.items() if marked[start:end].any())

    def worst(self, count: int, fps: float) -> list[int]:
        """Up to `count` frames in which the body is seen worst, apart from each other, in order of time."""
        chosen: list[int] = []
        for frame in np.argsort(self.confidence("body"), kind="stable"):
            if len(chosen) < count and all(abs(int(frame) - other) > _SPREAD * fps for other in chosen):
                chosen.append(int(frame))
        return sorted(chosen)
