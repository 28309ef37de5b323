"""The folder that a job takes along: what is in it, what is not, and that it is no larger than it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import working_dir
from cluster.working_dir import WorkingDir, without_upload
from manifests.errors import Problem, WrongUsage
from tests.conftest import CHECKOUT


def test_a_checkout_takes_its_code_and_weights_along_and_nothing_else() -> None:
    taken = WorkingDir(CHECKOUT)
    assert {"pipelines/animate.py", "constraints.txt", "manifests/sample/catalogue/turn.mp4"} <= taken.sizes.keys()
    assert [name for name in taken.sizes if name.startswith("stages/bundled/") and name.endswith(".safetensors")]
    left = (".git/", ".venv/", "tests/", "pipelines/training/", "out/", ".ci/", ".mypy_cache/")
    assert [name for name in taken.sizes if name.startswith(left) or "__pycache__" in name] == []
    assert sum(taken.sizes.values()) < 40 * 2**20


def test_excludes_read_as_gitignore_does_and_ignore_files_are_heeded(tmp_path: Path) -> None:
    for name in ("keep.py", "films/a.mp4", "deep/films/b.mp4", "secret.txt", "deep/c.tmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".gitignore").write_text("*.tmp\n")
    (tmp_path / ".rayignore").write_text("/secret.txt\n")
    taken = WorkingDir(tmp_path, ["/films/"])
    assert set(taken.sizes) - {".gitignore", ".rayignore"} == {"keep.py", "deep/films/b.mp4"}
    assert taken.runtime == {"working_dir": str(tmp_path), "excludes": ["/films/"]}


def test_what_is_taken_along_is_known_by_its_relative_path(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "clips.parquet").write_text("rows")
    (tmp_path / "left.txt").write_text("left")
    taken = WorkingDir(tmp_path, ["/left.txt"])
    assert taken.inside(str(tmp_path / "tables" / "clips.parquet")) == "tables/clips.parquet"
    assert taken.inside(str(tmp_path / "tables")) == "tables"
    for outside in (tmp_path / "left.txt", tmp_path / "tab", tmp_path.parent, tmp_path / "absent"):
        assert taken.inside(str(outside)) is None


def test_too_much_is_refused_before_it_is_packed_and_the_largest_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working_dir, "MOST_BYTES", 3 * 2**20)
    for name, mib in {"models/a.bin": 2, "models/b.bin": 2, "code.py": 0}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(mib * 2**20))
    with pytest.raises(Problem, match=r"4.0 MiB would be uploaded, of 3.0 MiB.*models/ 4.0 MiB.*\.rayignore"):
        WorkingDir(tmp_path)
    assert WorkingDir(tmp_path, ["*.bin"]).sizes.keys() == {"code.py"}
    with pytest.raises(WrongUsage, match="no such folder"):
        WorkingDir(tmp_path / "absent")


def test_a_path_in_what_a_job_took_along_is_the_same_in_every_attempt() -> None:
    unpacked = (
        "/srv/ray/session_2026-11-29_16-07-23_149274_21517/runtime_resources/working_dir_files/_ray_pkg_{}/m.parquet"
    )
    first, second = (without_upload(unpacked.format(digest)) for digest in ("94e22672b020aacc", "77f46b6d6c327d28"))
    assert first == second == "working directory: m.parquet"
    assert without_upload("s3://films/m.parquet") == "s3://films/m.parquet"
