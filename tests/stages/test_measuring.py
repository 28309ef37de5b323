"""Measuring in the pipeline: where segments meet is known, and what cannot be measured costs its figure alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from manifests.clip import Clip
from manifests.review import ReviewLimits
from manifests.work import Work
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from stages import measuring
from stages.denoise import Denoise
from stages.diffusion.animator import Segments
from stages.diffusion.animators import ANIMATORS
from stages.measuring import Outlines, borders
from stages.video.quality import film_quality
from stages.video.quality.curve import Figure
from stages.video.quality.film_quality import FilmQuality
from stages.video.quality.frame import Frame
from stages.video.quality.garment import GarmentColour
from tests.made.faults import FAULTS, footage
from tests.made.plain_animators import FACTS
from tests.made.sample_media import clip_row


@pytest.mark.parametrize(
    ("rule", "native", "expected"),
    [
        (None, None, []),
        (Segments(40, halo=8), None, [40, 80]),
        (Segments(36, carried=5), None, [41, 77, 113]),
        (Segments(40, halo=8), Fraction(12), [80, 160]),  # drawn at half the film's rate
    ],
    ids=["one segment", "halo", "chained", "another rate"],
)
def test_segments_meet_where_the_film_shows_it(
    rule: Segments | None, native: Fraction | None, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = replace(FACTS, name="cut", segments=rule, native_fps=native)
    monkeypatch.setitem(ANIMATORS, "cut", facts)
    frames = 120 if native is None else 240
    clip = Clip(id="a", animator="cut", width=48, height=64, fps=Fraction(24), mode="standard")
    work = Work(row=0, clip=clip, frames=frames, drawn=None if native is None else 120)
    assert borders(work) == expected


class Failing:
    """A metric that cannot go on, now or at the end."""

    def __init__(self, name: str, at: int) -> None:
        self.name, self._at = name, at

    def look(self, frame: Frame) -> None:
        if frame.number == self._at:
            raise ValueError("nothing to look at")

    def figure(self) -> Figure:
        raise ValueError("nothing found")


def test_a_metric_that_fails_costs_its_own_figure_alone() -> None:
    film = np.random.default_rng(0).integers(0, 255, (6, 16, 16, 3), dtype=np.uint8)
    quality = FilmQuality([Failing("early", 2), film_quality.Black(), Failing("late", 99)])
    assert np.array_equal(np.concatenate(list(quality.of([film[:4], film[4:]]))), film)
    assert quality.figures == {"black": quality.figures["black"]}
    assert quality.figures["black"].value == 0


@pytest.mark.usefixtures("plain_animators")
@pytest.mark.parametrize("when", ["at once", "on the way"])
def test_a_film_whose_poses_cannot_be_had_again_is_made_all_the_same(
    when: str, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def gone(self: Denoise, work: Work, scratch: Path) -> Iterator[list[np.ndarray]]:
        if when == "at once":
            raise OSError("gone")
        yield []

    monkeypatch.setattr(Denoise, "poses", gone)
    found = quality_of_a_plain_film(media)
    assert "flicker" in found
    assert "frozen" not in found


def quality_of_a_plain_film(media: Path) -> set[str]:
    stages = StageChain(RunConfig.load(None, {}), str(media / "out"))
    files = {"reference": str(media / "reference.png"), "driving": str(media / "driving.mp4")}
    row = clip_row("clip") | {"animator": "plain", "driving_kind": "skeleton", "steps": None, **files}
    made = stages.film(stages.work(row))
    assert made.status == "done"
    return set(made.quality)


@pytest.mark.usefixtures("plain_animators")
@pytest.mark.parametrize(
    ("of", "fails", "gone"),
    [
        (Denoise, "reference_keypoints", set()),
        (measuring, "Outlines", {"frozen"}),
        (measuring, "borders", set()),
        (film_quality, "Sharpness", {"sharpness"}),
    ],
    ids=lambda given: given if isinstance(given, str) else None,
)
def test_what_fails_before_a_film_costs_what_needs_it_alone(
    of: object, fails: str, gone: set[str], media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(of, fails, broken)
    every = {"container", "black", "frozen", "flicker", "warping_error", "sharpness"}
    assert every - quality_of_a_plain_film(media) == gone


@pytest.mark.parametrize("fps", [12, 30])
def test_clothes_of_another_colour_for_a_second_are_found_at_any_rate(fps: int) -> None:
    there = footage("striped-dress", "dance")
    fault = there.faulty(FAULTS["hue turned by 5"][0](there))

    class Drawn(list):
        """Poses of a clip, which know where the torso is."""

        def torso(self, frame: int) -> np.ndarray:
            return there.outline(shown[frame]).torso

    shown = [frame * 12 // fps % 30 for frame in range(4 * fps)]
    height, width = there.film.shape[1:3]
    clip = Clip(id="a", animator="drawn", width=width, height=height, fps=Fraction(fps), mode="standard")
    outlines = Outlines(Drawn([there.film[0]] * len(shown)), Work(row=0, clip=clip, frames=len(shown)))

    def garment(recoloured: range) -> float:
        metric = GarmentColour(there.reference, there.reference_torso, Fraction(fps))
        for number, at in enumerate(shown):
            picture = (fault if number in recoloured else there).film[at]
            metric.look(Frame(number, picture, outline=outlines(number)))
        figure = metric.figure()
        assert figure is not None
        return figure.value

    limit = ReviewLimits().of(None)["garment"]
    assert garment(range(0)) < limit
    assert garment(range(fps, 2 * fps)) > limit
    assert garment(range(fps, fps + fps // 3)) < limit, "less than half a second does not decide"
