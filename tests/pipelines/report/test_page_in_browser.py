"""The page as a person meets it, in a real browser: what it shows, plays, finds, keeps, saves and refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manifests import results, storage
from manifests.build import build
from manifests.layout import OutputLayout
from manifests.source_rows import read_source
from pipelines.report.report import page_text, write_report
from tests.made.browser import Browser, browser  # noqa: F401
from tests.made.made_night import in_bucket, make_night, small_media, typical

REVIEWED = {
    "review": ["flicker 0.7 > 0.5 at frame 20"],
    "quality": {"flicker": {"value": 0.7, "frame": 20}, "sharpness": {"value": 0.9}},
    "curves": {"flicker": [0.1] * 20 + [0.7] + [0.1] * 9},
}
BAD = {"error": "the driving video is truncated", "remedy": "upload it again"}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> OutputLayout:
    """Five clips: one rejected, one to look at, one found in the cache, one with a warning, one fine."""
    folder = tmp_path_factory.mktemp("night")
    rows = [
        {"id": "fine", "metadata": {"sku": "A-1", "colour": "red"}, "prompt": "silk"},
        {"id": "flickers", "metadata": {"sku": "A-2", "colour": "blue"}, "seed": 4, "options": {"strength": 0.5}},
        {"id": "old", "metadata": {"sku": "A-3", "colour": "red"}},
        {"id": "broken", "priority": -3, "prompt": '=HYPERLINK("http://x")', "negative_prompt": '+1, "two"\nlines'},
        {"id": "cropped", "guidance": "7.5, 3"},
    ]
    rejected = {"status": "rejected", "stage": "validate", **BAD}
    blurred = {"status": "cached", "quality": {"sharpness": {"value": 0.7}}}
    ended = [{}, REVIEWED, blurred, rejected, {"warnings": ["30 % of the reference lie outside"]}]
    layout = make_night(folder, small_media(folder / "media"), rows, ended)
    write_report(layout)
    return layout


@pytest.fixture
def page(night: OutputLayout, browser: Browser) -> Iterator[Browser]:  # noqa: F811
    browser.open(Path(night.run("night", "report.html")).as_uri())
    browser.run("localStorage.clear()")
    browser.open(Path(night.run("night", "report.html")).as_uri())
    yield browser
    assert browser.said == []


def ids(page: Browser) -> list[str]:
    return page.run("[...document.querySelectorAll('.card bdi')].map(one => one.textContent)")


def choose(page: Browser, field: str, value: str) -> None:
    """As a person does: the field tells that it changed."""
    script = (
        f"$({json.dumps(field)}).value = {json.dumps(value)}; $({json.dumps(field)}).dispatchEvent(new Event('input'))"
    )
    page.run(script)


def test_clips_are_there_the_worst_first_with_pictures_and_reasons(page: Browser, night: OutputLayout) -> None:
    assert ids(page) == ["broken", "flickers", "cropped", "fine", "old"]
    assert "validate: the driving video is truncated" in page.run("document.querySelector('.card').textContent")
    assert "→ upload it again" in page.run("document.querySelector('.card').textContent")
    pictures = "[...document.querySelectorAll('.card:nth-child(2) img')]"
    page.until(f"{pictures}.every(one => one.naturalWidth > 0)")
    assert page.run(f"{pictures}.map(one => one.alt)") == ["poster of flickers", "reference", "driving, frame 8"]
    assert "3 films" not in page.run("$('facts').textContent")
    assert "5 rows · 4 films, 0:10 long · 1 to look at" in page.run("$('facts').textContent")
    outside = [one for one in page.asked if not one.startswith(Path(night.output).as_uri())]
    assert [one for one in outside if not one.startswith("data:")] == [], "nothing is asked of anybody else"


def test_a_film_plays_under_the_mouse_and_only_there(page: Browser) -> None:
    page.mouse(".card:nth-child(2) .film")
    page.until("document.querySelector('.card:nth-child(2) video')?.currentTime > 0")
    page.mouse("#title")
    page.until("!document.querySelector('.card video')")


def test_a_click_on_a_curve_or_its_frame_shows_that_frame(page: Browser) -> None:
    page.click(".card:nth-child(2) .film")
    page.until("document.querySelector('#detail video').readyState >= 2")
    page.click("#detail .look button")
    assert page.run("document.querySelector('#detail video').currentTime") == pytest.approx(20.5 / 12, abs=1e-3)
    page.mouse("#detail .curve svg", "mousePressed", 0.101, button="left", clickCount=1)
    page.mouse("#detail .curve svg", "mouseReleased", 0.101, button="left", clickCount=1)
    assert page.run("document.querySelector('#detail video').currentTime") == pytest.approx(3.5 / 12, abs=1e-3)
    peak = page.run("document.querySelector('#detail .curve polyline').points[20].y")
    assert peak == pytest.approx(2), "the curve's highest point, at the top"
    assert page.run("document.querySelector('#detail .curve .at').x1.baseVal.value") == pytest.approx(100 * 20.5 / 30)
    page.click("#detail .steps button:nth-child(2)")
    assert page.run("$('detail-id').textContent").startswith("cropped")


@pytest.mark.parametrize(
    ("field", "value", "left"),
    [
        ("flag", "flicker", ["flickers"]),
        ("flag", "warnings", ["cropped"]),
        ("animator", "drawn", ["broken", "flickers", "cropped", "fine", "old"]),
        ("search", "SILK", ["fine"]),
        ("search", "truncated upload", ["broken"]),
        ("order", "row", ["fine", "flickers", "old", "broken", "cropped"]),
        ("order", "quality flicker", ["flickers", "broken", "cropped", "fine", "old"]),
        ("order", "quality sharpness", ["old", "flickers", "broken", "cropped", "fine"]),
    ],
)
def test_a_filter_leaves_what_it_says(page: Browser, field: str, value: str, left: list[str]) -> None:
    choose(page, field, value)
    page.until(f"document.querySelectorAll('.card').length === {len(left)}")
    assert ids(page) == left


def test_filters_go_together_and_metadata_is_one(page: Browser) -> None:
    choose(page, "name", "colour")
    assert page.run("[...$('known').options].map(one => one.value)") == ["red", "blue"]
    choose(page, "value", "red")
    assert ids(page) == ["fine", "old"]
    page.click("#statuses button:nth-child(2)")
    assert ids(page) == ["old"]
    page.click("#reset")
    assert len(ids(page)) == 5


def test_marks_outlast_the_page_and_go_with_their_film(page: Browser, night: OutputLayout) -> None:
    page.click(".card:nth-child(2) .redo")
    page.click(".card:nth-child(4) .accept")
    assert page.run("$('marked').textContent") == "1 accepted, 1 to redo"
    page.open(Path(night.run("night", "report.html")).as_uri())
    assert page.run("$('marked').textContent") == "1 accepted, 1 to redo"
    choose(page, "mark", "redo")
    assert ids(page) == ["flickers"]
    place = night.run("night", "results.parquet")
    before = Path(place).read_bytes()
    made = [
        one.model_copy(update={"film_key": "f" * 32} if one.id == "flickers" else {}) for one in results.read(place)
    ]
    results.write(made, place)
    again = write_report(night, with_thumbnails=False, page=f"{night.output}/again.html", overwrite=True)
    Path(place).write_bytes(before)
    page.open(Path(again).as_uri())
    assert page.run("$('marked').textContent") == "1 accepted, 0 to redo", "it was another film that was marked"


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_what_is_to_be_redone_is_saved_as_a_manifest_of_the_same_rows(
    page: Browser, night: OutputLayout, tmp_path: Path, kind: str
) -> None:
    for number in (1, 2, 3):
        page.click(f".card:nth-child({number}) .redo")
    saved = page.downloads / f"night-redo.{kind}"
    saved.unlink(missing_ok=True)
    page.click(f"#{kind}")
    saved = page.downloaded(saved.name)
    report = build(saved, str(tmp_path / "redo.parquet"), ["drawn"])
    assert report.ok, report.lines()
    first, second, third = (row for _, row in read_source(saved).rows)
    assert first["prompt"] == '=HYPERLINK("http://x")', "as its owner wrote it"
    assert first["negative_prompt"] == '+1, "two"\nlines'
    assert first.get("seed", "") == "", "nothing is wrong with the seed of a row that was rejected"
    assert str(second["seed"]) == "5", "the same seed would be the same film"
    assert str(third["seed"]) == "1"
    assert third["guidance"] == "7.5, 3"
    whole = second["metadata"] if kind == "jsonl" else json.loads(second["metadata"])
    assert whole == {"sku": "A-2", "colour": "blue"}
    told = page.run("$('told').textContent")
    assert f"catwalk manifest build night-redo.{kind} night-redo.parquet" in told
    assert f"catwalk animate night-redo.parquet {night.output} --allow {Path(night.output).parent}" in told


def test_no_cell_of_a_saved_csv_can_run(page: Browser) -> None:
    page.click(".card:nth-child(1) .redo")
    page.click("#csv")
    lines = page.downloaded("night-redo.csv").read_text(encoding="utf-8-sig")
    assert '"\'=HYPERLINK(""http://x"")"' in lines
    assert '"\'+1, ""two""' in lines
    assert ",-3" in lines, "a number is a number"
    cells = json.dumps([" =1", "\uff1d1", "\u3000+1", '"@a', "'=1", "a=1", "70s"])
    guarded = page.run(f'{cells}.map(csvCell).map(cell => cell[1] === "\'")')
    assert guarded == [True, True, True, True, True, False, False]
    # beyond a separator that some spreadsheets take, no apostrophe helps
    page.run("for (const clip of clips) if (clip.cells) clip.cells.prompt = 'a; =1+1'")
    page.click("#csv")
    assert page.run("$('told').textContent").startswith("Not written: broken holds text")


def test_what_is_accepted_is_saved_as_a_list(page: Browser, night: OutputLayout) -> None:
    page.click(".card:nth-child(4) .accept")
    page.click("#accepted")
    lines = page.downloaded("night-accepted.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == '"id","film","seed","metadata.sku","metadata.colour"'
    assert lines[1] == f'"fine","{night.output}/films/fine.{0:032x}.mp4",0,"A-1","red"'


def test_what_rows_hold_is_text_and_nothing_else(browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    evil = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>\"'`<!--"
    hidden = "abc\u202ecod.exe\u0007\u200b"
    rows: list[dict[str, Any]] = [
        {"id": f"{evil}", "prompt": evil, "metadata": {evil: evil, "link": "javascript:window.ran=1"}},
        {"id": "b", "animator": evil, "driving": f"/{evil}", "prompt": hidden},
        {"id": "c", "reference": "javascript:window.ran=1", "metadata": {"__proto__": "x", "constructor": "y"}},
    ]
    rejected = {"status": "rejected", "stage": evil, "error": evil + hidden, "remedy": evil}
    media = small_media(tmp_path / "media")
    layout = make_night(tmp_path, media, rows, [rejected, {"review": [evil], "warnings": [evil]}, {"quality": {}}])
    browser.open(Path(write_report(layout)).as_uri())
    text = browser.run("document.body.innerText")
    assert evil in text
    assert "abc⟨U+202E⟩cod.exe⟨U+0007⟩⟨U+200B⟩" in text
    for number in (1, 2, 3):
        browser.click(f".card:nth-child({number}) .name button")
        browser.run("document.querySelectorAll('#detail button').length")
        browser.run("$('detail').close()")
    choose(browser, "search", evil)
    assert browser.run("window.ran") is None
    links = "[...document.querySelectorAll('*')].flatMap(one => [...one.attributes].map(a => a.value))"
    assert browser.run(f"{links}.filter(value => /^\\s*javascript:/i.test(value)).length") == 0
    assert browser.run("document.querySelectorAll('script').length") == 2
    assert browser.said == []


def test_a_page_whose_links_run_something_shows_none_of_them(browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    clip = {"row": 0, "id": "a", "status": "done", "film": "javascript:window.ran=1", "poster": "data:text/html,x"}
    (tmp_path / "page.html").write_bytes(page_text({"run": "r", "output": "/o", "clips": [clip], "pictures": []}))
    browser.open((tmp_path / "page.html").as_uri())
    assert "no film" in browser.run("document.querySelector('.card').textContent")
    # and were one to come through, the policy would not let it run
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert browser.run("window.ran") is None


def test_ten_thousand_clips_are_a_page_at_a_time(browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    rows, ended = typical(10_000)
    clips = [
        {"status": "done", **end, "row": number, "cells": row}
        for number, (row, end) in enumerate(zip(rows, ended, strict=True))
    ]
    data = {"run": "r", "output": "/o", "clips": clips, "pictures": []}
    (tmp_path / "page.html").write_bytes(page_text(data))
    browser.open((tmp_path / "page.html").as_uri())
    assert browser.run("$('count').textContent") == "10,000 of 10,000 clips"
    assert browser.run("document.querySelectorAll('.card').length") == 48
    browser.run("[...$('pages').children].find(one => one.textContent === 'last').click()")
    assert browser.run("document.querySelectorAll('.card').length") == 10_000 % 48
    choose(browser, "search", "cw-1999 black")
    browser.until("$('count').textContent === '1 of 10,000 clips'")
    drawn = browser.run("(() => { const begun = performance.now(); draw(); return performance.now() - begun })()")
    assert drawn < 2000
    assert os.path.getsize(tmp_path / "page.html") < 10e6


def test_films_of_a_bucket_play_by_their_links(browser: Browser, tmp_path: Path, s3: str) -> None:  # noqa: F811
    layout = in_bucket(make_night(tmp_path, small_media(tmp_path / "media"), [{"id": "a"}], [{}]), s3)
    page = write_report(layout, page=str(tmp_path / "page.html"), with_thumbnails=False)
    browser.open(Path(page).as_uri())
    assert "are good until" in browser.run("$('notes').textContent")
    browser.mouse(".card .film")
    browser.until("document.querySelector('.card video')?.currentTime > 0")
    browser.until("[...document.querySelectorAll('.card img')].every(one => one.naturalWidth > 0)")
    assert storage.exists(layout.films)
