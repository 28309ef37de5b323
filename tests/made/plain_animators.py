"""Animators without weights, for promises about what happens around one: they run in this process only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch

from manifests.errors import NotFinite
from stages.diffusion.animator import Denoised, Facts, Parts
from stages.diffusion.animators import ANIMATORS

FACTS = Facts(
    name="plain",
    implementation=f"{__name__}:Plain",
    pose="skeleton",
    reference=True,
    size_multiple=2,
    native_size=(48, 64),
    window=16,
    window_limits=(1, 1000),
    overlap=0,
    steps=1,
    guidance=(),
    checkpoint=(),
    licence="MIT",
    revision="1",
)


ALIVE: WeakSet[Plain] = WeakSet()


class Plain:
    """The reference, mirrored, in every frame."""

    facts = FACTS
    nbytes = 0

    def __init__(self, half: bool) -> None:
        self.half = half
        ALIVE.add(self)

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Any = None) -> Plain:
        return cls(dtype != torch.float32)

    def segment(self, clip: Any, reference: np.ndarray | None, driving: Any, segment: Any) -> Denoised:
        picture = np.full((64, 48, 3), 200) if reference is None else np.ascontiguousarray(reference[:, ::-1])
        return Denoised(torch.from_numpy(picture).expand(len(segment), *picture.shape).float())

    def frames(self, parts: Parts, clip: Any) -> Iterator[np.ndarray]:
        for _, latents in parts:
            yield latents.numpy().round().astype(np.uint8)


class OverflowingDenoiser(Plain):
    """Its half precision gives NaN."""

    def segment(self, *asked: Any) -> Denoised:
        return Denoised(super().segment(*asked).latents * (float("nan") if self.half else 1))


class OverflowingDecoder(Plain):
    """The latents of its half precision are well, its pictures are not."""

    def frames(self, parts: Parts, clip: Any) -> Iterator[np.ndarray]:
        if self.half:
            raise NotFinite("the decoder produced values that are not finite")
        return super().frames(parts, clip)


class BlackInHalf(Plain):
    """What a cast of NaN to uint8 makes of an overflow that nobody noticed."""

    def frames(self, parts: Parts, clip: Any) -> Iterator[np.ndarray]:
        for frames in super().frames(parts, clip):
            yield frames * (0 if self.half else 1)


class AlwaysNaN(Plain):
    """No precision helps it."""

    def segment(self, *asked: Any) -> Denoised:
        return Denoised(super().segment(*asked).latents * float("nan"))


class AlwaysBlack(Plain):
    """Nothing to be seen in any precision."""

    def frames(self, parts: Parts, clip: Any) -> Iterator[np.ndarray]:
        for frames in super().frames(parts, clip):
            yield frames * 0


class Greedy(Plain):
    """It wants the device's memory for itself alone."""

    def segment(self, *asked: Any) -> Denoised:
        if len(ALIVE) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")
        return super().segment(*asked)


class Hoarder(Plain):
    """It keeps of its clips what leaves no room for the next one."""

    kept = 0

    def segment(self, *asked: Any) -> Denoised:
        if self.kept:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")
        self.kept = 1
        return super().segment(*asked)

    def forget(self) -> int:
        dropped, self.kept = self.kept, 0
        return dropped


class TooLarge(Plain):
    """No memory is enough for its pictures."""

    def frames(self, parts: Parts, clip: Any) -> Iterator[np.ndarray]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 300.00 GiB.")


@pytest.fixture
def plain_animators(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are known by their names in lower case."""
    short = (Greedy, Hoarder, TooLarge)
    for kind in (Plain, OverflowingDenoiser, OverflowingDecoder, BlackInHalf, AlwaysNaN, AlwaysBlack, *short):
        name = kind.__name__.lower()
        facts = replace(FACTS, name=name, implementation=f"{__name__}:{kind.__name__}")
        monkeypatch.setitem(ANIMATORS, name, facts)
    # one that takes neither reference nor driving file
    text = replace(FACTS, name="textblack", implementation=f"{__name__}:AlwaysBlack", reference=False, text=True)
    monkeypatch.setitem(ANIMATORS, "textblack", replace(text, driving="optional"))
