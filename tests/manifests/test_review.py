"""Review: films are held against the limits of today, and those beyond them are told with the frame to look at."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from manifests import results
from manifests.clip import Clip
from manifests.errors import WrongUsage
from manifests.layout import OutputLayout
from manifests.result_summary import summarise
from manifests.results import Result
from manifests.review import Measure, MetricLimits, ReviewLimits
from manifests.work import Work
from pipelines.configuration import RunConfig

WORK = Work(row=0, clip=Clip(id="a", animator="plain"), frames=30, film_key="f" * 32)
FLICKERING = {"flicker": Measure(value=0.414, frame=17), "black": Measure(value=0)}


def film(**fields: object) -> Result:
    return Result(row=0, id="a", status="done", animator="plain", frames=30, quality=FLICKERING, **fields)


def told(limits: ReviewLimits) -> list[str]:
    marker = results.marker(film(), "run", {"flicker": [0.1, 0.4]})
    return results.of_marker(WORK, marker, "cached", OutputLayout("out"), limits).review


def test_a_film_beyond_a_limit_is_told_with_value_limit_and_frame() -> None:
    assert told(ReviewLimits(flicker=0.3)) == ["flicker 0.414 > 0.3 at frame 17"]
    assert told(ReviewLimits(flicker=0.5)) == []


def test_an_animator_has_limits_of_its_own() -> None:
    assert told(ReviewLimits(flicker=0.3, animators={"plain": {"flicker": 0.5}, "other": {"flicker": 0.1}})) == []
    assert told(ReviewLimits(flicker=0.5, animators={"plain": {"flicker": 0.3}})) != []
    assert told(ReviewLimits(flicker=0.1, animators={"plain": {"flicker": None}})) == []


def test_a_limit_of_one_animator_leaves_the_others_as_they_come() -> None:
    plain = ReviewLimits()
    assert plain.of("drawn")["garment"] > plain.of("magicanimate")["garment"]
    changed = ReviewLimits(animators={"drawn": {"flicker": 5}, "magicanimate": {"seam": 2}})
    assert changed.of("drawn") == {**plain.of("drawn"), "flicker": 5}
    assert changed.of("magicanimate") == {**plain.of("magicanimate"), "seam": 2}
    assert RunConfig.model_validate(yaml.safe_load(RunConfig(review=changed).to_yaml())).review == changed


@pytest.mark.parametrize("limit", [1.0, 0.5, None], ids=["looser", "as it comes", "of no account"])
def test_a_limit_for_all_is_the_bundled_animator_s_too(limit: float | None) -> None:
    plain = ReviewLimits().of("drawn")
    changed = RunConfig.load(None, {"review": {"flicker": limit}})
    of_all = {name: value for name, value in plain.items() if name != "flicker"}
    assert changed.review.of("drawn") == of_all | ({} if limit is None else {"flicker": limit})
    again = RunConfig.model_validate(yaml.safe_load(changed.to_yaml()))
    assert again.review.of("drawn") == changed.review.of("drawn"), "as the run's record has it"
    both = ReviewLimits.model_validate({"flicker": limit, "animators": {"drawn": {"flicker": 3, "garment": None}}})
    assert both.of("drawn")["flicker"] == 3
    assert "garment" not in both.of("drawn")
    assert ReviewLimits().of("drawn") == plain


def test_what_a_film_was_found_to_be_is_no_reason_of_yesterday() -> None:
    marker = results.marker(film(review=["flicker 0.414 > 0.1 at frame 17"]), "run")
    assert "review" not in marker
    assert results.of_marker(WORK, marker, "cached", OutputLayout("out"), ReviewLimits()).review == []


def test_a_film_of_before_there_were_metrics_is_a_film() -> None:
    marker = results.marker(Result(row=0, id="a", status="done"), "run")
    earlier = {name: value for name, value in marker.items() if name not in ("quality", "curves")}
    assert results.is_marker(earlier)
    assert results.of_marker(WORK, earlier, "cached", OutputLayout("out"), ReviewLimits(flicker=0)).review == []


def test_quality_and_reasons_survive_the_table(tmp_path: Path) -> None:
    uri = str(tmp_path / "results.parquet")
    made = [film(review=["flicker 0.414 > 0.3 at frame 17"]), Result(row=1, status="done")]
    results.write(made, uri)
    assert results.read(uri) == made
    cells = pq.read_table(uri).to_pylist()
    assert cells[0]["quality"] == '{"flicker": {"value": 0.414, "frame": 17}, "black": {"value": 0.0, "frame": null}}'
    assert summarise(made)["to_review"] == 1


@pytest.mark.parametrize(
    "given",
    [
        {"flickr": 1},
        {"animators": {"drawn": {"flickr": 1}}},
        {"flicker": -1},
        {"animators": {"drawn": {"flicker": -1}}},
    ],
    ids=str,
)
def test_a_limit_that_no_metric_has_is_refused(given: dict) -> None:
    with pytest.raises(WrongUsage, match="flick"):
        RunConfig.load(None, {"review": given})


def test_every_limit_says_what_its_metric_is() -> None:
    assert all(field.description for field in MetricLimits.model_fields.values())
