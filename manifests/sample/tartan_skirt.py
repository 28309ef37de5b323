"""A woman with a black bob in a cream Fair Isle jumper, a tartan skirt and ankle boots."""

import numpy as np

from manifests.sample.body import SIDES, Looks, arm, hand, head, leg, mixed, neck, studio
from manifests.sample.canvas import Canvas, Colour, curve, points, symmetric, tube

LOOKS = Looks(
    skin=(244, 206, 178),
    hair=(34, 28, 36),
    eyes=(62, 40, 30),
    lips=(202, 74, 88),
    wall=(214, 200, 222),
    floor=(182, 166, 196),
)
CREAM: Colour = (242, 230, 208)
WOOL_SHADOW: Colour = (120, 92, 64)
LEATHER: Colour = (112, 62, 44)
BLACK: Colour = (0, 0, 0)


def draw() -> np.ndarray:
    """The finished picture, uint8 (256, 192, 3)."""
    canvas = studio(LOOKS)
    behind = symmetric("0,14 10,17 15,28 15.6,44 14.4,54 8,57 0,56")
    canvas.paint(behind, mixed(LOOKS.hair, BLACK, 0.3), volume=4, contact=0)
    for side, foot in ((-1, 9.5), (1, 10.5)):
        path = points(f"9,150 9.2,178 {foot},200 {foot},224", side)
        leg(canvas, path, (8.2, 6.4, 6.6, 3.6), (58, 48, 62))
        _boot(canvas, side * foot, side)
    neck(canvas, LOOKS.skin)
    _skirt(canvas)
    hand(canvas, 29.5, 131, 1, LOOKS.skin)
    arm(canvas, points("19.5,73 25.5,102 29.5,132"), (7.4, 7.4, 4.6), _fair_isle)
    canvas.paint(tube(points("27.6,128 29.6,133.6"), (4.9, 4.6)), _ribbed, volume=2)
    _jumper(canvas)
    _arm_on_hip(canvas)
    head(canvas, LOOKS, jaw=7.6)
    _bob(canvas)
    return canvas.picture()


def _tartan(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Green tartan, widening toward the hem."""
    across, down = x / (0.72 + (y - 112) / 110) / 11.0 % 1, (y + 0.008 * x**2) / 13.0 % 1
    cloth = np.full((*x.shape, 3), (32.0, 84.0, 70.0))
    bands = (
        ((0.0, 0.34), (16, 40, 62), 0.41),
        ((0.62, 0.69), (226, 190, 92), 0.6),
        ((0.80, 0.86), (196, 52, 56), 0.56),
    )
    for (low, high), colour, strength in bands:
        for at in (across, down):
            cloth += (np.asarray(colour) - cloth) * (strength * ((at >= low) & (at < high)))[..., None]
    return cloth


def _fair_isle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ribbed cream wool with three zigzag rounds across the chest."""
    cloth = np.asarray(CREAM) * (1 + 0.035 * np.sin(2 * np.pi * x / 2.4))[..., None]
    row = y - 0.010 * x**2 - 4.2 * np.abs(x / 6.0 % 1 - 0.5)
    for low, high, colour in ((72.5, 74.7, (176, 56, 62)), (78.5, 81.1, (44, 96, 92)), (84.5, 86.7, (176, 56, 62))):
        cloth = np.where(((row > low) & (row < high))[..., None], colour, cloth)
    return cloth


def _ribbed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The cuffs, collar and hem of the jumper."""
    return np.asarray(CREAM) * (0.93 + 0.06 * np.sin(2 * np.pi * x / 1.8))[..., None]


def _skirt(canvas: Canvas) -> None:
    """A pleated skirt."""
    outline = symmetric("0,112 15.5,112 20,126 27,150 32.6,168.6 33,170 33,170 16,174 0,172.6")
    mask = canvas.paint(outline, _tartan, volume=6, shade=0.42, light=0.14, contact=0.45)
    for x in range(-23, 26, 8):
        pleat = np.array([(x * 0.5, 114), (x * 0.8, 142), (x * 1.08, 175)])
        canvas.stroke(pleat, 2.4, (6, 18, 20), opacity=0.42, soft=0.7, within=mask)
        canvas.stroke(pleat - [(2, -4), (3, -2), (4, 0)], 1.6, (190, 220, 200), opacity=0.12, soft=0.7, within=mask)


def _jumper(canvas: Canvas) -> None:
    """The body of the jumper, its hem and collar."""
    body = symmetric("0,64 6,63.5 9,60.4 15,62.4 22,68 20.6,84 18.8,104 19.4,118 0,120")
    mask = canvas.paint(body, _fair_isle, volume=6, shade=0.32, contact=0.35)
    for fold in ("-15,100 -8,106 2,107", "16,96 9,103 3,104", "-16,88 -13,95 -11,103"):
        canvas.stroke(points(fold), 2.0, WOOL_SHADOW, opacity=0.3, soft=0.8, within=mask)
    canvas.paint(tube(points("-19,118.2 0,120.2 19,118.2"), (2.8, 2.8, 2.8)), _ribbed, volume=2, contact=0.4)
    collar = tube(points("-8.4,60.4 -4,64.4 0,65.6 4,64.4 8.4,60.4"), (1.8,) * 5)
    canvas.paint(collar, _ribbed, volume=1.6, contact=0.35)


def _arm_on_hip(canvas: Canvas) -> None:
    """The arm at the picture's left, bent, its hand resting on the hip."""
    for i in range(4):
        finger = [(-20, 116 + i * 1.5), (-13 + i * 0.2, 117.6 + i * 1.9), (-8.8 - i * 0.9, 119.4 + i * 2.3)]
        canvas.paint(tube(finger, (1.7, 1.4, 0.9)), LOOKS.skin, volume=1.4, shade=0.4, contact=0.4)
    canvas.paint(tube(points("-23,115 -16.5,118.2"), (3.2, 3.3)), LOOKS.skin, volume=2, shade=0.25, contact=0.2)
    arm(canvas, points("-35.5,103 -29,110 -22.5,115"), (6.2, 5.6, 4.2), _fair_isle)
    canvas.paint(tube(points("-25.4,112.6 -21.6,115.6"), (4.3, 4.0)), _ribbed, volume=2)
    mask = arm(canvas, points("-19.5,73 -28,90 -35.5,104"), (7.2, 7.4, 6.4), _fair_isle)
    for y in (94, 98):
        crease = points("-37,0 -33,2 -28,1", y=y)
        canvas.stroke(crease, 1.3, WOOL_SHADOW, opacity=0.4, soft=0.5, within=mask)


def _bob(canvas: Canvas) -> None:
    """Two curtains of hair down to the jaw and a straight fringe with a band of light."""
    shine = mixed(LOOKS.hair, (150, 140, 175), 0.5)
    for side in SIDES:
        curtain = points("6,18 12,21 15,30 15.8,44 14.6,54.5 10.2,55.4 10.8,44 10.2,33 7,28", side)
        mask = canvas.paint(curve(curtain), LOOKS.hair, volume=3, shade=0.4, light=0.2, contact=0.35)
        for x in (11.8, 13.2):
            lock = points("0,30 1.4,40 0.6,52", side, side * x)
            canvas.stroke(lock, 0.9, shine, opacity=0.35, within=mask)
    crown, edge = "-11.8,36 -13.6,28 -11,18.5 -4,14 4,14 11,18.5 13.6,28 11.8,36", "10,34.6 5,34 0,33.7 -5,34 -10,34.6"
    fringe = curve(points(f"{crown} {edge}"))
    mask = canvas.paint(fringe, LOOKS.hair, volume=4, shade=0.35, light=0.2, contact=0.45)
    for i in range(-5, 6):
        lock = [(i * 0.7, 17.5), (i * 1.6, 24), (i * 2.05, 33.5)]
        canvas.stroke(lock, 0.8, shine, opacity=0.22, within=mask)
    band = points("-9.5,25.5 -4,22.4 2,22.2 7,23.6")
    canvas.stroke(band, 2.4, (170, 166, 205), opacity=0.45, soft=0.8, within=mask)


def _boot(canvas: Canvas, x: float, side: int) -> None:
    """An ankle boot from the front."""
    outline = curve(points("-4.6,217 4.6,217 5,227 6.6,234 5.4,239 -1.4,239 -3.8,234 -5,227", side, x))
    mask = canvas.paint(outline, LEATHER, volume=2.6, shade=0.42, light=0.25)
    canvas.tint(points("-9,237 9,237 9,241 -9,241", x=x), (52, 32, 28), within=mask)
    canvas.paint(tube([(x - 4.2, 218), (x + 4.2, 218)], (1.6, 1.6)), mixed(LEATHER, BLACK, 0.3), volume=1)
