"""What the finishing network is shown of every frame: the reference in its pose, pixel by pixel.

All of it follows from the reference and the joints of every frame, which are a few numbers: those are kept with a
segment's latents, and the rest is made when it is decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from stages.diffusion.animator import Joints, PosePictures, Skeletons
from stages.diffusion.drawn.rigid_parts import Posture
from stages.diffusion.drawn.warp import ReferenceWarp, Warped
from stages.diffusion.skeletons import JOINTS, skeleton_of


class Look(NamedTuple):
    """One frame as the finishing network is shown it."""

    pictures: np.ndarray  # uint8 (height, width, 9): the reference warped, warped with a skirt, and its backdrop
    skeleton: np.ndarray  # uint8 (height, width, 3)
    maps: np.ndarray  # float32 (3, height/2, width/2), as `Warped` has them

    @classmethod
    def of(cls, warp: ReferenceWarp, joints: Joints) -> Look | None:
        """The reference in the posture of these joints; None where the two have no part in common."""
        warped = warp.to(Posture.of(*joints))
        return warped and cls.made(warp, warped, skeleton_of(*joints, warp.backdrop.shape[:2]))

    @classmethod
    def made(cls, warp: ReferenceWarp, warped: Warped, skeleton: np.ndarray) -> Look:
        """What `warp` made of a posture, whose skeleton is uint8 (height, width, 3)."""
        return cls(np.concatenate([warped.picture, warped.skirted, warp.backdrop], axis=-1), skeleton, warped.maps)


def as_tensors(looks: Sequence[Look], like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Looks as `Finishing` takes them beside latents, with their device and type."""
    pictures, skeletons = (
        torch.from_numpy(np.stack(of)).permute(0, 3, 1, 2).to(like)
        for of in ([one.pictures for one in looks], [one.skeleton for one in looks])
    )
    maps = torch.from_numpy(np.stack([one.maps for one in looks])).to(like)
    return pictures / 127.5 - 1, skeletons / 255, maps


def kept(picture: np.ndarray, poses: PosePictures, frames: Sequence[int]) -> dict[str, torch.Tensor] | None:
    """What the looks of some of a film's frames follow from; None where no joints tell of reference and poses.

    "reference" uint8 (height, width, 3), the picture; "joints" float32 (1 + frames, 18, 3), the reference's first: x, y
    and whether it is seen. Where nobody is, none is.
    """
    if not isinstance(poses, Skeletons) or poses.reference_joints is None:
        return None
    joints = [poses.reference_joints, *(poses.joints(frame) for frame in frames)]
    table = np.zeros((len(joints), JOINTS, 3), np.float32)
    for row, one in zip(table, joints, strict=True):
        if one is not None:
            row[:, :2], row[:, 2] = np.where(one[1][:, None], one[0], 0), one[1]
    return {"reference": torch.from_numpy(np.array(picture)), "joints": torch.from_numpy(table)}


class Looks:
    """Of frames in a row, made when some are asked for; None where a frame has nothing in common with the reference."""

    def __init__(self, warp: ReferenceWarp, joints: np.ndarray) -> None:
        """`joints` float32 (frames, 18, 3) as `kept` has them."""
        self._warp = warp
        self._joints = joints

    def __getitem__(self, frames: slice) -> list[Look | None]:
        return [Look.of(self._warp, _joints(row)) for row in self._joints[frames]]


def reference_warp(known: Mapping[str, torch.Tensor]) -> ReferenceWarp:
    """The warp of what was `kept`."""
    return ReferenceWarp(known["reference"].numpy(), Posture.of(*_joints(known["joints"][0].numpy())))


def _joints(row: np.ndarray) -> Joints:
    return row[:, :2], row[:, 2] > 0
