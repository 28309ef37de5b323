"""The surface of the trunk: the top, its neckline and what is on it, a jacket."""

import numpy as np

from pipelines.training.people.character import Character, Garments
from pipelines.training.people.palette import Colour, mixed
from pipelines.training.people.pattern import GIRTH, cloth, logo
from pipelines.training.people.shading import column
from pipelines.training.people.tube import Surface, Texture

WAIST = 0.14  # body lengths from the trunk's lower end to the waist
LOGO_DROP, LOGO_SIZE = 0.115, 0.032  # below the base of the neck; half width
BUTTON_SPACING, BUTTON = 0.038, 0.007


def top(character: Character, length: float) -> Texture:
    """Skin, top, bottom, belt, buttons, collar and logo of a trunk that is `length` body lengths long."""
    garments = character.garments
    trousers = garments.kind in ("trousers", "shorts")
    ends = np.float32(0.004 if trousers else WAIST - 0.06)  # below, thighs or skirt go on

    def texture(at: Surface) -> tuple[np.ndarray, np.ndarray]:
        ahead = np.cos(at.angle)
        colour = cloth(garments.top, at)
        if trousers:
            below = np.clip((garments.top_hem - at.along) * at.scale + 0.5, 0, 1)
            colour = colour + (cloth(garments.bottom, at) - colour) * below
        colour = _trimmed(colour, garments, at, ahead, length)
        above = at.along - (length - _neckline(garments.neckline, ahead))
        if garments.collar:
            band = np.clip((0.009 - np.abs(above + 0.004)) * at.scale + 0.5, 0, 1)
            colour = over(colour, garments.collar, band)
        colour = over(colour, character.skin, np.clip(above * at.scale + 0.5, 0, 1))
        return colour, np.clip((at.along - ends) * np.float32(1 / 0.05), 0, 1)

    return texture


def over(below: np.ndarray, colour: Colour, cover: np.ndarray) -> np.ndarray:
    """Colour (3, h, w) with another laid over it as far as `cover` (h, w), 0…1, says."""
    return below + (column(colour) - below) * cover


def _trimmed(colour: np.ndarray, garments: Garments, at: Surface, ahead: np.ndarray, length: float) -> np.ndarray:
    """The cloth with its buttons and logo, which are in front only, and its belt."""
    front = np.clip(ahead * 8, 0, 1)
    across = np.sin(at.angle) * np.float32(GIRTH)
    if garments.buttons:
        rows = np.abs((at.along / np.float32(BUTTON_SPACING)) % 1 - 0.5) * np.float32(BUTTON_SPACING)
        away = np.sqrt(across * across + rows * rows)
        colour = over(colour, garments.buttons, np.clip((BUTTON - away) * at.scale + 0.5, 0, 1) * front)
    if garments.logo:
        mark = logo(garments.logo, across, at.along - np.float32(length - LOGO_DROP), LOGO_SIZE, at.scale)
        colour = over(colour, garments.logo_colour, mark * front)
    if garments.belt and garments.top_hem >= 0.1:
        belt = np.clip((0.009 - np.abs(at.along - max(garments.top_hem, 0.125))) * at.scale + 0.5, 0, 1)
        colour = over(colour, garments.belt, belt)
    return colour


def _neckline(kind: str, ahead: np.ndarray) -> np.ndarray:
    """How far below the base of the neck the top begins, by the cosine of the angle around the body."""
    if kind == "vee":
        return 0.012 + 0.07 * np.clip((ahead - 0.72) / 0.28, 0, 1)
    if kind == "boat":
        return np.full_like(ahead, 0.022)
    if kind == "high":
        return np.full_like(ahead, -0.01)
    return 0.01 + 0.034 * np.clip(ahead, 0, 1) ** 3


def jacket(colour: Colour, length: float) -> Texture:
    """An open jacket with lapels over a trunk that is `length` body lengths long."""
    edge = mixed(colour, (18, 16, 24), 0.2)

    def texture(at: Surface) -> tuple[np.ndarray, np.ndarray]:
        turn = np.abs(np.arctan2(np.sin(at.angle), np.cos(at.angle)))
        opening = 0.42 + 0.28 * np.clip(np.abs(at.along - 0.17) * 2.6, 0, 1) ** 1.5
        inside = (turn - opening) * np.float32(GIRTH) * at.scale
        lapel = np.clip(0.02 * at.scale - inside, 0, 1) * np.clip((at.along - 0.17) * at.scale, 0, 1)
        collar = np.clip((at.along - length + 0.016) * at.scale + 0.5, 0, 1)
        return over(column(colour), edge, np.maximum(lapel, collar)), np.clip(inside + 0.5, 0, 1)

    return texture
