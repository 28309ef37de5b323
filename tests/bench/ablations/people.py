"""Who is animated: drawn people whose truth is known, in motions that come round with the film's last frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from manifests.clip import Clip
from pipelines.training.batches import skeleton_picture
from pipelines.training.catalogue import REFERENCES
from pipelines.training.people import Motion, draw, random_character, standing
from pipelines.training.pictures import HELD_OUT
from stages.diffusion.animators import ANIMATORS
from tests.made.faults import TORSO

FPS, WIDTH, HEIGHT = Fraction(40, 3), 192, 256
ROUND = 128  # frames after which each of the motions below, of 1.2 or 2.4 seconds, is where it was
PEOPLE = {  # of the sample catalogue and others that are held out: the animator has seen none of them
    "striped-dress": (REFERENCES["striped-dress"], "dance"),
    "held-out-1": (HELD_OUT + 1, "kick"),
    "yellow-jumper": (REFERENCES["yellow-jumper"], "jumping_jack"),
    "held-out-2": (HELD_OUT + 2, "dance"),
}


@dataclass(frozen=True)
class Sample:
    """A person, what drives it, and the film that it should become."""

    clip: Clip
    reference: np.ndarray  # uint8 (height, width, 3)
    torso: np.ndarray  # float32 (4, 2): corners in the reference
    truth: np.ndarray  # uint8 (frames, height, width, 3)
    keypoints: np.ndarray  # (frames, 23, 3)
    poses: np.ndarray  # uint8 (frames, height, width, 3)


@lru_cache(maxsize=1)
def sample(name: str, frames: int) -> Sample:
    """One of PEOPLE, in so many frames."""
    seed, motion = PEOPLE[name]
    character, moves = random_character(seed), Motion.named(motion)
    reference = draw(character, standing(seed), WIDTH, HEIGHT)
    shown = [draw(character, moves.pose(float(frame / FPS)), WIDTH, HEIGHT) for frame in range(frames)]
    return Sample(
        clip_of(name),
        reference.picture,
        reference.keypoints[TORSO, :2].astype(np.float32),
        np.stack([one.picture for one in shown]),
        np.stack([one.keypoints for one in shown]),
        np.stack([skeleton_picture(one.keypoints, WIDTH, HEIGHT) for one in shown]),
    )


def clip_of(name: str) -> Clip:
    """The clip of one of PEOPLE, as shipped."""
    facts = ANIMATORS["drawn"]
    cut = {"steps": facts.steps, "window": facts.window, "overlap": facts.overlap}
    return Clip(id=name, animator="drawn", width=WIDTH, height=HEIGHT, fit="cover", fps=FPS, **cut)
