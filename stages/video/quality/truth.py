"""How close a film is to the film that it should have become. Pictures are uint8 (height, width, 3)."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from stages.video.quality.curve import Curve, Figure

_ALIKE = 100.0  # dB of pictures that do not differ
_PEAK = 255.0
_SMALL = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2  # constants of the structural similarity


def l1(film: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute difference, of 1."""
    return float(np.abs(film.astype(np.float64) - truth).mean() / _PEAK)


def psnr(film: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio of all channels together in dB; 100 where nothing differs."""
    return _decibels(float(((film.astype(np.float64) - truth) ** 2).mean()))


def psnr_uint8(film: np.ndarray, truth: np.ndarray) -> float:
    """The same as DisCo's evaluation and the papers of 2023 that used it computed it: in 8 bits.

    Differences and their squares wrap around at 256, so that large errors count as small ones. Figures in those papers'
    tables are of this kind, and compare with nothing else.
    """
    return _decibels(float(((film - truth) ** 2).mean()))


def ssim(film: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity of each channel, averaged, in a Gaussian window of σ 1.5 (Wang et al., 2004)."""
    return _similarity(film, truth, lambda picture: cv2.GaussianBlur(picture, (11, 11), 1.5), 5, 1.0)


def ssim_grey(film: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity of the luma as DisCo's evaluation computes it: 7 × 7 pixels, all alike, sample covariance.

    Those are scikit-image's defaults.
    """
    one, other = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (film, truth))
    return _similarity(one, other, lambda picture: cv2.blur(picture, (7, 7)), 3, 49 / 48)


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "l1": l1,
    "psnr": psnr,
    "psnr_uint8": psnr_uint8,
    "ssim": ssim,
    "ssim_grey": ssim_grey,
}


class Closeness:
    """A measure of every frame of a film against that of the truth; the mean of them, and the worst frame."""

    def __init__(self, name: str) -> None:
        """`name` is one of `MEASURES`."""
        self.name = name
        self._measure = MEASURES[name]
        self._curve = Curve(less_is_worse=name != "l1")

    def look(self, number: int, film: np.ndarray, truth: np.ndarray) -> None:
        """Take in the next pair of frames, of one size."""
        self._curve.put(number, self._measure(film, truth))

    def figure(self) -> Figure | None:
        """None for a film without frames."""
        return None if self._curve.worst is None else Figure(self._curve.mean, self._curve.worst, self._curve)


def _decibels(squares: float) -> float:
    return _ALIKE if squares == 0 else float(20 * np.log10(_PEAK / np.sqrt(squares)))


def _similarity(
    one: np.ndarray, other: np.ndarray, mean: Callable[[np.ndarray], np.ndarray], border: int, covariance: float
) -> float:
    """Mean over the places whose window of `border` pixels around lies in the picture."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    means = mean(first), mean(second)
    spread = [covariance * (mean(value * value) - at * at) for value, at in zip((first, second), means, strict=True)]
    shared = covariance * (mean(first * second) - means[0] * means[1])
    light = (2 * means[0] * means[1] + _SMALL[0]) / (means[0] ** 2 + means[1] ** 2 + _SMALL[0])
    structure = (2 * shared + _SMALL[1]) / (spread[0] + spread[1] + _SMALL[1])
    inside = slice(border, -border)
    return float((light * structure)[inside, inside].mean())
