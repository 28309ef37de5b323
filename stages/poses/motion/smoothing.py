"""Smoothing that neither lags nor flattens: around every moment as wide as the motion allows, and no wider.

A local polynomial is fitted over growing symmetric windows, by confidence. A window is accepted while its estimate lies
within the noise of all more flexible ones before it (Lepski's rule, "On a problem of adaptive estimation in Gaussian
white noise", 1990): at rest windows are long, in fast motion they stay short, and without noise nothing moves.
"""

from __future__ import annotations

import math

import numpy as np

# Frames on either side and degree, from the most flexible fit to the calmest.
FITS = ((3, 4), (4, 4), (2, 2), (3, 2), (4, 2), (6, 2), (8, 2), (11, 2))
_FIRST_TOLERANCE = 2.5  # standard deviations: the first fit against the measured point itself
_TOLERANCE = 1.2
_ORDER = 8  # of the difference that leaves noise and next to no motion: below fps / 8 it passes under 1 % of it
_ENOUGH = 6  # differences
_BLOCK = 256  # frames fitted at once: a fit takes 60 values for each point and frame


def noise(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Standard deviation per coordinate, in pixels, of the frame-to-frame noise of each point: (points,).

    points (frames, points, 2), seen bool (frames, points). From the median of a high difference, so that neither motion
    nor outliers count. Points seen too briefly get the median of the others; NaN where none is seen long enough.
    """
    result = np.full(points.shape[1], np.nan)
    if len(points) <= _ORDER:
        return result
    gain = math.sqrt(math.comb(2 * _ORDER, _ORDER))  # of independent noise through the difference
    enough = np.zeros(points.shape[1], bool)
    for point in range(points.shape[1]):  # one by one: the differences of all of them take more than the points do
        high = np.abs(np.diff(np.where(seen[:, point, None], points[:, point], np.nan), _ORDER, axis=0))
        enough[point] = np.isfinite(high[:, 0]).sum() >= _ENOUGH
        if enough[point]:
            result[point] = np.nanmedian(high.reshape(1, -1), axis=1)[0] / 0.6745 / gain
    if enough.any():
        middle = np.median(result[enough])
        # A point that moves faster than the frame rate can show would pass for noisy.
        result = np.where(enough, np.minimum(result, 2.5 * middle), middle)
    return result


def smooth(points: np.ndarray, weights: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Points (frames, points, 2) smoothed over time; those with weight 0 neither count nor move.

    weights (frames, points) ≥ 0: the inverse of the noise's variance, relatively; deviation (points,): its standard
    deviation at weight 1, NaN leaves a point as it is.
    """
    reach, frames = max(half for half, _ in FITS), len(points)
    result = np.empty_like(points)
    for start in range(0, frames, _BLOCK):
        # no frame's fits look farther than `reach`, so those of a block are the whole sequence's
        first, stop = max(start - reach, 0), min(start + _BLOCK, frames)
        around = slice(first, stop + reach)
        result[start:stop] = _smoothed(points[around], weights[around], deviation)[start - first : stop - first]
    return result


def _smoothed(points: np.ndarray, weights: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    counted = weights > 0
    values = np.where(counted[..., None], points, 0.0)
    spread = np.where(np.isnan(deviation), 0.0, deviation)[None, :]
    result, active = points.copy(), counted & ~np.isnan(deviation)
    reached = 1 / np.where(counted, weights, 1.0)  # variance of the estimate so far
    band = (_FIRST_TOLERANCE * spread * np.sqrt(reached))[..., None]
    low, high = points - band, points + band
    for half, degree in FITS:
        estimate, variance, valid = _fit(values, weights, half, degree)
        calmer = active & valid & (variance < reached)
        inside = ((estimate >= low - 1e-9) & (estimate <= high + 1e-9)).all(axis=-1)
        active = active & (inside | ~calmer)
        if not active.any():
            break
        taken = calmer & inside
        result[taken], reached[taken] = estimate[taken], variance[taken]
        band = (_TOLERANCE * spread * np.sqrt(variance))[..., None]
        low = np.where(taken[..., None], np.maximum(low, estimate - band), low)
        high = np.where(taken[..., None], np.minimum(high, estimate + band), high)
    return result


def _fit(values: np.ndarray, weights: np.ndarray, half: int, degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted least squares over ± `half` frames: value in the middle, its variance, where it is defined.

    Windows that the sequence's end or a gap cuts short are one-sided, which the polynomial's slope allows for.
    """
    offsets = np.arange(-half, half + 1)
    kernel = 1 - (np.abs(offsets) / (half + 1)) ** 3
    padded_weights = np.pad(weights, ((half, half), (0, 0)))
    padded = np.pad(values * weights[..., None], ((half, half), (0, 0), (0, 0)))
    frames, size = len(values), degree + 1
    moments, noise_moments = np.zeros((2 * size - 1, *weights.shape)), np.zeros((2 * size - 1, *weights.shape))
    right = np.zeros((size, *values.shape))
    count = np.zeros(weights.shape, int)
    for offset, share in zip(offsets, kernel, strict=True):
        window = slice(half + offset, half + offset + frames)
        there = padded_weights[window]
        count += there > 0
        place = offset / half
        for power in range(2 * size - 1):
            moments[power] += share * there * place**power
            noise_moments[power] += share**2 * there * place**power
        for power in range(size):
            right[power] += share * padded[window] * place**power
    usable = count >= degree + 2
    row = _first_row_of_inverse(moments, usable)
    estimate = np.einsum("ifp,ifpc->fpc", row, right)
    variance = np.zeros(weights.shape)
    for i in range(size):
        for j in range(size):
            variance += row[i] * row[j] * noise_moments[i + j]
    return estimate, np.maximum(variance, 1e-12), usable


def _first_row_of_inverse(moments: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """(size, frames, points) of the matrices whose entry (i, j) is moment i + j, positive definite where usable.

    Gauss' elimination, entry by entry for all frames and points at once.
    """
    size = (len(moments) + 1) // 2
    matrix = [
        [np.where(usable, moments[i + j] + 1e-9 * (i == j), float(i == j)) for j in range(size)] for i in range(size)
    ]
    right = [np.full(usable.shape, float(i == 0)) for i in range(size)]
    for i in range(size):
        for k in range(i + 1, size):
            share = matrix[k][i] / matrix[i][i]
            for j in range(i, size):
                matrix[k][j] = matrix[k][j] - share * matrix[i][j]
            right[k] = right[k] - share * right[i]
    row = [np.zeros(usable.shape)] * size
    for i in reversed(range(size)):
        rest = sum((matrix[i][j] * row[j] for j in range(i + 1, size)), np.zeros(usable.shape))
        row[i] = (right[i] - rest) / matrix[i][i]
    return np.stack(row)
