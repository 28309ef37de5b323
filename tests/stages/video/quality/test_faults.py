"""Each metric's alarm is set off by its own fault, and by no other; a film that is right sets off none."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from manifests.review import Measure, ReviewLimits
from stages.video.quality.curve import Figure
from stages.video.quality.film_quality import FilmQuality, metrics_of
from stages.video.quality.seam import Seam
from stages.video.quality.warped import warped
from tests.made.faults import BORDER, FAULTS, FPS, Footage, footage

CLIPS = [("striped-dress", "dance"), ("green-jacket", "jumping_jack"), ("polka-dots", "dance")]


def figures(clip: Footage, loop: bool = False, batch: int = 7) -> dict[str, Figure]:
    metrics = metrics_of(FPS, clip.reference, clip.reference_torso, loop, [BORDER])
    quality = FilmQuality(metrics, clip.outline)
    batches = [clip.film[start : start + batch] for start in range(0, len(clip.film), batch)]
    assert np.array_equal(np.concatenate(list(quality.of(batches))), clip.film)
    return quality.figures


def alarms(found: dict[str, Figure]) -> set[str]:
    measures = {name: Measure(value=one.value, frame=one.frame) for name, one in found.items()}
    print({name: f"{one.value:.3g} at {one.frame}" for name, one in found.items()})
    return {reason.split()[0] for reason in ReviewLimits().reasons(measures, None)}


@pytest.mark.parametrize("clip", CLIPS, ids=" ".join)
def test_a_film_that_is_right_sets_off_no_alarm(clip: tuple[str, str]) -> None:
    found = figures(footage(*clip))
    assert set(found) == {alarm for _, alarm in FAULTS.values()}
    assert alarms(found) == set()


def test_a_jacket_that_is_turned_away_is_not_taken_for_another_colour() -> None:
    found = figures(footage("green-jacket", "turn"))
    assert alarms(found) == set()
    assert "garment" not in found


@pytest.mark.parametrize("clip", CLIPS, ids=" ".join)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_sets_off_its_alarm_alone(fault: str, clip: tuple[str, str]) -> None:
    make, alarm = FAULTS[fault]
    right = footage(*clip)
    assert alarms(figures(right.faulty(make(right)))) == {alarm}


def test_one_broken_join_of_a_long_film_is_found() -> None:
    right = footage("striped-dress", "dance", 150)
    film = right.film.astype(np.float32)
    film[81:] *= [1.015, 0.99, 0.985]
    broken = right.faulty(film)

    def seam(clip: Footage) -> Figure:
        quality = FilmQuality([Seam(range(3, 150, 6), FPS)])
        for _ in quality.of([clip.film]):
            pass
        return quality.figures["seam"]

    assert alarms({"seam": seam(right)}) == set()
    assert alarms({"seam": seam(broken)}) == {"seam"}
    assert seam(broken).frame == 81


@pytest.mark.parametrize(
    ("fault", "frame"), [("a black frame", 13), ("six frames frozen", 13), ("1.5 % of colour at a border", BORDER)]
)
def test_an_alarm_names_the_frame(fault: str, frame: int) -> None:
    right, (make, alarm) = footage("striped-dress", "dance"), FAULTS[fault]
    assert figures(right.faulty(make(right)))[alarm].frame == frame


def test_the_join_of_a_loop_is_looked_at_where_there_is_one() -> None:
    there = footage("striped-dress", "dance")
    loop = there.of([*range(14), *range(14, 0, -1)])
    assert alarms(figures(loop, loop=True)) == set()
    cut = there.of(range(12))
    assert alarms(figures(cut, loop=True)) == {"loop"}
    assert "loop" not in figures(cut)


def test_a_small_film_before_it_does_not_matter() -> None:
    now, later = footage("striped-dress", "dance").film[:2]
    before = warped(now, later, 1.0)
    tiny = np.random.default_rng(0).integers(0, 255, (2, 32, 24, 3), dtype=np.uint8)
    warped(*tiny, 1.0)
    assert warped(now, later, 1.0) == before


def test_the_size_of_batches_does_not_matter() -> None:
    right = footage("striped-dress", "dance")
    assert [(one.value, one.frame) for one in figures(right, batch=1).values()] == [
        (one.value, one.frame) for one in figures(right, batch=30).values()
    ]


def test_a_long_film_takes_no_more_memory_than_its_curves() -> None:
    clip = footage("striped-dress", "dance")
    metrics = metrics_of(FPS, clip.reference, clip.reference_torso, True, [BORDER])
    quality = FilmQuality(metrics, lambda frame: clip.outline(frame % 30))

    def after(frames: int) -> int:
        for number in range(frames):
            list(quality.of([clip.film[number % 30][None].copy()]))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        short, long = after(40), after(60)
    finally:
        tracemalloc.stop()
    assert long - short < clip.film[0].nbytes / 4


@pytest.mark.parametrize(
    ("alarm", "lost"),
    [
        ("contrast_drift", lambda film, mean: (film - mean) * 0.86 + mean),
        ("colour_drift", lambda film, mean: film * [1.05, 1, 0.95]),
    ],
)
def test_what_segments_lose_little_by_little_is_found_and_told_by_the_segment(alarm: str, lost: Callable) -> None:
    right = footage("striped-dress", "dance", 36)
    film = right.film.astype(np.float32)
    share = np.repeat([0, 0.4, 1], 12)[:, None, None, None]
    faulty = right.faulty(film + share * (lost(film, film.mean()) - film))

    def drift(clip: Footage) -> dict[str, Figure]:
        quality = FilmQuality(metrics_of(FPS, borders=[12, 24], chained=True))
        for _ in quality.of([clip.film]):
            pass
        return {name: one for name, one in quality.figures.items() if "drift" in name}

    assert len(drift(right)) == 2
    assert alarms(drift(right)) == set()
    assert alarms(drift(faulty)) == {alarm}
    assert drift(faulty)[alarm].frame == 24
    assert not {name for name in figures(right) if "drift" in name}, "segments that know nothing of one another"
