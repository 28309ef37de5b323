"""What every drawn person shares: the studio, face, neck, arms, hands and legs."""

from dataclasses import dataclass

import numpy as np

from manifests.sample.canvas import Canvas, Colour, Points, Texture, curve, ellipse, points, tube

WIDTH, HEIGHT = 192, 256
FLOOR = 236.0  # where the soles stand
BLUSH: Colour = (60, 20, 20)  # what shadows on skin tend to
SIDES = (-1, 1)  # the picture's left, its right


@dataclass(frozen=True)
class Looks:
    """Colours of one person and of the studio behind."""

    skin: Colour
    hair: Colour
    eyes: Colour
    lips: Colour
    wall: Colour
    floor: Colour


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """`one` with `share` (0…1) of `other` in it."""
    return tuple(a + (b - a) * share for a, b in zip(one, other, strict=True))


def studio(looks: Looks) -> Canvas:
    """An empty studio: a wall lit from the upper left that runs into the floor, and the person's shadow on it."""

    def backdrop(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        glow = np.exp(-(((x + 12) / 95) ** 2) - ((y - 88) / 120) ** 2)
        pool = np.exp(-(((x + 4) / 90) ** 2) - ((y - 228) / 30) ** 2)
        bend = 1 / (1 + np.exp(-(y - 205) / 5))[..., None]
        wall = np.asarray(looks.wall) * (0.80 + 0.24 * glow)[..., None]
        floor = np.asarray(looks.floor) * (0.84 + 0.16 * pool)[..., None]
        return wall + (floor - wall) * bend

    canvas = Canvas(WIDTH, HEIGHT, backdrop)
    dark = mixed(looks.floor, (20, 16, 30), 0.8)
    canvas.tint(ellipse(22, FLOOR - 1, 46, 5, tilt=-4), dark, opacity=0.16, soft=4)
    canvas.tint(ellipse(5, FLOOR, 30, 4), dark, opacity=0.28, soft=2.2)
    return canvas


def leg(canvas: Canvas, path: Points, radii: tuple[float, ...], colour: Colour | Texture) -> np.ndarray:
    """Paint a leg, or a trouser leg, from the hip down to the ankle; returns its mask."""
    return canvas.paint(tube(path, radii), colour, volume=4, shade=0.38, light=0.14, contact=0.3)


def arm(canvas: Canvas, path: Points, radii: tuple[float, ...], colour: Colour | Texture) -> np.ndarray:
    """Paint an arm, or a sleeve, from the shoulder down to the wrist; returns its mask."""
    return canvas.paint(tube(path, radii), colour, volume=3.2, shade=0.34, light=0.14, contact=0.35)


def hand(canvas: Canvas, x: float, y: float, side: int, skin: Colour) -> None:
    """Paint a hand that hangs from the wrist at (x, y)."""
    for finger in ("1.9,5 3.1,9 2.6,12.4", "0.8,5 2.1,9 1.6,14.4", "-0.3,5 0.9,9 0.4,14.6", "-1.3,5 -0.3,9 -0.8,13.4"):
        outline = tube(points(finger, side, x, y), (1.25, 1.1, 0.75))
        canvas.paint(outline, skin, volume=1.4, shade=0.45, contact=0.4)
    palm = tube(points("0,-2 0.2,3.5 0.2,7", side, x, y), (2.2, 3.0, 2.4))
    canvas.paint(palm, skin, volume=2.4, shade=0.22, light=0.06, contact=0)
    thumb = tube(points("-1.6,2 -3.2,5.5 -2.7,9.5", side, x, y), (1.3, 1.2, 0.8))
    canvas.paint(thumb, skin, volume=1.4, shade=0.35, contact=0.35)


def neck(canvas: Canvas, skin: Colour, half: float = 5.2) -> None:
    """Paint the neck, `half` its width, and the top of the chest, to be dressed afterwards."""
    slope = points("0,44 0,56 3,60.5 13,66 11,84", x=half)
    chest = np.vstack([slope, slope[::-1] * [-1, 1]])
    mask = canvas.paint(chest, skin, volume=5, shade=0.22, light=0.06, contact=0)
    dark = mixed(skin, BLUSH, 0.45)
    under_chin = curve([(-half - 1, 46), (half + 1, 46), (half, 55), (1, 58.5), (-half, 53)])
    canvas.tint(under_chin, dark, opacity=0.75, soft=1.2, within=mask)
    for side in SIDES:
        canvas.stroke(points("2.5,65.2 8,64 13,64.6", side), 1.1, dark, opacity=0.4, soft=0.4, within=mask)


def head(canvas: Canvas, looks: Looks, jaw: float = 8.2, lashes: bool = True) -> np.ndarray:
    """Paint ears and face from the front, chin at y = 53.6, `jaw` half its width; returns the mask of the face."""
    skin, dark = looks.skin, mixed(looks.skin, BLUSH, 0.5)
    for side in SIDES:
        canvas.paint(ellipse(side * 11.2, 41, 1.9, 3.4, tilt=-side * 8), mixed(skin, (150, 50, 40), 0.18), volume=1.5)
    half = [*points("0,22 6.5,23.2 10.4,28.5 11.3,35.5 10.9,41"), (jaw + 0.9, 46.6), (jaw * 0.6, 51.6), (0, 53.6)]
    outline = curve(np.vstack([half, np.array(half[-2:0:-1]) * [-1, 1]]))
    face = canvas.paint(outline, skin, volume=5, shade=0.26, light=0.1, contact=0.2)
    for side in SIDES:
        canvas.tint(ellipse(side * 6.6, 44.6, 2.8, 1.9), looks.lips, opacity=0.22, soft=1.2)
        _eye(canvas, looks, side, lashes)
    canvas.stroke(points("1.1,39.5 1.5,42.5 2,44.4"), 1.0, dark, opacity=0.42, soft=0.3)
    canvas.tint(ellipse(-0.4, 43.4, 0.7, 1.6), (255, 245, 235), opacity=0.3, soft=0.5)
    canvas.stroke(points("-1.9,45 -0.2,45.8 1.9,45"), 0.9, dark, opacity=0.6, soft=0.15)
    _mouth(canvas, looks)
    return face


def _eye(canvas: Canvas, looks: Looks, side: int, lashes: bool) -> None:
    """One eye and its brow."""
    x = side * 4.7
    canvas.tint(ellipse(x, 39.2, 3.4, 2.2), mixed(looks.skin, BLUSH, 0.5), opacity=0.35, soft=0.9)
    inside = canvas.tint(curve(points("-2.5,40.2 0,38.6 2.5,40.2 0,41.3", x=x)), (248, 244, 240))
    canvas.tint(ellipse(x, 39.9, 1.35, 1.45), looks.eyes, within=inside)
    canvas.tint(ellipse(x, 39.9, 0.7, 0.75), (14, 10, 12), within=inside)
    canvas.tint(ellipse(x - 0.5, 39.3, 0.4, 0.4), (255, 255, 255))
    lid = points("-2.4,40.1 0,38.4 3.3,39.2" if lashes else "-2.4,40.1 0,38.4 2.6,40", side, x)
    canvas.stroke(lid, 1.1 if lashes else 0.8, (38, 24, 24), opacity=0.95)
    brow = points("-2.5,36.3 0.6,35.1 3.6,36.2", side, x)
    canvas.stroke(brow, 1.1 if lashes else 1.6, mixed(looks.hair, (20, 14, 14), 0.35), opacity=0.85)


def _mouth(canvas: Canvas, looks: Looks) -> None:
    """Closed lips with a hint of a smile."""
    dark = mixed(looks.skin, BLUSH, 0.5)
    lower, upper = points("-3.3,48.1 0,48.5 3.3,48.1 0,50.3"), points("-3.4,48 -1.1,47.2 0,47.6 1.1,47.2 3.4,48 0,48.6")
    canvas.tint(curve(lower), mixed(looks.lips, (255, 190, 180), 0.15))
    canvas.tint(curve(upper), mixed(looks.lips, (60, 10, 20), 0.25))
    canvas.stroke(points("-3.7,47.8 0,48.5 3.7,47.8"), 0.7, mixed(looks.lips, (50, 10, 16), 0.7), opacity=0.9)
    canvas.tint(ellipse(-0.4, 49.2, 1.1, 0.35), (255, 235, 230), opacity=0.4, soft=0.2)
    canvas.stroke(points("-1.6,51.3 1.6,51.3"), 0.7, dark, opacity=0.4, soft=0.3)
