"""A woman with natural curls in a terracotta wrap dress with cream dots."""

import numpy as np

from manifests.sample.body import SIDES, Looks, arm, hand, head, leg, mixed, neck, studio
from manifests.sample.canvas import Canvas, Colour, curve, ellipse, points, symmetric, tube

LOOKS = Looks(
    skin=(150, 92, 62),
    hair=(44, 28, 24),
    eyes=(58, 32, 20),
    lips=(150, 52, 56),
    wall=(232, 205, 176),
    floor=(214, 180, 148),
)
WINE: Colour = (116, 33, 36)
GOLD: Colour = (230, 188, 94)


def draw() -> np.ndarray:
    """The finished picture, uint8 (256, 192, 3)."""
    canvas = studio(LOOKS)
    _curls_behind(canvas)
    for side in SIDES:
        leg(canvas, points("9,150 9,178 10,200 8.5,226", side), (8, 6.2, 6.4, 3), LOOKS.skin)
        _pump(canvas, side)
    neck(canvas, LOOKS.skin)
    for side in SIDES:
        arm(canvas, points("19,72 24,100 28,131", side), (5.2, 4.6, 2.6), LOOKS.skin)
        hand(canvas, side * 28.4, 131, side, LOOKS.skin)
    _dress(canvas)
    head(canvas, LOOKS, jaw=7.8)
    _curls(canvas)
    for side in SIDES:
        canvas.paint(ellipse(side * 12, 47.6, 1.5, 2.0), GOLD, volume=1, contact=0)
    return canvas.picture()


def _dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cream dots on terracotta, each row shifted by half a step."""
    row = y / 6.0
    column = x / 7.0 + 0.5 * (np.floor(row) % 2)
    away = np.hypot((column % 1 - 0.5) * 7.0, (row % 1 - 0.5) * 6.0)
    return np.where(away[..., None] < 1.25, (250, 232, 205), (196, 78, 50))


def _dress(canvas: Canvas) -> None:
    """Flared skirt, wrapped bodice, puffed sleeves and a belt."""
    skirt = symmetric("0,112 15,112 19,126 25,160 31,187 31.2,188.4 31.2,188.4 16,191.5 0,190")
    mask = canvas.paint(skirt, _dots, volume=7, shade=0.4, light=0.12, contact=0.4)
    for x, lean in ((-16, -4), (-7, -2), (3, 1), (11, 4), (19, 5)):
        fold = [(x * 0.55, 124), (x, 158), (x + lean, 190)]
        canvas.stroke(fold, 2.6, (90, 20, 14), opacity=0.3, soft=0.9, within=mask)
    half = curve(points("10.5,60.8 17,63.5 20.5,68 18.5,80 15,98 14.2,108 15,115 0,116"), closed=False)
    bodice = np.vstack([half, half[::-1] * [-1, 1], [(-1, 88)]])
    mask = canvas.paint(bodice, _dots, volume=6, shade=0.36, light=0.14, contact=0.3)
    for side in SIDES:
        sleeve = tube(points("18,66.5 21.5,74 23.2,83", side), (4.6, 6.4, 6.9), False, False)
        canvas.paint(sleeve, _dots, volume=3.5, shade=0.34, contact=0.35)
        canvas.stroke([(side * 10, 62), (side * 5, 76), (-1, 88)], 1.6, (150, 50, 30), opacity=0.9)
    canvas.stroke(points("-1,88 5,98 9,110"), 1.3, (110, 30, 20), opacity=0.6, soft=0.3, within=mask)
    canvas.paint(symmetric("0,107 14.4,106.5 14.9,113 0,113.8"), WINE, volume=2.5, contact=0.3)
    canvas.paint(ellipse(4, 110.2, 2.6, 2.6), GOLD, volume=1)


def _curls_behind(canvas: Canvas) -> None:
    """The round outline of the hair, painted before the neck."""
    for i, turn in enumerate(np.linspace(0, 2 * np.pi, 26, endpoint=False)):
        size = 3.6 + 0.8 * np.sin(i * 2.4)
        curl = ellipse(17.5 * np.cos(turn), 31 + 17.5 * np.sin(turn), size, size)
        canvas.paint(curl, LOOKS.hair, volume=2, contact=0)
    canvas.paint(ellipse(0, 31, 18, 18), LOOKS.hair, volume=6, contact=0)


def _curls(canvas: Canvas) -> None:
    """Curls on a sunflower spiral around the hairline, leaving the face free."""
    for i in range(60):
        turn, reach = i * 2.39996, 16.5 * np.sqrt((i + 0.5) / 60)
        x, y = reach * np.cos(turn), 27 + reach * np.sin(turn)
        if abs(x) < 12.5 and y > 24 + x * x * (0.075 if abs(x) < 10 else 0.1125):
            continue
        tint = mixed(LOOKS.hair, (120, 80, 60), 0.1 + 0.25 * max(0.0, 0.4 - (x + y - 31) / 40))
        canvas.paint(ellipse(x, y, 3.1, 2.9), tint, volume=2, shade=0.5, light=0.3, contact=0.3)


def _pump(canvas: Canvas, side: int) -> None:
    """A heeled shoe from the front."""
    shoe = curve(points("-3.2,226 3.2,226 5.4,233 2,239 -3,233", side, x=side * 9))
    canvas.paint(shoe, WINE, volume=2, shade=0.4, light=0.3)
    canvas.paint(ellipse(side * 9, 226.8, 2.7, 2.2), LOOKS.skin, volume=1, contact=0)
