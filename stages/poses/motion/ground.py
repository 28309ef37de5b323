"""Feet on the ground: when they stand, and how a body whose legs have changed keeps them standing."""

from __future__ import annotations

import numpy as np

from stages.poses.motion.left_right import runs

_STILL = 0.12  # extents per second: a foot that moves more slowly stands
_BRIEFEST = 0.08  # seconds
_SPOT = 0.008  # extents: a foot that stands is so near to where it stands
_LEGS = ((8, 9, 10), (11, 12, 13))
# Weights of the path of the body: feet that stand against following the driving body's speed, and its place.
_STAND, _FOLLOW, _STAY = 100.0, 1.0, 1e-4


def contacts(ankles: np.ndarray, seen: np.ndarray, size: float, fps: float) -> np.ndarray:
    """Which feet stand: ankles (frames, 2, 2) in pixels, seen bool (frames, 2) → bool (frames, 2).

    `size` is the body's extent in pixels. Speeds are medians over a few frames, so that noise is no motion.
    """
    frames = len(ankles)
    standing = np.zeros((frames, 2), bool)
    if frames < 3 or not np.isfinite(size):
        return standing
    reach = max(1, round(0.06 * fps))
    for side in range(2):
        place = np.where(seen[:, side, None], ankles[:, side], np.nan)
        padded = np.pad(place, ((reach, reach), (0, 0)), mode="edge")
        speed = np.linalg.norm(padded[2 * reach :] - padded[: -2 * reach], axis=1) * fps / (2 * reach) / size
        speed[[0, -1]] *= 2
        still = np.nan_to_num(speed, nan=np.inf) < _STILL
        for start, end in runs(still):
            if end - start >= _BRIEFEST * fps:
                start, end = _exactly(place, start, end, _SPOT * size)
                standing[start:end, side] = True
    return standing


def _exactly(place: np.ndarray, start: int, end: int, spot: float) -> tuple[int, int]:
    """A stand's first and last frame, by where the foot is: speeds over several frames blur them."""
    apart = np.linalg.norm(place - np.nanmedian(place[start:end], axis=0), axis=1)
    near = np.nan_to_num(apart, nan=np.inf) < spot
    middle = start + int(np.nanargmin(apart[start:end]))
    first, last = middle, middle
    while first > 0 and near[first - 1]:
        first -= 1
    while last + 1 < len(near) and near[last + 1]:
        last += 1
    return first, last + 1


def planted_roots(ankles: np.ndarray, roots: np.ndarray, standing: np.ndarray) -> np.ndarray:
    """The path (frames, 2) of a body along which its standing feet slide least.

    ankles (frames, 2, 2) as they are while the root is at `roots` (frames, 2). Least squares over the whole clip: feet
    that stand do not move, else the root moves as it did, and in the long run stays where it was.
    """
    frames = len(roots)
    if frames < 2:
        return roots.copy()
    step = np.diff(roots, axis=0)
    steps = step * _FOLLOW
    weight = np.full(frames - 1, _FOLLOW)
    both = standing[1:] & standing[:-1]
    for side in range(2):
        leg = np.diff(ankles[:, side] - roots, axis=0)  # a foot stands still when the root moves against its leg
        valid = both[:, side] & np.isfinite(leg).all(axis=1)
        weight += np.where(valid, _STAND, 0.0)
        steps += np.where(valid[:, None], -leg * _STAND, 0.0)
    # Frames with nobody carry no motion; the ends of such a gap are free of one another.
    known = np.all(np.isfinite(step), axis=1)
    weight, steps = np.where(known, weight, 0.0), np.where(known[:, None], steps, 0.0)
    there = np.isfinite(roots).all(axis=1)
    diagonal = np.where(there, _STAY, 1.0)
    right = np.where(there[:, None], roots * _STAY, 0.0)
    diagonal[:-1] += weight
    diagonal[1:] += weight
    right[:-1] -= steps
    right[1:] += steps
    path = _tridiagonal(diagonal, -weight, right)
    return np.where(there[:, None], path, np.nan)


def reach_feet(points: np.ndarray, standing: np.ndarray) -> None:
    """Let standing feet stand exactly, in place: knees bend anew within the lengths of thigh and shin.

    points (frames, ≥ 14, 2). A foot stands where it stood in the middle of the time. Where a leg is too short for that
    the hips give way, and with them the whole body.
    """
    targets = [_places(points[:, leg[2]], standing[:, side]) for side, leg in enumerate(_LEGS)]
    lengths = [
        (np.linalg.norm(points[:, k] - points[:, h], axis=1), np.linalg.norm(points[:, a] - points[:, k], axis=1))
        for h, k, a in _LEGS
    ]
    bends = [_side(points[:, h], points[:, k], points[:, a]) for h, k, a in _LEGS]
    give = np.zeros((len(points), 2))
    for _ in range(8):
        for side, (hip, _, _) in enumerate(_LEGS):
            line = targets[side] - (points[:, hip] + give)
            far = np.linalg.norm(line, axis=1)
            lacking = np.maximum(far - sum(lengths[side]), 0) / np.maximum(far, 1e-9)
            give += np.nan_to_num(line * lacking[:, None])
    points += give[:, None]
    for side, (hip, knee, ankle) in enumerate(_LEGS):
        frames = np.flatnonzero(np.isfinite(targets[side]).all(axis=1) & np.isfinite(points[:, hip, 0]))
        thigh, shin = (length[frames] for length in lengths[side])
        start, line = points[frames, hip], targets[side][frames] - points[frames, hip]
        far = np.linalg.norm(line, axis=1)
        reach = np.clip(far, np.abs(thigh - shin) + 1e-9, thigh + shin)
        line = line / np.maximum(far, 1e-9)[:, None]
        along = (thigh**2 - shin**2 + reach**2) / (2 * np.maximum(reach, 1e-9))
        aside = np.sqrt(np.maximum(thigh**2 - along**2, 0)) * bends[side][frames]
        across = np.stack([-line[:, 1], line[:, 0]], axis=1)
        points[frames, knee] = start + line * along[:, None] + across * aside[:, None]
        points[frames, ankle] = start + line * reach[:, None]


def _places(ankle: np.ndarray, standing: np.ndarray) -> np.ndarray:
    """Where a foot stands (frames, 2); NaN while it does not."""
    places = np.full(ankle.shape, np.nan)
    for start, end in runs(standing):
        places[start:end] = np.nanmedian(ankle[start:end], axis=0)
    return places


def _side(hip: np.ndarray, knee: np.ndarray, ankle: np.ndarray) -> np.ndarray:
    """+1 or −1: to which side of the line from hip to ankle the knee bends."""
    (lx, ly), (kx, ky) = (ankle - hip).T, (knee - hip).T
    return np.where(lx * ky - ly * kx >= 0, 1.0, -1.0)


def _tridiagonal(diagonal: np.ndarray, beside: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve a symmetric tridiagonal system for (n, 2) right-hand sides (Thomas' algorithm)."""
    diagonal, right = diagonal.copy(), right.copy()
    for row in range(1, len(diagonal)):
        share = beside[row - 1] / diagonal[row - 1]
        diagonal[row] -= share * beside[row - 1]
        right[row] -= share * right[row - 1]
    right[-1] /= diagonal[-1]
    for row in range(len(diagonal) - 2, -1, -1):
        right[row] = (right[row] - beside[row] * right[row + 1]) / diagonal[row]
    return right
