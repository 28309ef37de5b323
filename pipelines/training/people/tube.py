"""Tapered tubes with elliptical cross-sections: limbs, neck, torso, sleeves, shoes, locks of hair."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipelines.training.people.layer import Layer
from pipelines.training.people.shading import LIGHT, lit

STEPS = 160  # entries of the tables along a tube
ROUND = (1.0,)
_NONE = np.empty(0, np.float32)


class Surface(NamedTuple):
    """Where on a tube or skirt the pixels lie; arrays (h, w) float32."""

    angle: np.ndarray  # radians around it: 0 in front, positive toward the person's left; empty without a section
    along: np.ndarray  # body lengths from its start
    facing: np.ndarray  # 1 where the surface faces the viewer … 0 at its outline
    scale: float  # pixels per body length


Texture = Callable[[Surface], tuple[np.ndarray, np.ndarray | None]]  # → colour (3, h, w), opacity (h, w) or None


class Section(NamedTuple):
    """Orientation of the cross-sections: unit vectors in picture space at the tube's start and end."""

    front: tuple[np.ndarray, np.ndarray]
    left: tuple[np.ndarray, np.ndarray]
    flatness: tuple[float, ...] = ROUND  # half width along `front` for a half width 1 along `left`, along the tube

    @staticmethod
    def round(start: np.ndarray, end: np.ndarray, front: np.ndarray) -> "Section":
        """Round cross-sections whose angle 0 lies as far toward `front` as the tube's direction allows."""
        bone = (end - start) / max(np.linalg.norm(end - start), 1e-6)
        ahead = front - bone * (front @ bone)
        if np.linalg.norm(ahead) < 0.3:
            ahead = np.array([0.0, 1.0, 0.0]) - bone * bone[1]
        ahead = ahead / np.linalg.norm(ahead)
        left = np.cross(ahead, bone)
        return Section((ahead, ahead), (left, left))


@dataclass(frozen=True)
class Tube:
    """A tube from `start` to `end`, points (x right, y down, z toward the viewer) in pixels.

    `radii` are half widths in pixels, evenly spaced from start to end. Caps are 1 for round ends and 0 for straight
    ones, None for a start hidden in cloth. `bend` pushes the middle aside. With a texture there must be a section.
    Only the ends of a `tip` are lit as round: where limbs join, no ball may show.
    """

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, ...]
    colour: np.ndarray | Texture
    section: Section | None = None
    start_cap: float | None = 1.0
    end_cap: float = 1.0
    tip: bool = False
    bend: float = 0.0
    scale: float = 1.0
    raised: float = 0.0  # pixels nearer to the viewer than its geometry says

    @property
    def depth(self) -> float:
        """Where the tube is painted in the order from back to front."""
        return float(self.start[2] + self.end[2]) / 2 + self.raised

    def draw(self, layer: Layer) -> None:
        """Paint the tube."""
        seen = self.seen(layer)
        if seen is None:
            return
        colour, coverage = self.colour, seen.coverage
        if callable(colour):
            colour, opacity = colour(seen.surface)
            if opacity is not None:
                coverage = coverage * opacity
        layer.merge(seen.window, lit(colour, seen.light), coverage, seen.depth)

    def seen(self, layer: Layer) -> "Seen | None":
        """What the viewer sees of the tube; None where all of it is outside the layer's picture."""
        spine = self._spine()
        tables = self._tables(np.array([-spine.ay, spine.ax, 0.0]))
        reach = float(tables.extent.max()) + abs(self.bend) + 1
        low, high = np.minimum(self.start, self.end)[:2] - reach, np.maximum(self.start, self.end)[:2] + reach
        window = layer.window(*low, *high)
        if window is None:
            return None
        xs = np.arange(window[1].start, window[1].stop, dtype=np.float32) - np.float32(self.start[0])
        ys = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - np.float32(self.start[1])
        forth, aside = xs * spine.ax + ys * spine.ay, ys * spine.ax - xs * spine.ay
        t = np.clip(forth * (1 / spine.length), 0, 1)
        at = (t * (STEPS - 1) + 0.5).astype(np.int32)
        if self.bend:
            aside = aside - self.bend * tables.bow[at]
        radius = tables.extent[at]
        coverage, beyond, away = self._covered(spine, forth, t, aside, radius)
        inverse = 1 / radius
        side = np.clip(aside * inverse, -1, 1)
        facing = np.sqrt(np.clip(1 - ((away if self.tip else aside) * inverse) ** 2, 0, 1))
        light = self._light(spine, side, beyond * inverse, facing)
        angle = tables.turn if self.section is None else tables.turn[at] + tables.sign[at] * np.arccos(side)
        if self.section is None or self.section.flatness == ROUND:
            outward = radius * facing
        else:
            outward = tables.deep[at] * np.cos(angle - tables.nearest[at])
        depth = float(self.start[2]) + self.raised + t * spine.dz + outward
        surface = Surface(angle, t * (spine.full / self.scale), facing, self.scale)
        return Seen(window, surface, t, coverage, depth, light)

    def _spine(self) -> "Spine":
        """The axis; one that points at the viewer counts as pointing down."""
        dx, dy, dz = (self.end - self.start).tolist()
        flat = float(np.hypot(dx, dy))
        length, full = max(flat, 1e-3), max(float(np.hypot(flat, dz)), 1e-3)
        ax, ay = (dx / length, dy / length) if flat > 1e-3 else (0.0, 1.0)
        return Spine(ax, ay, dz, length, full)

    def _covered(
        self, spine: "Spine", forth: np.ndarray, t: np.ndarray, aside: np.ndarray, radius: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coverage, how far pixels lie beyond the ends, in the measure of round caps, and how far off the axis."""
        slope = abs(spine.dz) / spine.full
        first = 0.1 if self.start_cap is None else max(self.start_cap, slope, 0.1)
        last = max(self.end_cap, slope, 0.1)
        squeeze = np.where(forth < 0, np.float32(1 / first), np.float32(1 / last))
        beyond = (forth - t * spine.length) * squeeze
        away = np.sqrt(aside * aside + beyond * beyond)
        edge = radius - away
        if first < 1 or last < 1:
            steep = beyond * squeeze
            edge = edge * away / np.maximum(np.sqrt(aside * aside + steep * steep), 1e-3)
        return np.clip(edge + 0.5, 0, 1), beyond, away

    def _light(self, spine: "Spine", side: np.ndarray, beyond: np.ndarray, facing: np.ndarray) -> np.ndarray:
        """Cosine of the light: the normal is `side` across, `beyond` along and `facing` toward the viewer."""
        ax, ay = spine.ax, spine.ay
        slope = 0.35 * spine.dz / spine.full  # less than there is: bent knees and elbows would show a seam
        toward = np.array([-slope * ax, -slope * ay, np.sqrt(1 - slope * slope)])
        across = -ay * LIGHT[0] + ax * LIGHT[1]
        light = side * np.float32(across) + facing * np.float32(toward @ LIGHT)
        if self.tip:
            light += np.clip(beyond, -1, 1) * np.float32(ax * LIGHT[0] + ay * LIGHT[1])
        return light

    def _tables(self, seen: np.ndarray) -> "Tables":
        """What changes along the tube, by steps; `seen` is the unit vector across it on screen."""
        steps = np.linspace(0, 1, STEPS)
        radii = np.interp(steps, np.linspace(0, 1, len(self.radii)), self.radii)
        bow = 4 * steps * (1 - steps)
        if self.section is None:
            return Tables(radii.astype(np.float32), bow.astype(np.float32))
        fronts, lefts, flatness = self.section
        flat = np.interp(steps, np.linspace(0, 1, len(flatness)), flatness)
        front = fronts[0] + steps[:, None] * (fronts[1] - fronts[0])
        left = lefts[0] + steps[:, None] * (lefts[1] - lefts[0])
        u, v = flat * (front @ seen), left @ seen
        fz, lz = flat * front[:, 2], left[:, 2]
        turn, nearest = np.arctan2(v, u), np.arctan2(lz, fz)
        values = (
            radii * np.hypot(u, v),
            bow,
            turn,
            nearest,
            -np.sign(np.sin(turn - nearest)),
            radii * np.hypot(fz, lz),
        )
        return Tables(*(value.astype(np.float32) for value in values))


class Seen(NamedTuple):
    """The visible side of a tube in a window of the picture; arrays (h, w) float32."""

    window: tuple[slice, slice]
    surface: Surface
    share: np.ndarray  # 0 at the start … 1 at the end
    coverage: np.ndarray
    depth: np.ndarray  # pixels toward the viewer
    light: np.ndarray


class Spine(NamedTuple):
    """The axis of a tube."""

    ax: float  # its unit direction on screen
    ay: float
    dz: float  # how much nearer to the viewer its end is, pixels
    length: float  # on screen, pixels
    full: float  # in space, pixels


class Tables(NamedTuple):
    """Values along a tube, each (STEPS,) float32; empty what only a section has, where there is none."""

    extent: np.ndarray  # half of what is seen across, pixels
    bow: np.ndarray  # shape of the bend
    turn: np.ndarray = _NONE  # angle that lies at the end of `seen`
    nearest: np.ndarray = _NONE  # angle that is nearest to the viewer
    sign: np.ndarray = _NONE  # which way the visible half turns
    deep: np.ndarray = _NONE  # depth of the nearest point, pixels
