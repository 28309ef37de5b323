"""A skirt, or the lower part of a dress, that follows the legs."""

import numpy as np

from pipelines.training.people.character import Character, Garments
from pipelines.training.people.cloth import Cloth
from pipelines.training.people.pattern import cloth
from pipelines.training.people.skeleton import Proportions, Skeleton
from pipelines.training.people.top import WAIST, over
from pipelines.training.people.trunk import LOW
from pipelines.training.people.tube import Surface, Texture

CIRCLE = np.linspace(0, 2 * np.pi, 12, endpoint=False)


def skirt(character: Character, joints: Skeleton, scale: float) -> Cloth:
    """The cloth around waist, hips and legs down to the hem; joints in picture space."""
    body, garments = character.proportions, character.garments
    size = body.height * scale
    frame = joints.pelvis_frame
    front = frame[:, 2]
    start = joints.pelvis + frame[:, 1] * (WAIST - LOW) * size
    waist = _ring(start, frame, (body.waist * 1.06 + 0.002) * size, body.waist * 0.72 * size)
    rings = [_ring(joints.pelvis, frame, (body.pelvis * 1.08 + 0.002) * size, body.pelvis * 0.78 * size)]
    hems = []
    for hip, knee, ankle in zip(joints.hips, joints.knees, joints.ankles, strict=True):
        for share in (0.5, 1.0):
            centre, along = _down_the_leg(hip, knee, ankle, garments.length * share, body, size)
            across = frame - np.outer(along, along @ frame)
            thick = (0.058 - 0.03 * garments.length * share) * body.build * size
            rings.append(_ring(centre, across, thick, thick))
        hems.append(centre)
    middle = (hems[0] + hems[1]) / 2
    rings.append(_ring(middle, frame, garments.flare * size, garments.flare * 0.75 * size))
    waist_depth = float(waist[:, 2].max())
    knee_depth = max(float(knee[2]) for knee in joints.knees) + 0.03 * size
    hem_depth = max(waist_depth, knee_depth, *(float(ring[:, 2].max()) for ring in rings))
    return Cloth(
        np.vstack([waist, *rings]),
        start,
        middle,
        turn=-float(np.arctan2(front[0], front[2])),
        depths=(waist_depth + 2, hem_depth + 2),
        colour=_surface(garments),
        scale=size,
        folds=(garments.folds, 0.16 if garments.flare > 0.1 else 0.08),
    )


def _surface(garments: Garments) -> Texture:
    """The cloth and a belt; a dress goes on from its upper part."""
    top = np.float32(WAIST if garments.kind == "dress" else 0.3)

    def texture(at: Surface) -> tuple[np.ndarray, None]:
        colour = cloth(garments.bottom, at._replace(along=top - at.along))
        if garments.belt:
            belt = np.clip((0.011 - np.abs(at.along - 0.006)) * at.scale + 0.5, 0, 1)
            colour = over(colour, garments.belt, belt)
        return colour, None

    return texture


def _ring(centre: np.ndarray, frame: np.ndarray, wide: float, deep: float) -> np.ndarray:
    """An ellipse (12, 3) around a point, in the plane of the frame's left and front."""
    return centre + np.outer(np.cos(CIRCLE), frame[:, 0]) * wide + np.outer(np.sin(CIRCLE), frame[:, 2]) * deep


def _down_the_leg(
    hip: np.ndarray, knee: np.ndarray, ankle: np.ndarray, length: float, body: Proportions, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """The point `length` body lengths down a leg and the direction of the leg there."""
    bone, origin, left = knee - hip, hip, length
    if length >= body.thigh:
        bone, origin, left = ankle - knee, knee, min(length - body.thigh, body.shin)
    along = bone / max(np.linalg.norm(bone), 1e-6)
    return origin + along * (left * size), along
