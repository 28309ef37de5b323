"""Weights of a network folder, in one file or in shards with an index beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from manifests.errors import Problem
from stages.diffusion.weights.checkpoint import State, read_object, read_state, weights_file


def read_network_state(folder: Path, stems: Iterable[str] = ("diffusion_pytorch_model",)) -> State:
    """All tensors of a network folder, on the CPU in the files' own dtype. Raises `Problem`, naming what is missing."""
    for stem in stems:
        index = folder / f"{stem}.safetensors.index.json"
        if index.is_file():
            return _sharded(folder, index)
    return read_state(weights_file(folder, stems))


def _sharded(folder: Path, index: Path) -> State:
    places = read_object(index).get("weight_map")
    # a shard lies beside its index: a name that leads elsewhere is none
    if not isinstance(places, dict) or not all(
        isinstance(name, str) and Path(name).name == name for name in places.values()
    ):
        raise Problem(f"checkpoint file {index} names no shards", "copy the published file again")
    state: State = {}
    for name in sorted(set(places.values())):
        state |= read_state(folder / name)
    if absent := sorted(places.keys() - state.keys()):
        raise Problem(
            f"checkpoint folder {folder}: its shards lack {len(absent)} tensors of their index, {absent[0]} first",
            "copy the published folder again",
        )
    return state
