"""Checkpoint folders: their digest, and a local copy for the worker that loads them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

from manifests import storage
from manifests.errors import Again, Damaged, Problem
from manifests.source_memo import SourceMemo, memoised_digest
from manifests.work import Weights
from stages.diffusion.animator import Facts
from stages.diffusion.weights.lora_file import LoraFile
from stages.diffusion.weights.published_names import AS_PUBLISHED, among, on_disk, the_one, varies

WHOLE = ".whole"  # in a downloaded checkpoint, last: the sizes of its files


def checkpoint_digest(folder: str, facts: Facts, memo: SourceMemo) -> str:
    """Digest of every file in the parts of `folder` that the animator reads, and of its revision; memoised per file.

    Raises `Problem` naming the parts that are missing.
    """
    files = _files(folder, facts)
    return _digest({name: memoised_digest(storage.join(folder, name), memo) for name in files}, facts)


def _digest(digests: Mapping[str, str], facts: Facts) -> str:
    lines = [f"{name} {digest}" for name, digest in digests.items()]
    lines += [f"revision {facts.revision}"] if facts.revision else []
    return storage.sha256_text("\n".join(lines))


def local_checkpoint(folder: str, facts: Facts, digest: str, scratch: Path) -> Path:
    """The folder itself if it is local, else a download kept in `scratch` under its digest.

    What is kept is held against the sizes it had when it was whole, and fetched again where it was cut short since.
    Raises `Again` for a download of other bytes than were digested.
    """
    if not facts.checkpoint or storage.is_local(folder):
        return Path(folder)
    copy = scratch / "checkpoints" / digest
    if not _is_whole(copy):
        digests = {}
        for name in _files(folder, facts):
            target = copy / name
            fetched, digests[name] = storage.fetch_copy(storage.join(folder, name), target.parent, None)
            fetched.replace(target)
        if _digest(digests, facts) != digest:
            shutil.rmtree(copy)
            shown = storage.redact(folder)
            raise Again(f"checkpoint {shown} changed while the run was going on", "run again when it is at rest")
        sizes = {name: (copy / name).stat().st_size for name in digests}
        storage.publish_json(sizes, str(copy / WHOLE))
    return copy


def _is_whole(copy: Path) -> bool:
    """Whether every file of a download is there, in the size it had when the download was found whole."""
    try:
        sizes = storage.read_json(str(copy / WHOLE))
        return bool(sizes) and all((copy / name).stat().st_size == size for name, size in cast(dict, sizes).items())
    except (Damaged, FileNotFoundError):
        return False


def local_lora(weights: Weights, scale: float, scratch: Path) -> LoraFile:
    """The file itself if it is local, else a download kept in `scratch` under its digest.

    Raises `Problem` for a download of other bytes than were validated.
    """
    lora = LoraFile(Path(weights.uri), storage.name(weights.uri), weights.digest, scale)
    if storage.is_local(weights.uri):
        return lora
    kept = replace(lora, path=scratch / "loras" / f"{weights.digest}.safetensors")
    if not kept.path.exists() or storage.sha256_file(kept.path) != weights.digest:
        fetched = storage.fetch(weights.uri, kept.path.parent, None)
        try:
            replace(lora, path=fetched).check()
            fetched.replace(kept.path)
        finally:
            fetched.unlink(missing_ok=True)
    return kept


def _files(folder: str, facts: Facts) -> list[str]:
    found = checkpoint_files(folder, facts)
    missing = [part for part in facts.checkpoint if not found[part]]
    if missing:
        raise Problem(
            f"checkpoint {storage.redact(folder)} for {facts.name} lacks {', '.join(missing)}",
            f"{AS_PUBLISHED}, {facts.name!r}; or set `checkpoints` in the configuration",
        )
    return sorted(name for files in found.values() for name in files)


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
