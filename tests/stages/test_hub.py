"""Checkpoints on the Hugging Face hub, of which a server here has as much as is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.errors import WrongUsage
from manifests.source_memo import SourceMemo
from stages.checkpoint_files import checkpoint_digest, held_checkpoint
from stages.diffusion.animators import ANIMATORS
from stages.node_cache import NodeCache
from tests.conftest import CHECKOUT
from tests.made.hub_server import COMMIT, hub_server
from tests.made.sample_media import CHECKPOINT

FACTS = ANIMATORS["magicanimate"]
NAME = "mine/magicanimate"

# a process of its own: huggingface_hub reads where the hub is when it is imported
WORKER = """
import sys
from pathlib import Path
from manifests.errors import Problem
from stages.checkpoint_files import held_checkpoint
from stages.diffusion.animators import ANIMATORS
from stages.node_cache import NodeCache

uri, scratch = sys.argv[1:]
cache = NodeCache(Path(scratch), allow_hub=True)
for _ in range(2):
    try:
        with held_checkpoint(uri, ANIMATORS["magicanimate"], "digest", cache) as copy:
            print(copy)
    except Problem as problem:
        print(problem.error, "→", problem.remedy)
"""


def fetched(endpoint: str, scratch: Path) -> list[str]:
    home = {"HF_ENDPOINT": endpoint, "HF_HOME": str(scratch / "home"), "HF_HUB_DISABLE_XET": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", WORKER, f"hub:{NAME}@{COMMIT}", str(scratch)],
        env={**os.environ, **home, "PYTHONPATH": str(CHECKOUT), "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout.splitlines()


def test_a_repository_is_fetched_once_and_only_what_is_read_of_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for path in (one for one in CHECKPOINT.rglob("*") if one.is_file()):
        (target := source / path.relative_to(CHECKPOINT)).parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (source / "README.md").write_text("not read")
    with hub_server(source, NAME) as (endpoint, asked):
        first, second = fetched(endpoint, tmp_path / "scratch")
        assert first == second == str(tmp_path / "scratch" / "checkpoints" / "digest")
        weights = [line for line in asked if line.startswith("GET") and line.endswith(".safetensors")]
        assert len(weights) == len(set(weights)) > 2
        assert not any("README" in line for line in asked)
    for path in (one for one in CHECKPOINT.rglob("*.safetensors")):
        assert (Path(first) / path.relative_to(CHECKPOINT)).read_bytes() == path.read_bytes()


def test_a_hub_out_of_reach_says_what_gets_the_weights_elsewhere(tmp_path: Path) -> None:
    said = fetched("http://127.0.0.1:9", tmp_path)[0]
    assert said.startswith(f"checkpoint hub:{NAME} does not come from the hub: ")
    assert f"hf download {NAME} --revision {COMMIT} --local-dir FOLDER, and name that folder" in said


def test_without_leave_nothing_is_asked_of_the_hub(tmp_path: Path) -> None:
    with (
        pytest.raises(WrongUsage, match="may not be asked"),
        held_checkpoint(f"hub:{NAME}@{COMMIT}", FACTS, "digest", NodeCache(tmp_path)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_commit_stands_for_its_bytes(tmp_path: Path) -> None:
    memo = SourceMemo(str(tmp_path))
    of = {checkpoint_digest(f"hub:{NAME}@{commit}", FACTS, memo) for commit in (COMMIT, COMMIT, "f" * 40)}
    assert len(of) == 2
    with pytest.raises(WrongUsage, match="names no commit"):
        checkpoint_digest(f"hub:{NAME}@main", FACTS, memo)
