"""Loaded animators of one worker, bounded in bytes."""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import cast

import torch

from manifests.errors import Problem
from manifests.out_of_memory import first_line, out_of_memory
from stages.diffusion.acceleration import DEFAULT, Acceleration
from stages.diffusion.animator import Animator, DealsWindows, Remembers, compute_dtype
from stages.diffusion.animators import ANIMATORS, load_animator
from stages.diffusion.weights.lora_file import LoraFile

log = logging.getLogger(__name__)

Key = tuple[str | float | None, ...]

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class ModelCache:
    """Least recently used animators by name, compute type, checkpoint digest and LoRA.

    Room is made before an animator is loaded, as if it were as large as the last one of its name (the first of a name
    as its facts say), and again when its size is known. What could not be loaded is remembered by its reason alone, so
    that its other rows fail at once with the same one. An animator and its replicas on other devices are one entry, as
    large as all of them.
    """

    def __init__(
        self,
        device: str,
        dtype: str,
        max_bytes: int,
        others: Sequence[str] = (),
        acceleration: Acceleration = DEFAULT,
    ) -> None:
        """`dtype` is the compute type of all networks, or "auto" for what suits each animator on the device.

        On each of the `others` stands a replica of every animator that deals windows; the same device may come again.
        """
        self._device = device
        self._others = others
        self._dtype = dtype
        self._max_bytes = max_bytes
        self._acceleration = acceleration
        self._loaded: OrderedDict[Key, list[Animator]] = OrderedDict()  # the animator, then its replicas
        self._sizes: dict[tuple[str, str], int] = {}  # bytes of the last one loaded of each name and compute type
        self._refused: dict[Key, tuple[type[Problem], str, str]] = {}

    def dtype(self, name: str) -> str:
        """What the animator's networks compute in. Raises `Problem` as `compute_dtype` does."""
        return compute_dtype(ANIMATORS[name], self._device, self._dtype)

    def holds(self, name: str, digest: str, lora: LoraFile | None = None, dtype: str | None = None) -> bool:
        """Whether `get` would answer without reading a file."""
        key = _key(name, dtype, digest, lora)
        return key in self._loaded or key in self._refused

    def get(
        self, name: str, checkpoint: Path, digest: str, lora: LoraFile | None = None, dtype: str | None = None
    ) -> Animator:
        """The animator, loaded if it is not kept, in `dtype` rather than its own if one is given.

        Raises `Problem` as `Animator.load` does.
        """
        key = _key(name, dtype, digest, lora)
        kind = name, dtype or ""
        if key not in self._loaded and key not in self._refused:
            self._make_room(self._sizes.get(kind) or self._expected(name, dtype), keep=0)
            try:
                self._loaded[key] = self._load_with_room(name, checkpoint, DTYPES[dtype or self.dtype(name)], lora)
            except Problem as refused:
                self._refused[key] = type(refused), refused.error, refused.remedy
            else:
                self._sizes[kind] = _nbytes(self._loaded[key])
            if key in self._refused:
                self._collect()
        if key in self._refused:
            # outside the handler, and never the one that was caught: its traceback holds what had been loaded
            refusal, error, remedy = self._refused[key]
            raise refusal(error, remedy) from None
        self._loaded.move_to_end(key)
        self._make_room(0, keep=1)
        return self._loaded[key][0]

    def keep_one(self) -> bool:
        """Drop all but the animator used last, for its sake: its device is out of memory; and what it remembers.

        Whether there was anything to drop.
        """
        dropped = len(self._loaded) > 1
        while len(self._loaded) > 1:
            self._loaded.popitem(last=False)
        for one in chain.from_iterable(self._loaded.values()):
            if hasattr(one, "forget"):
                dropped = cast(Remembers, one).forget() > 0 or dropped
        self._collect()
        return dropped

    def _load_with_room(self, name: str, checkpoint: Path, dtype: torch.dtype, lora: LoraFile | None) -> list[Animator]:
        """Load it, once more without all others where it did not fit beside them."""
        try:
            return self._load(name, checkpoint, dtype, lora)
        except Exception as error:
            if not self._loaded or not out_of_memory(error):
                raise
            log.warning("loading %s: %s; once more, without other models", name, first_line(error))
        # behind the handler: the error's traceback held what had been loaded
        self._loaded.clear()
        self._collect()
        return self._load(name, checkpoint, dtype, lora)

    def _load(self, name: str, checkpoint: Path, dtype: torch.dtype, lora: LoraFile | None) -> list[Animator]:
        devices = self._devices(name)
        loaded = [load_animator(name, checkpoint, device, dtype, lora, self._acceleration) for device in devices]
        if len(loaded) > 1:
            cast(DealsWindows, loaded[0]).others = loaded[1:]
        return loaded

    def _devices(self, name: str) -> Sequence[str]:
        return (self._device, *(self._others if ANIMATORS[name].deals_windows else ()))

    def _expected(self, name: str, dtype: str | None) -> int:
        """Bytes of the weights that an animator's facts speak of; 0 where they do not."""
        try:
            computing = DTYPES[dtype or self.dtype(name)]
        except Problem:  # which loading it will raise
            return 0
        return int(ANIMATORS[name].parameters * 1e6 * computing.itemsize) * len(self._devices(name))

    def _make_room(self, coming: int, keep: int) -> None:
        """Drop the longest unused while they and `coming` bytes are too many, but `keep` animators at least."""
        while len(self._loaded) > keep and sum(map(_nbytes, self._loaded.values())) + coming > self._max_bytes:
            self._loaded.popitem(last=False)
            self._collect()

    def _collect(self) -> None:
        gc.collect()
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()


def _key(name: str, dtype: str | None, digest: str, lora: LoraFile | None) -> Key:
    return (name, dtype, digest, *((lora.digest, lora.scale) if lora else ()))


def _nbytes(replicas: Sequence[Animator]) -> int:
    return sum(one.nbytes for one in replicas)
