"""JSON documents of many frames, cut into those before they are parsed.

As Python's objects, JSON takes five times its text, and thirty times where it is made to. So one frame is parsed at a
time, from a file that stays on disk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

LONGEST_FRAME = 4 * 2**20  # bytes of one frame's text; a hundred people with all their points take one

# A string without an end goes to the end of the text, or looking for one would start anew at each of its quotes.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_FRAMES = b'"frames"'
_OPEN, _CLOSE, _COMMA = b"[{", b"]}", b","


class JsonFrames:
    """A document that is a list of frames, an object with such a list as its `frames`, or a single frame.

    facts: what stands beside the frames.
    """

    facts: dict[str, Any]

    def __init__(self, path: Path) -> None:
        """Raises `ValueError` or `RecursionError` for what is no JSON of that kind, and for frames that are too long.

        Of the frames themselves, only where they begin and end is looked at.
        """
        with path.open("rb") as file:
            # not closed by hand, which a regular expression that is still searching does not allow
            self._text = mmap(file.fileno(), 0, access=ACCESS_READ)
        self._list = _list_of_frames(self._text)
        begin, end = self._list or (len(self._text), len(self._text))
        if (beside := begin + len(self._text) - end) > LONGEST_FRAME:
            raise ValueError(f"{beside} bytes beside the list of frames, at most {LONGEST_FRAME} are read")
        around = json.loads(self._text[:begin] + self._text[end:])
        if self._list is None and not isinstance(around, dict):
            raise ValueError("neither a list of frames nor a frame")
        self.facts = around if isinstance(around, dict) else {}

    def __iter__(self) -> Iterator[Any]:
        """The frames, parsed one by one. Raises `ValueError` or `RecursionError` at one that is no JSON."""
        if self._list is None:
            yield self.facts
            return
        done, stop = self._list
        for begin, end in _elements(self._text, done, stop):
            self._require_between(done, begin, b"" if done == self._list[0] else _COMMA)
            yield json.loads(self._text[begin:end])
            done = end
        self._require_between(done, stop, b"")

    def _require_between(self, begin: int, end: int, expected: bytes) -> None:
        if self._text[begin : min(end, begin + LONGEST_FRAME)].strip() != expected:
            raise ValueError(f"no list of frames around byte {begin}")


def _list_of_frames(text: mmap) -> tuple[int, int] | None:
    """Where the inside of the list of frames begins and ends; None where there is none at the place for it."""
    if listed := re.match(rb"\s*+\[", text):
        return listed.end(), max(listed.end(), text.rfind(b"]"))
    named = depth = begin = 0
    for token in _TOKEN.finditer(text):
        start, end = token.span()
        if text[start] in _OPEN:
            depth += 1
            if depth == 2 and named and not begin and text[start:end] == b"[" and text[named:start].strip() == b":":
                begin = end
        elif text[start] in _CLOSE:
            depth -= 1
            if depth == 1 and begin:
                return begin, start
        elif depth == 1 and text[start : min(end, start + len(_FRAMES))] == _FRAMES:
            named = end
    return None


def _elements(text: mmap, begin: int, stop: int) -> Iterator[tuple[int, int]]:
    """Where each object, or list, among the elements of a list lies."""
    depth = start = 0
    for token in _TOKEN.finditer(text, begin, stop):
        at, end = token.span()
        if text[at] in _OPEN:
            start = start if depth else at
            depth += 1
        elif text[at] in _CLOSE:
            depth -= 1
            if depth == 0:
                yield start, end
        if depth < 0 or (depth and end - start > LONGEST_FRAME):
            raise ValueError(f"no frame of at most {LONGEST_FRAME} bytes at byte {start}")
    if depth:
        raise ValueError(f"a frame without an end at byte {start}")
