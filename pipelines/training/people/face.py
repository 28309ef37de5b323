"""A face on the head's sphere: it turns with the head and is gone at its back."""

from collections.abc import Callable

import numpy as np

from pipelines.training.people.character import Character
from pipelines.training.people.palette import mixed
from pipelines.training.people.shading import column

Features = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, None]]


def face(character: Character, radius: float) -> Features:
    """The texture of the head: colour (3, h, w) at points X left, Y up, Z front; `radius` is its half width, pixels."""
    skin, looks = character.skin, character.face
    base = column(skin)
    shade, blush = column(mixed(skin, (70, 24, 24), 0.42)), column(mixed(skin, looks.lips, 0.5))
    white, iris, lid = column(mixed((246, 243, 240), skin, 0.12)), column(looks.eyes), column((34, 22, 24))
    brow, lips = column(looks.brows), column(looks.lips)
    dark_lips, hair = column(mixed(looks.lips, (60, 10, 20), 0.6)), column(mixed(character.hair.colour, skin, 0.25))

    def texture(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, None]:
        front = np.clip(z * 4 - 0.2, 0, 1)
        side = np.abs(x)
        colour = np.broadcast_to(base, (3, *x.shape)).copy()

        def add(paint: np.ndarray, cover: np.ndarray) -> None:
            colour.__iadd__((paint - colour) * (cover * front))

        def spot(cx: float, cy: float, rx: float, ry: float, mirrored: bool = True, soft: float = 1.0) -> np.ndarray:
            u, v = ((side if mirrored else x) - cx) / rx, (y - cy) / ry
            return np.clip((1 - np.sqrt(u * u + v * v)) * (min(rx, ry) * radius / soft) + 0.5, 0, 1)

        if looks.beard:
            jaw = np.clip((-0.28 - y + 0.45 * side) * 5, 0, 1)
            colour += (hair - colour) * (looks.beard * jaw * np.clip(z * 3 + 0.7, 0, 1))
        add(blush, looks.blush * spot(0.56, -0.3, 0.24, 0.18, soft=2.5))
        add(shade, 0.35 * spot(0.38, 0.03, 0.27, 0.15, soft=2.0))
        add(white, spot(0.37, 0.0, 0.19, 0.095))
        add(iris, spot(0.36, 0.01, 0.12, 0.12))
        add(lid, 0.9 * looks.lashes * spot(0.39, 0.095, 0.22, 0.045))
        arch = 0.25 - 0.35 * (side - 0.36) ** 2
        add(brow, 0.85 * np.clip((0.05 - np.abs(y - arch)) * radius * 1.3 + 0.5, 0, 1) * (np.abs(side - 0.39) < 0.23))
        add(shade, 0.45 * spot(0.09, -0.31, 0.08, 0.05))
        smile = -0.58 + 0.5 * x * x
        mouth = np.clip((0.26 - side) * radius + 0.5, 0, 1)
        thick = 0.055 * (1 - 9 * x * x) + 0.02
        add(lips, mouth * np.clip((thick - np.abs(y - smile)) * radius * 1.3 + 0.4, 0, 1))
        add(dark_lips, 0.5 * mouth * np.clip((0.015 - np.abs(y - smile - 0.01)) * radius * 1.3 + 0.4, 0, 1))
        return colour, None

    return texture
