"""The whole-body pose net: RTMPose with a SimCC head, one crop per person.

Each person's box becomes a crop of the network's shape; the network answers with one response curve per keypoint and
axis, whose highest bins are the keypoint. Raw responses, no smoothing, no refinement.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stages.poses.estimators.onnx_model import Contract, OnnxModel, Shape, agrees

KEYPOINTS = 133
PADDING = 1.25  # the crop is so much larger than the box
SPLIT_RATIO = 2.0  # bins per pixel of the crop
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Crop:
    """One person, cut out for the network."""

    pixels: np.ndarray  # uint8 (height, width, 3) of the network; black outside the picture
    centre: np.ndarray  # float64 (2,), pixels of the picture
    scale: np.ndarray  # float64 (2,), width and height of the crop in pixels of the picture


def centre_and_scale(
    boxes: np.ndarray, width: int, height: int, padding: float = PADDING
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes x1 y1 x2 y2 (n, 4) → centres (n, 2), scales (n, 2): padded, then widened to the shape of the network."""
    x1, y1, x2, y2 = boxes.astype(np.float64).T
    centre = np.stack([(x1 + x2) * 0.5, (y1 + y2) * 0.5], axis=1)
    across, down = (x2 - x1) * padding, (y2 - y1) * padding
    aspect = width / height
    wide = across > down * aspect
    scale = np.stack([np.where(wide, across, down * aspect), np.where(wide, across / aspect, down)], axis=1)
    return centre, scale


def warp_matrix(centre: np.ndarray, scale: np.ndarray, width: int, height: int) -> np.ndarray:
    """float64 (2, 3): picture → crop of `width` × `height`, from three point pairs in float32 as published."""
    picture, crop = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    picture[0], picture[1] = centre, (centre[0], centre[1] - scale[0] * 0.5)
    crop[0], crop[1] = (width * 0.5, height * 0.5), (width * 0.5, height * 0.5 - width * 0.5)
    for points in (picture, crop):
        across, down = points[0] - points[1]
        points[2] = points[1] + np.array([-down, across], np.float32)
    return cv2.getAffineTransform(picture, crop)


def crops(image: np.ndarray, boxes: np.ndarray, width: int, height: int, padding: float = PADDING) -> list[Crop]:
    """Cut every box out of a uint8 picture (h, w, 3)."""
    cut = []
    for centre, scale in zip(*centre_and_scale(boxes, width, height, padding), strict=True):
        matrix = warp_matrix(centre, scale, width, height)
        cut.append(Crop(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR), centre, scale))
    return cut


def normalise(
    pixels: np.ndarray,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    dtype: type[np.floating] = np.float32,
) -> np.ndarray:
    """uint8 (…, 3) → (value − mean) / std per channel, computed in float64 and cast to `dtype`."""
    table = _normalised(tuple(mean), tuple(std), np.dtype(dtype))
    return np.stack([table[channel][pixels[..., channel]] for channel in range(3)], axis=-1)


@functools.cache
def _normalised(mean: tuple[float, ...], std: tuple[float, ...], dtype: np.dtype) -> np.ndarray:
    values = np.arange(256, dtype=np.float64)
    return ((values - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(dtype)


def decode_simcc(
    along_x: np.ndarray, along_y: np.ndarray, split_ratio: float = SPLIT_RATIO
) -> tuple[np.ndarray, np.ndarray]:
    """Responses (n, keypoints, bins) → float32 crop pixels (n, keypoints, 2) and scores (n, keypoints).

    The score is the weaker axis' maximum. Where it is not positive the keypoint is bin −1 on both axes: a point just
    outside the crop's upper left corner.
    """
    bins = np.stack([along_x.argmax(axis=-1), along_y.argmax(axis=-1)], axis=-1).astype(np.float32)
    scores = np.minimum(along_x.max(axis=-1), along_y.max(axis=-1))
    bins[scores <= 0] = -1
    return bins / np.float32(split_ratio), scores


def to_picture(points: np.ndarray, centre: np.ndarray, scale: np.ndarray, width: int, height: int) -> np.ndarray:
    """Crop pixels (n, keypoints, 2) → float64 picture pixels, for centres and scales (n, 2)."""
    return points / np.array([width, height], np.float64) * scale[:, None] + centre[:, None] - scale[:, None] / 2


class PoseNet:
    """A SimCC whole-body network that sees pictures in the channel order given to it."""

    def __init__(self, path: Path, threads: int = 1, batch: int = 1) -> None:
        """`batch`: crops per run. More than one moves the responses by about 2e-7, which flips bins that tie."""
        self.model = OnnxModel(path, _CONTRACT, threads, batch)

    def cut(self, image: np.ndarray, boxes: np.ndarray) -> list[Crop]:
        """The crops that this network wants of the boxes (n, 4) in a uint8 picture (h, w, 3)."""
        return crops(image, boxes, self.model.width, self.model.height)

    def __call__(self, people: list[Crop]) -> tuple[np.ndarray, np.ndarray]:
        """Crops, of one picture or several → float64 (n, 133, 2) in pixels of each one's picture, float32 (n, 133)."""
        if not people:
            return np.empty((0, KEYPOINTS, 2)), np.empty((0, KEYPOINTS), np.float32)
        images = normalise(np.stack([person.pixels for person in people])).transpose(0, 3, 1, 2)
        along_x, along_y = self.model(np.ascontiguousarray(images))
        points, scores = decode_simcc(along_x, along_y)
        centres, scales = (np.stack([getattr(person, name) for person in people]) for name in ("centre", "scale"))
        return to_picture(points, centres, scales, self.model.width, self.model.height), scores


def _fits(image: Shape, outputs: list[Shape]) -> bool:
    _, channels, height, width = image
    if channels != 3 or len(outputs) != 2 or not isinstance(height, int) or not isinstance(width, int):
        return False
    bins = [int(side * SPLIT_RATIO) for side in (width, height)]
    return all(agrees(output, None, KEYPOINTS, count) for output, count in zip(outputs, bins, strict=True))


_CONTRACT = Contract(
    what="the whole-body pose net (RTMPose, published as dw-ll_ucoco_384.onnx)",
    expected="one float input [batch, 3, 384, 288] and the outputs [batch, 133, 576] (x) and [batch, 133, 768] (y)",
    fits=_fits,
)
