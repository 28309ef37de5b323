"""What is said of a film that can be made, but perhaps not as its maker thinks."""

from __future__ import annotations

import numpy as np
import pytest

from manifests.clip import Clip
from manifests.layout import OutputLayout
from manifests.result_warnings import plan_warnings, result_warnings
from manifests.results import marker, of_clip, of_marker
from manifests.work import Source, Work
from stages.video.image import fit


def work(reference: tuple[int, int] | None, film: tuple[int, int], how: str = "cover") -> Work:
    clip = Clip(id="a", animator="drawn", width=film[0], height=film[1], fit=how)
    picture = reference and Source(uri="r.png", digest="r", width=reference[0], height=reference[1])
    return Work(row=0, clip=clip, reference=picture, frames=12, film_key="f")


@pytest.mark.parametrize(
    ("reference", "film"),
    [
        ((90, 160), (160, 90)),
        ((160, 90), (90, 160)),
        ((96, 128), (128, 128)),
        ((64, 64), (64, 64)),
        ((50, 90), (90, 96)),
    ],
)
def test_what_is_left_out_is_what_fit_crops(reference: tuple[int, int], film: tuple[int, int]) -> None:
    width, height = reference
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    picture = np.stack([x, y, 0 * x], axis=-1).round().astype(np.uint8)
    seen = np.ptp(fit(picture, *film, "cover").reshape(-1, 3).astype(float), axis=0)[:2] / 255
    assert work(reference, film).reference_left_out == pytest.approx(1 - seen.prod(), abs=0.03)


def test_nothing_is_left_out_by_another_fit_and_without_a_reference() -> None:
    assert [work((90, 160), (160, 90), how).reference_left_out for how in ("contain", "stretch")] == [0, 0]
    assert work(None, (160, 90)).reference_left_out is None


def test_a_film_that_leaves_out_much_of_its_reference_is_warned_of_with_the_remedy() -> None:
    (warning,) = plan_warnings(work((1080, 1920), (512, 512)))
    assert warning.startswith("fit cover: 44 % of the reference (1080×1920) lies outside the film (512×512)")
    assert "set fit to contain" in warning
    assert plan_warnings(work((1080, 1920), (512, 512), "contain")) == []
    assert plan_warnings(work((768, 1024), (512, 640))) == [], "6 % are no word worth"


def test_frames_that_show_the_nearest_pose_are_warned_of() -> None:
    report = {"frames": 48, "held": [[0, 11]], "bridged": [[20, 22]]}
    (warning,) = result_warnings(work(None, (64, 64)), report)
    assert warning.startswith("frames 0–11, 20–22 of the film show the nearest pose")
    assert result_warnings(work(None, (64, 64)), {"frames": 48, "held": [], "bridged": []}) == []


def test_films_that_follow_nobody_for_a_while_or_cut_somebody_off_are_warned_of() -> None:
    (empty,) = result_warnings(work(None, (64, 64)), {"empty": [[0, 11], [40, 41]]})
    assert empty.startswith("frames 0–11, 40–41 of the film follow nobody's pose; ")
    (faceless,) = result_warnings(work(None, (64, 64)), {"faceless": [[18, 23]]})
    assert faceless.startswith("frames 18–23 of the film have no face to read expressions of: ")
    known = work(None, (64, 64))
    known = known.model_copy(update={"clip": known.clip.model_copy(update={"driving_kind": "keypoints"})})
    assert result_warnings(known, {"faceless": [[0, 11]]}) == [], "which hold no pictures of faces at all"
    (outside,) = result_warnings(work(None, (64, 64)), {"outside": 0.124})
    assert "in 12 % of the frames; set fit to contain" in outside
    (cut,) = result_warnings(work((90, 160), (160, 90)), {"cut": 0.31})[1:]
    assert "31 % of the reference's person" in cut
    assert result_warnings(work(None, (64, 64)), {"empty": [], "outside": 0.0, "cut": 0.01}) == []


def test_a_result_keeps_its_warnings_and_one_made_before_gets_them() -> None:
    row = work((1080, 1920), (512, 512))
    made = of_clip(row, "done", pose={"held": [[0, 3]], "bridged": []})
    assert made.reference_left_out == pytest.approx(0.4375)
    assert [warning.split()[0] for warning in made.warnings] == ["fit", "frames"]
    before = {
        name: value for name, value in marker(made, "run").items() if name not in ("warnings", "reference_left_out")
    }
    again = of_marker(row, before, "cached", OutputLayout("out"))
    assert (again.warnings, again.reference_left_out) == (made.warnings, made.reference_left_out)


def test_a_reference_that_the_animator_shows_whole_is_not_said_to_be_cropped() -> None:
    cropped = work((50, 90), (90, 50))
    assert plan_warnings(cropped)
    assert plan_warnings(cropped.model_copy(update={"reference_whole": True})) == []
