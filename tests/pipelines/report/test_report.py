"""What a page holds: every row, the worst first, no secret, links that lead somewhere, pictures of what was asked."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from manifests import results
from manifests.errors import WrongUsage
from manifests.kept_results import KeptResults
from manifests.layout import OutputLayout
from manifests.results import Result
from pipelines.cli import main
from pipelines.report.clips import worst_first
from pipelines.report.links import Links
from pipelines.report.report import write_report
from pipelines.report.thumbnails import LIMITS, Left, Pictures, Reference, thumbnails
from pipelines.running.partial_results import as_text
from tests.made.made_night import Media, in_bucket, make_night, report_data, small_media, typical
from tests.made.sample_media import write_driving, write_manifest

BAD = {"error": "it broke", "remedy": "mend it"}


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Media:
    return small_media(tmp_path_factory.mktemp("media"))


def night_of(folder: Path, media: Media, rows: list[dict[str, Any]], ended: list[dict[str, Any]] | None = None) -> dict:
    """The data of the page of a night, without thumbnails."""
    layout = make_night(folder, media, rows, ended or [{}] * len(rows))
    return report_data(write_report(layout, with_thumbnails=False))


def test_the_worst_come_first_and_the_rest_by_row() -> None:
    ended = [
        Result(row=0, status="done"),
        Result(row=1, status="done", review=["flicker 0.6 > 0.5 at frame 3"]),
        Result(row=2, status="not_reached", **BAD),
        Result(row=3, status="rejected", **BAD),
        Result(row=4, status="cached", warnings=["cropped"]),
        Result(row=5, status="done", review=["sharpness 0.1 < 0.6 at frame 9"]),
        Result(row=6, status="failed", **BAD),
        Result(row=7, status="done", review=["black 3 > 0 at frame 9"]),
    ]
    assert [one.row for one in worst_first(ended)] == [6, 3, 2, 7, 5, 1, 4, 0]


def test_every_row_is_there_with_what_its_owner_wrote(tmp_path: Path, few: Media) -> None:
    rows = [
        {"id": "a", "prompt": "silk", "metadata": {"sku": "A-1"}, "season": "spring"},
        {"id": "b", "driving": "b.mp4"},
    ]
    data = night_of(tmp_path, few, rows, [{}, {"status": "rejected", **BAD}])
    assert (data["run"], data["rows"], data["goes_on"], data["notes"]) == ("night", 2, False, [])
    rejected, done = data["clips"]
    assert done["cells"]["metadata"] == {"season": "spring", "sku": "A-1"}
    assert done["cells"]["prompt"] == "silk"
    assert rejected["cells"]["driving"] == str(tmp_path / "b.mp4"), "in full: the page may be read anywhere"
    assert (rejected["error"], rejected["remedy"]) == ("it broke", "mend it")


def test_a_page_in_the_output_names_films_from_itself_and_any_other_one_in_full(tmp_path: Path, few: Media) -> None:
    layout = make_night(tmp_path / "a #1?%", few, [{"id": "a"}], [{}])
    inside = report_data(write_report(layout, with_thumbnails=False))["clips"][0]
    assert inside["film"] == f"./../../films/a.{0:032x}.mp4"
    assert (Path(layout.run("night")) / inside["poster"]).is_file()
    elsewhere = write_report(layout, page=str(tmp_path / "page.html"), with_thumbnails=False)
    outside = report_data(elsewhere)["clips"][0]
    assert outside["film"] == Path(layout.films, f"a.{0:032x}.mp4").as_uri()
    assert "%231%3F%25" in outside["film"]
    with pytest.raises(WrongUsage, match="is there already"):
        write_report(layout, page=elsewhere)


def test_an_output_that_was_moved_still_has_its_films(tmp_path: Path, few: Media) -> None:
    make_night(tmp_path / "there", few, [{"id": "a"}, {"id": "b"}], [{}, {}])
    (tmp_path / "there" / "out").rename(tmp_path / "here")
    for ending in ("mp4", "jpg"):
        os.unlink(tmp_path / "here" / "films" / f"b.{1:032x}.{ending}")
    first, second = report_data(write_report(OutputLayout(str(tmp_path / "here")), with_thumbnails=False))["clips"]
    assert (tmp_path / "here" / "runs" / "night" / first["film"]).is_file()
    assert "film" not in second
    assert second["gone"].endswith(f"b.{1:032x}.mp4")


def test_no_secret_of_a_uri_is_in_a_page(tmp_path: Path, few: Media) -> None:
    driving = "s3://key:SECRET@bucket/a.mp4?X-Amz-Signature=SECRET"
    rows = [
        {"id": "a", "driving": driving, "prompt": "as https://x.y/z?t=SECRET"},
        {"id": "b", "metadata": {"shop": {"page": "https://u:SECRET@shop/b?t=SECRET"}}, "lora": "gs://SECRET@b/l"},
    ]
    data = night_of(tmp_path, few, rows, [{"status": "failed", "error": "s3://a:SECRET@b?SECRET", "remedy": "x"}, {}])
    assert "SECRET" not in json.dumps(data)
    assert [sorted(clip["withheld"]) for clip in data["clips"]] == [["driving", "prompt"], ["lora", "metadata"]]
    assert data["clips"][0]["cells"]["driving"] == "s3://bucket/a.mp4"


def test_numbers_that_no_page_can_hold_stay_exact(tmp_path: Path, few: Media) -> None:
    data = night_of(tmp_path, few, [{"id": "a", "seed": 2**63 - 1, "metadata": {"ean": 2**60, "price": 1e400}}])
    cells = data["clips"][0]["cells"]
    assert (cells["seed"], cells["metadata"]) == (str(2**63 - 1), {"ean": str(2**60), "price": "inf"})
    assert "withheld" not in data["clips"][0]


def test_a_night_that_goes_on_shows_what_has_ended(tmp_path: Path, few: Media) -> None:
    layout = make_night(tmp_path, few, *typical(6))
    whole = results.read(layout.run("night", "results.parquet"))
    os.unlink(layout.run("night", "results.parquet"))
    for part, some in enumerate((whole[:2], whole[2:3])):
        place = Path(layout.run("night", "results", f"part-{part:05}.parquet"))
        place.parent.mkdir(exist_ok=True)
        pq.write_table(as_text(KeptResults(some)), place)
    data = report_data(write_report(layout, with_thumbnails=False))
    assert (data["goes_on"], data["rows"], len(data["clips"])) == (True, 6, 3)
    assert data["clips"][-1]["quality"]["flicker"]["value"] > 0
    # a later session of the same run: parts beside the table of the first
    earlier = [one.model_copy(update={"host": "earlier"}) for one in whole]
    results.write(earlier, layout.run("night", "results.parquet"))
    again = {clip["row"]: clip for clip in report_data(write_report(layout, with_thumbnails=False))["clips"]}
    assert sorted(again) == [0, 1, 2, 3, 4, 5]
    assert sorted(row for row, clip in again.items() if clip.get("host") == "earlier") == [3, 4, 5]


def test_a_manifest_that_changed_since_lends_only_rows_that_are_still_the_same_clip(tmp_path: Path, few: Media) -> None:
    layout = make_night(tmp_path, few, [{"id": "a"}, {"id": "b"}], [{}, {}])
    write_manifest(tmp_path / "clips.parquet", [{"id": "a", "prompt": "new"}, {"id": "other"}])
    data = report_data(write_report(layout, with_thumbnails=False))
    assert "the manifest has changed" in data["notes"][0]
    assert [clip.get("cells", {}).get("prompt") for clip in data["clips"]] == ["new", None]
    os.unlink(tmp_path / "clips.parquet")
    data = report_data(write_report(layout, with_thumbnails=False))
    assert "no row can be exported" in data["notes"][0]
    assert [clip["id"] for clip in data["clips"]] == ["a", "b"]


def test_the_last_run_is_taken_and_one_that_is_not_there_is_named(tmp_path: Path, few: Media) -> None:
    layout = make_night(tmp_path, few, [{"id": "a"}], [{}])
    results.write([Result(row=0, id="z", status="failed", **BAD)], layout.run("later", "results.parquet"))
    os.utime(layout.run("later", "results.parquet"), (2e9, 2e9))
    assert report_data(write_report(layout))["run"] == "later"
    assert report_data(write_report(layout, "night", with_thumbnails=False))["run"] == "night"
    with pytest.raises(WrongUsage, match=r"run 'nigth'.*did you mean 'night'"):
        write_report(layout, "nigth")
    with pytest.raises(WrongUsage, match="no run is in it"):
        write_report(OutputLayout(str(tmp_path / "empty")))


# Thumbnails


def test_the_driving_frame_is_that_of_the_poster(tmp_path: Path, few: Media) -> None:
    rows = [{"id": "a"}, {"id": "b", "first_frame": 10}, {"id": "c"}]
    layout = make_night(tmp_path, few, rows, [{"fps": "25"}, {"fps": "25"}, {"fps": "25/2"}])
    data = report_data(write_report(layout))
    assert [clip["driving_frame"] for clip in data["clips"]] == [4, 14, 8]
    pictures = [data["pictures"][clip["driving_picture"]] for clip in data["clips"]]
    assert len(set(pictures)) == 3
    shared = [clip["reference_picture"] for clip in data["clips"]]
    assert shared[0] == shared[2] != shared[1], "what rows share is there once"
    assert len(data["pictures"]) == 5
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in data["pictures"])


def test_what_cannot_be_shown_is_left_out_with_the_reason_and_what_was_refused_is_not_read(
    tmp_path: Path, few: Media
) -> None:
    other, gone = write_driving(tmp_path / "other.mp4", 3), tmp_path / "gone.mp4"
    rows = [{"id": "a"}, {"id": "b", "driving": str(other)}, {"id": "c", "driving": str(gone)}, {"id": "d"}]
    refused = {"status": "rejected", "stage": "validate", "error": "driving lies outside", "remedy": "move it"}
    layout = make_night(tmp_path, few, rows, [{}, {}, {}, refused])
    said: list[str] = []
    clips = {clip["id"]: clip for clip in report_data(write_report(layout, say=said.append))["clips"]}
    assert "driving_picture" in clips["a"]
    assert clips["b"]["driving_left"] == "the file has changed since"
    assert clips["c"]["driving_left"] == "it is not there any more"
    assert not {"driving_picture", "driving_left", "reference_picture"} & clips["d"].keys()
    assert "  1 thumbnails left out: the file has changed since" in said


def test_a_file_that_is_too_much_for_its_reader_costs_only_its_own_picture(
    few: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.report.thumbnails.LIMITS", LIMITS.model_copy(update={"memory_bytes": 30_000_000}))
    Image.new("RGB", (6000, 5000)).save(tmp_path / "large.png")
    good = [Reference(str(path), []) for path in few.references]
    first, large, last = thumbnails([good[0], Reference(str(tmp_path / "large.png"), []), good[1]], 120)
    assert isinstance(first, Pictures)
    assert large == Left("image 'large.png': reading it takes more than 0.03 GB of memory")
    assert isinstance(last, Pictures)
    assert thumbnails(good, 0.0) == [Left("there was no time left for it")] * 2


# The command


def test_the_command_says_where_the_page_is(tmp_path: Path, few: Media, capsys: pytest.CaptureFixture[str]) -> None:
    layout = make_night(tmp_path, few, [{"id": "a"}], [{}])
    assert main(["report", layout.output, "--no-thumbnails", "--json"]) == 0
    told = capsys.readouterr()
    page = layout.run("night", "report.html")
    assert json.loads(told.out)["page"] == page
    assert re.search(rf"report: {re.escape(page)} \(1 rows, 0\.\d MB\)", told.err)
    assert main(["report", layout.run("night"), "--no-thumbnails"]) == 0
    assert f"report: {page}" in capsys.readouterr().err
    assert main(["report", layout.output, "-o", str(tmp_path / "clips.parquet")]) == 2
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert main(["report", layout.output, "--link-hours", "1000"]) == 2


# A bucket


def test_a_page_of_a_bucket_has_links_that_open_and_end(tmp_path: Path, few: Media, s3: str) -> None:
    import requests

    layout = in_bucket(make_night(tmp_path, few, [{"id": "a"}], [{}]), s3)
    data = report_data(write_report(layout, page=str(tmp_path / "page.html"), link_hours=2))
    (clip,) = data["clips"]
    assert data["good_until"] is not None
    for name in ("film", "poster", "reference_file"):
        assert "X-Amz-Expires=7200" in clip[name]
        assert requests.get(clip[name], timeout=30).status_code == 200
    assert "driving_picture" in clip
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', (tmp_path / "page.html").read_text())[1]
    origin = re.match(r"http://[^/]*", clip["film"])[0]
    assert f"media-src &#x27;self&#x27; file: data: {origin};" in policy
    inside = report_data(write_report(layout, page=f"{s3}/out/runs/night/report.html", with_thumbnails=False))
    assert inside["clips"][0]["film"] == f"./../../films/a.{0:032x}.mp4"
    assert inside["good_until"] is None


def test_a_store_that_signs_nothing_has_no_links() -> None:
    assert Links("/home/page.html", "memory://bucket/out", 3600).of("memory://bucket/out/films/a.mp4") is None
