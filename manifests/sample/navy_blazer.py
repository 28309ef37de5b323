"""A bearded man in a navy blazer over a striped tee, stone chinos and white sneakers."""

import numpy as np

from manifests.sample.body import SIDES, Looks, hand, head, mixed, neck, studio
from manifests.sample.canvas import Canvas, Colour, curve, ellipse, points, symmetric, tube

LOOKS = Looks(
    skin=(232, 184, 152),
    hair=(66, 44, 30),
    eyes=(70, 104, 122),
    lips=(190, 116, 104),
    wall=(190, 204, 214),
    floor=(158, 172, 184),
)
NAVY: Colour = (44, 58, 96)
INK: Colour = (16, 22, 44)
STONE: Colour = (204, 186, 154)
SEAM: Colour = (112, 94, 64)
WHITE: Colour = (246, 244, 238)


def draw() -> np.ndarray:
    """The finished picture, uint8 (256, 192, 3)."""
    canvas = studio(LOOKS)
    _trousers(canvas)
    neck(canvas, LOOKS.skin, half=6.6)
    tee = symmetric("0,66.5 5,65.4 8,61 14,62 20,68 18,90 17,117 0,118")
    canvas.paint(tee, _stripes, volume=6, contact=0.3)
    canvas.stroke(points("-7.6,61.5 -4,66 0,67.2 4,66 7.6,61.5"), 1.9, WHITE)
    belt = tube(points("-17,117 0,118.4 17,117"), (2.4, 2.4, 2.4), False, False)
    canvas.paint(belt, (92, 58, 38), volume=1.6, contact=0.4)
    canvas.paint(ellipse(0, 118.2, 2.8, 2.2), (206, 190, 150), volume=1, contact=0.3)
    for side in SIDES:
        _sleeve(canvas, side)
    for side in SIDES:
        _front(canvas, side)
    canvas.paint(curve(points("10.5,82.5 13,79.5 14.2,82 16.6,79 17,82.6")), (232, 120, 84), volume=0.8, contact=0.3)
    canvas.stroke(points("10,83.2 17.6,82.4"), 1.0, INK, opacity=0.8)
    face = head(canvas, LOOKS, jaw=9.2, lashes=False)
    _beard(canvas, face)
    _hair(canvas)
    return canvas.picture()


def _stripes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Navy stripes on white that bend around the chest."""
    row = (y + 0.006 * x**2) / 5.0
    return np.where((row % 1 < 0.36)[..., None], (64, 78, 120), WHITE)


def _trousers(canvas: Canvas) -> None:
    """Chinos over white sneakers."""
    for side in SIDES:
        _sneaker(canvas, side)
        path = points("9,126 10.5,152 11,180 11.4,204 11.8,230", side)
        outline = tube(path, (9.8, 9.6, 8.2, 7.2, 6.6), round_end=False)
        mask = canvas.paint(outline, STONE, volume=4, shade=0.38, light=0.14, contact=0.3)
        for y, bend in ((178, 1), (183, -1), (219, 1), (224, -1)):
            crease = [(side * 5, y), (side * 10, y + bend), (side * 15, y - 2 * bend)]
            canvas.stroke(crease, 1.1, SEAM, opacity=0.35, soft=0.5, within=mask)
        canvas.stroke(points("11,140 12,180 12,228", side), 0.9, SEAM, opacity=0.35, soft=0.3, within=mask)
    hips = symmetric("0,112 17,112 18.6,124 18.4,134 8,139 0,137")
    mask = canvas.paint(hips, STONE, volume=5, contact=0)
    canvas.stroke(points("0,118 0.8,130 0,139"), 1.2, SEAM, opacity=0.6, soft=0.3, within=mask)


def _sneaker(canvas: Canvas, side: int) -> None:
    """A white sneaker from the front."""
    x = side * 12
    shoe = curve(points("-5,226 5,226 7,233 6.5,238.5 -3.5,238.5 -5,233", side, x))
    mask = canvas.paint(shoe, (244, 243, 240), volume=2.4, contact=0)
    canvas.tint(points("-9,236.2 9,236.2 9,240 -9,240", x=x), (206, 208, 212), within=mask)
    for y in (231.8, 233.8):
        canvas.stroke(points("-2,0 3.2,0", side, x, y), 0.9, (150, 156, 168), opacity=0.9)


def _sleeve(canvas: Canvas, side: int) -> None:
    """A hand and the sleeve above it, creased at the elbow."""
    hand(canvas, side * 34.2, 131.5, side, LOOKS.skin)
    outline = tube(points("22.5,71 29,101 34.6,135", side), (7.6, 6.9, 5.3), round_end=False)
    mask = canvas.paint(outline, NAVY, volume=3.2, shade=0.34, light=0.14, contact=0.35)
    for y in (97, 101.5, 106):
        crease = points("23,1 28,0 33,-3", side, y=y)
        canvas.stroke(crease, 1.2, INK, opacity=0.4, soft=0.5, within=mask)
    for y in (126, 129.4):
        canvas.tint(ellipse(side * 37.2, y, 0.8, 0.8), INK, within=mask)


def _front(canvas: Canvas, side: int) -> None:
    """One front of the open blazer with its lapel."""
    front = "7.4,59.5 14,61.6 23,65 27,71 24.5,82 21.4,104 22.5,126 22.8,137 14,139.5 10.8,136 8.6,116 7.6,96"
    mask = canvas.paint(curve(points(front, side)), NAVY, volume=5, shade=0.34, light=0.16, contact=0.45)
    canvas.stroke(points("20,76 18.5,92 19,104", side), 2.2, INK, opacity=0.4, soft=0.8, within=mask)
    canvas.stroke(points("9.5,104 14,110 20,112", side), 1.6, INK, opacity=0.35, soft=0.7, within=mask)
    flap = points("13,119.5 21,118 21.2,121 13.2,122.5", side)
    canvas.paint(flap, mixed(NAVY, INK, 0.3), volume=1, contact=0.3, within=mask)
    lapel = points("6.8,59 9.6,58.6 15.6,70 13.4,73.4 15.8,75.4 8.2,102 7.4,96", side)
    canvas.paint(lapel, mixed(NAVY, (110, 126, 170), 0.16), volume=1.8, light=0.3, contact=0.45)
    if side > 0:
        for y in (106, 116):
            canvas.paint(ellipse(11.4, y, 1.2, 1.2), (22, 26, 44), volume=0.6, light=0.4, contact=0.3)


def _beard(canvas: Canvas, face: np.ndarray) -> None:
    """A short beard along the jaw, with the mouth painted again on top."""
    outer = "-11.6,41 -10,47.5 -6,53 0,55 6,53 10,47.5 11.6,41"
    inner = "9.6,43 7.4,46.6 3.8,46.2 0,46.6 -3.8,46.2 -7.4,46.6 -9.6,43"
    canvas.tint(curve(points(f"{outer} {inner}")), LOOKS.hair, opacity=0.72, soft=0.7, within=face)
    canvas.tint(ellipse(0, 48.7, 3.4, 1.2), LOOKS.lips, soft=0.15)
    canvas.stroke(points("-3.4,48.3 0,48.7 3.4,48.3"), 0.8, (96, 44, 40), opacity=0.9)


def _hair(canvas: Canvas) -> None:
    """Short hair combed over from a side parting."""
    crown = "-11.8,39 -12.6,30 -10.5,21 -3,15.2 6,15.6 11.8,21.5 12.7,31 11.9,39"
    hairline = "10.6,36 10.2,30.5 6.5,27.4 0,26.2 -5.5,27.8 -9.4,29.6 -10.4,35"
    outline = curve(points(f"{crown} {hairline}"))
    mask = canvas.paint(outline, LOOKS.hair, volume=3.5, shade=0.4, light=0.2, contact=0.4)
    for i in range(9):
        lock = [(0.3 * i - 6.2, 21.5 - 0.25 * i), (1.7 * i - 5.4, 17.4 + 0.1 * i), (1.9 * i - 1, 21 + 0.9 * i)]
        canvas.stroke(lock, 0.9, mixed(LOOKS.hair, (176, 128, 84), 0.5), opacity=0.4, within=mask)
    canvas.stroke(points("-6.5,27 -7,21 -5.5,17.5"), 0.9, (30, 18, 12), opacity=0.6, within=mask)
