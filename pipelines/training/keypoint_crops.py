"""Training crops of drawn people: cut as the pose stage cuts them, and spoilt as films and animators spoil them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.training.keypoint_net import HEIGHT, WIDTH
from pipelines.training.pictures import Album
from stages.poses.estimators.rtmpose import centre_and_scale, warp_matrix
from stages.poses.wholebody import MIRRORED

EMPTY = 0.04  # so many pictures lose their person


@dataclass(frozen=True)
class Crops:
    """What the network is taught with."""

    images: np.ndarray  # uint8 (n, 256, 192, 3)
    points: np.ndarray  # float32 (n, 23, 2), pixels of the crop
    located: np.ndarray  # bool (n, 23): within the crop and the picture, be it hidden
    present: np.ndarray  # bool (n, 23): there to be seen, too


def training_crops(albums: list[Album], count: int, random: np.random.Generator) -> Crops:
    """Random crops of random pictures."""
    sizes = np.array([len(one.pictures) for one in albums])
    pixels, points, located, present = [], [], [], []
    for chosen in random.choice(len(albums), count, p=sizes / sizes.sum()):
        at = random.integers(sizes[chosen])
        picture, keypoints = albums[chosen].pictures[at], albums[chosen].keypoints[at]
        if random.random() < EMPTY:
            picture, keypoints = emptied(picture, keypoints), keypoints * (1, 1, 0)
        matrix = _placed(keypoints, picture.shape[1], picture.shape[0], random)
        crop = cv2.warpAffine(softened(picture, random), matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        crop = relit(occluded(crop, random), random)
        there = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        inside = _within(keypoints[:, :2], picture.shape[1], picture.shape[0]) & _within(there, WIDTH, HEIGHT)
        seen = inside & (keypoints[:, 2] > 0)
        inside &= seen.any()
        if random.random() < 0.5:
            crop = crop[:, ::-1]
            there, inside, seen = there[MIRRORED] * (-1, 1) + (WIDTH - 1, 0), inside[MIRRORED], seen[MIRRORED]
        pixels.append(crop)
        points.append(there)
        located.append(inside)
        present.append(seen)
    return Crops(np.stack(pixels), np.stack(points).astype(np.float32), np.stack(located), np.stack(present))


def _within(points: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.all((points >= -0.5) & (points <= (width - 0.5, height - 0.5)), axis=1)


def _placed(keypoints: np.ndarray, width: int, height: int, random: np.random.Generator) -> np.ndarray:
    """float64 (2, 3), picture → crop: the whole picture's or the person's box, about as the pose net would cut it."""
    box = np.array([0.0, 0.0, width, height])
    spread, shift = 0.12, 0.06
    if random.random() < 0.4:
        low, high = keypoints[:, :2].min(axis=0), keypoints[:, :2].max(axis=0)
        box = np.concatenate([low - 0.1 * (high - low), high + 0.1 * (high - low)])
        spread, shift = 0.3, 0.1
    (centre,), (scale,) = centre_and_scale(box[None], WIDTH, HEIGHT)
    centre += scale * random.uniform(-shift, shift, 2)
    scale *= np.exp(random.uniform(-0.5 * spread, spread))
    if random.random() < 0.12:  # a frame wider than the person needs
        scale *= random.uniform(1, 1.7)
    matrix = warp_matrix(centre, scale, WIDTH, HEIGHT)
    if random.random() < 0.3:
        matrix = _composed(cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), random.uniform(-12, 12), 1), matrix)
    return matrix


def _composed(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def emptied(picture: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """The picture without its person: the columns between those beside the person's box, blended."""
    width, reach = picture.shape[1], 0.2 * np.ptp(keypoints[:, 0]) + 8
    left, right = keypoints[:, 0].min() - reach, keypoints[:, 0].max() + reach
    left, right = int(max(left, 0)), int(min(right, width - 1))
    share = np.linspace(0, 1, right - left + 1)[:, None]
    empty = picture.copy()
    empty[:, left : right + 1] = (1 - share) * picture[:, left, None] + share * picture[:, right, None]
    return empty


def softened(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The picture out of focus, of a lower resolution, or compressed; one in four as it is. The same size."""
    height, width = picture.shape[:2]
    kind = random.random()
    if kind < 0.25:
        return picture
    if kind < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.4, 1.8))
    elif kind < 0.65:
        share = random.uniform(0.35, 0.9)
        small = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if random.random() < 0.6:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(15, 80))]
        picture = np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR))
    return picture


def occluded(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The crop, one in six with an ellipse or a bar of one colour before it."""
    if random.random() > 1 / 6:
        return crop
    crop = crop.copy()
    colour = tuple(int(value) for value in random.integers(0, 256, 3))
    middle = tuple(int(value) for value in random.uniform((0.2 * WIDTH, 0.1 * HEIGHT), (0.8 * WIDTH, 0.9 * HEIGHT)))
    radii = tuple(int(value) for value in random.uniform(4, 26, 2))
    if random.random() < 0.5:
        cv2.ellipse(crop, middle, radii, random.uniform(0, 180), 0, 360, colour, -1)
    else:
        cv2.rectangle(crop, np.subtract(middle, radii), np.add(middle, radii), colour, -1)
    return crop


def relit(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The crop in another light: contrast, brightness and a tint; one in four with noise, one in two as it is."""
    if random.random() < 0.5:
        values = np.arange(256)[:, None] * random.uniform(0.75, 1.25) * random.uniform(0.92, 1.08, 3)
        table = np.clip(values + random.uniform(-30, 30), 0, 255).astype(np.uint8)
        crop = cv2.LUT(crop, table[:, None])
    if random.random() < 0.25:
        noise = random.normal(0, random.uniform(1, 8), crop.shape)
        crop = np.clip(crop + noise, 0, 255).astype(np.uint8)
    return crop
