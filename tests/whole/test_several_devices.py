"""A film that several devices make together is the one that a single device makes, under the same key."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.results import Result
from manifests.work import Work
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.demo import demo_clips
from stages.diffusion.sampling.replicas import Replicas

CLIP = {**demo_clips()[0], "frame_count": 20, "window": 8, "overlap": 2}


def made(output: Path, together: int) -> tuple[Work, Result]:
    pool = {"device": "cpu", "threads": 1, "gpus_per_clip": together}
    chain = StageChain(RunConfig.load(None, {"animate_pool": pool}), str(output))
    work = chain.work(CLIP)
    return work, chain.film(work)


def test_two_replicas_make_the_film_of_one_to_the_byte_and_under_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[int] = []
    begin = Replicas.__init__

    def counted(self: Replicas, of: list) -> None:
        models.append(len(of))
        begin(self, of)

    monkeypatch.setattr(Replicas, "__init__", counted)
    (work, film), (same_work, same_film) = (made(tmp_path / str(together), together) for together in (1, 2))
    assert models == [1, 2]
    assert same_work == work
    assert Path(same_film.film).name == Path(film.film).name
    assert Path(same_film.film).read_bytes() == Path(film.film).read_bytes()
