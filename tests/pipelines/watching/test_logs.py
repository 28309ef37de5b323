"""Whoever collects logs reads objects that say what they are about, and no secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from manifests import log_context
from manifests.clip import Clip
from manifests.log_context import about, known
from manifests.work import Work
from pipelines import cli
from pipelines.running.workers import row_after
from pipelines.watching import logs

log = logging.getLogger("stages.animate")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).handlers) for name in logs.OURS}
    yield
    log_context._PROCESS.clear()
    for name, (level, handlers) in before.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).handlers = handlers


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_says_which_run_clip_and_segment_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin("json", "info", "night")
    work = Work(row=7, clip=Clip(id="c7", animator="drawn"), frames=4)

    def stage() -> Work:
        with about(segment=2):
            log.info("denoised")
        return work

    row_after("animate", work, stage)
    inner, outer = lines(capsys)
    ids = {"run": "night", "row": 7, "clip": "c7", "stage": "animate"}
    assert {
        **ids,
        "segment": 2,
        "message": "denoised",
        "level": "info",
        "logger": "stages.animate",
    }.items() <= inner.items()
    assert ids.items() <= outer.items()
    assert "segment" not in outer
    assert known() == {"run": "night"}, "what was around the work is gone with it"


def test_an_exception_is_in_its_line_with_the_clip_and_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin("json", "warning")
    work = Work(row=7, clip=Clip(id="c7", animator="drawn"), frames=4)

    def stage() -> Work:
        raise RuntimeError("s3://key:secret@bucket/x did not answer\nat all")

    row_after("pose", work, stage)
    (line,) = lines(capsys)
    assert (line["clip"], line["stage"], line["level"]) == ("c7", "pose", "error")
    assert "did not answer" in line["message"]
    assert "secret" not in json.dumps(line)


@pytest.mark.parametrize(
    "end", ["?sig=hidden", "#hidden", "%3Fsig%3Dhidden", "%23hidden", '"?hidden"', "?sig=hidden\nat"]
)
def test_a_line_stays_an_object_wherever_a_uri_with_a_secret_ends(capsys: pytest.CaptureFixture[str], end: str) -> None:
    logs.begin("json", "warning")
    log.warning("no answer from https://store/film.mp4%s", end)
    try:
        raise OSError(f"https://store/film.mp4{end}")
    except OSError:
        log.exception("gone")
    first, second = lines(capsys)
    assert first["message"].startswith("no answer from https://store/film.mp4")
    assert "OSError: https://store/film.mp4" in second["exception"]
    assert "hidden" not in json.dumps([first, second])


def test_people_are_told_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin("text", "info")
    log.info("row 1 is done")
    assert capsys.readouterr().err == "stages.animate: row 1 is done\n"


def test_the_command_says_everything_in_json_where_it_is_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "nothing.parquet", "--log-format", "json"]) == cli.WRONG_USAGE
    (line,) = lines(capsys)
    assert line["level"] == "error"
    assert "nothing.parquet" in line["message"]
    assert line["remedy"]
