"""Joint error before and after repair, for faults injected into motions whose truth is known.

    python -m tests.bench.pose_repair

Errors are in pixels, over the 18 body joints and all frames, mean and worst; bodies are 360 to 500 pixels tall. A frame
in which nobody is found counts with the last pose seen, which is what an animator would be shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from stages.poses.keypoints import Keypoints
from stages.poses.motion.repair import repair
from stages.poses.motion.subject import follow
from stages.poses.wholebody import BODY, FACE, LEFT_HAND, RIGHT_HAND, VISIBLE
from tests.made.pose_motions import (
    BODIES,
    FPS,
    LEGS,
    Motion,
    dancing,
    observe,
    turning,
    walking,
    with_flip,
    with_gap,
    with_jitter,
)

ARM = [2, 3, 4, *range(113, 134)]


def motions() -> dict[str, list[Motion]]:
    """Walks, dances and turns of differently built people."""
    people = [BODIES[name] for name in ("average", "lanky", "stocky")]
    return {
        "walk": [walking(body, yaw=yaw) for body, yaw in zip(people, (1.57, 1.2, 1.9), strict=True)],
        "dance": [
            dancing(body, seed=seed, pace=pace)
            for seed, (body, pace) in enumerate(zip(people, (1, 1.3, 0.7), strict=True))
        ],
        "turn": [turning(body) for body in people],
    }


def held(keypoints: Keypoints) -> np.ndarray:
    """Positions (frames, 134, 2) as an animator is shown them: what is unseen stays where it was seen last."""
    points, seen = keypoints.points[:, 0].copy(), (keypoints.scores[:, 0] > VISIBLE) & keypoints.present[:, :1]
    for point in range(points.shape[1]):
        frames = np.flatnonzero(seen[:, point])
        last = np.searchsorted(frames, np.arange(len(points)), side="right") - 1
        points[:, point] = points[frames[np.maximum(last, 0)], point]
    return points


def errors(keypoints: Keypoints, truth: np.ndarray, which: slice = BODY) -> np.ndarray:
    """(frames, points) pixels."""
    return np.linalg.norm(held(keypoints)[:, which] - truth[:, which], axis=-1)


def identity_swap(motion: Motion, seed: int) -> Keypoints:
    """Somebody else walks farther right and leaves early; for 20 frames the slots of the two are exchanged."""
    other = walking(BODIES["average"], len(motion), start=900, speed=60, depth=-1)
    keypoints = observe([motion, other], np.random.default_rng(seed), noise=0.0)
    for frame in range(len(motion)):
        apart = np.linalg.norm(keypoints.points[frame] - motion.points[frame], axis=-1).mean(axis=1)
        order = apart.argsort()[:: -1 if 40 <= frame < 60 else 1]
        for array in (keypoints.points, keypoints.scores, keypoints.boxes):
            array[frame] = array[frame][order]
    for array, empty in ((keypoints.points, np.nan), (keypoints.scores, 0.0), (keypoints.boxes, np.nan)):
        array[-10:, 1] = empty
    return keypoints


FAULTS: dict[str, Callable[[Motion, int], Keypoints]] = {
    "clean": lambda motion, seed: motion.keypoints(seed),
    "jitter 3 px": lambda motion, seed: with_jitter(motion.keypoints(seed), 3.0, seed),
    "gap of 8 frames, everyone": lambda motion, seed: with_gap(motion.keypoints(seed), 45, 8),
    "gap of 8 frames, one arm": lambda motion, seed: with_gap(motion.keypoints(seed), 45, 8, ARM),
    "identity swap, 20 frames": identity_swap,
    "left/right flip, 2 frames": lambda motion, seed: with_flip(motion.keypoints(seed), 50, 2),
    "legs flip, 2 frames": lambda motion, seed: with_flip(motion.keypoints(seed), 50, 2, LEGS),
    "all of these, jitter 1 px": lambda motion, seed: with_jitter(
        with_gap(with_flip(with_flip(motion.keypoints(seed), 20, 2), 70, 2, LEGS), 45, 8), 1.0, seed
    ),
}


def mended(keypoints: Keypoints) -> Keypoints:
    """What the product does: follow one person, then repair."""
    return repair(follow(keypoints, FPS).subject, FPS)[0]


def first(keypoints: Keypoints) -> Keypoints:
    """The best detection of each frame, as published."""
    slot = slice(0, 1)
    return replace(
        keypoints,
        points=keypoints.points[:, slot],
        scores=keypoints.scores[:, slot],
        boxes=keypoints.boxes[:, slot],
    )


def main() -> None:
    """Measure and print."""
    print(f"{'fault':27s}{'motion':8s}{'before: mean':>13s}{'worst':>8s}{'after: mean':>13s}{'worst':>8s}")
    for name, fault in FAULTS.items():
        for kind, those in motions().items():
            before, after = [], []
            for seed, motion in enumerate(those):
                broken = fault(motion, seed)
                before.append(errors(first(broken), motion.points))
                after.append(errors(mended(broken), motion.points))
            row = [f"{f(part):.2f}" for part in (np.stack(before), np.stack(after)) for f in (np.mean, np.max)]
            print(f"{name:27s}{kind:8s}{row[0]:>13s}{row[1]:>8s}{row[2]:>13s}{row[3]:>8s}")
    print("\nhands and face under 3 px jitter, mean (before → after):", end=" ")
    for label, which in (("face", FACE), ("left hand", LEFT_HAND), ("right hand", RIGHT_HAND)):
        both = []
        for those in motions().values():
            for seed, motion in enumerate(those):
                broken = with_jitter(motion.keypoints(seed), 3.0, seed)
                both.append([errors(k, motion.points, which).mean() for k in (broken, mended(broken))])
        print("{} {:.2f} → {:.2f}".format(label, *np.mean(both, axis=0)), end="; ")
    print()


if __name__ == "__main__":
    main()
