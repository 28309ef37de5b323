"""The motion field of Text2Video-Zero: a latent shifted further with every frame, reflected at its borders.

Source: SPEC.md section 7 ("Motion field / warp"), in its closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Strengths are pixels per frame of a picture this wide and high, whatever the film's size is.
UNIT = 512


@dataclass(frozen=True)
class MotionField:
    """Constant motion: frame k is taken from (x·k, y·k) further right and down, in pixels of a 512×512 picture."""

    x: float
    y: float

    def flow(self, frame: int) -> tuple[float, float]:
        """(x, y) that this frame is taken from."""
        return self.x * frame, self.y * frame

    def source(self, frame: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(source row of every row, source column of every column) of a latent of that size."""
        across, down = self.flow(frame)
        return _places(height, down), _places(width, across)

    def warp(self, latent: torch.Tensor, frame: int) -> torch.Tensor:
        """(…, height, width) as this frame has it."""
        rows, columns = self.source(frame, *latent.shape[-2:])
        return latent[..., rows[:, None], columns]


STILL = MotionField(0, 0)


def _places(size: int, shift: float) -> torch.Tensor:
    """Nearest source of each of `size` places, reflected about the outer edges of the first and the last."""
    wanted = torch.arange(size, dtype=torch.float64) + (shift - 0.5) * size / UNIT
    within = (wanted + 0.5) % (2 * size)
    reflected = torch.where(within > size, 2 * size - within, within) - 0.5
    return reflected.clamp(0, size - 1).round().long()
