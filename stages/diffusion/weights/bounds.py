"""How much a checkpoint may make of itself: whoever may name one in a row has not written this code."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, is_zipfile

import torch
from torch.nn.modules.module import register_module_module_registration_hook

MOST_JSON = 2**20  # bytes of a configuration; published ones have under 10,000
LARGEST_NUMBER = 10**7  # in a configuration; libraries make lists of such lengths
MOST_MODULES = 20_000  # of a network; UNetMotionModel of Stable Diffusion 1.5 has 3,000

# All that `weights_only` lets a pickle call which takes memory by a mere number.
_MAKES_ROOM = b"bytearray"


def require_modest(config: Any) -> None:
    """Raise `ValueError` naming the first number of a configuration that no network has."""
    for place, value in _leaves(config, ""):
        if isinstance(value, int | float) and abs(value) > LARGEST_NUMBER:  # of NaN it is the network that complains
            shown = f"{value:,}" if abs(value) < 1e18 else "a longer number"
            raise ValueError(f"{place} is {shown}, at most {LARGEST_NUMBER:,} is taken")


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, place)
    else:
        yield place, value


class _Allowance(threading.local):
    left: int | None = None  # modules that this thread may still make; None: any number


_ALLOWANCE = _Allowance()


def _counted(*_: Any) -> None:
    if _ALLOWANCE.left is not None:
        _ALLOWANCE.left -= 1
        if _ALLOWANCE.left < 0:
            raise ValueError(f"it describes a network of more than {MOST_MODULES:,} modules")


register_module_module_registration_hook(_counted)  # once: other threads may be making networks of theirs


@contextmanager
def on_meta() -> Iterator[None]:
    """Networks made within take no memory. Raises `ValueError` for one of more modules than any that is known."""
    before, _ALLOWANCE.left = _ALLOWANCE.left, MOST_MODULES
    try:
        with torch.device("meta"):
            yield
    finally:
        _ALLOWANCE.left = before


def require_weights_for(make: Callable[[], torch.nn.Module], weights: Callable[[], Path]) -> None:
    """Raise `ValueError` unless the file that `weights` finds is large enough for the network that `make` gives.

    For libraries whose networks cannot be given weights while they are on the meta device: this one is thrown away.
    """
    with on_meta():
        wanted = sum(parameter.numel() for parameter in make().parameters())
    if wanted > (size := (file := weights()).stat().st_size):
        raise ValueError(f"it describes {wanted:,} weights, and {file.name} has {size:,} bytes")


def require_plain_pickle(path: Path) -> None:
    """Raise `ValueError` for a torch file that takes more memory than it has bytes.

    torch stores tensors as they are: one that is packed, or names the same bytes many times, was not written by it.
    """
    size = path.stat().st_size
    if is_zipfile(path):
        try:
            with ZipFile(path) as archive:
                members = archive.infolist()
        except BadZipFile:
            return  # torch says what is wrong with it
        if packed := [one.filename for one in members if one.compress_type != ZIP_STORED]:
            raise ValueError(f"its part {packed[0][:80]!r} is packed")
        if (whole := sum(one.file_size for one in members)) > size:
            raise ValueError(f"its parts are to have {whole:,} bytes, and it has {size:,}")
    if size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(_MAKES_ROOM) >= 0:
                raise ValueError(f"it refers to code ({_MAKES_ROOM.decode()})")
