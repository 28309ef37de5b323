"""The person detector: YOLOX on COCO's 80 classes, of which only people are looked at.

What the published DWPose code computes, threshold for threshold; boxes come out best score first, not clipped to the
picture.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from stages.poses.estimators.onnx_model import Contract, OnnxModel, Shape, agrees

STRIDES = (8, 16, 32)
PAD = 114
PERSON = 0
CLASSES = 80
CANDIDATE_SCORE = 0.1  # enters suppression
PERSON_SCORE = 0.3  # is kept
OVERLAP = 0.45  # a weaker box that overlaps by more is suppressed


def letterbox(image: np.ndarray, height: int = 640, width: int = 640, pad: int = PAD) -> tuple[np.ndarray, float]:
    """uint8 (h, w, 3) → (uint8 (height, width, 3), scale): scaled up or down to fit, in the upper left corner."""
    rows, columns = image.shape[:2]
    ratio = min(height / rows, width / columns)
    # Thinner than 1:640 would vanish, where the published code fails.
    inner = max(1, int(columns * ratio)), max(1, int(rows * ratio))
    canvas = np.full((height, width, 3), pad, np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    return canvas, ratio


def decode(output: np.ndarray, height: int = 640, width: int = 640) -> np.ndarray:
    """Network output (rows, 5 + classes) → float32 centre x, y, width, height (rows, 4) in canvas pixels."""
    grids, strides = [], []
    for side in STRIDES:
        y, x = np.mgrid[: height // side, : width // side]
        grids.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((x.size, 1), side))
    grid, stride = np.concatenate(grids), np.concatenate(strides)
    boxes = np.empty((len(output), 4), np.float32)
    boxes[:, :2] = (output[:, :2] + grid) * stride
    boxes[:, 2:] = np.exp(output[:, 2:4]) * stride
    return boxes


def corners(boxes: np.ndarray, ratio: float) -> np.ndarray:
    """Centre and size (n, 4) in canvas pixels → float32 x1 y1 x2 y2 (n, 4) in pixels of the picture."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1) / ratio


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float = OVERLAP) -> np.ndarray:
    """Greedy suppression of x1 y1 x2 y2 boxes (n, 4): indices that survive, best score first.

    A box survives while its intersection over union with every better survivor is at most `overlap`; areas count
    both border pixels. The order of exactly equal scores is not defined.
    """
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1 + 1) * (y2 - y1 + 1)
    order = scores.argsort()[::-1]
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        across = np.maximum(0.0, np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + 1)
        down = np.maximum(0.0, np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + 1)
        shared = across * down
        order = rest[shared / (areas[best] + areas[rest] - shared) <= overlap]
    return np.array(kept, dtype=np.int64)


def candidates(
    boxes: np.ndarray,
    output: np.ndarray,
    label: int = PERSON,
    score_above: float = CANDIDATE_SCORE,
    overlap: float = OVERLAP,
) -> np.ndarray:
    """Detections of one class after suppression: float64 (n, 6) as x1 y1 x2 y2 score class.

    Suppression never crosses classes, so the classes nobody asks for need not be computed.
    """
    scores = output[:, 4] * output[:, 5 + label]
    enough = scores > score_above
    boxes, scores = boxes[enough], scores[enough]
    kept = suppress(boxes, scores, overlap)
    classes = np.full((len(kept), 1), label, np.float64)
    return np.concatenate([boxes[kept], scores[kept, None], classes], axis=1)


def people(detections: np.ndarray, score_above: float = PERSON_SCORE) -> np.ndarray:
    """The boxes (n, 4) of detections (n, 6) of people that are sure enough."""
    return detections[(detections[:, 5] == PERSON) & (detections[:, 4] > score_above), :4]


class PersonDetector:
    """A YOLOX network that sees pictures in the channel order given to it."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.model = OnnxModel(path, _CONTRACT, threads)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 (height, width, 3) → float64 boxes (n, 4) as x1 y1 x2 y2 in pixels; none found: (0, 4)."""
        canvas, ratio = letterbox(image, self.model.height, self.model.width)
        output = self.model(canvas.transpose(2, 0, 1)[None].astype(np.float32))[0][0]
        boxes = corners(decode(output, self.model.height, self.model.width), ratio)
        return people(candidates(boxes, output))


def _fits(image: Shape, outputs: list[Shape]) -> bool:
    _, channels, height, width = image
    if channels != 3 or len(outputs) != 1 or not isinstance(height, int) or not isinstance(width, int):
        return False
    rows = sum((height // stride) * (width // stride) for stride in STRIDES)
    return agrees(outputs[0], None, rows, 5 + CLASSES)


_CONTRACT = Contract(
    what="the person detector (YOLOX, published as yolox_l.onnx)",
    expected="one float input [1, 3, 640, 640] and one output [1, 8400, 85]",
    fits=_fits,
)
