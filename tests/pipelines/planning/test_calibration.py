"""What short films tell of the workers that made them."""

from __future__ import annotations

import pytest

from manifests.clip import Clip
from manifests.results import Result
from pipelines.configuration import RunConfig
from pipelines.planning.calibration import Measured, _alone, _load_seconds
from pipelines.planning.calibration_file import Setup
from pipelines.planning.samples import Sample, Shape
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
