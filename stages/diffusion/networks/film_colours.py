"""Colours of a film of chained segments, led back to those of its first segment.

Networks that go on from their own pictures lose contrast, a little with every segment. What a segment takes over is
shown as it was; the farther a frame is from that, the more it is led back, so that no border shows. Frames are led back
before the next segment takes them over: it goes on from what the film shows, and what was lost is not lost twice.
"""

from __future__ import annotations

from typing import Protocol

import torch

GREATEST = 1.25  # gain of contrast, and its reciprocal the least: what differs by more shows something else


class Shown(Protocol):
    """A segment: its length are the frames that are shown, those taken over among them."""

    @property
    def taken_over(self) -> int:
        """Frames at its beginning that the segment before has drawn."""

    def __len__(self) -> int:
        """Frames that are shown."""


class FilmColours:
    """The colours of a film's first segment, and its later ones led back to them by `strength`, 0 to 1.

    At 0 nothing is looked at and nothing is changed. To be asked for segments in their order, or for one that goes on
    from a `carry`, which holds the first one's colours in a row of pixels of its own.
    """

    def __init__(self, strength: float, carry: torch.Tensor | None = None) -> None:
        self._strength = strength
        self._first: torch.Tensor | None = None
        self.taken_over = carry  # (1, 3, carried, height, width) in [-1, 1]
        if strength and carry is not None:
            self._first, self.taken_over = carry[0, :, 0, -1, :2], carry[..., :-1, :]

    @property
    def lead_back(self) -> bool:
        """Whether anything is changed."""
        return self._strength > 0

    def led_back(self, pixels: torch.Tensor, segment: Shown) -> torch.Tensor:
        """(1, 3, frames, height, width) in [-1, 1] of a segment, beyond its end too → the same of what is shown."""
        if not self._strength:
            return pixels
        mean, deviation = own = colours_of(pixels[:, :, segment.taken_over : len(segment)]).unbind(dim=1)
        if self._first is None:
            self._first = torch.stack(own, dim=1)
            return pixels
        wanted, spread = self._first.to(pixels.device).unbind(dim=1)
        gain = (spread / deviation.clamp(min=1e-6)).clamp(1 / GREATEST, GREATEST)
        mean, wanted, gain = (one.view(1, 3, 1, 1, 1) for one in (mean, wanted, gain))
        led = (pixels - mean) * gain + wanted
        return (pixels + self._share(pixels, segment) * (led - pixels)).clamp(-1, 1)

    def carry(self, pixels: torch.Tensor, carried: int) -> torch.Tensor:
        """What the next segment needs of this one's frames as they are shown: the last ones."""
        last = pixels[:, :, -carried:]
        if self._first is None:
            return last
        row = torch.zeros_like(last[..., :1, :])
        row[0, :, 0, 0, :2] = self._first
        return torch.cat([last, row], dim=3)

    def _share(self, pixels: torch.Tensor, segment: Shown) -> torch.Tensor:
        """(1, 1, frames, 1, 1) of how far each frame is led back: not at all what was taken over, the last the most."""
        last_taken = max(segment.taken_over - 1, 0)
        numbers = torch.arange(pixels.shape[2], device=pixels.device, dtype=pixels.dtype)
        share = ((numbers - last_taken) / max(len(segment) - 1 - last_taken, 1)).clamp(0, 1)
        return self._strength * share.view(1, 1, -1, 1, 1)


def colours_of(pixels: torch.Tensor) -> torch.Tensor:
    """(1, 3, frames, height, width) → (3, 2): mean and deviation of each colour."""
    levels = pixels[0].flatten(1)
    return torch.stack([levels.mean(dim=1), levels.std(dim=1)], dim=1)
