"""What short films tell of the workers that made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifests.clip import Clip
from manifests.results import Result
from manifests.work import Source, Work
from pipelines.configuration import RunConfig
from pipelines.planning.calibration import Measured, _alone, _load_seconds
from pipelines.planning.calibration_file import Setup
from pipelines.planning.samples import Sample, Shape, _given
from pipelines.settings import RunSettings, settled


def measured(animator: str, pixels: int, part: str, seconds: dict[str, float]) -> Measured:
    shape = Shape(animator, "", "", pixels, None, None, "parity", None)
    sample = Sample(Clip(id="c", animator=animator, width=32, height=32), shape, part, 4)
    return Measured(sample, Result(row=0, status="done", seconds=seconds))


def test_an_animators_loading_is_that_of_its_first_film_whatever_its_sizes() -> None:
    sizes = [
        measured("drawn", 1024, "warm", {"load": 9.0}),
        measured("drawn", 1024, "few", {"load": 0.01}),
        measured("drawn", 4096, "warm", {"load": 0.01}),
        measured("magicanimate", 4096, "warm", {}),
        measured("magicanimate", 4096, "few", {"load": 4.0}),
    ]
    assert _load_seconds(sizes) == {"drawn": 9.0, "magicanimate": 4.0}


def alike(tmp_path: Path, **config: Any) -> RunSettings:
    return settled(RunConfig.load(None, config), str(tmp_path / "m.parquet"), str(tmp_path / "out"), "night")


def test_workers_for_one_animator_are_measured_one_by_one_too(tmp_path: Path) -> None:
    pools = {"animate_pool": {"size": 2}, "animate_pools": {"drawn": {"size": 3, "max_size": 5, "num_cpus": 0.5}}}
    alone = _alone(run := alike(tmp_path, **pools))
    assert [pool.most for pool in alone.animating()] == [1, 1]
    assert alone.pool_of("drawn").num_cpus == 0.5
    assert Setup.of(run) == Setup.of(alike(tmp_path, **pools))
    assert Setup.of(run) != Setup.of(alike(tmp_path, animate_pool={"size": 2})), "drawn has another pace there"


def test_samples_of_a_film_whose_person_is_replaced_go_without_the_mask_that_would_be_too_long() -> None:
    replacing = {"driving_kind": "video", "mask": "m.mp4", "options": {"replace": True, "colour_correction": 0.2}}
    clip, video = Clip(id="c", animator="wan_animate", **replacing), Source(uri="d", digest="d", width=32, height=32)
    short = _given(Work(row=0, clip=clip, driving=video, mask=video, frames=9), {"driving": "short.mp4"}, ())
    assert (short.mask, short.driving) == (None, "short.mp4")
    assert short.options == {"replace": False, "colour_correction": 0.2}
