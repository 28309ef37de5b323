"""The body net, BlazePose's (Bazarevsky et al. 2020): 33 points of the person in a region, and where to look next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.poses.estimators.people.detector import ROOM
from stages.poses.estimators.people.lite_model import LiteModel, logistic
from stages.poses.estimators.people.region import Picture, Region

SIDE = 256
POINTS = 33
HEAD = slice(0, 11)  # nose, eyes, ears, mouth
SHOULDERS, WRISTS, LITTLE, FORE = (11, 12), (15, 16), (17, 18), (19, 20)  # left and right; roots of fingers
SEEN = 0.3  # a score above it counts as seen
THERE = 0.5  # of the flag: below it nobody is in the region
_CENTRE, _RIM = 33, 34  # points that no joint has: of the circle around the body
_ROWS = 39
_CELLS = 64  # of a heat map, along each side
_REACH = 3  # cells to each side of a point that refine it
_CLEAR = 0.5  # a heat map with no cell above it refines nothing


@dataclass(frozen=True)
class Body:
    """What the net says of one region. Places are continuous pixels of the picture."""

    points: np.ndarray  # float64 (33, 2)
    scores: np.ndarray  # float64 (33,): visible, and in the region
    flag: float  # 0 … 1: whether there is a person
    seen_in: Region
    next: Region  # where the person is, turned upright
    mask: np.ndarray  # float32 (256, 256), logits over `seen_in`: the person


class BodyNet:
    """`pose_landmark_full.tflite`, or the heavy one."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        outputs = ((5 * _ROWS,), (1,), (SIDE, SIDE, 1), (_CELLS, _CELLS, _ROWS), (3 * _ROWS,))
        self._net = LiteModel(path, SIDE, outputs, threads)

    def __call__(self, picture: Picture, region: Region) -> Body:
        """The most prominent person of a region."""
        values, flag, mask, maps, _ = self._net(region.cut(picture, SIDE) / np.float32(255))
        rows = values.reshape(_ROWS, 5).astype(np.float64)
        places = refined(rows[:, :2] / SIDE, logistic(maps))
        points = region.to_picture(places)
        scores = (logistic(rows[:, 3]) * logistic(rows[:, 4]))[:POINTS]
        onward = Region.around(points[_CENTRE], points[_RIM], ROOM)
        return Body(points[:POINTS], scores, float(flag[0]), region, onward, mask[..., 0])


def refined(places: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Places (n, 2), 0 … 1, each moved to the centre of mass of its heat map (cells, cells, n) around it."""
    cells = maps.shape[0]
    moved = places.copy()
    for number, (column, row) in enumerate((places * cells).astype(int)):
        if not (0 <= column < cells and 0 <= row < cells):
            continue
        left, top = max(0, column - _REACH), max(0, row - _REACH)
        near = maps[top : row + _REACH + 1, left : column + _REACH + 1, number]
        if near.max() < _CLEAR:
            continue
        rows, columns = np.mgrid[: near.shape[0], : near.shape[1]]
        weights = near / near.sum()
        moved[number] = (left + (weights * columns).sum()) / cells, (top + (weights * rows).sum()) / cells
    return moved
