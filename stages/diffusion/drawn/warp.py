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
from stages.diffusion.drawn.rigid_parts import Part, Posture, Span, parts_in, spans_in

MAPS = 3
GRID = 2  # pixels between the places that are computed; those between them are interpolated
SOFTNESS = 0.08  # how gradually one part gives way to the next; a squared distance of 1 ends a part
NOTHING = 1e-3  # pixels, in place of none
LEAST = 0.01  # share of a place from which on parts alone say where it comes from
RIM = 0.8  # of a ball's radius: from here on the outline of hair counts more than what turns inside it
MOST_TURNED = 1.35  # radians: what was further away is not in the reference
BACKDROP, OUTSIDE = -2, -1  # in place of a part's number


class Warped(NamedTuple):
    """The reference in another posture."""

    picture: np.ndarray  # uint8 (height, width, 3)
    skirted: np.ndarray  # the same, if what is between the legs belongs to a skirt
    # float32 (3, height/2, width/2), 0…1: how much parts cover, how much of it the reference shows, and how much is
    # covered if there is a skirt
    maps: np.ndarray


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
        placed = [_of_part(self._places, part) for part in parts]
        self._owners = _owners(_shares(placed, self._places.shape[:2]), parts)
        placed += [_of_span(self._places, span) for span in spans_in(posture, posture)]
        shares = _shares(placed, self._places.shape[:2])
        body = (shares.argmax(axis=0) < len(placed)).astype(np.uint8)
        self.backdrop = np.rint(_without(body, picture)).astype(np.uint8)  # (height, width, 3), without the person

    def to(self, posture: Posture) -> Warped | None:
        """The reference in this posture; None where the two have no part in common."""
        parts = parts_in(posture, self._posture)
        if not parts:
            return None
        placed = [_of_part(self._places, part) for part in parts]
        shares = _shares(placed, self._places.shape[:2])
        covered, moved = 1 - shares[-1], self._moved(shares, placed)

        # what lies there may belong to another part: the reference hides this one
        there = cv2.remap(self._owners, (moved - (GRID - 1) / 2) / GRID, None, cv2.INTER_NEAREST, borderValue=OUTSIDE)
        trust = np.array([*(part.trust for part in parts), 1.0], np.float32)[shares.argmax(axis=0)]
        shown = (there == _owners(shares, parts)) * trust
        picture = skirted = self._composed(moved, covered)

        skirt = covered
        if spans := spans_in(posture, self._posture):
            placed += [_of_span(self._places, span) for span in spans]
            shares = _shares(placed, self._places.shape[:2])
            skirt = 1 - shares[-1]
            skirted = self._composed(self._moved(shares, placed), skirt)
        return Warped(picture, skirted, np.stack([covered, shown, skirt]).astype(np.float32))

    def _moved(self, shares: np.ndarray, placed: Sequence[Placed]) -> np.ndarray:
        """Where every place has its colour from, float32 (h, w, 2)."""
        # the backdrop stays where it is, also below the edge of a part
        weights = shares[:-1] / np.maximum(1 - shares[-1], LEAST)
        moved = self._places * (1 - weights.sum(axis=0))[..., None]
        for weight, (_, source) in zip(weights, placed, strict=True):
            moved += source * weight[..., None]
        return moved

    def _composed(self, moved: np.ndarray, covered: np.ndarray) -> np.ndarray:
        """The picture that has its colours from there, over the backdrop."""
        height, width = self._picture.shape[:2]
        places = cv2.resize(moved, (width, height), interpolation=cv2.INTER_LINEAR)
        body = cv2.remap(self._picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.resize(covered, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
        return np.rint(body * alpha + self.backdrop * (1 - alpha)).astype(np.uint8)


@torch.no_grad()
def encoded(warped: Iterable[Warped | None], codec: DrawnCodec, size: tuple[int, int]) -> torch.Tensor:
    """Warped pictures of `size` (height, width) → (n, 8 + 2 + 8 + 1, height/8, width/8).

    Latents of unit variance of the picture, with how much is covered and shown; those of the skirted one, with how
    much is covered. Zeros where there is none.
    """
    channels, (height, width) = codec.config.latent_channels, size
    cells = width // PATCH, height // PATCH
    made = []
    for one in warped:
        given = torch.zeros(2 * channels + MAPS, *cells[::-1], device=codec.device, dtype=codec.dtype)
        if one is not None:
            pixels = torch.from_numpy(np.stack([one.picture, one.skirted])).permute(0, 3, 1, 2).to(given) / 127.5 - 1
            latents = codec.encode(pixels) / codec.config.latent_std
            covered, shown, skirt = (cv2.resize(of, cells, interpolation=cv2.INTER_AREA) for of in one.maps)
            given[:channels], given[channels + 2 : -1] = latents
            given[channels : channels + 2] = torch.from_numpy(np.stack([covered, shown]))
            given[-1] = torch.from_numpy(skirt)
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


class Placed(NamedTuple):
    """One part in every place."""

    away: np.ndarray  # float32 (h, w): squared distance to it, 1 at its edge, less where it is before others
    source: np.ndarray  # float32 (h, w, 2): which place of the reference this one is of it


def _of_part(places: np.ndarray, part: Part) -> Placed:
    offset = places - part.origin
    along, beside = offset @ part.axis, offset @ _across(part.axis)
    inside = np.clip(along, 0, part.length)
    past = along - inside
    end = np.clip(past - part.beyond, 0, None) + np.clip(past, None, 0)
    away = (end * end + beside * beside) / np.float32(part.radius**2)
    if part.ball:
        beside = _turned(beside, *part.ball)
    ahead = inside * np.float32(part.length_there / part.length) + past * np.float32(abs(part.across))
    aside = beside * np.float32(part.across)
    source = part.origin_there + ahead[..., None] * part.axis_there + aside[..., None] * _across(part.axis_there)
    return Placed(_before(away, part.front), source)


def _of_span(places: np.ndarray, span: Span) -> Placed:
    """Between the legs as wide as they are apart, outside of them as thick as the body wants it."""
    offset = places - span.origin
    along, beside = offset @ span.axis, offset @ _across(span.axis)
    inside = np.clip(along, 0, span.length)
    share = inside / np.float32(span.length)
    half, half_there = (first + share * (last - first) for first, last in (span.halves, span.halves_there))
    half = np.where(half == 0, np.float32(NOTHING), half)  # where the legs cross
    within = np.clip(beside, -np.abs(half), np.abs(half))
    outside, past = beside - within, along - inside
    away = (past * past + outside * outside) / np.float32(span.radius**2)
    turned = np.sign(half) * np.sign(half_there)
    aside = within * (half_there / half) + outside * turned * np.float32(span.across)
    ahead = share * np.float32(span.length_there) + past * np.float32(span.across)
    source = span.origin_there + ahead[..., None] * span.axis_there + aside[..., None] * _across(span.axis_there)
    return Placed(_before(away, span.front), source)


def _before(away: np.ndarray, front: float) -> np.ndarray:
    """Nearer than others, but only where it is: the backdrop does not give way to it sooner."""
    return np.where(away < 1, away - front * (1 - away), away)


def _shares(placed: Sequence[Placed], size: tuple[int, int]) -> np.ndarray:
    """Share of every part, the backdrop last, in every place: (parts + 1, h, w)."""
    distances = np.stack([*(one.away for one in placed), np.ones(size, np.float32)])
    shares = np.exp((distances - distances.min(axis=0)) * np.float32(-1 / SOFTNESS))
    return shares / shares.sum(axis=0)


def _across(axis: np.ndarray) -> np.ndarray:
    return np.array([-axis[1], axis[0]], np.float32)


def _turned(beside: np.ndarray, turn: float, radius: float) -> np.ndarray:
    """Where on a ball that has not turned yet the points were that now lie so far from its axis; its rim stays."""
    share = beside / np.float32(radius)
    angle = np.clip(np.arcsin(np.clip(share, -1, 1)) - np.float32(turn), -MOST_TURNED, MOST_TURNED)
    rim = np.clip((np.abs(share) - np.float32(RIM)) / np.float32(1 - RIM), 0, 1)
    return (np.sin(angle) * (1 - rim) + share * rim) * np.float32(radius)
