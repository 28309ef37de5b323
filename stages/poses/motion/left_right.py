"""Left and right, told apart by continuity: short exchanges of limbs are found and undone."""

from __future__ import annotations

import itertools

import numpy as np

from stages.poses.wholebody import LEFT_HAND, RIGHT_HAND, VISIBLE

_RIGHT_HAND, _LEFT_HAND = list(range(*RIGHT_HAND.indices(134))), list(range(*LEFT_HAND.indices(134)))
# Points of the right side, and of the left side in the same order.
GROUPS = {
    "arms": ([2, 3, 4], [5, 6, 7]),
    "legs": ([8, 9, 10, 21, 22, 23], [11, 12, 13, 18, 19, 20]),
    "head": ([14, 16], [15, 17]),
}
# In units of the body's extent. A frame taken as exchanged costs this much, so that limbs that meet keep their names.
PRICE = 0.05
_NOISE_PRICE = 5.0  # … and more under noise, per point
_WORST = 0.5  # one point's jump counts no more than this
_STATES = list(itertools.product((0, 1), repeat=2))  # (exchanged in the frame before, in this frame)


def exchanged(
    points: np.ndarray, scores: np.ndarray, size: float, longest: int, jitter: float = 0.0
) -> dict[str, np.ndarray]:
    """Which frames have left and right exchanged, per group: bool (frames,) each.

    points (frames, 134, 2), scores (frames, 134); `size`: the body's extent and `jitter` the noise, in
    pixels; runs of more than `longest` frames are left alone. The sequence of namings is sought along
    which the points accelerate least (Viterbi).
    """
    found = {}
    for name, (right, left) in GROUPS.items():
        price = max(PRICE, _NOISE_PRICE * np.nan_to_num(jitter) / size * 2 * len(right))
        states = _smoothest(points, scores, right, left, size, price)
        for start, end in runs(states):
            if end - start > longest:
                states[start:end] = False
        found[name] = states
    return found


def undo(points: np.ndarray, scores: np.ndarray, found: dict[str, np.ndarray]) -> None:
    """Name the points rightly, in place. A pair of hands follows the arms where that brings them to their wrists."""
    for name, frames in found.items():
        right, left = GROUPS[name]
        _swap(points, scores, np.flatnonzero(frames), right, left)
    for frame in np.flatnonzero(found["arms"]):
        apart = [
            np.linalg.norm(points[frame, root] - points[frame, wrist])
            for root, wrist in ((113, 4), (92, 7), (113, 7), (92, 4))
        ]
        if apart[0] + apart[1] > apart[2] + apart[3]:
            _swap(points, scores, np.array([frame]), _RIGHT_HAND, _LEFT_HAND)


def runs(marked: np.ndarray) -> list[tuple[int, int]]:
    """Stretches (start, end) of True in bool (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _swap(points: np.ndarray, scores: np.ndarray, frames: np.ndarray, right: list[int], left: list[int]) -> None:
    both, other = np.array(right + left), np.array(left + right)
    points[np.ix_(frames, both)] = points[np.ix_(frames, other)]
    scores[np.ix_(frames, both)] = scores[np.ix_(frames, other)]


def _smoothest(
    points: np.ndarray, scores: np.ndarray, right: list[int], left: list[int], size: float, price: float
) -> np.ndarray:
    frames = len(points)
    if frames < 3:
        return np.zeros(frames, bool)
    named = [np.array(right + left), np.array(left + right)]
    visible = (scores > VISIBLE) & np.isfinite(points[..., 0])
    seen = visible[:, named[0]] & visible[:, named[1]]  # both sides, else an exchange could hide a jump in a gap
    there = seen[:-2] & seen[1:-1] & seen[2:]
    places = [np.where(seen[..., None], points[:, which], 0.0) / size for which in named]

    # jump[a, b, c]: (frames − 2,) cost of naming three frames in a row a, b, c.
    jump = np.zeros((2, 2, 2, frames - 2))
    for a, b, c in itertools.product((0, 1), repeat=3):
        bend = np.linalg.norm(places[a][:-2] - 2 * places[b][1:-1] + places[c][2:], axis=-1)
        jump[a, b, c] = np.where(there, np.minimum(bend, _WORST), 0.0).sum(axis=1)

    best = np.array([price * (a + b) for a, b in _STATES])
    came = np.zeros((frames, 4), int)
    for frame in range(2, frames):
        following = np.empty(4)
        for state, (b, c) in enumerate(_STATES):
            through = [best[2 * a + b] + jump[a, b, c, frame - 2] for a in (0, 1)]
            a = int(through[1] < through[0])
            came[frame, state], following[state] = 2 * a + b, through[a] + price * c
        best = following
    state = int(best.argmin())
    result = np.zeros(frames, bool)
    for frame in range(frames - 1, 1, -1):
        result[frame] = _STATES[state][1]
        state = came[frame, state]
    result[0], result[1] = _STATES[state]
    return result
