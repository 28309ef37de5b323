"""A cloth stretched around points: the convex hull that a skirt makes around hips and legs."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.training.people.layer import Layer
from pipelines.training.people.shading import LIGHT, lit
from pipelines.training.people.tube import STEPS, Surface, Texture


@dataclass(frozen=True)
class Cloth:
    """The hull of `points` (n, 3), pixels, hanging from `start` (waist) to `end` (middle of the hem)."""

    points: np.ndarray
    start: np.ndarray
    end: np.ndarray
    turn: float  # angle on the body that faces the viewer, radians
    depths: tuple[float, float]  # nearest point at the waist and at the hem, pixels
    colour: Texture
    scale: float
    folds: tuple[float, float]  # number of folds around, their strength

    @property
    def depth(self) -> float:
        """Where it is painted in the order from back to front."""
        return max(self.depths)

    def draw(self, layer: Layer) -> None:
        """Paint the cloth."""
        outline = cv2.convexHull(self.points[:, :2].astype(np.float32))[:, 0]
        (left, top), (right, bottom) = outline.min(0) - 1, outline.max(0) + 1
        window = layer.window(left, top, right, bottom)
        if window is None:
            return
        x = np.arange(window[1].start, window[1].stop, dtype=np.float32)
        y = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None]
        normals, limits = _half_planes(outline)
        edge = (limits[:, None, None] - normals[:, 0, None, None] * x - normals[:, 1, None, None] * y).min(0)
        coverage = np.clip(edge + 0.5, 0, 1)
        axis = (self.end - self.start)[:2]
        length = max(float(np.hypot(*axis)), 1.0)
        ax, ay = axis / length
        forth = (x - self.start[0]) * ax + (y - self.start[1]) * ay
        aside = (y - self.start[1]) * ax - (x - self.start[0]) * ay
        t = np.clip(forth / length, 0, 1)
        low, high = self._edges(normals, limits, (ax, ay), length)
        at = (t * (STEPS - 1) + 0.5).astype(np.int32)
        half = np.maximum((high - low) / 2, 1).astype(np.float32)[at]
        side = np.clip((aside - ((high + low) / 2).astype(np.float32)[at]) / half, -1, 1)
        facing = np.sqrt(1 - side * side)
        angle = -np.arcsin(side) + np.float32(self.turn)
        number, strength = self.folds
        fold = np.cos(angle * number) * (strength * t)
        light = side * np.float32(ax * LIGHT[1] - ay * LIGHT[0]) + facing * np.float32(LIGHT[2]) + fold
        light += np.float32(0.12)
        depth = self.depths[0] + t * (self.depths[1] - self.depths[0]) + (facing - 1) * half * np.float32(0.4)
        full = max(float(np.linalg.norm(self.end - self.start)), 1.0)
        surface = Surface(angle, t * np.float32(full / self.scale), facing, self.scale)
        colour, opacity = self.colour(surface)
        if opacity is not None:
            coverage = coverage * opacity
        layer.merge(window, lit(colour, light), coverage, depth.astype(np.float32))

    def _edges(
        self, normals: np.ndarray, limits: np.ndarray, axis: tuple[float, float], length: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the cloth begins and ends across its axis, by steps along it, (STEPS,) each."""
        ax, ay = axis
        along = normals[:, 0] * ax + normals[:, 1] * ay
        across = normals[:, 1] * ax - normals[:, 0] * ay
        rest = limits - normals @ self.start[:2]
        steps = np.linspace(0, length, STEPS)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = (rest - along * steps) / across
        high = np.where(across > 1e-4, crossing, np.inf).min(1)
        low = np.where(across < -1e-4, crossing, -np.inf).max(1)
        return np.clip(low, -1e3, 1e3), np.clip(high, -1e3, 1e3)


def _half_planes(outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outward unit normals (n, 2) and limits (n,) of a convex outline: inside is normal · p < limit."""
    following = np.roll(outline, -1, axis=0)
    step = following - outline
    normals = np.stack([step[:, 1], -step[:, 0]], 1)
    size = np.hypot(normals[:, 0], normals[:, 1])
    keep = size > 1e-3
    normals, corners = normals[keep] / size[keep, None], outline[keep]
    limits = (normals * corners).sum(1)
    if ((normals @ outline.mean(0)) > limits).any():
        normals, limits = -normals, -limits
    return normals.astype(np.float32), limits.astype(np.float32)
