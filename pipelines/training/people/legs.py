"""Legs and feet with trousers, shorts, socks and shoes."""

import numpy as np

from pipelines.training.people.character import Character, Garments
from pipelines.training.people.pattern import limb_cloth
from pipelines.training.people.shading import column
from pipelines.training.people.skeleton import Skeleton
from pipelines.training.people.tube import Section, Tube

THIGH, SHIN = (0.04, 0.046, 0.043, 0.037, 0.031), (0.031, 0.033, 0.034, 0.027, 0.02, 0.018)  # half widths
NARROW_THIGH, WIDER_THIGH = (0.041, 0.048, 0.047, 0.041, 0.036), (0.0, 0.0, 0.0, 0.006, 0.011)
NARROW_SHIN, WIDER_SHIN = (0.036, 0.035, 0.03, 0.025), (0.011, 0.013, 0.018, 0.023)
SHOE = (0.021, 0.021, 0.022, 0.023, 0.018)
SOCK = 0.2  # of the shin


def legs(character: Character, joints: Skeleton, scale: float) -> list[Tube]:
    """Both legs; joints in picture space, `scale` the pixels of the tallest person."""
    garments = character.garments
    size = character.proportions.height * scale
    front = joints.pelvis_frame[:, 2]
    tubes = []
    if garments.kind in ("trousers", "shorts"):
        tubes.append(_seat(character, joints, size))
    for hip, knee, ankle, heel, toe in zip(
        joints.hips, joints.knees, joints.ankles, joints.heels, joints.toes, strict=True
    ):
        if garments.kind == "trousers":
            tubes += _trousers(character, (hip, knee, ankle), front, size)
        else:
            tubes += _bare(character, (hip, knee, ankle), size)
        if garments.kind == "shorts":
            tubes.append(_shorts(character, hip, knee, front, size))
        tubes += _shaft(character, knee, ankle, size)
        tubes += _shoe(character, ankle, heel, toe, size)
    return tubes


def _seat(character: Character, joints: Skeleton, size: float) -> Tube:
    """Cloth between the thighs."""
    left, right = joints.hips
    wide = (0.04 * size * character.proportions.build,) * 2
    around = Section.round(left, right, joints.pelvis_frame[:, 2])
    return Tube(left, right, wide, limb_cloth(character.garments.bottom), around, scale=size, raised=-4.0)


def _trousers(character: Character, joints: tuple[np.ndarray, ...], front: np.ndarray, size: float) -> list[Tube]:
    """One leg of trousers, narrow or wide."""
    hip, knee, ankle = joints
    wide, unit = character.garments.wide, size * character.proportions.build
    dress = limb_cloth(character.garments.bottom)
    thigh = tuple((a + b * wide) * unit for a, b in zip(NARROW_THIGH, WIDER_THIGH, strict=True))
    shin = tuple((a + b * wide) * unit for a, b in zip(NARROW_SHIN, WIDER_SHIN, strict=True))
    hem = ankle + (ankle - knee) * 0.04
    return [
        Tube(hip, knee, thigh, dress, Section.round(hip, knee, front), scale=size, raised=-2.0),
        Tube(knee, hem, shin, dress, Section.round(knee, hem, front), end_cap=0.0, scale=size),
    ]


def _bare(character: Character, joints: tuple[np.ndarray, ...], size: float) -> list[Tube]:
    """The skin that a skirt or shorts leave free, and a little more under the hem."""
    hip, knee, ankle = joints
    garments, body = character.garments, character.proportions
    unit, skin = size * body.build, column(character.skin)
    covered = _shorts_length(garments) if garments.kind == "shorts" else garments.length / body.thigh
    share = min(0.7 * covered, 0.9)
    radii = np.interp(np.linspace(share, 1, 5), np.linspace(0, 1, 5), tuple(r * unit for r in THIGH))
    start = hip + (knee - hip) * share
    return [
        Tube(start, knee, tuple(radii.tolist()), skin, start_cap=None, raised=-2.0),
        Tube(knee, ankle, tuple(r * unit for r in SHIN), skin),
    ]


def _shorts(character: Character, hip: np.ndarray, knee: np.ndarray, front: np.ndarray, size: float) -> Tube:
    """One leg of shorts."""
    garments, unit = character.garments, size * character.proportions.build
    cuff = hip + (knee - hip) * _shorts_length(garments)
    wide = tuple(r * unit for r in (0.042, 0.05, 0.052, 0.05 + 0.006 * garments.wide))
    around = Section.round(hip, cuff, front)
    return Tube(hip, cuff, wide, limb_cloth(garments.bottom), around, end_cap=0.0, scale=size, raised=-1.0)


def _shorts_length(garments: Garments) -> float:
    """How much of the thigh shorts cover, 0…1."""
    return min(0.5 + garments.length * 1.4, 0.95)


def _shaft(character: Character, knee: np.ndarray, ankle: np.ndarray, size: float) -> list[Tube]:
    """The shaft of a boot, or a sock."""
    shoes, unit = character.shoes, size * character.proportions.build
    share, colour = (SOCK, shoes.socks) if shoes.socks else (shoes.shaft, shoes.colour)
    if share <= 0:
        return []
    top = ankle + (knee - ankle) * share
    radii = np.interp(np.linspace(1 - share, 1, 4), np.linspace(0, 1, 6), tuple(r * unit for r in SHIN))
    wide = tuple(float(r) + 0.004 * size for r in radii)
    return [Tube(top, ankle, wide, column(colour), start_cap=0.0, raised=1.0)]


def _shoe(character: Character, ankle: np.ndarray, heel: np.ndarray, toe: np.ndarray, size: float) -> list[Tube]:
    """A shoe on its sole."""
    colour, sole = column(character.shoes.colour), column(character.shoes.sole)
    under = np.array([0.0, 0.007 * size, 0.0])
    radii = tuple(r * size for r in SHOE)
    return [
        Tube(heel + under, toe + under, tuple(r * 1.06 for r in radii), sole, tip=True, raised=-1.5),
        Tube(heel, toe, radii, colour, tip=True),
        Tube(ankle, heel + (toe - heel) * 0.2, (0.021 * size, 0.02 * size), colour),
    ]
