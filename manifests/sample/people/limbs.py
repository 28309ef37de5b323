"""Arms, hands, legs and feet with sleeves, trousers, socks and shoes."""

import numpy as np

from manifests.sample.people.character import Character, Garments
from manifests.sample.people.palette import mixed
from manifests.sample.people.pattern import Pattern, cloth
from manifests.sample.people.shading import column
from manifests.sample.people.skeleton import Skeleton
from manifests.sample.people.tube import Section, Surface, Texture, Tube


def limbs(character: Character, joints: Skeleton, scale: float) -> list[Tube]:
    """All four limbs and the neck; joints in picture space."""
    size = character.proportions.height * scale
    return [_neck(character, joints, size), *_arms(character, joints, size), *_legs(character, joints, size)]


def _neck(character: Character, joints: Skeleton, size: float) -> Tube:
    shade = column(mixed(character.skin, (80, 30, 30), 0.16))
    low = joints.neck - joints.chest_frame[:, 1] * 0.03 * size
    high = joints.skull - joints.head_frame[:, 1] * 0.03 * size - joints.head_frame[:, 2] * 0.012 * size
    thick = 0.03 * (0.55 + 0.45 * character.proportions.build) * size
    return Tube(low, high, (thick * 1.15, thick, thick), shade, raised=-1.0)


def _arms(character: Character, joints: Skeleton, size: float) -> list[Tube]:
    garments, build = character.garments, character.proportions.build
    unit = size * build
    skin = column(character.skin)
    front = joints.chest_frame[:, 2]
    tubes = []
    for shoulder, elbow, wrist, knuckles in zip(
        joints.shoulders, joints.elbows, joints.wrists, joints.knuckles, strict=True
    ):
        upper, fore = (0.024 * unit, 0.03 * unit, 0.028 * unit, 0.025 * unit), (0.025 * unit, 0.025 * unit, 0.017 * unit)
        along = (knuckles - wrist) / max(np.linalg.norm(knuckles - wrist), 1e-6)
        thumb = wrist + (0.35 * along + 0.55 * front) * 0.05 * size
        sleeves = "long" if garments.jacket else garments.sleeves
        if sleeves != "long":
            bare = 0.4 if sleeves == "short" else 0.0
            radii = np.interp(np.linspace(bare, 1, 4), np.linspace(0, 1, 4), upper)
            start = shoulder + (elbow - shoulder) * bare
            cap = None if bare else 1.0
            tubes.append(Tube(start, elbow, tuple(radii.tolist()), skin, start_cap=cap, raised=0.3))
            tubes.append(Tube(elbow, wrist, fore, skin))
        tubes += [
            Tube(wrist, knuckles, (0.016 * unit, 0.022 * unit, 0.02 * unit, 0.013 * unit), skin, tip=True),
            Tube(wrist + along * 0.006 * size, thumb, (0.011 * unit, 0.008 * unit), skin, tip=True),
        ]
        dress = _dressed(Pattern("plain", (garments.jacket,) * 3) if garments.jacket else garments.top)
        ease = (0.008 if garments.jacket else 0.005) * size
        if sleeves == "long":
            around = _around(shoulder, elbow, front)
            tubes.append(Tube(shoulder, elbow, _eased(upper, ease), dress, around, scale=size, raised=1.0))
            cuff = elbow + (wrist - elbow) * 0.97
            wide = _eased((0.025 * unit, 0.025 * unit, 0.019 * unit), ease)
            around = _around(elbow, cuff, front)
            tubes.append(Tube(elbow, cuff, wide, dress, around, end_cap=0.0, scale=size, raised=1.0))
        elif sleeves == "short":
            cuff = shoulder + (elbow - shoulder) * 0.58
            wide = _eased((0.024 * unit, 0.03 * unit, 0.032 * unit), ease)
            around = _around(shoulder, cuff, front)
            tubes.append(Tube(shoulder, cuff, wide, dress, around, end_cap=0.0, scale=size, raised=1.0))
    return tubes


def _legs(character: Character, joints: Skeleton, size: float) -> list[Tube]:
    garments, shoes, body = character.garments, character.shoes, character.proportions
    unit = size * body.build
    skin = column(character.skin)
    tubes = []
    front = joints.pelvis_frame[:, 2]
    upper = (0.04 * unit, 0.046 * unit, 0.043 * unit, 0.037 * unit, 0.031 * unit)
    lower = (0.031 * unit, 0.033 * unit, 0.034 * unit, 0.027 * unit, 0.02 * unit, 0.018 * unit)
    if garments.kind in ("trousers", "shorts"):
        left, right = joints.hips
        seat = _dressed(garments.bottom)
        tubes.append(Tube(left, right, (0.04 * unit,) * 2, seat, _around(left, right, front), scale=size, raised=-4.0))
    for hip, knee, ankle, heel, toe in zip(
        joints.hips, joints.knees, joints.ankles, joints.heels, joints.toes, strict=True
    ):
        dress = _dressed(garments.bottom)
        if garments.kind == "trousers":
            wide = garments.wide
            thigh = (0.041 * unit, 0.048 * unit, 0.047 * unit, (0.041 + 0.006 * wide) * unit, (0.036 + 0.011 * wide) * unit)
            shin = tuple((a + b * wide) * unit for a, b in ((0.036, 0.011), (0.035, 0.013), (0.03, 0.018), (0.025, 0.023)))
            low = ankle + (ankle - knee) * 0.04
            tubes.append(Tube(hip, knee, thigh, dress, _around(hip, knee, front), scale=size, raised=-2.0))
            tubes.append(Tube(knee, low, shin, dress, _around(knee, low, front), end_cap=0.0, scale=size))
        else:
            covered = _shorts_length(garments) if garments.kind == "shorts" else garments.length / body.thigh
            share = min(0.7 * covered, 0.9)
            radii = np.interp(np.linspace(share, 1, 5), np.linspace(0, 1, 5), upper)
            start = hip + (knee - hip) * share
            tubes.append(Tube(start, knee, tuple(radii.tolist()), skin, start_cap=None, raised=-2.0))
            tubes.append(Tube(knee, ankle, lower, skin))
        if garments.kind == "shorts":
            cuff = hip + (knee - hip) * _shorts_length(garments)
            wide = tuple(r * unit for r in (0.042, 0.05, 0.052, 0.05 + 0.006 * garments.wide))
            tubes.append(Tube(hip, cuff, wide, dress, _around(hip, cuff, front), end_cap=0.0, scale=size, raised=-1.0))
        shaft, colour = (0.2, shoes.socks) if shoes.socks else (shoes.shaft, shoes.colour)
        if shaft > 0:
            top = ankle + (knee - ankle) * shaft
            radii = np.interp(np.linspace(1 - shaft, 1, 4), np.linspace(0, 1, 6), lower)
            wide = tuple(float(r) + 0.004 * size for r in radii)
            tubes.append(Tube(top, ankle, wide, column(colour), start_cap=0.0, raised=1.0))
        tubes += _shoe(character, ankle, heel, toe, size)
    return tubes


def _shoe(character: Character, ankle: np.ndarray, heel: np.ndarray, toe: np.ndarray, size: float) -> list[Tube]:
    """A shoe on its sole."""
    colour, sole = column(character.shoes.colour), column(character.shoes.sole)
    under = np.array([0.0, 0.007 * size, 0.0])
    radii = tuple(r * size for r in (0.021, 0.021, 0.022, 0.023, 0.018))
    return [
        Tube(heel + under, toe + under, tuple(r * 1.06 for r in radii), sole, tip=True, raised=-1.5),
        Tube(heel, toe, radii, colour, tip=True),
        Tube(ankle, heel + (toe - heel) * 0.2, (0.021 * size, 0.02 * size), colour),
    ]


def _shorts_length(garments: Garments) -> float:
    """How much of the thigh shorts cover, 0…1."""
    return min(0.5 + garments.length * 1.4, 0.95)


def _eased(radii: tuple[float, ...], ease: float) -> tuple[float, ...]:
    return tuple(radius + ease for radius in radii)


def _around(start: np.ndarray, end: np.ndarray, front: np.ndarray) -> Section:
    """Round cross-sections whose angle 0 lies as far in front as the limb allows."""
    bone = (end - start) / max(np.linalg.norm(end - start), 1e-6)
    ahead = front - bone * (front @ bone)
    if np.linalg.norm(ahead) < 0.3:
        ahead = np.array([0.0, 1.0, 0.0]) - bone * bone[1]
    ahead = ahead / np.linalg.norm(ahead)
    left = np.cross(ahead, bone)
    return Section((ahead, ahead), (left, left))


def _dressed(pattern: Pattern) -> Texture | np.ndarray:
    """A sleeve's or trouser leg's cloth."""
    if pattern.kind in ("plain", "halves"):
        return column(pattern.colours[0])
    if pattern.kind == "blocks":
        return column(pattern.colours[1])
    if pattern.kind == "gradient":
        return column(pattern.colours[0])

    def texture(at: Surface) -> tuple[np.ndarray, None]:
        return cloth(pattern, at._replace(angle=at.angle * np.float32(0.45))), None

    return texture
