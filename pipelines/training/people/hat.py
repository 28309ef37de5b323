"""Hats: a cap, a hat with a brim, a beanie."""

import numpy as np

from pipelines.training.people.ellipsoid import Ellipsoid
from pipelines.training.people.hair import Place, Solids
from pipelines.training.people.palette import Colour, mixed
from pipelines.training.people.shading import column


def hat(kind: str, colour: Colour, at: Place, frame: np.ndarray, radii: tuple[float, float, float]) -> Solids:
    """A cap, a hat with a brim all round, or a knitted beanie, on a head with these half widths."""
    a, b, c = radii
    paint, band = column(colour), column(mixed(colour, (20, 16, 20), 0.45))

    def dome(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        edge = y - 0.18 - (0.12 * z if kind == "beanie" else 0.1 * z)
        rim = np.clip((0.22 - edge) * a + 0.5, 0, 1) if kind != "cap" else np.zeros_like(x)
        return paint + (band - paint) * rim, np.clip(edge * a * 1.2 + 0.5, 0, 1)

    size = (1.18 * a, 1.16 * b, 1.2 * c) if kind != "hat" else (1.16 * a, 1.3 * b, 1.18 * c)
    solids: Solids = [Ellipsoid(at(0, 0.1, -0.03), frame, size, dome)]
    if kind == "cap":
        solids.append(Ellipsoid(at(0, 0.36, 1.05), frame, (0.85 * a, 0.1 * b, 0.75 * c), paint))
    if kind == "hat":
        solids.append(Ellipsoid(at(0, 0.36, 0), frame, (1.75 * a, 0.11 * b, 1.75 * c), paint))
    return solids
