"""The page on poses: whole in itself, true to the keypoints, and no way in for what stands in a file's name."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from pipelines.pose_report import Findings, page
from stages.poses.keypoints import Keypoints
from stages.poses.wholebody import FACE, LEFT_HAND
from tests.made.pose_motions import Body, crossing, dancing, observe, with_gap

VOID = {"meta", "img", "rect", "line", "polyline"}


class Page(HTMLParser):
    """A page read strictly: every tag is closed by its own."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for one, attributes in self.tags if one == tag]


def findings(keypoints: Keypoints, name: str = "dance.mp4") -> Findings:
    seconds = [Fraction(number, 25) for number in range(len(keypoints))]
    return Findings.of(name, "people", keypoints, seconds, Fraction(25), "persistent")


def read(found: Findings) -> Page:
    picture = np.full((found.timeline.found.height, found.timeline.found.width, 3), 90, np.uint8)
    return Page(page(found, dict.fromkeys(found.worst, picture)))


def test_a_good_video_is_called_good_and_its_curves_cover_all_of_it() -> None:
    shown = read(findings(dancing(Body()).keypoints()))
    assert "Good enough to animate from" in shown.text
    assert "Nothing that repair could fill in" in shown.text
    curves = [line["points"] or "" for line in shown.of("polyline")]
    assert len(curves) == 4
    for curve in curves:
        across = [float(place.split(",")[0]) for place in curve.split()]
        assert (across[0], across[-1]) == (40, 890), "from the first second to the last"
        assert across == sorted(across)


def test_gaps_are_told_of_with_what_was_done_and_what_to_do() -> None:
    shown = read(findings(with_gap(with_gap(dancing(Body()).keypoints(), 10, 4), 40, 45)))
    assert "A film would be rejected: the person is not found in 49 % of the frames" in shown.text
    assert "or a range of it: the person is there between 0.00 s and 4.00 s" in shown.text
    assert "from 0.40 s to 0.52 s (frames 10–13)nobody foundrepair put the person in" in shown.text
    assert "from 1.60 s to 3.36 s (frames 40–84)nobody foundtoo long to fill in: left empty" in shown.text
    bands = shown.of("rect")
    assert [(band["fill"], float(str(band["width"]))) for band in bands] == [
        ("#ffe0a3", pytest.approx(34, abs=0.2)),
        ("#f6b8b0", pytest.approx(382.5, abs=0.2)),
    ]
    assert "nobody found" in str(shown.of("img")[-1]["alt"]) or "nobody found" in str(shown.of("img")[0]["alt"])


def test_what_breaks_no_rule_but_is_weak_is_told_of() -> None:
    keypoints = dancing(Body()).keypoints()
    keypoints.scores[:80, :, LEFT_HAND] = 0
    assert "the left hand is seen in 20 of 100 frames: film closer" in read(findings(keypoints)).text
    crowd = observe(crossing(57), np.random.default_rng(1057))
    assert "2 people are there for a while" in read(findings(crowd)).text


def test_nobody_at_all_makes_a_page_too() -> None:
    shown = read(findings(with_gap(dancing(Body()).keypoints(), 0, 100)))
    assert "nobody is found in any of the 100 frames" in shown.text
    assert "nan" not in shown.text


def test_the_page_needs_nothing_beside_it_and_its_pictures_are_of_the_person() -> None:
    found = findings(dancing(Body()).keypoints())
    shown = read(found)
    assert shown.of("script") == shown.of("link") == []
    pictures = [str(image["src"]) for image in shown.of("img")]
    assert len(pictures) == len(found.worst) > 2
    for source in pictures:
        kind, _, data = source.partition(",")
        assert kind == "data:image/jpeg;base64"
        width, height = Image.open(io.BytesIO(base64.b64decode(data))).size
        assert width < 1.3 * height, "the frame is 16:9, the dancer is not"
        assert max(width, height) == 480
    urls = re.findall(r"(?:https?:)?//[^\s\"']+", re.sub(r"base64,[^\"]*", "", page(found, {})))
    assert urls == []


def test_a_file_name_is_text_and_nothing_else() -> None:
    name = """<img src=x onerror="alert(1)">'&.mp4"""
    shown = read(findings(dancing(Body()).keypoints(), name))
    assert shown.text.count(name) == 2, "in the title and in the heading, as it is"
    assert [image for image in shown.of("img") if "onerror" in image] == []


def test_a_long_video_keeps_every_dip() -> None:
    keypoints = with_gap(dancing(Body(), 4000).keypoints(), 2345, 1)
    curve = str(read(findings(keypoints)).of("polyline")[0]["points"]).split()
    assert len(curve) < 2000
    assert any(place.endswith(",230.0") for place in curve), "nobody in one frame of 4000"


def test_the_page_says_when_no_face_is_seen() -> None:
    keypoints = dancing(Body()).keypoints()
    scores = keypoints.scores.copy()
    scores[..., FACE] = 0.9
    scores[40:50, :, FACE] = 0.0
    text = read(findings(replace(keypoints, scores=scores))).text
    assert "without a face from 1.60 s to 1.96 s (frames 40–49)" in text
