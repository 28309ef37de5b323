"""Is a person still the same one after another has crossed their way? 100 random crossings of two people.

    python -m tests.bench.pose_crossings [--crossings N]

Both people are followed: a crossing counts as kept when each of the two, from the first frame to the last, is in one
track and that track never shows the other one. For comparison: taking the best detection of each frame, as published
code does, and taking the nearest body each time.
"""

from __future__ import annotations

import argparse

import numpy as np

from stages.poses.keypoints import Keypoints
from stages.poses.motion.subject import Followed, follow
from tests.made.pose_motions import FPS, crossing, observe_with_truth

SETTLED = 20  # frames at either end in which the two are told apart


def shown(keypoints: Keypoints, whom: np.ndarray, followed: Followed) -> list[np.ndarray]:
    """For each track, whom each of its frames shows: −1 where absent."""
    found, tracks = [], followed.tracks
    for slot in range(tracks.points.shape[1]):
        there = np.full(len(keypoints), -1)
        for frame in np.flatnonzero(tracks.present[:, slot]):
            same = (keypoints.points[frame] == tracks.points[frame, slot]).all(axis=(1, 2))
            there[frame] = whom[frame, np.flatnonzero(same)[0]]
        found.append(there)
    return found


def kept(seed: int) -> tuple[bool, bool, bool, Followed]:
    """(both identities kept, by following; the subject's kept; frames wrong inside the crossing)."""
    keypoints, whom = observe_with_truth(crossing(seed), np.random.default_rng(seed + 1000), noise=1.5, misses=0.02)
    followed = follow(keypoints, FPS)
    tracks = shown(keypoints, whom, followed)

    def whole(track: np.ndarray) -> bool:
        ends = np.concatenate([track[:SETTLED], track[-SETTLED:]])
        ends = ends[ends >= 0]
        return len(ends) > SETTLED and len(set(ends.tolist())) == 1 and (track[-SETTLED:] >= 0).any()

    good = [track for track in tracks if whole(track)]
    both = len({int(track[track >= 0][0]) for track in good}) == 2
    subject = whole(tracks[followed.slot])
    inside = all((track[track >= 0] == track[track >= 0][0]).all() for track in good)
    return both, subject, inside, followed


def naive(seed: int, nearest: bool) -> bool:
    """Whether the simple rules keep the person they begin with."""
    keypoints, whom = observe_with_truth(crossing(seed), np.random.default_rng(seed + 1000), noise=1.5, misses=0.02)
    track, last = [], None
    for frame in range(len(keypoints)):
        there = np.flatnonzero(keypoints.present[frame])
        if not len(there):
            continue
        slot = there[0]
        if nearest and last is not None:
            distance = np.linalg.norm(keypoints.points[frame, there, :18] - last, axis=-1).mean(axis=1)
            slot = there[distance.argmin()]
        last = keypoints.points[frame, slot, :18]
        track.append(whom[frame, slot])
    ends = track[:SETTLED] + track[-SETTLED:]
    return len(set(ends)) == 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crossings", type=int, default=100)
    count = parser.parse_args().crossings
    results = [kept(seed) for seed in range(count)]
    both, subject, inside = (sum(result[k] for result in results) for k in range(3))
    wrong = [seed for seed, result in enumerate(results) if not result[0]]
    reported = sum(bool(results[seed][3].doubts) for seed in wrong)
    doubted = sum(bool(result[3].doubts) for result in results)
    print(f"{count} random crossings of two people (120 frames; 60 % pass, 25 % overtake, 15 % meet and turn back)")
    print(f"best detection of each frame   {sum(naive(seed, False) for seed in range(count)):4d} kept")
    print(f"nearest body each time         {sum(naive(seed, True) for seed in range(count)):4d} kept")
    print(f"follow: the subject            {subject:4d} kept")
    print(f"follow: both people            {both:4d} kept; without one wrong frame in between: {inside}")
    print(f"doubts reported in {doubted} clips; of the {len(wrong)} that failed {wrong}: {reported}")


if __name__ == "__main__":
    main()
