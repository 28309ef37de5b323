"""Checkpoints on the Hugging Face hub: `hub:ORGANISATION/NAME@COMMIT`, fetched only where the network is allowed.

A commit names its bytes, so that nothing is asked of the hub to know what a film was made with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from manifests import storage
from manifests.errors import Problem, WrongUsage

SCHEME = "hub:"
_NAME = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})")


class Repository(NamedTuple):
    """A repository of models at one commit."""

    name: str
    commit: str

    def download(self, folder: str) -> str:
        """The command that puts it into a folder."""
        return f"hf download {self.name} --revision {self.commit} --local-dir {folder}"


def on_hub(uri: str) -> Repository | None:
    """What a `hub:` URI names; None for any other. Raises `WrongUsage` for one without a commit."""
    if not uri.startswith(SCHEME):
        return None
    named = _NAME.fullmatch(uri.removeprefix(SCHEME))
    if named is None:
        remedy = "write hub:ORGANISATION/NAME@COMMIT, with 40 digits: a branch means other bytes tomorrow"
        raise WrongUsage(f"checkpoint {uri!r} names no commit", remedy)
    return Repository(*named.groups())


def require_allowed(repository: Repository, allowed: bool) -> None:
    """Raise `WrongUsage` with what to do unless the hub may be asked."""
    if not allowed:
        raise WrongUsage(
            f"checkpoint {SCHEME}{repository.name} lies on the Hugging Face hub, which may not be asked",
            f"set model_cache.allow_hub: true; or {repository.download('FOLDER')}, and name that folder",
        )


def files_of(repository: Repository) -> dict[str, int]:
    """`{name: bytes}` of all files of the repository at its commit. Raises `Problem` where the hub does not tell."""
    return {name: size for name, (size, _) in _told(repository).items()}


def fetch(repository: Repository, folder: Path, sizes: Mapping[str, int]) -> None:
    """Put those files below a folder. Raises `Problem` where one does not come, or with other bytes than promised."""
    from huggingface_hub import snapshot_download

    digests = {name: digest for name, (_, digest) in _told(repository).items()}
    try:
        snapshot_download(repository.name, revision=repository.commit, local_dir=folder, allow_patterns=list(sizes))
    except Exception as error:
        raise _refused(repository, error) from None
    for name in sizes:
        expected = digests[name]
        if not (folder / name).is_file() or (expected and storage.sha256_file(folder / name) != expected):
            (folder / name).unlink(missing_ok=True)
            raise Problem(f"checkpoint {SCHEME}{repository.name}: {name} came with other bytes", "run again")


def _told(repository: Repository) -> dict[str, tuple[int, str | None]]:
    """Bytes, and for large files the SHA-256, of every file."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    try:
        tree = list(HfApi().list_repo_tree(repository.name, recursive=True, revision=repository.commit))
    except Exception as error:
        raise _refused(repository, error) from None
    return {one.path: (one.size, one.lfs.sha256 if one.lfs else None) for one in tree if isinstance(one, RepoFile)}


def _refused(repository: Repository, error: Exception) -> Problem:
    reason = storage.redact_text((str(error).strip() or type(error).__name__).splitlines()[0])
    remedy = "see to the network, HF_ENDPOINT and HF_TOKEN"
    return Problem(
        f"checkpoint {SCHEME}{repository.name} does not come from the hub: {reason}",
        f"{remedy}; or, where there is a network, {repository.download('FOLDER')}, and name that folder",
    )
