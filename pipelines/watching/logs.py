"""How log lines look: text for people, or one JSON object a line for those who collect them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

from manifests import log_context
from manifests.shown_text import visible, visible_json
from manifests.storage import redact_text

OURS = ("pipelines", "stages", "manifests", "cluster")
Format = Literal["text", "json"]


class TextLines(logging.Formatter):
    """For people. Without the secrets of the URIs in them, whoever wrote them, and nothing a terminal would act on."""

    def __init__(self, form: str = "%(name)s: %(message)s") -> None:
        super().__init__(form)

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return visible(redact_text(super().format(record)))


class JsonLines(logging.Formatter):
    """Objects with `time`, `level`, `logger`, `message`, `run`, `row`, `clip`, `stage`, `segment` where they are known.

    Without the secrets of URIs too; a traceback is in `exception`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        trace = {"exception": self.formatException(record.exc_info)} if record.exc_info else {}
        more = {"logger": record.name, **trace}
        return json_line(record.levelname.lower(), record.getMessage(), more, record.created)


def json_line(level: str, message: str, more: Mapping[str, str], created: float | None = None) -> str:
    """One object on one line, of now or of a moment in seconds since 1970."""
    moment = datetime.now(UTC) if created is None else datetime.fromtimestamp(created, UTC)
    ids = {"time": moment.isoformat(timespec="milliseconds"), "level": level, **log_context.known(), **more}
    # each value by itself: what is removed behind a URI's '?' would take the quotation mark with it
    line = {
        name: redact_text(value) if isinstance(value, str) else value
        for name, value in {**ids, "message": message}.items()
    }
    return visible_json(json.dumps(line, ensure_ascii=False))


def begin(form: Format, level: str, run_id: str | None = None) -> None:
    """Let this process write its own lines so, from `level` on, on stderr. Told again, it changes to that."""
    if run_id:
        log_context.of_process(run=run_id)
    if form == "text" and level == "warning":
        if logging.lastResort is not None:  # what Python writes with, where nothing else was asked for
            logging.lastResort.setFormatter(TextLines("%(message)s"))
        return
    handler = _Handler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    for name in OURS:
        log = logging.getLogger(name)
        log.handlers = [*(one for one in log.handlers if not isinstance(one, _Handler)), handler]
        log.setLevel(level.upper())


class _Handler(logging.StreamHandler):
    """Writes to what is stderr by then."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr
