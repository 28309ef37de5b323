"""A person in a studio: the whole picture and its keypoints."""

from dataclasses import dataclass

import numpy as np

from manifests.sample.people.arms import arms
from manifests.sample.people.backdrop import shadowed, studio
from manifests.sample.people.camera import camera
from manifests.sample.people.character import Character
from manifests.sample.people.cloth import Cloth
from manifests.sample.people.ellipsoid import Ellipsoid
from manifests.sample.people.head import half_widths, head
from manifests.sample.people.keypoints import keypoints
from manifests.sample.people.layer import Layer
from manifests.sample.people.legs import legs
from manifests.sample.people.pose import Pose
from manifests.sample.people.skeleton import Skeleton, pose_skeleton
from manifests.sample.people.skirt import skirt
from manifests.sample.people.trunk import neck, trunk
from manifests.sample.people.tube import Tube


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
