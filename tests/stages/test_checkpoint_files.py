"""Checkpoints from a bucket: the local copy is whole, of the bytes that stand in the keys, or fetched anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manifests import storage
from manifests.errors import Again
from manifests.source_memo import SourceMemo
from stages.checkpoint_files import checkpoint_digest, local_checkpoint
from stages.diffusion.animators import ANIMATORS
from tests.made.sample_media import CHECKPOINT

FACTS = ANIMATORS["magicanimate"]


@pytest.fixture
def bucket(s3: str) -> str:
    for path in CHECKPOINT.rglob("*"):
        if path.is_file():
            storage.publish(path, f"{s3}/weights/{path.relative_to(CHECKPOINT).as_posix()}")
    return s3 + "/weights"


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".whole")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("damage", ["cut short", "empty", "gone", "marker"])
def test_a_local_copy_that_is_not_whole_is_fetched_again(bucket: str, damage: str, tmp_path: Path) -> None:
    digest = checkpoint_digest(bucket, FACTS, SourceMemo(str(tmp_path / "memo")))
    copy = local_checkpoint(bucket, FACTS, digest, tmp_path / "scratch")
    whole = files(copy)
    assert whole == {name: (CHECKPOINT / name).read_bytes() for name in whole}
    weights = max(copy.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    if damage == "gone":
        weights.unlink()
    elif damage == "marker":
        (copy / ".whole").write_text("")
        weights.write_bytes(b"")
    else:
        os.truncate(weights, 0 if damage == "empty" else weights.stat().st_size // 2)
    assert local_checkpoint(bucket, FACTS, digest, tmp_path / "scratch") == copy
    assert files(copy) == whole


def test_a_checkpoint_that_was_replaced_since_its_digest_is_done_again(bucket: str, tmp_path: Path) -> None:
    memo = SourceMemo(str(tmp_path / "memo"))
    digest = checkpoint_digest(bucket, FACTS, memo)
    name = next(name for name in storage.listing(bucket, recursive=True) if name.endswith(".safetensors"))
    storage.publish_bytes(b"other weights", f"{bucket}/{name}")
    with pytest.raises(Again, match="changed while the run was going on"):
        local_checkpoint(bucket, FACTS, digest, tmp_path / "scratch")
    assert checkpoint_digest(bucket, FACTS, memo) != digest
