"""The studio behind a person, and the shadow at their feet."""

from functools import lru_cache

import numpy as np

from pipelines.training.people.camera import FLOOR
from pipelines.training.people.character import Backdrop
from pipelines.training.people.shading import column
from pipelines.training.people.skeleton import Skeleton

SLOPE = 0.12  # how much lower the floor is seen per pixel nearer to the viewer


@lru_cache(maxsize=16)
def studio(backdrop: Backdrop, width: int, height: int) -> np.ndarray:
    """An empty studio, float32 (3, h, w): a lit wall that runs into the floor."""
    x = np.linspace(0, 1, width, dtype=np.float32)
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    across = (x - backdrop.light[0]) * (width / height)
    glow = np.exp(-((across / 0.5) ** 2) - ((y - backdrop.light[1]) / 0.5) ** 2)
    corners = ((x - 0.5) ** 2 + (y - 0.5) ** 2) * np.float32(0.9)
    wall = column(backdrop.wall) * (0.96 - backdrop.strength * 0.8 * corners + backdrop.strength * 0.5 * (glow - 0.5))
    pool = np.exp(-(((x - 0.5) / 0.5) ** 2) - ((y - 0.95) / 0.12) ** 2)
    floor = column(backdrop.floor) * (0.88 + 0.12 * pool - 0.3 * backdrop.strength * corners)
    bend = 1 / (1 + np.exp(-(y - backdrop.horizon) / backdrop.softness))
    picture = np.clip(wall + (floor - wall) * bend, 0, 255).astype(np.float32)
    picture.setflags(write=False)
    return picture


def shadowed(picture: np.ndarray, joints: Skeleton, scale: float) -> np.ndarray:
    """The studio (3, h, w) with a soft contact shadow under the feet; joints in picture space, `scale` its pixels."""
    height, width = picture.shape[1:]
    floor = FLOOR * height
    top = int(floor - 0.12 * scale)
    x = np.arange(width, dtype=np.float32)
    y = np.arange(top, height, dtype=np.float32)[:, None]
    dark = np.zeros((height - top, width), np.float32)
    middle = (joints.ankles[0] + joints.ankles[1]) / 2
    reach = abs(joints.ankles[0][0] - joints.ankles[1][0]) / 2
    spots = [(float(middle[0]) + 0.03 * scale, floor + 1, 0.13 * scale + reach, 0.028 * scale, 0.2)]
    for heel, toe in zip(joints.heels, joints.toes, strict=True):
        foot = (heel + toe) / 2
        ground = floor + SLOPE * float(foot[2])
        above = max(0.0, ground - float(foot[1]) - 0.02 * scale) / scale
        long = 0.035 + 0.5 * abs(float(toe[0] - heel[0])) / scale
        strength = 0.42 / (1 + 22 * above)
        wide, deep = (long + above) * scale, (0.016 + above * 0.2) * scale
        spots.append((float(foot[0]), ground + 0.006 * scale, wide, deep, strength))
    for cx, cy, rx, ry, strength in spots:
        dark += strength * np.exp(-(((x - cx) / rx) ** 2)) * np.exp(-(((y - cy) / ry) ** 2))
    result = picture.copy()
    result[:, top:] *= 1 - np.minimum(dark, 0.7) * np.array([0.9, 0.96, 0.88], np.float32)[:, None, None]
    return result
