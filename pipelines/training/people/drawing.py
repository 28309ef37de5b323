"""A person in a studio: the whole picture and its keypoints."""

from dataclasses import dataclass

import numpy as np

from pipelines.training.people.arms import arms
from pipelines.training.people.backdrop import shadowed, studio
from pipelines.training.people.camera import camera
from pipelines.training.people.character import Character
from pipelines.training.people.cloth import Cloth
from pipelines.training.people.ellipsoid import Ellipsoid
from pipelines.training.people.head import half_widths, head
from pipelines.training.people.keypoints import keypoints
from pipelines.training.people.layer import Layer
from pipelines.training.people.legs import legs
from pipelines.training.people.pose import Pose
from pipelines.training.people.skeleton import Skeleton, pose_skeleton
from pipelines.training.people.skirt import skirt
from pipelines.training.people.trunk import neck, trunk
from pipelines.training.people.tube import Tube


@dataclass(frozen=True)
class Drawing:
    """A picture and what a perfect pose estimator would find in it."""

    picture: np.ndarray  # uint8 (height, width, 3), RGB
    keypoints: np.ndarray  # float32 (23, 3): x, y in pixels, pixel centres whole numbers; visible 0 or 1


def draw(character: Character, pose: Pose, width: int, height: int) -> Drawing:
    """The person in this pose, `width` × `height` pixels; keypoints are the first 23 of COCO-WholeBody."""
    view = camera(width, height)
    joints = pose_skeleton(character.proportions, pose).moved(view)
    solids = _solids(character, joints, view.scale)
    layer = Layer(width, height)
    for solid in sorted(solids, key=lambda solid: solid.depth):
        solid.draw(layer)
    backdrop = shadowed(studio(character.backdrop, width, height), joints, view.scale)
    points = keypoints(joints, half_widths(character, view.scale), view.scale)
    return Drawing(layer.over(backdrop), points)


def _solids(character: Character, joints: Skeleton, scale: float) -> list[Tube | Cloth | Ellipsoid]:
    """Everything the person consists of; the order decides only between equal depths."""
    body, *outer = trunk(character, joints, scale)
    skirts = [skirt(character, joints, scale)] if character.garments.kind in ("dress", "skirt") else []
    return [
        body,
        *skirts,
        *outer,
        neck(character, joints, scale),
        *arms(character, joints, scale),
        *legs(character, joints, scale),
        *head(character, joints, scale),
    ]
