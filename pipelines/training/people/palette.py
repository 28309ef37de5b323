"""Colours of people, clothes and studios; RGB 0…255."""

import numpy as np

Colour = tuple[float, float, float]

SKIN: tuple[Colour, ...] = (
    (255, 226, 205),
    (250, 214, 188),
    (243, 200, 168),
    (232, 184, 146),
    (216, 164, 122),
    (196, 142, 100),
    (172, 118, 80),
    (146, 98, 66),
    (120, 78, 54),
    (96, 62, 44),
)
HAIR: tuple[Colour, ...] = (
    (30, 26, 30),
    (44, 32, 28),
    (70, 46, 34),
    (104, 66, 42),
    (140, 92, 52),
    (184, 134, 74),
    (222, 184, 118),
    (168, 74, 40),
    (196, 96, 48),
    (150, 148, 152),
    (214, 212, 210),
)
CLOTH: tuple[Colour, ...] = (
    (206, 52, 56),
    (168, 36, 62),
    (232, 106, 74),
    (240, 150, 60),
    (238, 196, 72),
    (252, 226, 140),
    (118, 158, 74),
    (44, 122, 84),
    (28, 84, 74),
    (58, 166, 158),
    (110, 196, 214),
    (52, 124, 196),
    (38, 74, 150),
    (28, 40, 86),
    (92, 72, 168),
    (152, 108, 190),
    (196, 164, 222),
    (214, 82, 140),
    (240, 150, 178),
    (250, 206, 208),
    (128, 74, 50),
    (182, 132, 88),
    (222, 196, 158),
    (246, 240, 228),
    (250, 250, 250),
    (172, 178, 186),
    (92, 100, 112),
    (42, 44, 52),
)
DENIM: tuple[Colour, ...] = ((62, 92, 142), (92, 128, 176), (40, 56, 92), (146, 172, 204), (44, 46, 56))
SHOES: tuple[Colour, ...] = (
    (40, 38, 42),
    (248, 246, 242),
    (122, 72, 46),
    (196, 50, 52),
    (186, 150, 110),
    (44, 66, 120),
    (90, 94, 102),
    (236, 190, 90),
)
LIPS: tuple[Colour, ...] = ((196, 74, 84), (176, 50, 70), (206, 104, 98), (160, 66, 66), (214, 90, 112))
EYES: tuple[Colour, ...] = ((62, 40, 28), (44, 30, 26), (60, 92, 130), (74, 104, 70), (92, 66, 40))
WALLS: tuple[Colour, ...] = (
    (238, 236, 232),
    (226, 230, 236),
    (244, 232, 216),
    (236, 216, 206),
    (232, 206, 208),
    (214, 204, 226),
    (198, 214, 234),
    (196, 224, 224),
    (208, 226, 204),
    (242, 232, 190),
    (176, 188, 200),
    (206, 184, 160),
    (164, 182, 170),
    (186, 168, 190),
    (148, 162, 186),
    (222, 170, 146),
)


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """`one` with `share` (0…1) of `other` in it."""
    red, green, blue = (float(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def picked(rng: np.random.Generator, colours: tuple[Colour, ...], wander: float = 6.0) -> Colour:
    """One of the colours, moved a little."""
    colour = np.asarray(colours[int(rng.integers(len(colours)))], float) + rng.normal(0, wander, 3)
    red, green, blue = np.clip(np.round(colour), 8, 254).tolist()
    return red, green, blue


def apart(rng: np.random.Generator, colours: tuple[Colour, ...], *others: Colour, least: float = 90.0) -> Colour:
    """One of the colours that differs from all `others` by at least so much, where one does."""
    for _ in range(12):
        colour = picked(rng, colours)
        if all(np.linalg.norm(np.subtract(colour, other)) >= least for other in others):
            break
    return colour
