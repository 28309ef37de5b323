"""Arms and hands with their sleeves."""

import numpy as np

from pipelines.training.people.character import Character
from pipelines.training.people.pattern import Pattern, limb_cloth
from pipelines.training.people.shading import column
from pipelines.training.people.skeleton import Skeleton
from pipelines.training.people.tube import Section, Tube

UPPER, FOREARM = (0.024, 0.03, 0.028, 0.025), (0.025, 0.025, 0.017)  # half widths in body lengths
HAND, THUMB = (0.016, 0.022, 0.02, 0.013), (0.011, 0.008)
SHORT_SLEEVE, CUFF = (0.024, 0.03, 0.032), (0.025, 0.025, 0.019)
BARE_FROM = 0.4  # of the upper arm, under a short sleeve


def arms(character: Character, joints: Skeleton, scale: float) -> list[Tube]:
    """Both arms; joints in picture space, `scale` the pixels of the tallest person."""
    size = character.proportions.height * scale
    sleeves = "long" if character.garments.jacket else character.garments.sleeves
    front = joints.chest_frame[:, 2]
    tubes = []
    for shoulder, elbow, wrist, knuckles in zip(
        joints.shoulders, joints.elbows, joints.wrists, joints.knuckles, strict=True
    ):
        tubes += _bare(character, sleeves, (shoulder, elbow, wrist), size)
        tubes += _hand(character, wrist, knuckles, front, size)
        tubes += _sleeve(character, sleeves, (shoulder, elbow, wrist), front, size)
    return tubes


def _bare(character: Character, sleeves: str, joints: tuple[np.ndarray, ...], size: float) -> list[Tube]:
    """The skin that sleeves leave free."""
    if sleeves == "long":
        return []
    shoulder, elbow, wrist = joints
    unit, skin = size * character.proportions.build, column(character.skin)
    hidden = BARE_FROM if sleeves == "short" else 0.0
    radii = np.interp(np.linspace(hidden, 1, 4), np.linspace(0, 1, 4), _times(UPPER, unit))
    start = shoulder + (elbow - shoulder) * hidden
    cap = None if hidden else 1.0
    return [
        Tube(start, elbow, tuple(radii.tolist()), skin, start_cap=cap, raised=0.3),
        Tube(elbow, wrist, _times(FOREARM, unit), skin),
    ]


def _hand(character: Character, wrist: np.ndarray, knuckles: np.ndarray, front: np.ndarray, size: float) -> list[Tube]:
    """A mitten with a thumb in front."""
    unit, skin = size * character.proportions.build, column(character.skin)
    along = (knuckles - wrist) / max(np.linalg.norm(knuckles - wrist), 1e-6)
    thumb = wrist + (0.35 * along + 0.55 * front) * 0.05 * size
    return [
        Tube(wrist, knuckles, _times(HAND, unit), skin, tip=True),
        Tube(wrist + along * 0.006 * size, thumb, _times(THUMB, unit), skin, tip=True),
    ]


def _sleeve(
    character: Character, sleeves: str, joints: tuple[np.ndarray, ...], front: np.ndarray, size: float
) -> list[Tube]:
    """The sleeve of the jacket, or else of the top."""
    if sleeves == "none":
        return []
    shoulder, elbow, wrist = joints
    garments, unit = character.garments, size * character.proportions.build
    dress = limb_cloth(Pattern("plain", (garments.jacket,) * 3) if garments.jacket else garments.top)
    ease = (0.008 if garments.jacket else 0.005) * size

    def piece(start: np.ndarray, end: np.ndarray, radii: tuple[float, ...], cap: float) -> Tube:
        wide = tuple(radius + ease for radius in _times(radii, unit))
        around = Section.round(start, end, front)
        return Tube(start, end, wide, dress, around, end_cap=cap, scale=size, raised=1.0)

    if sleeves == "short":
        return [piece(shoulder, shoulder + (elbow - shoulder) * 0.58, SHORT_SLEEVE, 0.0)]
    return [piece(shoulder, elbow, UPPER, 1.0), piece(elbow, elbow + (wrist - elbow) * 0.97, CUFF, 0.0)]


def _times(radii: tuple[float, ...], unit: float) -> tuple[float, ...]:
    return tuple(radius * unit for radius in radii)
