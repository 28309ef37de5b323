"""Which clips are dealt segment by segment, and when one of them is whole, ended, or neither."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from manifests import storage
from manifests.clip import Clip
from manifests.layout import OutputLayout
from manifests.results import Result
from manifests.work import Work
from pipelines.dealing import Dealing
from pipelines.plan import make_plan
from pipelines.planned_clip import PlannedClip, planned_clip
from stages.diffusion.animator import Segments
from stages.diffusion.animators import ANIMATORS

LONG = 1000  # frames: four segments of magicanimate


def work(row: int, frames: int = LONG, animator: str = "magicanimate") -> Work:
    clip = Clip(id=f"c{row}", animator=animator, width=64, height=64, steps=4, guidance=1, fps=Fraction(25), seed=row)
    keys = {"pose_key": f"pose-{row}", "latents_key": f"{row:032x}", "film_key": f"film-{row}"}
    return Work(row=row, clip=clip, frames=frames, checkpoint_digest="w", **keys)


def dealing(layout: OutputLayout, works: list[Work], workers: int = 2) -> Dealing:
    return Dealing(make_plan(map(planned_clip, works), layout, "run"), workers)


def parts(made: list[list[PlannedClip]]) -> list[tuple[int, int | None]]:
    return [(clip.row, clip.work.segment) for group in made for clip in group]


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path))


def test_a_long_clip_is_dealt_and_a_short_one_is_not(layout: OutputLayout) -> None:
    made = dealing(layout, [work(0), work(1, 300)])
    assert parts(made.groups()) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, None)]


def test_one_worker_makes_a_long_clip_by_itself(layout: OutputLayout) -> None:
    assert parts(dealing(layout, [work(0)], workers=1).groups()) == [(0, None)]


def test_chained_segments_are_not_dealt(layout: OutputLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    chained = replace(ANIMATORS["magicanimate"], segments=Segments(76, carried=1, per_latent=4))
    monkeypatch.setitem(ANIMATORS, "magicanimate", chained)
    assert parts(dealing(layout, [work(0)]).groups()) == [(0, None)]


def test_segments_that_are_stored_are_not_dealt_again(layout: OutputLayout) -> None:
    for number in (0, 2):
        storage.publish_bytes(b"latents", layout.latents(work(0).latents_key, number))
    assert parts(dealing(layout, [work(0)]).groups()) == [(0, 1), (0, 3)]
    storage.publish_bytes(b"latents", layout.latents(work(0).latents_key, 3))
    assert parts(dealing(layout, [work(0)]).groups()) == [(0, None)], "one is made by whoever draws the film"


def came(made: Dealing, row: int, segment: int, seconds: float = 2.0) -> float:
    done = work(row).model_copy(update={"segment": segment, "seconds": {"denoise": seconds}})
    result = Result(row=row, status="not_reached", error="stored", remedy="go on", gpu_seconds=seconds)
    return made.stored(result, done)


def test_a_clip_is_drawn_once_all_its_segments_are_stored_and_tells_what_they_took(layout: OutputLayout) -> None:
    made = dealing(layout, [work(0), work(1)])
    made.groups()
    costs = [came(made, 0, segment) for segment in (2, 0, 3)]
    assert made.whole() == []
    costs.append(came(made, 0, 1))
    assert sum(costs) == pytest.approx(planned_clip(work(0)).cost)
    assert made.told(0) == sum(costs)
    ((clip,),) = made.whole()
    assert (clip.row, clip.work.segment, clip.work.seconds) == (0, None, {"denoise": 8.0})
    assert made.whole() == [], "it is drawn once"
    assert not made.ended(0), "the film's own result counts"
    film = Result(row=0, status="done", gpu_seconds=9.5)
    assert made.not_told(film).gpu_seconds == 1.5
    assert made.not_told(Result(row=7, status="done", gpu_seconds=9.5)).gpu_seconds == 9.5


def test_the_first_segment_that_fails_ends_its_clip_and_the_others_do_not_count(layout: OutputLayout) -> None:
    made = dealing(layout, [work(0)])
    made.groups()
    came(made, 0, 0)
    assert not made.ended(0)
    assert made.ended(0)
    for segment in (1, 2, 3):
        came(made, 0, segment)
    assert made.whole() == []


def test_rows_that_are_not_dealt_are_nobodys_business(layout: OutputLayout) -> None:
    made = dealing(layout, [work(1, 300)])
    assert not made.ended(1)
    assert not made.ended(1)
    assert made.told(1) == 0
