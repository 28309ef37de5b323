"""Hair: a shell over the skull, and what hangs from it."""

from collections.abc import Callable

import numpy as np

from pipelines.training.people.character import Hair
from pipelines.training.people.ellipsoid import Ellipsoid, Skin
from pipelines.training.people.palette import Colour, mixed
from pipelines.training.people.shading import column
from pipelines.training.people.tube import Section, Tube

Solids = list[Ellipsoid | Tube]
Place = Callable[[float, float, float], np.ndarray]  # left, up, front on the unit sphere → point in picture space


def hair(looks: Hair, at: Place, frame: np.ndarray, radii: tuple[float, float, float]) -> Solids:
    """The shell of hair over the skull and what hangs from it."""
    a, b, c = radii
    colour, style = column(looks.colour), looks.style
    if style == "afro":
        size, middle = (1.42 * a, 1.22 * b, 1.3 * c), at(0, 0.24, -0.2)
        shell = _shell(looks.colour, 0.14, 0.0, -2.0, a, curl=True)
        return [Ellipsoid(middle, frame, size, shell), Ellipsoid(middle, frame, size, colour, raised=-1.2 * c)]
    nape = {"short": -0.42, "bun": -0.42, "ponytail": -0.42, "bob": -0.72}.get(style, -0.8)
    full = 1.14 if style in ("bob", "long") else 1.07
    size = (full * a * 1.02, 1.09 * b, 1.1 * c)
    shell = _shell(looks.colour, looks.fringe, looks.parting, nape, a, open_side=style in ("bob", "long"))
    middle = at(0, 0.05, -0.05)
    rim = Ellipsoid(middle, frame, size, _rim(looks.colour, a), raised=-1.1 * c)
    return [Ellipsoid(middle, frame, size, shell), rim, *_hanging(style, colour, at, frame, radii)]


def _hanging(style: str, colour: np.ndarray, at: Place, frame: np.ndarray, radii: tuple[float, float, float]) -> Solids:
    """Bun, tail and locks."""
    a, b, c = radii
    solids: Solids = []
    if style == "bun":
        solids.append(Ellipsoid(at(0, 0.92, -0.55), frame, (0.46 * a, 0.36 * b, 0.42 * c), colour))
    if style == "bob":
        widths = (1.06 * a, 1.18 * a, 1.12 * a, 0.98 * a)
        solids.append(_lock(at(0, 0.1, -0.35), at(0, -0.86, -0.4), widths, frame, colour))
    if style == "long":
        down = np.array([0.0, b * 1.75, -0.3 * c])
        start = at(0, 0.2, -0.4)
        solids.append(_lock(start, start + down * 1.1, (1.0 * a, 1.2 * a, 1.25 * a, 1.0 * a), frame, colour))
        for side in (1, -1):
            root = at(side * 0.92, 0.15, 0.12)
            tip = root + np.array([0.0, b * 1.55, 0.1 * c]) + frame[:, 0] * (side * 0.14 * a)
            solids.append(Tube(root, tip, (0.16 * a, 0.25 * a, 0.27 * a, 0.2 * a, 0.06 * a), colour, tip=True))
    if style == "ponytail":
        root = at(0, 0.45, -1.05)
        tip = root + np.array([0.0, b * 1.25, 0.0]) - frame[:, 2] * (0.45 * c)
        solids.append(Tube(root, tip, (0.24 * a, 0.36 * a, 0.34 * a, 0.1 * a), colour, tip=True))
    return solids


def _lock(start: np.ndarray, end: np.ndarray, widths: tuple[float, ...], frame: np.ndarray, colour: np.ndarray) -> Tube:
    """A flat curtain of hair behind the head."""
    section = Section((frame[:, 2],) * 2, (frame[:, 0],) * 2, (0.62, 0.5, 0.42, 0.36))
    return Tube(start, end, widths, colour, section)


def _shell(
    colour: Colour,
    fringe: float,
    parting: float,
    nape: float,
    radius: float,
    curl: bool = False,
    open_side: bool = False,
) -> Skin:
    """Hair on the skull: all behind the ears, and above the hairline in front."""
    base, shine = column(colour), column(mixed(colour, (255, 226, 190), 0.3))
    behind = 0.32 if open_side else 0.02

    def texture(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        line = y - fringe - parting * x + 0.42 * x * x
        side = (behind - z + 0.25 * np.clip(y, -1, 1)) * 1.2
        inside = np.minimum(np.maximum(line, side), y - nape - 0.3 * np.clip(z + 1, 0, 1))
        if curl:
            light = 0.16 * np.sin(x * 19 + 4 * z) * np.sin(y * 21 + 5 * x) + 0.2 * y
        else:
            strand = np.sin((x + 0.25 * z) * 16) * 0.08
            light = np.exp(-(((y - 0.52 + 0.3 * x * x) / 0.2) ** 2)) * 0.8 + strand
        return base + (shine - base) * np.clip(light, -0.4, 1), np.clip(inside * radius + 0.5, 0, 1)

    return texture


def _rim(colour: Colour, radius: float) -> Skin:
    """What shows beside the head of the hair on its far side: it ends at the ears."""
    base = column(colour)

    def texture(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return base, np.clip((y + 0.1) * radius + 0.5, 0, 1)

    return texture
