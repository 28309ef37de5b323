"""A small painter of smooth shapes: outlines in picture pixels, painted three times finer and averaged down.

Coordinates are pixels, x to the right of the picture's middle (people are nearly symmetric), y down from its top.
Written in plain float64 numpy, so that the same program paints the same pixels whatever Pillow is installed.
"""

from collections.abc import Callable, Sequence

import numpy as np

FINER = 3  # supersampling per side

Colour = tuple[float, float, float]  # RGB, 0…255
Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x, y of samples, (h, w) → RGB (h, w, 3)
Points = Sequence[tuple[float, float]] | np.ndarray


def curve(path: Points, closed: bool = True, steps: int = 8) -> np.ndarray:
    """A Catmull–Rom curve through the points, (n, 2), x right and y down."""
    knots = np.asarray(path, float)
    knots = np.vstack([knots[-1:], knots, knots[:2]]) if closed else np.vstack([knots[:1], knots, knots[-1:]])
    before, start, end, after = (knots[i : len(knots) - 3 + i, None] for i in range(4))
    t = (np.arange(steps) / steps)[None, :, None]
    drawn = start + 0.5 * t * (
        (end - before) + t * ((2 * before - 5 * start + 4 * end - after) + t * (3 * (start - end) + after - before))
    )
    drawn = drawn.reshape(-1, 2)
    return drawn if closed else np.vstack([drawn, knots[-2:-1]])


def tube(path: Points, radii: Sequence[float], round_start: bool = True, round_end: bool = True) -> np.ndarray:
    """The outline of a smooth limb or stroke: a curve through the points, as thick as the radii there."""
    spine = curve(path, closed=False)
    thickness = curve([(r, 0.0) for r in radii], closed=False)[:, 0]
    half = np.interp(np.linspace(0, 1, len(spine)), np.linspace(0, 1, len(thickness)), thickness)
    along = np.gradient(spine, axis=0)
    along /= np.hypot(*along.T)[:, None] + 1e-9
    side = np.stack([-along[:, 1], along[:, 0]], 1)
    left, right = spine + side * half[:, None], spine - side * half[:, None]
    turn = np.linspace(0, np.pi, 9)[1:-1, None]
    tip = spine[-1] + half[-1] * (np.cos(turn) * side[-1] + np.sin(turn) * along[-1])
    root = spine[0] - half[0] * (np.cos(turn) * side[0] + np.sin(turn) * along[0])
    return np.vstack([left, tip[: None if round_end else 0], right[::-1], root[: None if round_start else 0]])


def ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> np.ndarray:
    """The outline of an ellipse, tilted clockwise by `tilt` degrees."""
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    u, v = rx * np.cos(turn), ry * np.sin(turn)
    return np.stack([x + u * c - v * s, y + u * s + v * c], 1)


def points(text: str, side: int = 1, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """Points written as in SVG, "x,y x,y …", mirrored for side −1 and moved by (x, y); (n, 2)."""
    return np.array([pair.split(",") for pair in text.split()], float) * [side, 1] + [x, y]


def symmetric(text: str) -> np.ndarray:
    """A closed smooth outline from the points of its right half, top to bottom."""
    half = curve(points(text), closed=False)
    return np.vstack([half, half[::-1] * [-1, 1]])


def blurred(mask: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur, as three box blurs; `sigma` in samples of the mask, which is zero outside."""
    reach = max(1, round((np.sqrt(4 * sigma * sigma + 1) - 1) / 2))
    for axis in (0, 1):
        for _ in range(3):
            pad = [(0, 0), (0, 0)]
            pad[axis] = (reach + 1, reach)
            total = np.cumsum(np.pad(mask, pad), axis=axis)
            low, high = (slice(None, -2 * reach - 1), slice(2 * reach + 1, None))
            mask = (total[high] - total[low] if axis == 0 else total[:, high] - total[:, low]) / (2 * reach + 1)
    return mask


def covered(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    """Samples (height, width) inside a closed outline given in samples; overlaps of the outline count as inside."""
    rows = np.arange(height)[:, None] + 0.5
    x0, y0 = outline.T
    x1, y1 = np.roll(outline, -1, axis=0).T
    crosses = (rows >= np.minimum(y0, y1)) & (rows < np.maximum(y0, y1))
    row, edge = np.nonzero(crosses)
    x = x0[edge] + (row + 0.5 - y0[edge]) / (y1 - y0)[edge] * (x1 - x0)[edge]
    winding = np.zeros((height, width + 1))
    np.add.at(winding, (row, np.clip(np.ceil(x - 0.5), 0, width).astype(int)), np.sign(y1 - y0)[edge])
    return np.cumsum(winding, axis=1)[:, :width] != 0


class Canvas:
    """A picture painted layer upon layer, lit from the upper left.

    `pixels` is (3·height, 3·width, 3) float, RGB 0…255. Layers cast a soft shadow on the person beneath, never on
    the backdrop.
    """

    def __init__(self, width: int, height: int, backdrop: Texture) -> None:
        self.shape = (height * FINER, width * FINER)
        rows, columns = np.indices(self.shape)
        self.x, self.y = (columns + 0.5) / FINER - width / 2, (rows + 0.5) / FINER
        self.pixels = backdrop(self.x, self.y)
        self.person = np.zeros(self.shape)

    def paint(
        self,
        outline: np.ndarray,
        colour: Colour | Texture,
        *,
        volume: float = 3.0,
        shade: float = 0.3,
        light: float = 0.1,
        contact: float = 0.25,
        opacity: float = 1.0,
        soft: float = 0.0,
        within: np.ndarray | None = None,
    ) -> np.ndarray:
        """Paint a closed outline and return its mask, (3·height, 3·width) 0…1.

        `volume` is how far shading reaches in from the edges, in pixels (0: flat); `shade` and `light` how much the
        far side darkens and the lit side brightens; `contact` the shadow cast on the person beneath; `soft` blurs
        the edge, in pixels; `within` is a mask that confines the layer.
        """
        samples = outline * FINER + np.array([self.shape[1] / 2, 0])
        rows, columns = box = self._box(samples, margin=4 + int(3 * max(volume, soft)))
        shape = covered(samples - [columns.start, rows.start], rows.stop - rows.start, columns.stop - columns.start)
        mask = blurred(shape.astype(float), soft * FINER) if soft else shape.astype(float)
        if within is not None:
            mask = mask * within[box]
        pixels, person = self.pixels[box], self.person[box]
        if contact:
            cast = np.roll(blurred(mask, 1.6 * FINER), (4, 2), (0, 1)) * person
            pixels = pixels * (1 - contact * cast[..., None])
        fill = colour(self.x[box], self.y[box]) if callable(colour) else np.asarray(colour, float)
        if volume:
            fill = fill * _relief(mask, volume, shade, light)[..., None]
        cover = mask[..., None] * opacity
        self.pixels[box] = pixels * (1 - cover) + np.clip(fill, 0, 255) * cover
        self.person[box] = np.maximum(person, mask * (opacity >= 1))
        whole = np.zeros(self.shape)
        whole[box] = mask
        return whole

    def tint(
        self,
        outline: np.ndarray,
        colour: Colour,
        opacity: float = 1.0,
        soft: float = 0.0,
        within: np.ndarray | None = None,
    ) -> np.ndarray:
        """Colour an outline flat, without volume or shadow; returns its mask."""
        return self.paint(outline, colour, volume=0, contact=0, opacity=opacity, soft=soft, within=within)

    def stroke(
        self,
        path: Points,
        width: float,
        colour: Colour,
        opacity: float = 1.0,
        soft: float = 0.0,
        within: np.ndarray | None = None,
    ) -> None:
        """Draw a line through the points, `width` pixels in the middle and pointed at both ends."""
        outline = tube(path, [width * 0.2, width * 0.5, width * 0.5, width * 0.2], False, False)
        self.tint(outline, colour, opacity, soft, within)

    def picture(self) -> np.ndarray:
        """The finished picture, uint8 (height, width, 3)."""
        height, width = self.shape
        fine = self.pixels.reshape(height // FINER, FINER, width // FINER, FINER, 3)
        return np.clip(fine.mean((1, 3)) + 0.5, 0, 255).astype(np.uint8)

    def _box(self, samples: np.ndarray, margin: int) -> tuple[slice, slice]:
        """The rows and columns of samples that a layer can touch."""
        low = np.clip(samples.min(0) - margin * FINER, 0, self.shape[::-1]).astype(int)
        high = np.clip(samples.max(0) + margin * FINER, 0, self.shape[::-1]).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0])


def _relief(mask: np.ndarray, volume: float, shade: float, light: float) -> np.ndarray:
    """Brightness of a rounded body with this silhouette: darker toward the lower right, lighter toward the light."""
    bulge = blurred(mask, volume * FINER * 0.6)
    step = max(1, round(volume * FINER * 0.45))
    away = np.roll(bulge, (-step // 2, -step), (0, 1))
    toward = np.roll(bulge, (step // 2, step), (0, 1))
    return 1 - shade * (1 - away) + light * (away - toward)
