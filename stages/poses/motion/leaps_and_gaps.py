"""Single points over time: leaps away and back rejected, short gaps crossed by a smooth curve."""

from __future__ import annotations

import numpy as np

from stages.poses.motion.left_right import runs

_AROUND = 3  # frames on either side of a gap that say how it is crossed
_PREDICTABLE = 12.0  # frames
_PASSES = 3
_LONGEST_LEAP = 2  # frames
_TOGETHER = 8  # points looked at at once: each takes some twenty values for every frame


def leaps(points: np.ndarray, seen: np.ndarray, least: float, deviation: np.ndarray) -> np.ndarray:
    """Seen points that are away from their path for one or two frames: bool (frames, points).

    points (frames, points, 2), seen bool (frames, points); `least`: pixels below which nothing is a leap; deviation
    (points,): the noise, in pixels. The path is a cubic through two frames on either side, so fast turns are no leaps.
    """
    found = np.zeros_like(seen)
    for first in range(0, points.shape[1], _TOGETHER):
        some = slice(first, first + _TOGETHER)
        found[:, some] = _leaps(points[:, some], seen[:, some], least, deviation[some])
    return found


def _leaps(points: np.ndarray, seen: np.ndarray, least: float, deviation: np.ndarray) -> np.ndarray:
    left = seen.copy()
    noisy = 6 * np.nan_to_num(deviation)
    for _ in range(_PASSES):
        for span in range(1, _LONGEST_LEAP + 1):
            away = _from_path(np.where(left[..., None], points, np.nan), span, np.maximum(least, noisy))
            # Points beside a leap seem to leap too: only the farthest of a neighbourhood goes.
            reach = span + 2
            padded = np.pad(away, ((reach, reach), (0, 0)))
            around = np.stack([padded[k : k + len(away)] for k in range(2 * reach + 1)]).max(axis=0)
            frames, which = np.nonzero((away > 0) & (away >= around))
            for step in range(span):
                left[frames + step, which] = False
    return seen & ~left


def _from_path(points: np.ndarray, span: int, least: np.ndarray) -> np.ndarray:
    """How far `span` frames from each on are off the path around them, where that is a leap; else 0."""
    frames = len(points)
    result = np.zeros(points.shape[:2])
    if frames < span + 4:
        return result
    before, after = points[1 : frames - span - 2], points[2 + span : frames - 1]
    earlier, later = points[: frames - span - 3], points[3 + span :]
    nodes = np.array([-2.0, -1.0, float(span), span + 1.0])
    nearest = np.full(before.shape[:2], np.inf)
    for step in range(span):
        share = np.array([np.prod([(step - m) / (n - m) for m in nodes if m != n]) for n in nodes])
        path = share[0] * earlier + share[1] * before + share[2] * after + share[3] * later
        off = np.linalg.norm(points[2 + step : 2 + step + len(path)] - path, axis=-1)
        nearest = np.minimum(nearest, np.nan_to_num(off, nan=0.0))
    passed = np.linalg.norm(after - before, axis=-1)
    rough = np.linalg.norm(before - earlier, axis=-1) + np.linalg.norm(later - after, axis=-1)
    leap = nearest > np.maximum(least, np.maximum(passed, rough))
    result[2 : 2 + len(nearest)] = np.where(leap, nearest, 0.0)
    return result


def cross_gaps(
    points: np.ndarray, scores: np.ndarray, seen: np.ndarray, longest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (frames, points, 2) and scores (frames, points) with short gaps filled, and which were: bool.

    A gap is a stretch of at most `longest` unseen frames with seen ones on both sides; its points get the lower score
    of those. Others that are NaN over such a stretch (nobody was found) get a place, and stay as unsure as beside it.
    """
    points, scores = points.copy(), scores.copy()
    filled = np.zeros(seen.shape, bool)
    for usable, count in ((seen, True), (np.isfinite(points[..., 0]), False)):
        for start, end, which in _alike(usable, longest):
            missing = np.isnan(points[start:end, which, 0]) if not count else np.ones((end - start, len(which)), bool)
            if not missing.any():
                continue
            curve = _curve(points[:, which], usable[:, which[0]], start, end)
            points[start:end, which] = np.where(missing[..., None], curve, points[start:end, which])
            beside = np.minimum(scores[start - 1, which], scores[end, which])
            scores[start:end, which] = np.where(missing, beside, scores[start:end, which])
            if count:
                filled[start:end, which] = True
    return points, scores, filled


def _alike(usable: np.ndarray, longest: int) -> list[tuple[int, int, np.ndarray]]:
    """Short gaps (start, end, points that have it); all points of one entry are usable in the same frames nearby."""
    found: dict[tuple[int, int, bytes], list[int]] = {}
    frames = len(usable)
    for point in range(usable.shape[1]):
        for start, end in runs(~usable[:, point]):
            if start > 0 and end < frames and end - start <= longest:
                nearby = usable[max(0, start - _AROUND) : end + _AROUND, point].tobytes()
                found.setdefault((start, end, nearby), []).append(point)
    return [(start, end, np.array(which)) for (start, end, _), which in found.items()]


def _curve(points: np.ndarray, usable: np.ndarray, start: int, end: int) -> np.ndarray:
    """(end − start, points, 2): cubic Hermite curves between the edges, with the velocities on either side."""
    before, after = points[start - 1], points[end]
    length = end - start + 1
    trust = 1 / (1 + (length / _PREDICTABLE) ** 2)  # a limb that swings has turned back before a long gap ends
    leaving = _velocity(points, usable, start - 1, -1) * length * trust
    arriving = _velocity(points, usable, end, 1) * length * trust
    u = (np.arange(1, length) / length)[:, None, None]
    return (
        (1 + 2 * u) * (1 - u) ** 2 * before
        + u * (1 - u) ** 2 * leaving
        + u * u * (3 - 2 * u) * after
        + u * u * (u - 1) * arriving
    )


def _velocity(points: np.ndarray, usable: np.ndarray, edge: int, away: int) -> np.ndarray:
    """(points, 2) pixels per frame at the edge of a gap, by a line through the usable frames next to it."""
    frames = [frame for frame in range(edge, edge + away * _AROUND, away) if 0 <= frame < len(points) and usable[frame]]
    if len(frames) < 2:
        return np.zeros(points.shape[1:])
    offsets = np.array(frames) - np.mean(frames)
    return np.einsum("f,fpc->pc", offsets, points[frames]) / (offsets**2).sum()
