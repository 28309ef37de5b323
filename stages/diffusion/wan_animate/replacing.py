"""A film whose person is replaced: what stays of each frame, and where. Source: SPEC.md sections 9 and 13.6."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from stages.diffusion.animator import PosePictures
from stages.diffusion.networks.film_pixels import LANCZOS, to_pixels
from stages.video.image import Fit, fit


class Scene(NamedTuple):
    """What a person is put into, one item of each frame."""

    background: PosePictures  # uint8 (height, width, 3), black where the person is to be
    masks: PosePictures  # uint8 (height, width), 255 there, 0 where the background stays

    def pixels(self, frames: Sequence[int], width: int, height: int, how: Fit) -> torch.Tensor:
        """(1, 3, frames, height, width) in [-1, 1]."""
        return to_pixels(fit(self.background[frame], width, height, how, LANCZOS) for frame in frames)

    def kept(self, frames: Sequence[int], width: int, height: int, how: Fit, scale: int) -> torch.Tensor:
        """(frames, height / scale, width / scale): 1 where the background stays; values between are possible."""
        grey = [fit(self.masks[frame][..., None].repeat(3, 2), width, height, how, LANCZOS)[..., 0] for frame in frames]
        anew = torch.from_numpy(np.stack(grey).astype(np.float32) / 255.0)
        return interpolate(1 - anew[:, None], size=(height // scale, width // scale), mode="nearest")[:, 0]


class Background:
    """Frames without the person who is replaced, uint8 (height, width, 3), made when they are asked for."""

    def __init__(self, frames: PosePictures, masks: PosePictures) -> None:
        self._frames, self._masks = frames, masks

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, frame: int) -> np.ndarray:
        """The frame, the darker the more of the mask there is: black where it is white, as it was where it is black."""
        picture, mask = self._frames[frame], self._masks[frame]
        if mask.shape != picture.shape[:2]:
            mask = np.asarray(
                Image.fromarray(mask).resize((picture.shape[1], picture.shape[0]), Image.Resampling.NEAREST)
            )
        left = 255 - mask[..., None].astype(np.uint16)
        return ((picture * left + 127) // 255).astype(np.uint8)
