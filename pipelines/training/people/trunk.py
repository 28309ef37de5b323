"""The trunk and the top worn on it, the neck, and a jacket over both."""

from dataclasses import replace

import numpy as np

from pipelines.training.people.character import Character
from pipelines.training.people.palette import mixed
from pipelines.training.people.shading import column
from pipelines.training.people.skeleton import Proportions, Skeleton
from pipelines.training.people.top import jacket, top
from pipelines.training.people.tube import Section, Tube

LOW = 0.032  # body lengths that the trunk reaches below the hips
FLATNESS = (0.72, 0.76, 0.74, 0.72, 0.76, 0.76, 0.78, 0.78, 0.68, 0.42, 0.7)
JACKET = 4.0  # pixels that a jacket is nearer to the viewer than the trunk, and so before any skirt


def trunk(character: Character, joints: Skeleton, scale: float) -> tuple[Tube, ...]:
    """The dressed trunk and, where one is worn, the jacket over it; joints in picture space."""
    bare = trunk_shape(character, joints, scale)
    length = float(np.linalg.norm(bare.end - bare.start)) / bare.scale
    body = replace(bare, colour=top(character, length))
    if not character.garments.jacket:
        return (body,)
    wide = tuple(r * 1.07 + 0.004 * bare.scale for r in bare.radii)
    outer = jacket(character.garments.jacket, length)
    return body, replace(bare, radii=wide, colour=outer, start_cap=0.0, raised=JACKET)


def trunk_shape(character: Character, joints: Skeleton, scale: float) -> Tube:
    """The trunk in the colour of the skin; joints in picture space."""
    body = character.proportions
    size = body.height * scale
    pelvis, chest = joints.pelvis_frame, joints.chest_frame
    start, neck = joints.pelvis - pelvis[:, 1] * LOW * size, joints.neck
    waist = joints.pelvis + 0.34 * body.trunk * size * pelvis[:, 1] - (start + (neck - start) * 0.4)
    axis = (neck - start)[:2] / max(float(np.linalg.norm((neck - start)[:2])), 1e-6)
    bend = float(waist[1] * axis[0] - waist[0] * axis[1])
    section = Section((pelvis[:, 2], chest[:, 2]), (pelvis[:, 0], chest[:, 0]), FLATNESS)
    radii = tuple((_half_widths(body) * size).tolist())
    skin = column(character.skin)
    return Tube(start, neck, radii, skin, section, start_cap=0.45, end_cap=0.3, bend=bend, scale=size)


def neck(character: Character, joints: Skeleton, scale: float) -> Tube:
    """The neck, in the shade of the head; joints in picture space."""
    size = character.proportions.height * scale
    shade = column(mixed(character.skin, (80, 30, 30), 0.16))
    low = joints.neck - joints.chest_frame[:, 1] * 0.03 * size
    high = joints.skull - joints.head_frame[:, 1] * 0.03 * size - joints.head_frame[:, 2] * 0.012 * size
    thick = 0.03 * (0.55 + 0.45 * character.proportions.build) * size
    return Tube(low, high, (thick * 1.15, thick, thick), shade, raised=-1.0)


def _half_widths(body: Proportions) -> np.ndarray:
    """Half widths of the trunk from its lower end to the neck, in body lengths."""
    waist, hips, ribs, shoulders = body.waist, body.pelvis, body.chest, body.shoulders
    outline = (
        (0.0, hips * 0.86),
        (0.09, hips),
        (0.18, hips),
        (0.3, hips * 0.6 + waist * 0.4),
        (0.42, waist),
        (0.5, waist * 1.02),
        (0.62, waist * 0.4 + ribs * 0.6),
        (0.72, ribs),
        (0.8, ribs * 1.05),
        (0.865, shoulders + 0.004),
        (0.915, shoulders * 0.97),
        (0.945, shoulders * 0.72 + 0.015),
        (0.975, 0.056),
        (1.0, 0.036),
    )
    places, widths = zip(*outline, strict=True)
    return np.interp(np.linspace(0, 1, 41), places, widths)
