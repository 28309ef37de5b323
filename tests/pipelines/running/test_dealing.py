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
from pipelines.boundary import Then
from pipelines.plan import make_plan
from pipelines.planned_clip import PlannedClip, planned_clip
from pipelines.running.dealing import Dealing, Ended
from stages.diffusion.animator import Segments
from stages.diffusion.animators import ANIMATORS

LONG = 1000  # frames: four segments of magicanimate


def work(row: int, frames: int = LONG, animator: str = "magicanimate") -> Work:
    clip = Clip(id=f"c{row}", animator=animator, width=64, height=64, steps=4, guidance=1, fps=Fraction(25), seed=row)
    keys = {"pose_key": f"pose-{row}", "latents_key": f"{row:032x}", "film_key": f"film-{row}"}
    return Work(row=row, clip=clip, frames=frames, checkpoint_digest="w", **keys)


def dealing(layout: OutputLayout, works: list[Work], workers: int = 2) -> Dealing:
    return Dealing(make_plan(map(planned_clip, works), layout, "run"), lambda animator: workers)


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


def came(made: Dealing, row: int, segment: int, then: Then = "render", **fields: object) -> Ended | None:
    part = work(row).model_copy(update={"segment": segment, "seconds": {"denoise": 2.0}})
    told = {"status": "not_reached", "error": "stored", "remedy": "go on", "gpu_seconds": 2.0, **fields}
    return made.came(part, Result(row=row, id=f"c{row}", **told), then)


def test_a_clip_is_drawn_once_all_its_segments_are_stored_and_tells_what_they_took(layout: OutputLayout) -> None:
    made = dealing(layout, [work(0), work(1)])
    assert sum(made.units().values()) == pytest.approx(2 * planned_clip(work(0)).cost)
    assert [came(made, 0, segment) for segment in (2, 0, 3)] == [None] * 3
    assert made.whole() == []
    assert came(made, 0, 1) is None
    ((clip,),) = made.whole()
    assert (clip.row, clip.work.segment, clip.work.seconds) == (0, None, {"denoise": 8.0})
    film, told = made.drawn(Result(row=0, status="done", gpu_seconds=9.5))
    assert (film.gpu_seconds, told) == (1.5, pytest.approx(planned_clip(work(0)).cost))
    assert made.whole() == [], "it is drawn once"
    again = dealing(layout, [work(0)])
    assert [came(again, 0, segment) for segment in range(4)] == [None] * 4
    undrawn = Result(row=0, status="failed", error="no room", remedy="make room", gpu_seconds=1.5)
    assert again.drawn(undrawn)[0].gpu_seconds == 1.5, "of its segments it does not tell"
    assert list(made.unfinished()) == []
    other = Result(row=7, status="done", gpu_seconds=9.5)
    assert made.drawn(other) == (other, 0.0)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ({1: ("", "failed"), 2: ("", "not_reached")}, ("", "failed")),
        ({1: ("alone", "failed"), 3: ("again", "failed")}, ("alone", "failed")),
        ({0: ("again", "failed"), 3: ("", "not_reached")}, ("again", "failed")),
        ({2: ("", "not_reached")}, ("", "not_reached")),
    ],
)
def test_a_clip_ends_once_all_its_segments_are_back_by_what_went_worst(
    layout: OutputLayout, order: tuple[int, ...], ends: dict[int, tuple[Then, str]], expected: tuple[str, str]
) -> None:
    made = dealing(layout, [work(0)])
    answers = []
    for segment in order:
        then, status = ends.get(segment, ("render", "not_reached"))
        answers.append(came(made, 0, segment, then, status=status))
    assert answers[:-1] == [None] * 3, "others of its segments are still in hand"
    assert (answers[-1].then, answers[-1].result.status) == expected
    assert answers[-1].result.gpu_seconds == 8.0, "what its segments took is counted"
    assert made.whole() == []
    if expected[1] == "not_reached":
        assert "3 of 4 segments were stored" in answers[-1].result.error


def test_what_was_stored_of_a_clip_that_is_not_finished_is_told_and_paid_for(layout: OutputLayout) -> None:
    made = dealing(layout, [work(0), work(1)])
    came(made, 0, 0)
    came(made, 0, 3)
    (result,) = made.unfinished()
    assert (result.row, result.status, result.gpu_seconds) == (0, "not_reached", 4.0)
    assert result.error == "not finished: 2 of 4 segments were stored by this session"


def test_a_row_of_the_graph_is_a_segment_or_a_clip(layout: OutputLayout) -> None:
    made = dealing(layout, [work(0)])
    ((first, *_),) = made.groups()
    assert made.part({"work": first.text}).segment == 0
    assert made.part({"work": work(0).model_dump_json()}) is None
    assert made.part({"work": ""}) is None
