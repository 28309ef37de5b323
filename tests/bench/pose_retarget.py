"""Limb lengths and foot sliding after retargeting, on pairs of bodies whose proportions are known.

    python -m tests.bench.pose_retarget

Limb-length error: each limb's length against the driving length times the pair's true ratio, mean over limbs and
frames. Sliding: speed of feet that truly stand, in units of the reference's height per second. Every pair both clean
and with 1 px of noise, the noisy ones repaired first as in the product.
"""

from __future__ import annotations

import numpy as np

from stages.poses.motion.repair import repair
from stages.poses.motion.retarget import Mode, RetargetSettings, retarget
from tests.made.pose_motions import BODIES, FPS, Body, Motion, dancing, standing, turning, walking, with_jitter

LIMBS = {(2, 3): "upper_arm", (3, 4): "forearm", (5, 6): "upper_arm", (6, 7): "forearm"}
LIMBS |= {(8, 9): "thigh", (9, 10): "shin", (11, 12): "thigh", (12, 13): "shin"}
PAIRS = [("average", "lanky"), ("average", "stocky"), ("lanky", "stocky"), ("stocky", "child"), ("child", "lanky")]
SIZE = (768, 640)


def limb_error(points: np.ndarray, driving: Motion, reference: Body) -> float:
    """Mean relative error of the limbs' lengths."""
    errors = []
    for (a, b), name in LIMBS.items():
        true = (
            np.linalg.norm(driving.points[:, a] - driving.points[:, b], axis=1) * reference[name] / driving.body[name]
        )
        found = np.linalg.norm(points[:, a] - points[:, b], axis=1)
        # A limb that points at the viewer has no length to be wrong about.
        shown = true > 0.3 * reference[name]
        errors.append(np.abs(found / true - 1)[shown].mean())
    return float(np.mean(errors))


def sliding(points: np.ndarray, driving: Motion, reference: Body) -> float:
    """Mean speed of standing feet, in heights per second."""
    speed = np.linalg.norm(np.diff(points[:, [10, 13]], axis=0), axis=-1) * FPS / reference.height
    both = driving.planted[1:] & driving.planted[:-1]
    return float(speed[both].mean()) if both.any() else float("nan")


def clips(body: Body) -> dict[str, Motion]:
    """Motions by name."""
    return {
        "flat dance": dancing(body, seed=1, flat=True),
        "walk": walking(body),
        "dance": dancing(body, seed=2),
        "turn": turning(body),
    }


def measured(kind: str, mode: Mode, noise: float, settings: RetargetSettings | None = None) -> tuple[float, float]:
    """(limb-length error, sliding) over all pairs."""
    rows = []
    for driver, target in PAIRS:
        motion, reference = clips(BODIES[driver])[kind], BODIES[target]
        keypoints = motion.keypoints()
        if noise:
            keypoints = repair(with_jitter(keypoints, noise), FPS)[0]
        moved = retarget(keypoints, standing(reference), SIZE, FPS, mode, settings).keypoints.points[:, 0]
        rows.append((limb_error(moved, motion, reference), sliding(moved, motion, reference)))
    limb, slide = np.array(rows).T
    return float(limb.mean()), float(slide.mean())


def main() -> None:
    """Measure and print."""
    print(f"{len(PAIRS)} pairs; limb-length error in %, sliding in % of the height per second")
    print(f"{'motion':11s}{'noise':>6s}" + "".join(f"{mode + ': limbs':>22s}{'sliding':>9s}" for mode in MODES))
    for kind in ("flat dance", "walk", "dance", "turn"):
        for noise in (0.0, 1.0):
            row = [measured(kind, mode, noise) for mode in MODES]
            shown = "".join(
                f"{100 * limb:22.2f}" + (f"{100 * slide:9.2f}" if slide == slide else f"{'–':>9s}")
                for limb, slide in row
            )
            print(f"{kind:11s}{noise:4.0f} px{shown}")


MODES: tuple[Mode, ...] = ("none", "similarity", "bone_length")

if __name__ == "__main__":
    main()
