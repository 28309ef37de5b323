"""The trunk and what is worn on it: top, neckline, logo, belt, jacket, skirt."""

import numpy as np

from manifests.sample.people.character import Character, Garments
from manifests.sample.people.cloth import Cloth
from manifests.sample.people.palette import mixed
from manifests.sample.people.pattern import GIRTH, cloth, logo
from manifests.sample.people.shading import column
from manifests.sample.people.skeleton import Skeleton
from manifests.sample.people.tube import Section, Surface, Texture, Tube

LOW = 0.032  # body lengths that the trunk reaches below the hips
FLATNESS = (0.72, 0.76, 0.74, 0.72, 0.76, 0.76, 0.78, 0.78, 0.68, 0.42, 0.7)
WAIST = 0.14  # body lengths from the trunk's lower end to the waist


def trunk(character: Character, joints: Skeleton, scale: float) -> list[Tube | Cloth]:
    """The trunk, the jacket over it and the skirt, joints in picture space."""
    body, garments = character.proportions, character.garments
    size = body.height * scale
    pelvis, chest = joints.pelvis_frame, joints.chest_frame
    start = joints.pelvis - pelvis[:, 1] * LOW * size
    neck = joints.neck
    waist, hips, ribs = body.waist, body.pelvis, body.chest
    outline = np.array(
        [
            (0.0, hips * 0.86),
            (0.09, hips),
            (0.18, hips),
            (0.3, hips * 0.6 + waist * 0.4),
            (0.42, waist),
            (0.5, waist * 1.02),
            (0.62, waist * 0.4 + ribs * 0.6),
            (0.72, ribs),
            (0.8, ribs * 1.05),
            (0.865, body.shoulders + 0.004),
            (0.915, body.shoulders * 0.97),
            (0.945, body.shoulders * 0.72 + 0.015),
            (0.975, 0.056),
            (1.0, 0.036),
        ]
    )
    half = np.interp(np.linspace(0, 1, 41), outline[:, 0], outline[:, 1])
    straight = joints.pelvis + 0.34 * body.trunk * size * pelvis[:, 1] - (start + (neck - start) * 0.4)
    axis = (neck - start)[:2] / max(np.linalg.norm((neck - start)[:2]), 1e-6)
    bend = float(straight[1] * axis[0] - straight[0] * axis[1])
    section = Section((pelvis[:, 2], chest[:, 2]), (pelvis[:, 0], chest[:, 0]), FLATNESS)
    length = float(np.linalg.norm(neck - start)) / size
    radii = tuple((half * size).tolist())
    parts: list[Tube | Cloth] = [
        Tube(start, neck, radii, _clothed(character, length), section, bend=bend, scale=size, start_cap=0.45, end_cap=0.3)
    ]
    if garments.kind in ("dress", "skirt"):
        parts.append(_skirt(character, joints, scale))
    if garments.jacket:
        wide = tuple(r * 1.07 + 0.004 * size for r in radii)
        jacket = _jacket(garments, length)
        parts.append(Tube(start, neck, wide, jacket, section, start_cap=0.0, end_cap=0.3, bend=bend, scale=size, raised=4.0))
    return parts


def _clothed(character: Character, length: float) -> Texture:
    """The trunk's surface: skin, top, bottom, belt, buttons, collar and logo."""
    garments = character.garments
    skin, accent = column(character.skin), column(garments.logo_colour)
    trousers = garments.kind in ("trousers", "shorts")

    ends = np.float32(0.004 if trousers else WAIST - 0.06)  # below, thighs or skirt go on

    def texture(at: Surface) -> tuple[np.ndarray, np.ndarray]:
        ahead = np.cos(at.angle)
        front = np.clip(ahead * 8, 0, 1)
        along, scale = at.along, at.scale
        colour = cloth(garments.top, at)
        if trousers:
            below = np.clip((garments.top_hem - along) * scale + 0.5, 0, 1)
            colour = colour + (cloth(garments.bottom, at) - colour) * below
        across = np.sin(at.angle) * np.float32(GIRTH)
        if garments.buttons:
            rows = np.abs((along / np.float32(0.038)) % 1 - 0.5) * np.float32(0.038)
            away = np.sqrt(across * across + rows * rows)
            colour = colour + (column(garments.buttons) - colour) * (np.clip((0.007 - away) * scale + 0.5, 0, 1) * front)
        if garments.logo:
            mark = logo(garments.logo, across, along - np.float32(length - 0.115), 0.032, scale)
            colour = colour + (accent - colour) * (mark * front)
        if garments.belt and garments.top_hem >= 0.1:
            belt = np.clip((0.009 - np.abs(along - max(garments.top_hem, 0.125))) * scale + 0.5, 0, 1)
            colour = colour + (column(garments.belt) - colour) * belt
        above = along - (length - _neckline(garments, ahead))
        if garments.collar:
            band = np.clip((0.009 - np.abs(above + 0.004)) * scale + 0.5, 0, 1)
            colour = colour + (column(garments.collar) - colour) * band
        colour = colour + (skin - colour) * np.clip(above * scale + 0.5, 0, 1)
        return colour, np.clip((along - ends) * np.float32(1 / 0.05), 0, 1)

    return texture


def _neckline(garments: Garments, ahead: np.ndarray) -> np.ndarray:
    """How far below the base of the neck the top begins, by the cosine of the angle around the body."""
    if garments.neckline == "vee":
        return 0.012 + 0.07 * np.clip((ahead - 0.72) / 0.28, 0, 1)
    if garments.neckline == "boat":
        return np.full_like(ahead, 0.022)
    if garments.neckline == "high":
        return np.full_like(ahead, -0.01)
    return 0.01 + 0.034 * np.clip(ahead, 0, 1) ** 3


def _jacket(garments: Garments, length: float) -> Texture:
    """An open jacket with lapels."""
    base, edge = column(garments.jacket), column(mixed(garments.jacket, (18, 16, 24), 0.2))

    def texture(at: Surface) -> tuple[np.ndarray, np.ndarray]:
        turn = np.abs(np.arctan2(np.sin(at.angle), np.cos(at.angle)))
        opening = 0.42 + 0.28 * np.clip(np.abs(at.along - 0.17) * 2.6, 0, 1) ** 1.5
        inside = (turn - opening) * np.float32(GIRTH) * at.scale
        lapel = np.clip(0.02 * at.scale - inside, 0, 1) * np.clip((at.along - 0.17) * at.scale, 0, 1)
        collar = np.clip((at.along - length + 0.016) * at.scale + 0.5, 0, 1)
        return base + (edge - base) * np.maximum(lapel, collar), np.clip(inside + 0.5, 0, 1)

    return texture


def _skirt(character: Character, joints: Skeleton, scale: float) -> Cloth:
    """A skirt around hips and legs, or a dress's lower part."""
    body, garments = character.proportions, character.garments
    size = body.height * scale
    frame = joints.pelvis_frame
    circle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    waist_at = joints.pelvis + frame[:, 1] * (WAIST - LOW) * size

    def ring(centre: np.ndarray, left: np.ndarray, front: np.ndarray, wide: float, deep: float) -> np.ndarray:
        return centre + np.outer(np.cos(circle), left) * wide * size + np.outer(np.sin(circle), front) * deep * size

    left, front = frame[:, 0], frame[:, 2]
    waist = ring(waist_at, left, front, body.waist * 1.06 + 0.002, body.waist * 0.72)
    hips = ring(joints.pelvis, left, front, body.pelvis * 1.08 + 0.002, body.pelvis * 0.78)
    hems, rings = [], [waist, hips]
    for hip, knee, ankle in zip(joints.hips, joints.knees, joints.ankles, strict=True):
        for share in (0.5, 1.0):
            centre, along = _down_the_leg(hip, knee, ankle, garments.length * share, body.thigh, body.shin, size)
            across = left - along * (along @ left)
            ahead = front - along * (along @ front)
            thick = (0.058 - 0.03 * garments.length * share) * body.build
            rings.append(ring(centre, across, ahead, thick, thick))
        hems.append(centre)
    middle = (hems[0] + hems[1]) / 2
    rings.append(ring(middle, left, front, garments.flare, garments.flare * 0.75))
    waist_depth, hem_depth = float(waist[:, 2].max()), float(max(r[:, 2].max() for r in rings[1:]))
    knee_depth = max(float(knee[2]) for knee in joints.knees) + 0.03 * size
    points = np.vstack(rings)
    yaw = float(np.arctan2(front[0], front[2]))
    start = waist_at

    def texture(at: Surface) -> tuple[np.ndarray, None]:
        if garments.kind == "dress":
            colour = cloth(garments.bottom, at._replace(along=np.float32(WAIST) - at.along))
        else:
            colour = cloth(garments.bottom, at._replace(along=np.float32(0.3) - at.along))
        if garments.belt:
            belt = np.clip((0.011 - np.abs(at.along - 0.006)) * at.scale + 0.5, 0, 1)
            colour = colour + (column(garments.belt) - colour) * belt
        return colour, None

    folds = (garments.folds, 0.16 if garments.flare > 0.1 else 0.08)
    return Cloth(points, start, middle, -yaw, (waist_depth + 2, max(hem_depth, waist_depth, knee_depth) + 2), texture, size, folds)


def _down_the_leg(
    hip: np.ndarray, knee: np.ndarray, ankle: np.ndarray, length: float, thigh: float, shin: float, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """The point `length` body lengths down a leg and the direction of the leg there."""
    bone, origin, left = (knee - hip, hip, length) if length < thigh else (ankle - knee, knee, min(length - thigh, shin))
    along = bone / max(np.linalg.norm(bone), 1e-6)
    return origin + along * (left * size), along
