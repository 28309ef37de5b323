"""DreamPose's pose input: DensePose's U and V of a frame, of the two before it and of the two after it.

Source: SPEC.md section 5.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from stages.diffusion.animator import PosePictures
from stages.diffusion.sampling.transfer import picked, sent
from stages.video.image import Fit

REACH = 2  # frames before and after


def published_neighbours(frame: int, there: Container[int]) -> tuple[int, ...]:
    """The five frames packed for `frame`: in place of a number that is not there comes the frame itself (quirk 3)."""
    return tuple(near if near in there else frame for near in _around(frame))


def clamped_neighbours(frame: int, num_frames: int) -> tuple[int, ...]:
    """The same with the first and the last frame standing still."""
    return tuple(min(max(near, 0), num_frames - 1) for near in _around(frame))


def looped_neighbours(frame: int, num_frames: int) -> tuple[int, ...]:
    """The same in a film whose end joins its beginning."""
    return tuple(near % num_frames for near in _around(frame))


def _around(frame: int) -> range:
    return range(frame - REACH, frame + REACH + 1)


def pose_picture(uv: np.ndarray, width: int, height: int, how: Fit) -> torch.Tensor:
    """(2, h, w) in [0, 1], 0 where no body is → float32 (2, height, width) in [-1, 1].

    Met as `stages.video.image.fit` meets the key image, but bilinearly between pixel centres, without antialiasing,
    as published (who stretches), and with no body around it.
    """
    given = torch.from_numpy(np.ascontiguousarray(uv, np.float32))[None]
    rows, columns = given.shape[-2:]
    across, down = width / columns, height / rows
    inner = width, height
    if how == "cover":
        scale = max(across, down)
        keep_columns, keep_rows = (max(1, round(side / scale)) for side in inner)
        left, top = max(0, columns - keep_columns) // 2, max(0, rows - keep_rows) // 2
        given = given[..., top : top + keep_rows, left : left + keep_columns]
    elif how == "contain":
        scale = min(across, down)
        inner = min(width, max(1, round(columns * scale))), min(height, max(1, round(rows * scale)))
    picture = interpolate(given, size=inner[::-1], mode="bilinear", align_corners=False)[0]
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    picture = pad(picture, (left, width - inner[0] - left, top, height - inner[1] - top))
    return (picture - 0.5) / 0.5


def at_latent_size(picture: torch.Tensor) -> torch.Tensor:
    """(…, height, width) → (…, height/8, width/8): one pixel of eight, as published, not their mean."""
    return picture[..., ::8, ::8].clone()


@dataclass(frozen=True)
class PackedPoses:
    """Poses at latent size, each kept once, and which five of them go with every frame."""

    maps: torch.Tensor  # (poses, 2, height/8, width/8)
    places: torch.Tensor  # (frames, 5), in main memory

    @classmethod
    def pack(
        cls, poses: PosePictures, neighbours: Sequence[Sequence[int]], width: int, height: int, how: Fit
    ) -> PackedPoses:
        """Read and resize every pose in `neighbours`, five numbers in `poses` for each frame."""
        needed = sorted({number for five in neighbours for number in five})
        maps = [at_latent_size(pose_picture(poses[number], width, height, how)) for number in needed]
        place = {number: at for at, number in enumerate(needed)}
        return cls(torch.stack(maps), torch.tensor([[place[number] for number in five] for five in neighbours]))

    def to(self, device: torch.device, dtype: torch.dtype) -> PackedPoses:
        """The same for a network."""
        return PackedPoses(self.maps.to(device, dtype), self.places)

    def __getitem__(self, frames: Sequence[int]) -> torch.Tensor:
        """What the network is shown with these frames: (frames, 10, height/8, width/8)."""
        return self.maps[sent(picked(self.places, frames), self.maps.device)].flatten(1, 2)
