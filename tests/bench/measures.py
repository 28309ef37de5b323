"""What tells how close a film is to the truth, and how steady it is. Films are uint8 (frames, height, width, 3).

PSNR, SSIM, CIEDE2000 and Lab are scikit-image's, optical flow is OpenCV's DIS.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

STILL = 0.5  # pixels per frame below which a place counts as static
TORSO = (5, 6, 12, 11)  # shoulders and hips among COCO's body points, around the torso


def psnr(film: np.ndarray, truth: np.ndarray) -> float:
    """Mean over frames, in dB."""
    return float(np.mean([peak_signal_noise_ratio(*pair) for pair in zip(truth, film, strict=True)]))


def ssim(film: np.ndarray, truth: np.ndarray) -> float:
    """Mean over frames of the structural similarity of all channels, Gaussian window."""
    pairs = zip(truth, film, strict=True)
    options = {"channel_axis": -1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(np.mean([structural_similarity(*pair, **options) for pair in pairs]))


def torso_colour(picture: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Mean Lab colour of the torso: the quadrilateral of shoulders and hips, keypoints (23, 3)."""
    outline = keypoints[list(TORSO), :2]
    centre = outline.mean(axis=0)
    mask = np.zeros(picture.shape[:2], np.uint8)
    # a quarter smaller, to leave out arms and backdrop at its edge
    cv2.fillPoly(mask, [np.round(centre + 0.75 * (outline - centre)).astype(np.int32)], 1)
    if not mask.any():  # seen edge-on
        mask[tuple(np.round(centre[::-1]).astype(int))] = 1
    return rgb2lab(picture)[mask > 0].mean(axis=0)


def garment_drift(film: np.ndarray, keypoints: np.ndarray, reference: np.ndarray, at: np.ndarray) -> float:
    """Mean ΔE00 of the torso's colour between the frames (keypoints (frames, 23, 3)) and the reference (`at`)."""
    wanted = torso_colour(reference, at)
    return float(np.mean([deltaE_ciede2000(wanted, torso_colour(*one)) for one in zip(film, keypoints, strict=True)]))


@dataclass(frozen=True)
class Flow:
    """How the truth moves between neighbouring frames; what is measured along it does not depend on the result."""

    places: np.ndarray  # float32 (frames - 1, height, width, 2): where each pixel of a frame lies in the next
    still: np.ndarray  # bool (frames - 1, height, width)
    moving: np.ndarray  # bool: moves, and is seen in both frames


def flow_of(truth: np.ndarray) -> Flow:
    """Forward flow of each frame to the next, with a forward-backward check for what becomes hidden."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in truth]
    rows, columns = np.mgrid[: truth.shape[1], : truth.shape[2]].astype(np.float32)
    places, still, moving = [], [], []
    for now, later in itertools.pairwise(grey):
        there, back = search.calc(now, later, None), search.calc(later, now, None)
        place = np.stack([columns + there[..., 0], rows + there[..., 1]], axis=-1)
        returned = there + cv2.remap(back, place, None, cv2.INTER_LINEAR)
        motion = np.linalg.norm(there, axis=-1)
        places.append(place)
        still.append((motion < STILL) & (now == later))
        moving.append((motion >= STILL) & (np.linalg.norm(returned, axis=-1) < 1))
    return Flow(np.stack(places), np.stack(still), np.stack(moving))


def flicker(film: np.ndarray, flow: Flow) -> float:
    """Mean change from frame to frame, of 255, where the truth does not change at all."""
    changes = np.abs(np.diff(film.astype(np.float32), axis=0)).mean(axis=-1)
    return float(changes[flow.still].mean())


def warping_error(film: np.ndarray, flow: Flow) -> float:
    """Mean difference, of 255, between a frame and the next one brought back along the truth's motion."""
    errors = []
    for now, later, place, moving in zip(film, film[1:], flow.places, flow.moving, strict=False):
        returned = cv2.remap(later, place, None, cv2.INTER_LINEAR).astype(np.float32)
        errors.append(np.abs(now.astype(np.float32) - returned).mean(axis=-1)[moving])
    return float(np.concatenate(errors).mean())
