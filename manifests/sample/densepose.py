"""Pictures of body parts in DensePose's colours, as MagicAnimate's published driving videos show them.

Part i of 24 has entry int(i·255/24) of the viridis colour map, the background entry 0, opaque. A body is a list of
elliptical tubes in space, drawn with a depth buffer: what a body-part network would have said of this person.
"""

from dataclasses import dataclass, replace

import numpy as np

VIRIDIS = np.array(
    [
        *((68, 1, 84), (71, 16, 99), (72, 31, 112), (71, 44, 122), (68, 57, 131)),
        *((64, 70, 136), (59, 81, 139), (54, 93, 141), (49, 104, 142), (44, 113, 142)),
        *((40, 124, 142), (37, 133, 142), (33, 144, 141), (31, 154, 138), (32, 163, 134)),
        *((39, 173, 129), (53, 183, 121), (70, 192, 111), (92, 200, 99), (115, 208, 86)),
        *((142, 214, 69), (170, 220, 50), (197, 224, 33), (226, 228, 24), (253, 231, 37)),
    ],
    np.uint8,
)
"""RGB of background (0) and parts 1…24, (25, 3)."""


@dataclass(frozen=True)
class Part:
    """A body part: an elliptical tube from `start` to `end`, rounded at both ends.

    Space: x right, y down, z toward the viewer, in picture pixels; vectors are (3,). `split` is the unit vector
    across the tube that tells its two labels apart: `labels[1]` on the side it points to, `labels[0]` on the other.
    `radii` are half widths across `split`, evenly spaced along the bone; along `split` they count `depth` times.
    """

    start: np.ndarray
    end: np.ndarray
    split: np.ndarray
    radii: tuple[float, ...]
    labels: tuple[int, int]
    depth: float = 1.0

    def moved(self, turn: np.ndarray, shift: np.ndarray) -> "Part":
        """The same part after a rotation (3, 3) and then a shift (3,)."""
        start, end = turn @ self.start + shift, turn @ self.end + shift
        return replace(self, start=start, end=end, split=turn @ self.split)


def colours(labels: np.ndarray) -> np.ndarray:
    """RGB uint8 (height, width, 3) of part labels 0…24 (height, width)."""
    return VIRIDIS[labels]


def render(parts: list[Part], height: int, width: int) -> np.ndarray:
    """The label, 0…24, of the part nearest to the viewer at every pixel; uint8 (height, width)."""
    labels = np.zeros((height, width), np.uint8)
    nearest = np.full((height, width), -np.inf)
    for part in parts:
        reach = max(part.radii) * max(1.0, part.depth) + 1
        ends = np.stack([part.start, part.end])[:, :2]
        (left, top), (right, bottom) = np.floor(ends.min(0) - reach), np.ceil(ends.max(0) + reach)
        rows = slice(int(np.clip(top, 0, height)), int(np.clip(bottom, 0, height)))
        columns = slice(int(np.clip(left, 0, width)), int(np.clip(right, 0, width)))
        y, x = np.mgrid[rows, columns] + 0.5
        label, z = _surface(part, x, y)
        in_front = z > nearest[rows, columns]
        nearest[rows, columns][in_front] = z[in_front]
        labels[rows, columns][in_front] = label[in_front]
    return labels


def _surface(part: Part, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label and z of the visible side of a tube at pixel centres x, y; z is −∞ beside it.

    A point of the cross-section is depth·r·cos(a) along `split` and r·sin(a) along the third axis, so its offset
    on screen is R·cos(a − phi): each offset has two solutions, of which the one nearer to the viewer is seen.
    """
    bone = part.end - part.start
    length = max(float(np.hypot(*bone[:2])), 1e-6)
    along = bone[:2] / length
    forth = (x - part.start[0]) * along[0] + (y - part.start[1]) * along[1]
    aside = (y - part.start[1]) * along[0] - (x - part.start[0]) * along[1]
    t = np.clip(forth / length, 0, 1)
    aside = np.copysign(np.hypot(aside, forth - t * length), aside)  # round ends
    radius = np.interp(t, np.linspace(0, 1, len(part.radii)), part.radii)
    across = np.cross(part.split, bone / np.linalg.norm(bone))
    seen = np.array([-along[1], along[0]])
    u, v = part.depth * part.split[:2] @ seen, across[:2] @ seen
    extent = radius * np.hypot(u, v)
    inside = np.abs(aside) < extent
    open_angle = np.arccos(np.clip(aside / np.maximum(extent, 1e-6), -1, 1))
    angle = np.arctan2(v, u) + np.stack([open_angle, -open_angle])
    z = radius * (part.depth * part.split[2] * np.cos(angle) + across[2] * np.sin(angle))
    back = (z[1] > z[0]).astype(int)
    cosine = np.cos(np.take_along_axis(angle, back[None], 0)[0])
    depth = part.start[2] + t * bone[2] + z.max(0)
    return np.where(cosine > 0, part.labels[1], part.labels[0]), np.where(inside, depth, -np.inf)
