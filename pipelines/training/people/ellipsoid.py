"""Shaded ellipsoids: head, hair, hat, nose, buns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipelines.training.people.layer import Layer
from pipelines.training.people.shading import LIGHT, lit

Skin = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray | None]]
"""Colour (3, h, w) and opacity (h, w) or None, of points X left, Y up, Z front on the unit sphere."""


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid around `centre`, pixels; columns of `frame` (3, 3) are its left, up and front in picture space."""

    centre: np.ndarray
    frame: np.ndarray
    radii: tuple[float, float, float]  # along left, up, front; pixels
    colour: np.ndarray | Skin
    jaw: float = 0.0  # how much the lower half narrows
    raised: float = 0.0

    @property
    def depth(self) -> float:
        """Where it is painted in the order from back to front."""
        return float(self.centre[2]) + self.raised

    def draw(self, layer: Layer) -> None:
        """Paint the ellipsoid."""
        seen = self.seen(layer)
        if seen is None:
            return
        towards = (LIGHT @ self.frame).astype(np.float32)
        light = sum(axis * weight for axis, weight in zip(seen.local, towards, strict=True))
        colour, coverage = self.colour, seen.coverage
        if callable(colour):
            colour, opacity = colour(*seen.local)
            if opacity is not None:
                coverage = coverage * opacity
        layer.merge(seen.window, lit(colour, light), coverage, seen.depth)

    def seen(self, layer: Layer) -> "Seen | None":
        """What the viewer sees of it; None where all of it is outside the layer's picture."""
        cx, cy, cz = self.centre.tolist()
        reach = max(self.radii) + 1
        window = layer.window(cx - reach, cy - reach, cx + reach, cy + reach)
        if window is None:
            return None
        x = np.arange(window[1].start, window[1].stop, dtype=np.float32) - np.float32(cx)
        y = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - np.float32(cy)
        x, y = np.broadcast_arrays(x, y)
        if self.jaw:
            x, y = self._narrowed(x, y)
        m = (self.frame / np.square(self.radii)) @ self.frame.T  # the surface is p · m · p = 1
        cross = np.float32(m[0, 2]) * x + np.float32(m[1, 2]) * y
        square = np.float32(m[0, 0]) * x * x + np.float32(2 * m[0, 1]) * x * y + np.float32(m[1, 1]) * y * y
        outline = np.sqrt(np.maximum(square - cross * cross / m[2, 2], 1e-6)).astype(np.float32)
        away = np.sqrt(x * x + y * y)
        coverage = np.clip((1 - outline) * away / outline + 0.5, 0, 1)
        z = (np.sqrt(np.maximum(cross * cross - m[2, 2] * (square - 1), 0)) - cross) / m[2, 2]
        shrink = 1 / np.maximum(outline, 1)
        left, up, front = (
            (self.frame[0, i] * x * shrink + self.frame[1, i] * y * shrink + self.frame[2, i] * z) / self.radii[i]
            for i in range(3)
        )
        local = left.astype(np.float32), up.astype(np.float32), front.astype(np.float32)
        return Seen(window, local, coverage, (cz + self.raised + z).astype(np.float32))

    def _narrowed(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels moved outward below the middle, so that the shape gets a chin."""
        ux, uy = self.frame[:2, 1] / max(np.hypot(*self.frame[:2, 1]), 1e-6)
        up = x * ux + y * uy
        low = np.clip(-up / self.radii[1] - 0.05, 0, 1.2)
        wide = (y * ux - x * uy) * (1 + self.jaw * low * low)
        return (up * ux - wide * uy).astype(np.float32), (up * uy + wide * ux).astype(np.float32)


class Seen(NamedTuple):
    """The visible side of an ellipsoid in a window of the picture; arrays (h, w) float32."""

    window: tuple[slice, slice]
    local: tuple[np.ndarray, np.ndarray, np.ndarray]  # left, up, front on the unit sphere
    coverage: np.ndarray
    depth: np.ndarray  # pixels toward the viewer
