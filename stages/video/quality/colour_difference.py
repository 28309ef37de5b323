"""How different two colours look: CIEDE2000, and Lab from pixels."""

from __future__ import annotations

import cv2
import numpy as np

_FAR = 25.0**7  # chroma from which on colours are vivid, as the formula counts it


def lab(picture: np.ndarray) -> np.ndarray:
    """CIE Lab under D65 of uint8 sRGB (height, width, 3): float32, L 0…100, to 0.3 or better."""
    return cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def ciede2000(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """ΔE00 of Lab colours (…, 3), as Sharma, Wu and Dalal write it, "The CIEDE2000 Color-Difference Formula", 2005.

    About 1 can just be seen, beyond 5 it is another colour.
    """
    lightness, green, blue = (np.stack(axis).astype(np.float64) for axis in zip(_axes(one), _axes(other), strict=True))
    chroma = np.hypot(green, blue).mean(axis=0)
    green = green * (1 + 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + _FAR))))  # equation 4
    chroma, hue = np.hypot(green, blue), np.degrees(np.arctan2(blue, green)) % 360
    grey = chroma.prod(axis=0) == 0
    turn = np.where(grey, 0, (hue[1] - hue[0] + 180) % 360 - 180)  # 10
    far = np.abs(hue[0] - hue[1]) > 180
    middle = np.where(grey, hue.sum(axis=0), (hue.sum(axis=0) + np.where(far, 360, 0)) / 2) % 360  # 14
    along = 2 * np.sqrt(chroma.prod(axis=0)) * np.sin(np.radians(turn / 2))  # 11
    weight = (
        1
        - 0.17 * _cosine(middle - 30)
        + 0.24 * _cosine(2 * middle)
        + 0.32 * _cosine(3 * middle + 6)
        - 0.20 * _cosine(4 * middle - 63)
    )  # 15
    light, mean = lightness.mean(axis=0) - 50, chroma.mean(axis=0)
    parts = (
        (lightness[1] - lightness[0]) / (1 + 0.015 * light**2 / np.sqrt(20 + light**2)),
        (chroma[1] - chroma[0]) / (1 + 0.045 * mean),
        along / (1 + 0.015 * mean * weight),
    )
    rotation = 30 * np.exp(-(((middle - 275) / 25) ** 2))
    twist = -2 * np.sqrt(mean**7 / (mean**7 + _FAR)) * np.sin(np.radians(2 * rotation))
    return np.sqrt(sum(part**2 for part in parts) + twist * parts[1] * parts[2])


def _axes(colours: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.moveaxis(np.asarray(colours), -1, 0))


def _cosine(degrees: np.ndarray) -> np.ndarray:
    return np.cos(np.radians(degrees))
