"""By which net a drawn reference is measured best, where a film is retargeted to it.

    python -m tests.bench.reference_estimators [--people N]

A held-out character performs a held-out motion, 8 frames, and is retargeted (`bone_length`) to another character, who
is known in these very poses. Errors are in pixels of pictures of 384 × 512: lengths of bones, and joints about the
middle of the hips.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from pipelines.training.people import draw, random_character, random_motion, standing
from pipelines.training.pictures import HELD_OUT
from stages.poses.anatomy import BONES, HIPS
from stages.poses.estimators.load import load_keypoints
from stages.poses.keypoints import People
from stages.poses.motion.retarget import retarget
from stages.poses.motion.subject import follow
from stages.poses.recipes import Estimators
from stages.poses.wholebody import BODY, openpose_order

WIDTH, HEIGHT, FRAMES, FPS = 384, 512, 8, 8.0
SIDEWAYS = 50  # degrees: people are turned by less


def in_order(keypoints: list[np.ndarray]) -> np.ndarray:
    """Keypoints (23, 3) of frames → the body's joints (frames, 18, 2) in OpenPose's order."""
    whole = np.zeros((len(keypoints), 133, 3))
    whole[:, :23] = np.stack(keypoints)
    return openpose_order(whole[..., :2], whole[..., 2])[0][:, BODY]


def lengths(joints: np.ndarray) -> np.ndarray:
    """(frames, bones)."""
    return np.stack([np.linalg.norm(joints[:, a] - joints[:, b], axis=1) for a, b in BONES], axis=1)


def about_hips(joints: np.ndarray) -> np.ndarray:
    return joints - joints[:, HIPS].mean(axis=1, keepdims=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=16)
    nets = {name: load_keypoints(Estimators(), name, Path("/nowhere")) for name in ("people", "drawn")}
    errors = defaultdict(list)
    for seed in range(parser.parse_args().people):
        mover, reference = random_character(HELD_OUT + seed), random_character(HELD_OUT + 500 + seed)
        motion = random_motion(HELD_OUT + 1000 + seed)
        poses = [motion.pose(seed + frame / FPS) for frame in range(FRAMES)]
        if any(abs((pose.yaw + 180) % 360 - 180) > SIDEWAYS for pose in poses):
            continue
        film = [draw(mover, pose, WIDTH, HEIGHT).picture for pose in poses]
        truth = in_order([draw(reference, pose, WIDTH, HEIGHT).keypoints for pose in poses])
        still = draw(reference, standing(HELD_OUT + seed), WIDTH, HEIGHT).picture
        for driving in nets:
            person = follow(nets[driving](film), FPS).subject.without_hands_and_face()
            for measuring in nets:
                seen = nets[measuring]([still])
                measured = People(seen.points[0, :1], seen.scores[0, :1], seen.boxes[0, :1])
                joints = retarget(person, measured, (HEIGHT, WIDTH), FPS, "bone_length").keypoints.points[:, 0, BODY]
                apart = np.linalg.norm(about_hips(joints) - about_hips(truth), axis=2)
                wrong = np.abs(lengths(joints) - lengths(truth))
                errors[driving, measuring].append((np.nanmean(wrong), np.nanmean(apart)))
    print("film by  reference by   bones px  joints px")
    for (driving, measuring), found in errors.items():
        bones, joints = np.mean(found, axis=0)
        print(f"{driving:8} {measuring:12} {bones:10.1f} {joints:10.1f}   {len(found)} pairs")


if __name__ == "__main__":
    main()
