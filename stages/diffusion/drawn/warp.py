"""The reference warped into another posture, part by part: what the denoising network is shown beside the reference.

Both skeletons are known. Every part of the body is moved from where the reference has it to where it is wanted, over
the backdrop that the reference's person leaves free. That is right for what both show from about the same side, and two
maps tell where it can be trusted; the network draws the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from stages.diffusion.drawn.codec import PATCH, DrawnCodec
from stages.diffusion.drawn.rigid_parts import Part, Posture, parts_in

MAPS = 2
GRID = 2  # pixels between the places that are computed; those between them are interpolated
SOFTNESS = 0.08  # how gradually one part gives way to the next; a squared distance of 1 ends a part
LEAST = 0.01  # share of a place from which on parts alone say where it comes from
RIM = 0.8  # of a ball's radius: from here on the outline of hair counts more than what turns inside it
MOST_TURNED = 1.35  # radians: what was further away is not in the reference
BACKDROP, OUTSIDE = -2, -1  # in place of a part's number


class Warped(NamedTuple):
    """The reference in another posture."""

    picture: np.ndarray  # uint8 (height, width, 3)
    maps: np.ndarray  # float32 (2, height/8, width/8), 0…1: how much of a cell parts cover, and the reference shows


class ReferenceWarp:
    """A reference that can be warped."""

    def __init__(self, picture: np.ndarray, posture: Posture) -> None:
        """`picture` uint8 (height, width, 3), sides multiples of 8; `posture` of the person in it, in its pixels."""
        self._picture = picture
        self._posture = posture
        height, width = picture.shape[:2]
        rows, columns = np.mgrid[0:height:GRID, 0:width:GRID].astype(np.float32)
        self._places = np.stack([columns, rows], axis=-1) + (GRID - 1) / 2
        parts = parts_in(posture, posture)
        shares, _ = _shares(self._places, parts)
        self._owners = _owners(shares, parts)
        self._backdrop = _without((shares.argmax(axis=0) < len(parts)).astype(np.uint8), picture)

    def to(self, posture: Posture) -> Warped | None:
        """The reference in this posture; None where the two have no part in common."""
        parts = parts_in(posture, self._posture)
        if not parts:
            return None
        height, width = self._picture.shape[:2]
        shares, sources = _shares(self._places, parts)
        covered = 1 - shares[-1]
        # the backdrop stays where it is, also below the edge of a part
        weights = shares[:-1] / np.maximum(covered, LEAST)
        moved = self._places * (1 - weights.sum(axis=0))[..., None]
        for weight, source in zip(weights, sources, strict=True):
            moved += source * weight[..., None]

        # what lies there may belong to another part: the reference hides this one
        there = cv2.remap(self._owners, (moved - (GRID - 1) / 2) / GRID, None, cv2.INTER_NEAREST, borderValue=OUTSIDE)
        trust = np.array([*(part.trust for part in parts), 1.0], np.float32)[shares.argmax(axis=0)]
        shown = (there == _owners(shares, parts)) * trust

        places = cv2.resize(moved, (width, height), interpolation=cv2.INTER_LINEAR)
        body = cv2.remap(self._picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.resize(covered, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
        picture = np.rint(body * alpha + self._backdrop * (1 - alpha)).astype(np.uint8)
        cells = width // PATCH, height // PATCH
        maps = [cv2.resize(one.astype(np.float32), cells, interpolation=cv2.INTER_AREA) for one in (covered, shown)]
        return Warped(picture, np.stack(maps))


@torch.no_grad()
def encoded(warped: Iterable[Warped | None], codec: DrawnCodec, size: tuple[int, int]) -> torch.Tensor:
    """Warped pictures of `size` (height, width) → (n, 8 + 2, height/8, width/8): latents of unit variance, and maps.

    Zeros where there is none.
    """
    channels, (height, width) = codec.config.latent_channels, size
    made = []
    for one in warped:
        given = torch.zeros(channels + MAPS, height // PATCH, width // PATCH, device=codec.device, dtype=codec.dtype)
        if one is not None:
            pixels = torch.from_numpy(one.picture).permute(2, 0, 1)[None].to(given) / 127.5 - 1
            given[:channels] = codec.encode(pixels)[0] / codec.config.latent_std
            given[channels:] = torch.from_numpy(one.maps)
        made.append(given)
    return torch.stack(made)


def _without(body: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """float32 (height, width, 3): the backdrop alone, smoothly continued behind the body."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    mask = cv2.dilate(cv2.resize(body, (width // 4, height // 4), interpolation=cv2.INTER_AREA), np.ones((3, 3)))
    filled = cv2.resize(cv2.inpaint(small, mask, 3, cv2.INPAINT_TELEA), (width, height)).astype(np.float32)
    inside = cv2.resize(mask.astype(np.float32), (width, height))[..., None]
    return picture * (1 - inside) + filled * inside


def _owners(shares: np.ndarray, parts: Sequence[Part]) -> np.ndarray:
    """The number of the part that is seen at every place, BACKDROP where none is: float32 (h, w), for `remap`."""
    return np.array([*(part.number for part in parts), BACKDROP], np.float32)[shares.argmax(axis=0)]


def _shares(places: np.ndarray, parts: Sequence[Part]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Share of every part, the backdrop last, in every place (parts + 1, h, w), and where each has it from."""
    distances = np.ones((len(parts) + 1, *places.shape[:2]), np.float32)
    sources = []
    for number, part in enumerate(parts):
        offset = places - part.origin
        along, beside = offset @ part.axis, offset @ _across(part.axis)
        inside = np.clip(along, 0, part.length)
        past = along - inside
        end = np.clip(past - part.beyond, 0, None) + np.clip(past, None, 0)
        away = (end * end + beside * beside) / np.float32(part.radius**2)
        # before other parts only where it is: the backdrop does not give way to it sooner
        distances[number] = np.where(away < 1, away - part.front * (1 - away), away)
        if part.ball:
            beside = _turned(beside, *part.ball)
        ahead = inside * np.float32(part.length_there / part.length) + past * np.float32(abs(part.across))
        aside = beside * np.float32(part.across)
        sources.append(
            part.origin_there + ahead[..., None] * part.axis_there + aside[..., None] * _across(part.axis_there)
        )
    shares = np.exp((distances - distances.min(axis=0)) * np.float32(-1 / SOFTNESS))
    return shares / shares.sum(axis=0), sources


def _across(axis: np.ndarray) -> np.ndarray:
    return np.array([-axis[1], axis[0]], np.float32)


def _turned(beside: np.ndarray, turn: float, radius: float) -> np.ndarray:
    """Where on a ball that has not turned yet the points were that now lie so far from its axis; its rim stays."""
    share = beside / np.float32(radius)
    angle = np.clip(np.arcsin(np.clip(share, -1, 1)) - np.float32(turn), -MOST_TURNED, MOST_TURNED)
    rim = np.clip((np.abs(share) - np.float32(RIM)) / np.float32(1 - RIM), 0, 1)
    return (np.sin(angle) * (1 - rim) + share * rim) * np.float32(radius)
