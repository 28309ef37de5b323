"""The head as solids: skull with its face, ears, nose, hair and hats."""

import numpy as np

from pipelines.training.people.character import Character
from pipelines.training.people.ellipsoid import Ellipsoid
from pipelines.training.people.face import face
from pipelines.training.people.hair import Solids, hair
from pipelines.training.people.hat import hat
from pipelines.training.people.palette import mixed
from pipelines.training.people.shading import column
from pipelines.training.people.skeleton import Skeleton


def half_widths(character: Character, scale: float) -> tuple[float, float, float]:
    """Half widths of the head, left, up and front, in pixels."""
    high = character.proportions.head * character.proportions.height * scale / 2
    return 0.76 * high, high, 0.86 * high


def head(character: Character, joints: Skeleton, scale: float) -> Solids:
    """The solids of the head; joints in picture space."""
    a, b, c = radii = half_widths(character, scale)
    frame, skull = joints.head_frame, joints.skull
    skin = column(character.skin)

    def at(x: float, y: float, z: float) -> np.ndarray:
        return skull + frame @ np.array([x * a, y * b, z * c])

    solids: Solids = [Ellipsoid(skull, frame, radii, face(character, a), jaw=0.32)]
    solids.append(Ellipsoid(at(0, -0.2, 0.99), frame, (0.12 * a, 0.15 * b, 0.13 * c), skin))
    warm = column(mixed(character.skin, (190, 90, 80), 0.15))
    for side in (1, -1):
        solids.append(Ellipsoid(at(side * 0.98, -0.08, -0.05), frame, (0.1 * a, 0.18 * b, 0.14 * c), warm))
    if character.hair.style != "bald":
        solids += hair(character.hair, at, frame, radii)
    if character.hair.hat:
        solids += hat(character.hair.hat, character.hair.hat_colour, at, frame, radii)
    return solids
