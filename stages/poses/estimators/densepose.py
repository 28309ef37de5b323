"""DensePose: which part of the body every pixel shows, as MagicAnimate's pictures and as DreamPose's coordinates.

Parts are numbered 1 … 24, 0 is none: 1 back, 2 front of the torso, 3 right, 4 left hand, 5 left, 6 right foot,
7/9 right and 8/10 left upper leg, 11/13 right and 12/14 left lower leg, 15/17 left and 16/18 right upper arm, 19/21
left and 20/22 right lower arm, 23/24 head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

PARTS = 24


@dataclass(frozen=True)
class Instance:
    """One person found by DensePose."""

    x: int  # upper left corner of the box, pixels of the picture
    y: int
    labels: np.ndarray  # uint8 (height, width) of the box: part numbers
    uv: np.ndarray | None = None  # float32 (2, height, width): coordinates on the part's surface, 0 where no part is


def integer_box(box: np.ndarray) -> tuple[int, int, int, int]:
    """x1 y1 x2 y2 in pixels → x, y, width, height without fractions, at least one pixel wide and high."""
    x1, y1, x2, y2 = box
    return int(x1), int(y1), max(int(x2 - x1), 1), max(int(y2 - y1), 1)


def instance(
    box: np.ndarray,
    coarse: np.ndarray,
    fine: np.ndarray,
    u: np.ndarray | None = None,
    v: np.ndarray | None = None,
) -> Instance:
    """One detection of the network: box x1 y1 x2 y2, float maps coarse (2, h, w), fine, u and v (25, h, w).

    The maps are stretched over the box; a pixel's part is the best of the fine map where the coarse one says body,
    and its U and V are those of that part (the network's own values: near 0 … 1, not clipped).
    """
    x, y, width, height = integer_box(box)
    labels = _stretched(fine, width, height).argmax(axis=-1).astype(np.uint8)
    labels[_stretched(coarse, width, height).argmax(axis=-1) == 0] = 0
    if u is None or v is None:
        return Instance(x, y, labels)
    chosen = labels[..., None].astype(np.intp)
    charts = [np.take_along_axis(_stretched(chart, width, height), chosen, axis=-1)[..., 0] for chart in (u, v)]
    return Instance(x, y, labels, np.where(labels > 0, np.stack(charts), np.float32(0)))


def _stretched(maps: np.ndarray, width: int, height: int) -> np.ndarray:
    """(channels, h, w) → (height, width, channels), bilinear between pixel centres."""
    maps = np.ascontiguousarray(maps.transpose(1, 2, 0), np.float32)
    return cv2.resize(maps, (width, height), interpolation=cv2.INTER_LINEAR)


def colour_table(name: str = "viridis") -> np.ndarray:
    """A colour map of OpenCV by its name: uint8 RGB (256, 3). Raises ValueError for an unknown one."""
    number = getattr(cv2, f"COLORMAP_{name.upper()}", None)
    if number is None:
        raise ValueError(f"OpenCV has no colour map {name!r}")
    return cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], number)[:, 0, ::-1]


def part_colours(name: str = "viridis") -> np.ndarray:
    """Colour of part 0 … 24: uint8 RGB (25, 3)."""
    levels = np.arange(PARTS + 1, dtype=np.float32) * np.float32(255 / PARTS)
    return colour_table(name)[levels.clip(0, 255).astype(np.uint8)]


def paint(
    instances: Sequence[Instance],
    height: int,
    width: int,
    colour_map: str = "viridis",
    alpha: float = 1.0,
    background: Sequence[int] | None = None,
) -> np.ndarray:
    """The instances in their order, later ones over earlier: uint8 RGB (height, width, 3).

    The background is the colour map's first entry unless given. MagicAnimate was driven with opaque viridis.
    """
    colours = part_colours(colour_map)
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = colours[0] if background is None else background
    for one in instances:
        rows, columns, labels = _inside(one, height, width)
        beneath = canvas[rows, columns]
        over = np.where((labels > 0)[..., None], colours[labels], beneath)
        canvas[rows, columns] = (beneath * (1.0 - alpha) + over * alpha).astype(np.uint8)
    return canvas


def uv_array(instances: Sequence[Instance], height: int, width: int) -> np.ndarray:
    """The first instance's U and V as DreamPose takes them: float64 (2, height, width), zero elsewhere."""
    array = np.zeros((2, height, width))
    first = instances[0] if instances else None
    if first is not None and first.uv is not None:
        rows, columns, labels = _inside(first, height, width)
        top, left = rows.start - first.y, columns.start - first.x
        array[:, rows, columns] = first.uv[:, top : top + labels.shape[0], left : left + labels.shape[1]]
    return array


def _inside(one: Instance, height: int, width: int) -> tuple[slice, slice, np.ndarray]:
    """Rows and columns of the canvas that the box covers, and the labels there."""
    bottom, right = (start + size for start, size in zip((one.y, one.x), one.labels.shape, strict=True))
    rows = slice(min(max(one.y, 0), height), min(max(bottom, 0), height))
    columns = slice(min(max(one.x, 0), width), min(max(right, 0), width))
    labels = one.labels[rows.start - one.y : rows.stop - one.y, columns.start - one.x : columns.stop - one.x]
    return rows, columns, labels
