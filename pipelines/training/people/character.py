"""Who is drawn: proportions, looks and clothes, drawn by a seed."""

from dataclasses import dataclass

import numpy as np

from pipelines.training.people.palette import (
    CLOTH,
    DENIM,
    EYES,
    HAIR,
    LIPS,
    SHOES,
    SKIN,
    WALLS,
    Colour,
    apart,
    mixed,
    picked,
)
from pipelines.training.people.pattern import LOGOS, Pattern
from pipelines.training.people.skeleton import Proportions

HAIRSTYLES = ("short", "long", "bun", "bob", "afro", "bald", "ponytail")


@dataclass(frozen=True)
class Hair:
    """Hair and what is worn on it; `fringe` is the hairline's height on the face, `parting` how it slopes."""

    style: str
    colour: Colour
    fringe: float
    parting: float
    hat: str | None
    hat_colour: Colour


@dataclass(frozen=True)
class Face:
    """Colours of a face; `lashes` 0…1 is how dark the lids are drawn, `beard` how dense it grows."""

    eyes: Colour
    lips: Colour
    brows: Colour
    lashes: float
    blush: float
    beard: float


@dataclass(frozen=True)
class Garments:
    """What is worn; lengths in body lengths. Tops end at `top_hem` above the trunk's lower end."""

    kind: str  # dress, skirt, trousers or shorts
    sleeves: str  # none, short or long
    top: Pattern
    bottom: Pattern
    top_hem: float
    length: float  # of the skirt or shorts below the hip
    flare: float  # half width of the skirt's hem
    folds: int
    wide: float  # width of trouser legs, 0…1
    neckline: str  # round, vee, boat or high
    collar: Colour | None
    belt: Colour | None
    buttons: Colour | None
    logo: str | None
    logo_colour: Colour
    jacket: Colour | None


@dataclass(frozen=True)
class Shoes:
    """Shoes; `shaft` is how far up the shin they reach, 0…1."""

    colour: Colour
    sole: Colour
    shaft: float
    socks: Colour | None


@dataclass(frozen=True)
class Backdrop:
    """A studio: colours of wall and floor, where the light falls (0…1), how strong it is."""

    wall: Colour
    floor: Colour
    light: tuple[float, float]
    strength: float
    horizon: float
    softness: float


@dataclass(frozen=True)
class Character:
    """One person in one outfit in one studio."""

    proportions: Proportions
    skin: Colour
    hair: Hair
    face: Face
    garments: Garments
    shoes: Shoes
    backdrop: Backdrop


def random_character(seed: int) -> Character:
    """The person of this seed."""
    rng = np.random.default_rng([seed, 70])
    curves = float(np.clip(rng.normal(0.72, 0.3) if rng.random() < 0.6 else rng.normal(0.2, 0.15), 0, 1))
    tone = rng.uniform(0, len(SKIN) - 1)
    skin = mixed(SKIN[int(tone)], SKIN[min(int(tone) + 1, len(SKIN) - 1)], tone % 1)
    garments = _garments(rng, curves, skin)
    backdrop = _backdrop(rng, garments)
    hair = _hair(rng, curves, tone, garments)
    proportions = _proportions(rng, curves)
    face = _face(rng, curves, tone, skin, hair)
    return Character(proportions, skin, hair, face, garments, _shoes(rng, skin, garments), backdrop)


def _proportions(rng: np.random.Generator, curves: float) -> Proportions:
    wide = rng.normal(1.0, 0.05)
    return Proportions(
        height=float(rng.uniform(0.87, 1.0) - 0.02 * curves),
        head=float(rng.uniform(0.176, 0.194)),
        shoulders=float((0.103 - 0.013 * curves) * wide),
        hips=float(0.043 + 0.004 * curves),
        chest=float((0.077 - 0.009 * curves) * wide),
        waist=float((0.067 - 0.013 * curves) * wide),
        pelvis=float((0.075 + 0.009 * curves) * wide),
        build=float((1.04 - 0.12 * curves) * rng.normal(1.0, 0.06)),
    )


def _hair(rng: np.random.Generator, curves: float, tone: float, garments: Garments) -> Hair:
    feminine = curves > 0.45
    chances = (0.12, 0.3, 0.13, 0.16, 0.1, 0.02, 0.17) if feminine else (0.68, 0.05, 0.02, 0.03, 0.08, 0.12, 0.02)
    style = str(rng.choice(HAIRSTYLES, p=chances))
    if style == "afro" and tone < 3:
        style = "bob" if feminine else "short"
    if tone > 6.5:
        colours = HAIR[:3]
    elif tone > 4:
        colours = HAIR[:5]
    else:
        colours = HAIR
    hat = str(rng.choice(("cap", "hat", "beanie"))) if rng.random() < 0.14 and style not in ("afro", "bun") else None
    fringe = float(rng.choice((0.28, 0.42, 0.52), p=(0.3, 0.35, 0.35)))
    parting = float(rng.choice((-0.3, 0.0, 0.3)))
    return Hair(style, picked(rng, colours, 4), fringe, parting, hat, apart(rng, CLOTH, garments.top.colours[0]))


def _face(rng: np.random.Generator, curves: float, tone: float, skin: Colour, hair: Hair) -> Face:
    feminine = curves > 0.45
    lips = mixed(picked(rng, LIPS), skin, 0.1 if feminine else 0.55)
    beard = float(rng.uniform(0.4, 0.85)) if not feminine and rng.random() < 0.3 else 0.0
    brows = mixed(hair.colour, (30, 20, 18), 0.45)
    eyes = picked(rng, EYES if tone < 4 else EYES[:2], 4)
    return Face(eyes, lips, brows, 1.0 if feminine else 0.6, rng.uniform(0.1, 0.4), beard)


def _pattern(rng: np.random.Generator, plain: float, *unlike: Colour) -> Pattern:
    first = apart(rng, CLOTH, *unlike)
    second = apart(rng, CLOTH, first, least=120)
    third = apart(rng, CLOTH, first, second, least=100)
    kinds = ("stripes", "pinstripes", "checks", "tartan", "dots", "blocks", "halves", "gradient")
    chances = (0.22, 0.1, 0.1, 0.11, 0.2, 0.11, 0.04, 0.12)
    kind = "plain" if rng.random() < plain else str(rng.choice(kinds, p=chances))
    return Pattern(kind, (first, second, third), float(rng.choice((0.042, 0.055, 0.07), p=(0.3, 0.4, 0.3))))


def _garments(rng: np.random.Generator, curves: float, skin: Colour) -> Garments:
    feminine = curves > 0.45
    chances = (0.36, 0.26, 0.26, 0.12) if feminine else (0, 0, 0.72, 0.28)
    kind = str(rng.choice(("dress", "skirt", "trousers", "shorts"), p=chances))
    sleeves = str(rng.choice(("none", "short", "long"), p=(0.28, 0.4, 0.32) if feminine else (0.08, 0.5, 0.42)))
    top = _pattern(rng, 0.36, skin)
    bottom = top if kind == "dress" else _bottom(rng, kind, top, skin)
    jacket = apart(rng, CLOTH, top.colours[0], skin) if rng.random() < 0.2 else None
    logo = str(rng.choice(LOGOS)) if top.kind in ("plain", "gradient") and rng.random() < 0.5 else None
    accent = apart(rng, CLOTH, top.colours[0])
    longest = rng.random() < 0.25
    return Garments(
        kind,
        sleeves,
        top,
        bottom,
        top_hem=0.14 if kind == "skirt" else float(rng.choice((0.13, 0.07, 0.045))),
        length=float(rng.uniform(0.28, 0.36) if longest else rng.uniform(0.12, 0.24)),
        flare=float(rng.choice((0.085, 0.12, 0.155), p=(0.3, 0.4, 0.3))),
        folds=int(rng.choice((0, 8, 12))),
        wide=float(rng.uniform(0, 1)),
        neckline=str(rng.choice(("round", "vee", "boat", "high"), p=(0.4, 0.25, 0.15, 0.2))),
        collar=accent if rng.random() < 0.25 else None,
        belt=picked(rng, SHOES) if rng.random() < 0.45 else None,
        buttons=mixed(accent, (255, 255, 255), 0.3) if rng.random() < 0.15 and logo is None else None,
        logo=logo,
        logo_colour=apart(rng, CLOTH, top.colours[0], least=140),
        jacket=jacket,
    )


def _bottom(rng: np.random.Generator, kind: str, top: Pattern, skin: Colour) -> Pattern:
    if kind in ("trousers", "shorts") and rng.random() < 0.5:
        colour = apart(rng, DENIM, top.colours[0], skin, least=70)
        return Pattern("plain", (colour, colour, colour))
    pattern = _pattern(rng, 0.45 if kind == "skirt" and top.kind == "plain" else 0.88, skin, *top.colours[:2])
    whole = kind == "skirt" or pattern.kind in ("plain", "pinstripes", "checks", "tartan", "dots")
    return pattern if whole else pattern._replace(kind="plain")


def _shoes(rng: np.random.Generator, skin: Colour, garments: Garments) -> Shoes:
    colour = apart(rng, SHOES, skin)
    sole = (244, 242, 238) if rng.random() < 0.5 and sum(colour) < 560 else mixed(colour, (20, 16, 16), 0.55)
    bare = garments.kind != "trousers"
    shaft = float(rng.choice((0.0, 0.22, 0.6), p=(0.6, 0.25, 0.15))) if bare else 0.0
    socks = apart(rng, CLOTH, colour, skin) if bare and shaft == 0 and rng.random() < 0.3 else None
    return Shoes(colour, sole, shaft, socks)


def _backdrop(rng: np.random.Generator, garments: Garments) -> Backdrop:
    wall = apart(rng, WALLS, garments.top.colours[0], garments.bottom.colours[0], least=80)
    floor = mixed(wall, ((120, 104, 92), (96, 100, 112), (255, 252, 246))[int(rng.integers(3))], rng.uniform(0.1, 0.35))
    light = (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.15, 0.5)))
    return Backdrop(
        wall, floor, light, float(rng.uniform(0.1, 0.3)), float(rng.uniform(0.76, 0.86)), float(rng.uniform(0.01, 0.05))
    )
