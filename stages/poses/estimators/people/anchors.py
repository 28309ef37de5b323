"""What MediaPipe's detectors share: anchors on a grid, boxes and points beside them, suppression by weighting.

SSD with anchors of one size, several to a cell; overlapping finds are averaged, not dropped, as in BlazeFace
(Bazarevsky et al. 2019), which makes them steadier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SUREST = 100.0  # logits beyond it say no more


def anchors(side: int, strides: tuple[int, ...]) -> np.ndarray:
    """Centres float64 (n, 2), 0 … 1, of two anchors per cell and layer; layers of one stride share their cells."""
    centres = []
    for stride in sorted(set(strides)):
        cells = side // stride
        rows, columns = np.mgrid[:cells, :cells]
        cell = (np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5) / cells
        centres.append(cell.repeat(2 * strides.count(stride), axis=0))
    return np.concatenate(centres)


@dataclass(frozen=True)
class Finds:
    """Detections, best first; places 0 … 1 in the square that was looked at."""

    boxes: np.ndarray  # float64 (n, 4) as x1 y1 x2 y2
    points: np.ndarray  # float64 (n, points, 2)
    scores: np.ndarray  # float64 (n,)

    def __len__(self) -> int:
        return len(self.scores)


def decoded(values: np.ndarray, logits: np.ndarray, centres: np.ndarray, side: int, least: float) -> Finds:
    """A detector's two outputs, (n, 4 + 2 · points) and (n, 1), → what scores `least` or more, unsuppressed."""
    scores = 1 / (1 + np.exp(-np.clip(logits[:, 0].astype(np.float64), -_SUREST, _SUREST)))
    sure = scores >= least
    values, scores = values[sure].astype(np.float64) / side, scores[sure]
    places = values[:, :2], *np.split(values[:, 4:], (values.shape[1] - 4) // 2, axis=1)
    centre, *points = (place + centres[sure] for place in places)
    half = values[:, 2:4] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    order = np.argsort(-scores, kind="stable")
    return Finds(boxes[order], np.stack(points, axis=1)[order], scores[order])


def suppressed(finds: Finds, overlap: float) -> Finds:
    """Each best find, averaged by score with those whose boxes share more than `overlap` (IoU) with it."""
    boxes, points, scores = [], [], []
    left = np.arange(len(finds))
    while len(left):
        same = shared(finds.boxes[left[0]], finds.boxes[left]) > overlap
        same[0] = True
        group, left = left[same], left[~same]
        weights = finds.scores[group] / finds.scores[group].sum()
        boxes.append(weights @ finds.boxes[group])
        points.append(np.tensordot(weights, finds.points[group], 1))
        scores.append(finds.scores[group[0]])
    if not scores:
        return finds
    return Finds(np.stack(boxes), np.stack(points), np.array(scores))


def shared(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with boxes (n, 4), x1 y1 x2 y2."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    areas = [np.clip(one[..., 2:] - one[..., :2], 0, None).prod(axis=-1) for one in (box, boxes)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-12)
