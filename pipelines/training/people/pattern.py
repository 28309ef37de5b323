"""Patterns of cloth and logos, smooth at their edges."""

from typing import NamedTuple

import numpy as np

from pipelines.training.people.palette import Colour
from pipelines.training.people.shading import column
from pipelines.training.people.tube import Surface, Texture

GIRTH = 0.072  # body lengths of arc per radian around the body

LOGOS = ("circle", "star", "bar", "letter", "ring", "heart")


class Pattern(NamedTuple):
    """A cloth: its pattern, three colours, and the pattern's period in body lengths."""

    kind: str
    colours: tuple[Colour, Colour, Colour]
    period: float = 0.04


def cloth(pattern: Pattern, surface: Surface, start: float = 0.0) -> np.ndarray:
    """Colour (3, h, w) or (3, 1, 1) of a cloth on a surface; `start` is added to the place along it."""
    first, second, third = (column(colour) for colour in pattern.colours)
    kind, period, scale = pattern.kind, pattern.period, surface.scale
    if kind == "plain":
        return first
    along = surface.along + np.float32(start)
    if kind == "stripes":
        return first + (second - first) * line(along, period, 0.45 * period, scale)
    if kind == "blocks":
        share = np.clip((along - np.float32(0.215)) * scale + 0.5, 0, 1)
        middle = line(along - np.float32(0.215), 9.0, 0.02, scale)
        return first + (second - first) * share + (third - second) * middle
    if kind == "gradient":
        share = np.clip((np.float32(0.3) - along) * np.float32(3.4), 0, 1)
        return first + (second - first) * share
    arc, thin = surface.angle * np.float32(GIRTH), scale * np.maximum(surface.facing, 0.25)
    if kind == "halves":
        return first + (second - first) * np.clip(np.sin(surface.angle) * GIRTH * scale + 0.5, 0, 1)
    around = 2 * np.pi * GIRTH / max(round(2 * np.pi * GIRTH / period), 1)
    if kind == "pinstripes":
        return first + (second - first) * line(arc, around, 0.4 * around, thin)
    if kind == "dots":
        row = np.floor(along / np.float32(period * 0.8))
        across = (arc / around + 0.5 * (row % 2)) % 1 - 0.5
        down = along / np.float32(period * 0.8) - row - 0.5
        away = np.sqrt((across * around) ** 2 + (down * period * 0.8) ** 2)
        return first + (second - first) * np.clip((0.3 * period - away) * scale + 0.5, 0, 1)
    vertical, level = line(arc, around, 0.5 * around, thin), line(along, period, 0.5 * period, scale)
    colour = first + (second - first) * (0.5 * vertical + 0.5 * level)
    if kind == "tartan":
        thread = np.maximum(
            line(arc + around / 2, around, 0.12 * around, thin), line(along + period / 2, period, 0.12 * period, scale)
        )
        colour = colour + (third - colour) * (0.8 * thread)
    return colour


def limb_cloth(pattern: Pattern) -> Texture | np.ndarray:
    """A sleeve's or trouser leg's cloth: a texture, or the colour (3, 1, 1) where the pattern has no room on a limb."""
    if pattern.kind == "blocks":
        return column(pattern.colours[1])
    if pattern.kind in ("plain", "halves", "gradient"):
        return column(pattern.colours[0])

    def texture(at: Surface) -> tuple[np.ndarray, None]:
        return cloth(pattern, at._replace(angle=at.angle * np.float32(0.45))), None

    return texture


def line(place: np.ndarray, period: float, width: float, scale: float | np.ndarray) -> np.ndarray:
    """Coverage 0…1 of lines, `width` wide, every `period`; `scale` is pixels per unit."""
    away = np.abs((place * np.float32(1 / period) + 0.5) % 1 - 0.5) * np.float32(period)
    return np.clip((np.float32(width / 2) - away) * scale + 0.5, 0, 1)


def logo(kind: str, x: np.ndarray, y: np.ndarray, size: float, scale: float) -> np.ndarray:
    """Coverage 0…1 of a logo, `size` its half width in body lengths, at x (person's left) and y (up) of its middle."""
    if kind == "bar":
        inside = np.minimum(size * 1.3 - np.abs(x), size * 0.36 - np.abs(y))
    elif kind == "letter":
        stem = np.minimum(size * 0.24 - np.abs(x), size - np.abs(y))
        top = np.minimum(size * 0.8 - np.abs(x), size * 0.24 - np.abs(y - size * 0.76))
        inside = np.maximum(stem, top)
    elif kind == "star":
        angle, away = np.arctan2(x, y), np.sqrt(x * x + y * y)
        fifth = np.abs((angle / (2 * np.pi / 5) + 0.5) % 1 - 0.5) * np.float32(2 * np.pi / 5)
        inside = size * 0.47 - away * np.cos(fifth) * 0.53 - away * np.sin(fifth) * 0.85 + size * 0.06
    elif kind == "heart":
        lobes = np.sqrt((np.abs(x) - size * 0.45) ** 2 + (y - size * 0.3) ** 2)
        inside = np.maximum(size * 0.55 - lobes, np.minimum(size * 0.62 - np.abs(x) * 0.72 + y * 0.62, size * 0.35 - y))
    else:
        away = np.sqrt(x * x + y * y)
        inside = size - away if kind == "circle" else size * 0.28 - np.abs(away - size * 0.72)
    return np.clip(inside * scale + 0.5, 0, 1)
