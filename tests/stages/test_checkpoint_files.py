"""Checkpoints from a bucket: the local copy is whole, of the bytes that stand in the keys, or fetched anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from manifests import storage
from manifests.errors import Again, Problem
from manifests.source_memo import SourceMemo
from pipelines import stage_of
from pipelines.clip import StageChain
from stages.checkpoint_files import checkpoint_digest, held_checkpoint
from stages.diffusion.animators import ANIMATORS
from stages.node_cache import WHOLE, NodeCache
from tests.conftest import CHECKOUT
from tests.made.sample_media import CHECKPOINT, clip_row, config

FACTS = ANIMATORS["magicanimate"]


@pytest.fixture
def bucket(s3: str) -> str:
    for path in CHECKPOINT.rglob("*"):
        if path.is_file():
            storage.publish(path, f"{s3}/weights/{path.relative_to(CHECKPOINT).as_posix()}")
    return s3 + "/weights"


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != WHOLE)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("damage", ["cut short", "empty", "gone", "marker"])
def test_a_local_copy_that_is_not_whole_is_fetched_again(bucket: str, damage: str, tmp_path: Path) -> None:
    digest = checkpoint_digest(bucket, FACTS, SourceMemo(str(tmp_path / "memo")))
    cache = NodeCache(tmp_path / "scratch")
    with held_checkpoint(bucket, FACTS, digest, cache) as copy:
        whole = files(copy)
    assert whole == {name: (CHECKPOINT / name).read_bytes() for name in whole}
    weights = max(copy.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    if damage == "gone":
        weights.unlink()
    elif damage == "marker":
        (copy / WHOLE).write_text("")
        weights.write_bytes(b"")
    else:
        os.truncate(weights, 0 if damage == "empty" else weights.stat().st_size // 2)
    with held_checkpoint(bucket, FACTS, digest, cache) as again:
        assert again == copy
        assert files(copy) == whole


def test_a_checkpoint_that_was_replaced_since_its_digest_is_done_again(bucket: str, tmp_path: Path) -> None:
    memo = SourceMemo(str(tmp_path / "memo"))
    digest = checkpoint_digest(bucket, FACTS, memo)
    name = next(name for name in storage.listing(bucket, recursive=True) if name.endswith(".safetensors"))
    storage.publish_bytes(b"other weights", f"{bucket}/{name}")
    cache = NodeCache(tmp_path / "scratch")
    with (
        pytest.raises(Again, match="changed while the run was going on"),
        held_checkpoint(bucket, FACTS, digest, cache),
    ):
        pass
    assert checkpoint_digest(bucket, FACTS, memo) != digest
    assert not cache.holds(f"checkpoints/{digest}")


WORKER = """
import sys
from pathlib import Path
from manifests import storage
from stages.checkpoint_files import held_checkpoint
from stages.diffusion.animators import ANIMATORS
from stages.node_cache import NodeCache

uri, digest, scratch = sys.argv[1:]
fetched, fetch_copy = [], storage.fetch_copy
storage.fetch_copy = lambda uri, *rest: fetched.append(uri) or fetch_copy(uri, *rest)
with held_checkpoint(uri, ANIMATORS["magicanimate"], digest, NodeCache(Path(scratch))) as copy:
    print(len(fetched), sum(path.stat().st_size for path in copy.rglob("*") if path.is_file()))
"""


def test_of_the_workers_of_a_node_one_fetches_and_the_others_wait(bucket: str, tmp_path: Path) -> None:
    digest = checkpoint_digest(bucket, FACTS, SourceMemo(str(tmp_path / "memo")))
    command = [sys.executable, "-c", WORKER, bucket, digest, str(tmp_path / "scratch")]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    workers = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    told = [worker.communicate(timeout=200) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, told[0][1][-2000:]
    fetched, sizes = zip(*(map(int, out.split()) for out, _ in told), strict=True)
    assert sorted(fetched) == [0, 0, 0, sum(fetched)], "one of them all files, the others none"
    assert sum(fetched) > 5
    assert len(set(sizes)) == 1


def test_what_an_earlier_try_left_is_used_after_its_bytes_were_looked_at(bucket: str, tmp_path: Path) -> None:
    digest, cache = checkpoint_digest(bucket, FACTS, SourceMemo(str(tmp_path / "memo"))), NodeCache(tmp_path / "made")
    with held_checkpoint(bucket, FACTS, digest, cache) as copy:
        weights = max(copy.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    (copy / WHOLE).unlink()
    weights.write_bytes(b"x" * weights.stat().st_size)  # of the right size, and wrong
    with pytest.raises(Again), held_checkpoint(bucket, FACTS, digest, cache):
        pass
    with held_checkpoint(bucket, FACTS, digest, cache):
        (copy / WHOLE).unlink()
        kept = {path: path.stat().st_ino for path in copy.rglob("*.safetensors")}
    with held_checkpoint(bucket, FACTS, digest, cache):
        assert {path: path.stat().st_ino for path in copy.rglob("*.safetensors")} == kept


def test_a_loaded_model_needs_its_files_no_more(bucket: str, media: Path) -> None:
    scratch = media / "scratch"
    run = config(model_cache={"folder": str(scratch)}).model_copy(update={"checkpoints": {"magicanimate": bucket}})
    chain = StageChain(run, str(media / "out"))
    row = {**clip_row("a"), "reference": str(media / "reference.png"), "driving": str(media / "driving.mp4")}
    works = [chain.work({**row, "seed": seed}) for seed in (0, 1)]
    stage_of.extract_pose(chain.settings).for_driving(works[0])
    stage_of.prepare_inputs(chain.settings)(works[0])
    stage = stage_of.animate(chain.settings)
    assert stage(works[0]).status == "done"
    assert len(list((scratch / "checkpoints").iterdir())) == 1
    shutil.rmtree(scratch / "checkpoints")
    assert stage(works[1]).status == "done"
    assert not (scratch / "checkpoints").exists(), "nothing was fetched again"


def test_a_checkpoint_larger_than_the_cache_says_what_to_raise(bucket: str, tmp_path: Path) -> None:
    digest = checkpoint_digest(bucket, FACTS, SourceMemo(str(tmp_path / "memo")))
    cache = NodeCache(tmp_path / "scratch", max_bytes=1000)
    with pytest.raises(Problem, match="find no room") as refused, held_checkpoint(bucket, FACTS, digest, cache):
        pass
    assert "model_cache.bytes" in refused.value.remedy
