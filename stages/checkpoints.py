"""Checkpoint folders: their digest, and a local copy for the worker that loads them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from manifests import storage
from manifests.errors import Problem
from stages.diffusion.animators import Facts


def checkpoint_digest(folder: str, facts: Facts, memo: storage.SourceMemo) -> str:
    """Digest of every file in the parts of `folder` that the animator reads; memoised per file.

    Raises `Problem` naming the parts that are missing.
    """
    digests = [f"{name} {storage.memoised_digest(storage.join(folder, name), memo)}" for name in _files(folder, facts)]
    return storage.sha256_text("\n".join(digests))


def local_checkpoint(folder: str, facts: Facts, digest: str, scratch: Path) -> Path:
    """The folder itself if it is local, else a download kept in `scratch` under its digest."""
    if storage.is_local(folder):
        return Path(folder)
    copy = scratch / "checkpoints" / digest
    whole = copy / ".whole"
    if not whole.exists():
        for name in _files(folder, facts):
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            storage.fetch(storage.join(folder, name), target.parent, None).replace(target)
        whole.touch()
    return copy


def _files(folder: str, facts: Facts) -> list[str]:
    found = {part: part_files(folder, part) for part in (*facts.checkpoint, *facts.checkpoint_settings)}
    missing = [part for part in facts.checkpoint if not found[part]]
    if missing:
        raise Problem(
            f"checkpoint {storage.redact(folder)} for {facts.name} lacks {', '.join(missing)}",
            "lay the folder out as published (README, 'Checkpoints') or set `checkpoints` in the configuration",
        )
    return sorted(name for files in found.values() for name in files)


def part_files(folder: str, part: str) -> dict[str, int]:
    """`{name below folder: size in bytes}` of a part, which is a folder or a single file; empty if it is not there."""
    uri = storage.join(folder, part)
    with suppress(FileNotFoundError):
        return {part: storage.stamp(uri).size}
    return {f"{part}/{name}": size for name, size in storage.listing(uri, recursive=True).items()}
