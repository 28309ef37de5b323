"""Loaded animators of one worker, bounded in bytes."""

from __future__ import annotations

import gc
from collections import OrderedDict
from pathlib import Path

import torch

from manifests.errors import Problem
from stages.diffusion.animators import Animator, load_animator
from stages.diffusion.lora_file import LoraFile

Key = tuple[str | float | None, ...]

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class ModelCache:
    """Least recently used animators by name, checkpoint digest and LoRA.

    A checkpoint that could not be loaded is remembered, so that its other rows fail at once with the same reason.
    """

    def __init__(self, device: str, dtype: str, max_bytes: int) -> None:
        self._device = device
        self._dtype = DTYPES[dtype]
        self._max_bytes = max_bytes
        self._loaded: OrderedDict[Key, Animator] = OrderedDict()
        self._refused: dict[Key, Problem] = {}

    def get(self, name: str, checkpoint: Path, digest: str, lora: LoraFile | None = None) -> Animator:
        """The animator, loaded if it is not kept. Raises `Problem` as `Animator.load` does."""
        key: Key = (name, digest, *((lora.digest, lora.scale) if lora else ()))
        if key in self._refused:
            raise self._refused[key]
        if key not in self._loaded:
            try:
                self._loaded[key] = load_animator(name, checkpoint, self._device, self._dtype, lora)
            except Problem as refused:
                self._refused[key] = refused
                raise
        self._loaded.move_to_end(key)
        self._make_room()
        return self._loaded[key]

    def _make_room(self) -> None:
        while len(self._loaded) > 1 and sum(one.nbytes for one in self._loaded.values()) > self._max_bytes:
            self._loaded.popitem(last=False)
            gc.collect()
            if self._device.startswith("cuda"):
                torch.cuda.empty_cache()
