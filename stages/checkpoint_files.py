"""Checkpoint folders: their digest, and a local copy for the worker that loads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from manifests import storage
from manifests.errors import Again, Problem
from manifests.source_memo import SourceMemo, memoised_digest
from manifests.work import Weights
from stages import hub
from stages.diffusion.animator import Facts
from stages.diffusion.weights.lora_file import LoraFile
from stages.diffusion.weights.published_names import AS_PUBLISHED, among, on_disk, the_one, varies
from stages.hub import SCHEME, on_hub, require_allowed
from stages.node_cache import NodeCache, Sizes

STREAMS = 4  # files of a checkpoint that are fetched at once
LORA = "lora.safetensors"


def checkpoint_digest(folder: str, facts: Facts, memo: SourceMemo) -> str:
    """Digest of every file in the parts of `folder` that the animator reads, and of its revision; memoised per file.

    On the hub, a commit stands for its files. Raises `Problem` naming the parts that are missing.
    """
    if repository := on_hub(folder):
        return _digest({f"{SCHEME}{repository.name}": repository.commit}, facts)
    files = _files(folder, facts)
    return _digest({name: memoised_digest(storage.join(folder, name), memo) for name in files}, facts)


def _digest(digests: Mapping[str, str], facts: Facts) -> str:
    lines = [f"{name} {digests[name]}" for name in sorted(digests)]
    lines += [f"revision {facts.revision}"] if facts.revision else []
    return storage.sha256_text("\n".join(lines))


@contextmanager
def held_checkpoint(folder: str, facts: Facts, digest: str, cache: NodeCache) -> Iterator[Path]:
    """The folder itself if it is local, else this machine's copy of it, which is there during the block.

    Raises `Again` for a download of other bytes than were digested, `Problem` where there is no room for it.
    """
    repository = on_hub(folder)
    if not facts.checkpoint or (repository is None and storage.is_local(folder)):
        yield Path(folder)
    elif repository is not None:
        require_allowed(repository, cache.allow_hub)
        files = partial(_files, folder, facts, partial(hub.files_of, repository))
        with cache.holding(f"checkpoints/{digest}", files, partial(hub.fetch, repository)) as copy:
            yield copy
    else:
        fetch = partial(_fetch, folder, facts, digest)
        with cache.holding(f"checkpoints/{digest}", partial(_files, folder, facts), fetch) as copy:
            yield copy


def _fetch(folder: str, facts: Facts, digest: str, copy: Path, sizes: Sizes) -> None:
    """Put the files of a checkpoint below `copy`, several at once; what an earlier try left there is used."""

    def fetched(name: str) -> str:
        target = copy / name
        if target.is_file() and target.stat().st_size == sizes[name]:
            return storage.sha256_file(target)
        download, digest = storage.fetch_copy(storage.join(folder, name), target.parent, None)
        download.replace(target)
        return digest

    with ThreadPoolExecutor(STREAMS) as pool:
        digests = dict(zip(sizes, pool.map(fetched, sizes), strict=True))
    if _digest(digests, facts) != digest:
        for name in sizes:
            (copy / name).unlink()
        shown = storage.redact(folder)
        raise Again(f"checkpoint {shown} changed while the run was going on", "run again when it is at rest")


def lora_at(weights: Weights, scale: float) -> LoraFile:
    """The LoRA file where it lies, here or elsewhere."""
    return LoraFile(Path(weights.uri), storage.name(weights.uri), weights.digest, scale)


@contextmanager
def held_lora(weights: Weights, scale: float, cache: NodeCache) -> Iterator[LoraFile]:
    """The file itself if it is local, else this machine's copy of it, which is there during the block.

    Raises `Problem` for a download of other bytes than were validated.
    """
    lora = lora_at(weights, scale)
    if storage.is_local(weights.uri):
        yield lora
        return

    def fetch(copy: Path, sizes: Sizes) -> None:
        fetched = storage.fetch(weights.uri, copy, None)
        try:
            replace(lora, path=fetched).check()
            fetched.replace(copy / LORA)
        finally:
            fetched.unlink(missing_ok=True)

    with cache.holding(f"loras/{weights.digest}", lambda: {LORA: storage.stamp(weights.uri).size}, fetch) as copy:
        yield replace(lora, path=copy / LORA)


def _files(folder: str, facts: Facts, listed: Callable[[], Sizes] | None = None) -> dict[str, int]:
    """`{name below folder: size in bytes}` of all that the animator reads. Raises `Problem` for parts that are missing.

    `listed` are all files of a folder on the hub, which storage cannot be asked for.
    """
    found = _parts_among(listed(), folder, facts) if listed else checkpoint_files(folder, facts)
    missing = [part for part in facts.checkpoint if not found[part]]
    if missing:
        raise Problem(
            f"checkpoint {storage.redact(folder)} for {facts.name} lacks {', '.join(missing)}",
            f"{AS_PUBLISHED}, {facts.name!r}; or set `checkpoints` in the configuration",
        )
    return {name: size for files in found.values() for name, size in files.items()}


def _parts_among(names: Sizes, folder: str, facts: Facts) -> dict[str, dict[str, int]]:
    """What `checkpoint_files` finds, of the files with these names."""
    found = {part: the_one(part, among(names), folder) for part in (*facts.checkpoint, *facts.checkpoint_settings)}
    return {
        part: {one: size for one, size in names.items() if place and (one == place or one.startswith(f"{place}/"))}
        for part, place in found.items()
    }


def checkpoint_files(folder: str, facts: Facts) -> dict[str, dict[str, int]]:
    """`{name below folder: size in bytes}` of every part that the animator reads; empty for one that is not there.

    Raises `Problem` where several files could be one part.
    """
    parts = *facts.checkpoint, *facts.checkpoint_settings
    matching = None
    if any(map(varies, parts)):
        local = storage.is_local(folder)
        matching = on_disk(Path(folder)) if local else among(storage.listing(folder, recursive=True))
    where = storage.redact(folder)
    found = {part: the_one(part, matching, where) if matching and varies(part) else part for part in parts}
    return {part: part_files(folder, name) if name else {} for part, name in found.items()}


def part_files(folder: str, part: str) -> dict[str, int]:
    """`{name below folder: size in bytes}` of a part, which is a folder or a single file; empty if it is not there."""
    uri = storage.join(folder, part)
    with suppress(FileNotFoundError):
        return {part: storage.stamp(uri).size}
    return {f"{part}/{name}": size for name, size in storage.listing(uri, recursive=True).items()}
