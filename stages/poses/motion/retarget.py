"""A driving person's motion on the reference person's body, in the pixels of the reference picture.

`none` scales picture to picture. `similarity` finds one scale and shift for the clip, from limbs that both show. With
`bone_length` every bone keeps the driving direction and takes the reference's length, and feet that stand keep
standing. Scores never change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from manifests.errors import Rejected
from stages.poses.anatomy import ANKLES, ATTACHED, BONES, HIPS, NECK, NOSE, clip_extent
from stages.poses.keypoints import Keypoints, People
from stages.poses.motion.ground import contacts, planted_roots, reach_feet
from stages.poses.wholebody import BODY, VISIBLE

Mode = Literal["none", "similarity", "bone_length"]
# The same bone on both sides counts as one.
_PAIRS = {(1, 2): (1, 5), (2, 3): (5, 6), (3, 4): (6, 7), (1, 8): (1, 11), (8, 9): (11, 12), (9, 10): (12, 13)}
_PAIRS |= {(0, 14): (0, 15), (14, 16): (15, 17)}
_TRUNK_AND_LEGS = ((1, 8), (8, 9), (9, 10))
_HEAD = ((0, 14), (14, 16))
_FOREARM, _SHIN = (3, 4), (9, 10)
# Faces scale with the head's width, hands with the forearm, feet with the shin.
_SCALED_BY = {NOSE: None, 4: _FOREARM, 7: _FOREARM, 10: _SHIN, 13: _SHIN}


class RetargetSettings(BaseModel):
    """How a motion is fitted to a body."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length_quantile: float = Field(
        0.9,
        ge=0,
        le=1,
        description="of a bone's lengths over the clip, which counts as its length; 0.5 is the median, "
        "which takes limbs that often point at the viewer for short ones",
    )
    most_unlike: float = Field(
        1.8,
        gt=1,
        description="a bone's ratio differs from the clip's scale by no more: the reference may foreshorten it",
    )
    hold_feet: bool = Field(True, description="keep feet where they stand while the driving ones stand")


@dataclass(frozen=True)
class Retargeted:
    """The motion on the new body."""

    keypoints: Keypoints
    scale: float  # reference pixels per driving pixel, for the whole clip
    ratios: dict[str, float]  # bone "parent-child" → its own; empty but for bone_length


def retarget(
    driving: Keypoints,
    reference: People,
    reference_size: tuple[int, int],
    fps: float = 25.0,
    mode: Mode = "bone_length",
    settings: RetargetSettings | None = None,
) -> Retargeted:
    """One-slot keypoints and one reference person in a picture of `reference_size` (height, width).

    Raises ValueError for several slots, `Rejected` where the two bodies have no bone in common to be compared by.
    """
    settings = settings or RetargetSettings()
    if driving.points.shape[1] != 1 or len(reference) != 1:
        raise ValueError(f"expected one person in each, not {driving.points.shape[1]} and {len(reference)}")
    height, width = reference_size
    if mode == "none":
        stretch = np.array([width / driving.width, height / driving.height])
        boxes = driving.boxes * np.tile(stretch, 2)
        stretched = replace(driving, points=driving.points * stretch, boxes=boxes, width=width, height=height)
        return Retargeted(stretched, float(stretch[1]), {})
    if mode not in ("similarity", "bone_length"):
        raise ValueError(f"mode is {mode!r}, expected 'none', 'similarity' or 'bone_length'")
    points, seen = driving.points[:, 0], (driving.scores[:, 0] > VISIBLE) & driving.present[:, :1]
    theirs, shown = reference.points[0], reference.scores[0] > VISIBLE
    scale = _scale(points, seen, theirs, shown, settings.length_quantile)
    shift = _shift(points * scale, seen, theirs, shown)
    moved, ratios = points * scale + shift, dict[str, float]()
    if mode == "bone_length":
        every = _ratios(points, seen, theirs, shown, scale, settings)
        moved = _on_bones(points, seen, every, moved, fps, settings.hold_feet)
        moved = moved + _shift(moved, seen, theirs, shown)
        ratios = {f"{parent}-{child}": ratio for (parent, child), ratio in every.items()}
    boxes = driving.boxes[:, 0] * scale + np.tile(shift, 2)
    keypoints = Keypoints(moved[:, None], driving.scores.copy(), boxes[:, None], width, height)
    return Retargeted(keypoints, scale, ratios)


def _lengths(points: np.ndarray, seen: np.ndarray, bone: tuple[int, int]) -> np.ndarray:
    """Of one bone wherever both ends are seen: points (frames, 134, 2) or (134, 2)."""
    parent, child = bone
    lengths = np.linalg.norm(points[..., parent, :] - points[..., child, :], axis=-1)
    return np.atleast_1d(lengths)[np.atleast_1d(seen[..., parent] & seen[..., child])]


def _length(points: np.ndarray, seen: np.ndarray, bone: tuple[int, int], quantile: float) -> float:
    """Typical length, both sides averaged; NaN where the bone is never seen."""
    sides = [bone] + ([_PAIRS[bone]] if bone in _PAIRS else [])
    found = [np.quantile(those, quantile) for side in sides if len(those := _lengths(points, seen, side))]
    return float(np.mean(found)) if found else float("nan")


def _ratio(
    points: np.ndarray, seen: np.ndarray, theirs: np.ndarray, shown: np.ndarray, bones: tuple, quantile: float
) -> float:
    """Reference length per driving length over some bones taken together, of those that both show; else NaN."""
    pairs = [(_length(theirs, shown, bone, quantile), _length(points, seen, bone, quantile)) for bone in bones]
    pairs = [pair for pair in pairs if np.isfinite(pair).all() and pair[1] > 0]
    return sum(pair[0] for pair in pairs) / sum(pair[1] for pair in pairs) if pairs else float("nan")


def _scale(points: np.ndarray, seen: np.ndarray, theirs: np.ndarray, shown: np.ndarray, quantile: float) -> float:
    """By trunk and legs; by the shoulders or the head where those are not in both pictures."""
    for bones in (_TRUNK_AND_LEGS, ((1, 2), (1, 0), (2, 3), (3, 4)), _HEAD):
        ratio = _ratio(points, seen, theirs, shown, bones, quantile)
        if np.isfinite(ratio) and ratio > 0:
            return ratio
    raise Rejected(
        "the driving person and the reference person show no bone in common",
        "use a reference image that shows the same part of the body as the driving video, or retarget 'none'",
    )


def _shift(points: np.ndarray, seen: np.ndarray, theirs: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """(2,): brings a scaled clip to the reference person: across by the middle of the trunk, down by the ground.

    Where ankles are hidden, down by hips, then by the neck or nose.
    """

    def middle(places: np.ndarray, there: np.ndarray, joints: tuple[int, ...]) -> np.ndarray:
        known = there[..., joints].all(axis=-1)
        return np.atleast_2d(places[..., joints, :].mean(axis=-2))[np.atleast_1d(known)]

    shift = np.full(2, np.nan)
    for joints in (HIPS, (NECK,), (NOSE,), ANKLES):
        ours, target = middle(points, seen, joints), middle(theirs, shown, joints)
        if len(ours) and len(target):
            found = target[0] - np.median(ours, axis=0)
            shift = np.where(np.isnan(shift), found, shift)
    ankles = seen[:, ANKLES].all(axis=1)
    if ankles.any() and shown[list(ANKLES)].all():
        lower = points[ankles][:, ANKLES, 1].max(axis=1)
        shift[1] = theirs[list(ANKLES), 1].max() - np.median(lower)
    return np.nan_to_num(shift)


def _ratios(
    points: np.ndarray,
    seen: np.ndarray,
    theirs: np.ndarray,
    shown: np.ndarray,
    scale: float,
    settings: RetargetSettings,
) -> dict[tuple[int, int], float]:
    """Reference per driving length of every bone; the clip's scale where either never shows it."""
    head = _ratio(points, seen, theirs, shown, _HEAD, settings.length_quantile)
    found = {}
    for bone in BONES:
        left_of = {left: right for right, left in _PAIRS.items()}
        first = left_of.get(bone, bone)
        if bone[0] == NOSE or bone[0] in (14, 15):
            ratio = head  # the face is one rigid thing
        else:
            ratio = _ratio(points, seen, theirs, shown, (first,), settings.length_quantile)
        low, high = scale / settings.most_unlike, scale * settings.most_unlike
        found[bone] = float(np.clip(ratio, low, high)) if np.isfinite(ratio) else scale
    return found


def _on_bones(
    points: np.ndarray,
    seen: np.ndarray,
    ratios: dict[tuple[int, int], float],
    similar: np.ndarray,
    fps: float,
    hold_feet: bool,
) -> np.ndarray:
    """Walk the tree from the neck: (frames, 134, 2), standing on the ground as `similar` does."""
    # Hips hang from the neck by two bones; across, the pelvis keeps the ratio of that pair.
    moved = similar.copy()
    hang: dict[int, np.ndarray] = {}
    for parent, child in BONES:
        hang[child] = hang.get(parent, 0) + (points[:, child] - points[:, parent]) * ratios[parent, child]
        moved[:, child] = similar[:, NECK] + hang[child]
    size = clip_extent(points, seen.astype(float))
    standing = contacts(points[:, ANKLES], seen[:, ANKLES], size, fps)
    roots = planted_roots(moved[:, ANKLES], similar[:, NECK], standing)
    moved[:, BODY] += (roots - similar[:, NECK])[:, None]
    if hold_feet:
        reach_feet(moved, standing)
    for anchor, which in ATTACHED:
        bone = _SCALED_BY[anchor]
        ratio = ratios[bone] if bone else ratios[0, 14]
        moved[:, which] = moved[:, anchor, None] + (points[:, which] - points[:, anchor, None]) * ratio
    return moved
