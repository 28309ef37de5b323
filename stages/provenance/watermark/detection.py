"""Finding a keyed tile in pictures that were encoded, scaled, cropped, turned or mirrored since.

Pictures are reduced to what differs from its surroundings, over how much differs there, and summed: what moves averages
out, the pattern stays. The sum is read at every scale that leaves chips up to 10 pixels, both ways around, and folded
into one tile; its place there is where the chips of all films fit best. Quarter turns are tried at the usual scales
alone: that costs little, and leaves the bound below as it is.

Chances are bounds, whatever the pictures show: the key's signs are independent of them, so by Hoeffding's inequality a
score ‖signs · chips‖ / ‖chips‖ of z or more has a chance of exp(−z²/2) for one scale, place and codeword.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import exp, log

import cv2
import numpy as np

from stages.provenance.watermark.embedding import chip_size
from stages.provenance.watermark.id_code import ID_BITS, decoded
from stages.provenance.watermark.tile import SAMPLES, SIDE, Tile

FALSE_ALARM = 1e-6  # at most, of a file without the mark
_LARGEST = 2.5  # of what differs over how much differs around, so that an outline counts no more than a texture
_FLAT = 0.5  # grey levels that the least of textures is taken for
_SCALES = 1.2 * 1.005 ** np.arange(430)  # pixels of a chip's edge, up to 10
_AROUND = 7  # samples of the surroundings whose mean is taken away: pictures vary slowly, neighbouring chips do not
_CHIPS_SEEN = 96  # along each edge in the search over all scales, where a step of 0.5 % is half a chip
_NEAR = 1 + 0.001 * np.arange(-4, 5)
_LOOKED_INTO = 8  # of the likeliest scales
_SURE = 9.0  # score of the chips of all films at which no other scale is looked for
_LIKELY = (1.0, 0.5, 1 / 0.9, 0.9, 0.75, 2 / 3, 1.5, 2.0)  # what films are most often scaled by
_TURNS = (0, 1, 2, 3)  # quarters
_TRIES = 2**24  # scales, ways around and places that are tried at most, over both scores


@dataclass(frozen=True)
class Reading:
    """The tile as it was likeliest read.

    score: of the chips of all films, 0…16, and `whole` of all chips with the id, 0…32; chip: pixels of a chip's edge;
    turned: quarter turns clockwise since; soft: the coded bits; id: None where its checksum is wrong.
    """

    score: float
    chip: float
    turned: int
    mirrored: bool
    soft: np.ndarray
    id: int | None
    whole: float

    @property
    def chance(self) -> float:
        """A bound of the chance that pictures without the mark are read so, 0…1."""
        chances = [-(max(0.0, self.score) ** 2) / 2]
        if self.id is not None:
            chances.append(ID_BITS * log(2) - max(0.0, self.whole) ** 2 / 2)
        return exp(min(0.0, log(_TRIES) + min(chances)))


def read_tile(frames: Iterable[np.ndarray], tile: Tile) -> Reading | None:
    """The likeliest reading of pictures uint8 RGB (height, width, 3), all of one size; None where there are none."""
    shown = _summed(frames)
    if shown is None:
        return None
    height, width = shown.shape
    usual = chip_size(width, height)
    places = [_best_near(shown, tile, usual * scale, _TURNS) for scale in _LIKELY[:2]]
    if max(place.score for place in places) < _SURE:
        places += [_best_near(shown, tile, usual * scale, _TURNS) for scale in _LIKELY[2:]]
    if max(place.score for place in places) < _SURE:
        middle = _Pictures(shown, _CHIPS_SEEN)
        rough = sorted((_placed(middle, tile, chip) for chip in _SCALES), key=lambda place: -place.score)
        places += [_best_near(shown, tile, place.chip) for place in rough[:_LOOKED_INTO]]
    readings = [_read(tile, place) for place in sorted(places, key=lambda place: -place.score)[:_LOOKED_INTO]]
    return min(readings, key=lambda reading: (reading.chance, -reading.score))


@dataclass(frozen=True)
class _Place:
    score: float
    chip: float
    turned: int
    mirrored: bool
    chips: np.ndarray  # (32, 32)


class _Pictures:
    """What the pictures were reduced to, at any scale, as it is and mirrored; `seen` chips of its middle at most."""

    def __init__(self, shown: np.ndarray, seen: int | None = None) -> None:
        self._shown, self._seen = shown, seen

    def folded(self, chip: float, turns: tuple[int, ...]) -> Iterator[tuple[int, bool, np.ndarray]]:
        """After each turn and both ways around the sum of all tiles, float32 (64, 64): of samples, four to a chip.

        To turn the sum is to turn the pictures, but for the tile's place, which is looked for anyway.
        """
        step, side = chip / SAMPLES, SIDE * SAMPLES
        shown = self._shown
        if self._seen:
            most = int(self._seen * chip)
            top, left = (max(0, (length - most) // 2) for length in shown.shape)
            shown = shown[top : top + most, left : left + most]
        if step > 1.2:
            shown = cv2.GaussianBlur(shown, (0, 0), 0.45 * step)
        size = tuple(max(1, int(length / step)) for length in reversed(shown.shape))
        to_pixels = np.array([[step, 0, (step - 1) / 2], [0, step, (step - 1) / 2]])
        samples = cv2.warpAffine(shown, to_pixels, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        samples -= cv2.blur(samples, (_AROUND, _AROUND))
        rows, columns = (-(-length // side) for length in samples.shape)
        whole = np.zeros((rows * side, columns * side), np.float32)
        whole[: samples.shape[0], : samples.shape[1]] = samples
        tile = whole.reshape(rows, side, columns, side).sum(axis=(0, 2))
        for turned, mirrored in product(turns, (False, True)):
            upright = np.rot90(tile, turned)
            facing = upright[:, ::-1] if mirrored else upright
            beside = facing + np.roll(facing, -1, axis=1)
            yield turned, mirrored, beside + np.roll(beside, -1, axis=0)


def _summed(frames: Iterable[np.ndarray]) -> np.ndarray | None:
    total: np.ndarray | None = None
    for frame in frames:
        light = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
        window = (min(25, max(5, min(light.shape) // 16 | 1)),) * 2
        detail = light - cv2.blur(light, window)
        spread = np.sqrt(np.maximum(0, cv2.blur(detail * detail, window))) + _FLAT
        clear = np.clip(detail / spread, -_LARGEST, _LARGEST)
        total = clear if total is None else total + clear
    return total


def _placed(pictures: _Pictures, tile: Tile, chip: float, turns: tuple[int, ...] = (0,)) -> _Place:
    """The likeliest place of the tile at a scale, after any of the turns, either way around."""
    signs, where = tile.spectra
    best = _Place(0.0, chip, 0, False, np.zeros((SIDE, SIDE)))
    for turned, mirrored, chips in pictures.folded(chip, turns):
        fit, energy = _correlated(chips, signs), _correlated(chips * chips, where)
        scores = fit / np.sqrt(np.maximum(energy, 1e-6 * energy.max() + 1e-9))
        down, across = np.unravel_index(scores.argmax(), scores.shape)
        if scores[down, across] > best.score:
            there = np.roll(chips, (-down, -across), axis=(0, 1))[::SAMPLES, ::SAMPLES]
            best = _Place(float(scores[down, across]), chip, turned, mirrored, there)
    return best


def _correlated(chips: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """At each place the sum of chips under the pattern whose spectrum it is; all of one size, around the edges."""
    there = cv2.mulSpectrums(cv2.dft(chips), spectrum, 0, conjB=True)
    return cv2.idft(there, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)


def _best_near(shown: np.ndarray, tile: Tile, chip: float, turns: tuple[int, ...] = (0,)) -> _Place:
    pictures = _Pictures(shown)
    return max((_placed(pictures, tile, chip * factor, turns) for factor in _NEAR), key=lambda place: place.score)


def _read(tile: Tile, place: _Place) -> Reading:
    soft = tile.soft_bits(place.chips)
    identity, whole = decoded(soft), 0.0
    if identity is not None:
        length = float(np.linalg.norm(place.chips))
        whole = float((tile.chips(identity) * place.chips).sum()) / length if length else 0.0
    return Reading(place.score, place.chip, place.turned, place.mirrored, soft, identity, whole)
