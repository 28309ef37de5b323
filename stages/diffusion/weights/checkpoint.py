"""Reading published checkpoint folders: every missing, unexpected or misshapen key is an error that names it."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file

from manifests.errors import Problem
from manifests.storage import sha256_file
from stages.diffusion.weights.bounds import MOST_JSON, on_meta, require_modest, require_plain_pickle
from stages.diffusion.weights.published_names import AS_PUBLISHED

Network = TypeVar("Network", bound=torch.nn.Module)
State = dict[str, torch.Tensor]

# AutoencoderKL files of 2022 use these names; diffusers renamed the layers, not the published files.
_OLD_ATTENTION_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a network folder. Raises `Problem` when it is missing, no JSON object or of absurd sizes."""
    config = read_object(path := folder / "config.json")
    try:
        require_modest(config)
    except ValueError as beyond:
        raise Problem(f"checkpoint file {path}: {beyond}", "copy the published file again") from None
    return {key: value for key, value in config.items() if not key.startswith("_")}


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file of a checkpoint. Raises `Problem` when it is missing or no JSON object."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_JSON + 1)
        if len(text) > MOST_JSON:
            raise ValueError(f"it has more than {MOST_JSON:,} bytes")
        found = json.loads(text)
    except FileNotFoundError:
        raise Problem(f"checkpoint file {path} is missing", AS_PUBLISHED) from None
    except (ValueError, RecursionError) as broken:
        raise Problem(f"checkpoint file {path} is not JSON: {broken}", "copy the published file again") from None
    if not isinstance(found, dict):
        raise Problem(f"checkpoint file {path} holds no JSON object", "copy the published file again")
    return found


def check_digests(folder: Path) -> None:
    """Hold a checkpoint folder against its `digests.json` ({file: SHA-256}), if it has one.

    Raises `Problem` naming the first file that is missing or has other bytes.
    """
    if not (folder / "digests.json").is_file():
        return
    for name, digest in read_object(folder / "digests.json").items():
        file = folder / name
        if not file.is_file() or sha256_file(file) != digest:
            raise Problem(f"checkpoint file {file} is not what digests.json says", "copy the folder again")


def weights_file(folder: Path, stems: Iterable[str] = ("diffusion_pytorch_model",)) -> Path:
    """The weights of a network folder: safetensors if present, else the published pickle (`.bin`)."""
    candidates = [folder / f"{stem}{suffix}" for suffix in (".safetensors", ".bin") for stem in stems]
    for path in candidates:
        if path.is_file():
            return path
    names = " or ".join(path.name for path in candidates)
    raise Problem(f"checkpoint folder {folder} has no {names}", AS_PUBLISHED)


def read_state(path: Path) -> dict[str, Any]:
    """Tensors of a `.safetensors` file or a torch pickle, on the CPU in the file's own dtype.

    Pickles are opened with `weights_only=True`: a file with code in it raises `Problem` and runs nothing.
    """
    if not path.is_file():
        raise Problem(f"checkpoint file {path} is missing", AS_PUBLISHED)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        require_plain_pickle(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as refused:
        # torch's own text recommends to run the code in the file
        named = re.search(r"GLOBAL (\S+)", str(refused))
        what = f"refers to code ({named[1]})" if named else "is no torch file of plain tensors"
        raise Problem(
            f"checkpoint file {path} {what} and was not opened",
            "use the published file, or convert it to safetensors",
        ) from None
    except Exception as broken:  # damaged bytes: torch's unpickler raises KeyError, IndexError, AssertionError…
        reason = (str(broken) or type(broken).__name__).splitlines()[0]
        raise Problem(f"checkpoint file {path} cannot be read: {reason}", "copy the published file again") from None
    if not is_state(state):
        raise Problem(f"checkpoint file {path} holds no state dict", "use the published file")
    if sparse := [name for name, one in state.items() if getattr(one, "layout", torch.strided) is not torch.strided]:
        raise Problem(f"checkpoint file {path}: {sparse[0]} is no plain tensor", "use the published file")
    return state


def build(kind: type[Network], config: Mapping[str, Any], source: Path) -> Network:
    """The diffusers network that a configuration describes, on the meta device. Raises `Problem` if it is none."""
    with described_by(source, kind.__name__), on_meta():
        return kind.from_config(config)


@contextmanager
def described_by(source: Path, what: str) -> Iterator[None]:
    """For building a network within by the configuration `source`. Raises `Problem` when that describes no `what`."""
    try:
        yield
    except Problem:
        raise
    except Exception as wrong:  # whatever a foreign configuration makes of the constructor
        reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
        error = f"checkpoint file {source} describes no {what}: {reason}"
        raise Problem(error, "copy the published folder again") from None


def is_state(found: Any) -> bool:
    """Whether something read from a pickle is a dictionary by names, whatever its values are."""
    return isinstance(found, dict) and all(isinstance(key, str) for key in found)


def load_strictly(
    network: Network,
    state: Mapping[str, Any],
    source: Path | str,
    dtype: torch.dtype,
    in_float32: Collection[str] = (),
) -> Network:
    """Give `network` (built on the meta device) the tensors of `state`, in `dtype`, ready for inference.

    What lies in a module or parameter named in `in_float32` is kept in that.
    Raises `Problem` naming the keys that are missing, unexpected or of another shape.
    """
    wanted = network.state_dict()
    tensors = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    complaints = [
        _named("missing", sorted(wanted.keys() - tensors.keys())),
        _named("unexpected", sorted(state.keys() - wanted.keys())),
        _named(
            "of another shape",
            [
                f"{key} {tuple(tensors[key].shape)} instead of {tuple(wanted[key].shape)}"
                for key in sorted(wanted.keys() & tensors.keys())
                if tensors[key].shape != wanted[key].shape
            ],
        ),
    ]
    if any(complaints):
        raise Problem(
            f"checkpoint {source} does not fit {type(network).__name__}: {'; '.join(filter(None, complaints))}",
            "the file belongs to another system or version, or is incomplete: use the published one",
        )
    # assign keeps the tensor's own dtype: the compute dtype is ours to choose, never the file's
    kept = {key for key in tensors if not set(key.split(".")).isdisjoint(in_float32)}
    cast = {
        key: value.to(torch.float32 if key in kept else dtype) if value.is_floating_point() else value
        for key, value in tensors.items()
    }
    network.load_state_dict(cast, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def load_network(kind: type[Network], folder: Path, device: str, dtype: torch.dtype) -> Network:
    """A diffusers network in its published folder, ready for inference. Raises `Problem` for a wrong or partial one."""
    network = build(kind, read_config(folder), folder / "config.json")
    return load_strictly(network, read_state(weights_file(folder)), folder, dtype).to(device)


def _named(what: str, keys: list[str], shown: int = 4) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return f"{len(keys)} {what} ({', '.join(keys[:shown])}{more})"


def with_current_attention_names(state: State) -> State:
    """AutoencoderKL weights with the attention layers of 2022 (`query`, `proj_attn` …) under today's names."""

    def renamed(key: str) -> str:
        head, _, tail = key.rpartition(".")
        stem, _, layer = head.rpartition(".")
        if ".attentions." in key and layer in _OLD_ATTENTION_NAMES:
            return f"{stem}.{_OLD_ATTENTION_NAMES[layer]}.{tail}"
        return key

    return {renamed(key): value for key, value in state.items()}
