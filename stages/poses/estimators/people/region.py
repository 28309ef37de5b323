"""Where a net looks: a square of a picture, turned so that what it shows is upright.

Inside this package places are continuous: a picture reaches from 0 to its width and height, the centre of its first
pixel is at ½. (Keypoints outside count from that centre: `Keypoints`.)
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


class Picture:
    """A frame, and smaller copies of it: a large region is cut from one of about its net's resolution."""

    def __init__(self, frame: np.ndarray) -> None:
        """uint8 RGB (height, width, 3)."""
        self._levels = [frame]
        self.height, self.width = frame.shape[:2]

    def level(self, shrinking: float) -> np.ndarray:
        """The frame, halved as often as pixels stay at least as fine as one in `shrinking`."""
        depth = max(0, int(np.floor(np.log2(max(shrinking, 1e-9)))))
        while len(self._levels) <= depth and min(self._levels[-1].shape[:2]) > 1:
            height, width = (max(1, (side + 1) // 2) for side in self._levels[-1].shape[:2])
            self._levels.append(cv2.resize(self._levels[-1], (width, height), interpolation=cv2.INTER_AREA))
        return self._levels[min(depth, len(self._levels) - 1)]


@dataclass(frozen=True)
class Region:
    """A square: `centre` (2,) and `side` in pixels, turned clockwise by `angle` radians against the picture."""

    centre: np.ndarray
    side: float
    angle: float = 0.0

    @classmethod
    def around(cls, centre: np.ndarray, rim: np.ndarray, scale: float) -> Region:
        """The square around the circle about `centre` through `rim`, `scale` times as large, with `rim` upwards."""
        across, down = rim - centre
        side = 2 * scale * np.hypot(across, down)
        return cls(np.asarray(centre, float), float(side), float(np.arctan2(across, -down)))

    @property
    def axes(self) -> np.ndarray:
        """float64 (2, 2): the square's right and down, as unit vectors of the picture in columns."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cosine, -sine], [sine, cosine]])

    def scaled(self, scale: float) -> Region:
        """As many times as large about the same centre."""
        return Region(self.centre, self.side * scale, self.angle)

    def upright(self, scale: float) -> Region:
        """As many times as large about the same centre, and not turned."""
        return Region(self.centre, self.side * scale)

    def to_picture(self, places: np.ndarray) -> np.ndarray:
        """Places (…, 2) in the square, 0 … 1, → float64 places in the picture."""
        return self.centre + (np.asarray(places, float) - 0.5) @ self.axes.T * self.side

    def from_picture(self, places: np.ndarray) -> np.ndarray:
        """Places (…, 2) in the picture → float64 places in the square, 0 … 1 inside."""
        return (np.asarray(places, float) - self.centre) @ self.axes / self.side + 0.5

    def cut(self, picture: Picture, side: int, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
        """The square's pixels, uint8 (side, side, 3); `border` says what is beyond the picture, as OpenCV names it."""
        level = picture.level(self.side / side)
        shrunk = np.array([level.shape[1] / picture.width, level.shape[0] / picture.height])
        steps = self.axes * (self.side / side) * shrunk[:, None]
        # OpenCV counts from the centres of pixels, on both sides
        origin = self.to_picture(np.zeros(2)) * shrunk + steps @ [0.5, 0.5] - 0.5
        matrix = np.column_stack([steps, origin])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(level, matrix, (side, side), flags=flags, borderMode=border)

    def laid_out(self, values: np.ndarray, width: int, height: int, beyond: float) -> np.ndarray:
        """float32 values over the square (side, side) → over a picture (height, width); `beyond` outside the square."""
        side = len(values)
        steps = self.axes.T * (side / self.side)
        origin = self.from_picture(np.array([0.5, 0.5])) * side - 0.5
        matrix = np.column_stack([steps, origin])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(values, matrix, (width, height), flags=flags, borderValue=beyond)
