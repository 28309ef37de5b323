"""How sharp a film is, by the side of its reference."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from stages.video.quality.curve import Curve, Figure
from stages.video.quality.frame import Frame


class Sharpness:
    """Sharpness of each frame over the reference's, which has the film's size; the second that is the least sharp.

    Variance of the Laplacian of the luma (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000)
    over the energy of its gradient, without which whoever shows plainer cloth when turned counts as blurred.
    """

    name = "sharpness"

    def __init__(self, reference: np.ndarray, fps: Fraction) -> None:
        self._wanted = max(fineness(reference), _LEAST)
        self._second = max(1, round(fps))
        self._curve = Curve(less_is_worse=True)

    def look(self, frame: Frame) -> None:
        """Take in the next frame."""
        if not frame.black:
            self._curve.put(frame.number, fineness(frame.picture) / self._wanted)

    def figure(self) -> Figure | None:
        """None where there was no picture."""
        return self._curve.worst_second(self._second)


_LEAST = 1e-3  # of a picture in which there is nothing that could be sharp


def fineness(picture: np.ndarray) -> float:
    """Of uint8 (height, width, 3): how much of its detail is fine, whatever there is of it."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    laplacian = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1][0, 0] ** 2
    slopes = [cv2.Sobel(grey, cv2.CV_32F, *axis, ksize=1) for axis in ((1, 0), (0, 1))]
    return float(laplacian / (1 + sum(cv2.norm(slope, cv2.NORM_L2SQR) for slope in slopes) / grey.size))
