"""Light of the studio: from the upper left, in front."""

import numpy as np

LIGHT = np.array([-0.46, -0.56, 0.69])  # picture space: x right, y down, z toward the viewer
LIGHT /= np.linalg.norm(LIGHT)
SHADOW = np.array([0.56, 0.50, 0.53], np.float32)[:, None, None]  # what is left of a colour that no light reaches


def lit(colour: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Colour (3, h, w) or (3, 1, 1) under `light` (h, w), the cosine between normal and light."""
    level = np.clip(0.2 + 0.95 * light, 0, 1.08)
    return colour * (SHADOW + (1 - SHADOW) * level)


def column(colour: tuple[float, float, float]) -> np.ndarray:
    """An RGB colour as float32 (3, 1, 1)."""
    return np.array(colour, np.float32)[:, None, None]
