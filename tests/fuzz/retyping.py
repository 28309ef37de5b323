"""Well-formed files in which one value is of another type: an ordinary cell that a careless program wrote."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.specimen import zipped

# by what a value is replaced, made of itself
_OTHERS: tuple[Callable[[Any], Any], ...] = (
    str,
    lambda value: [value],
    lambda value: {"value": value},
    lambda value: [],
    lambda value: None,
    lambda value: True,
    lambda value: "",
    lambda value: float("nan"),
    lambda value: float("-inf"),
    lambda value: 1e300,
    lambda value: -(10**30),
    lambda value: 0,
    lambda value: 0.5,
    lambda value: float(value) if isinstance(value, int) else "\u202e",
)
_NUMPY_OTHERS = ("U", "?", "c8", "S8", "f2", "i1")


def may_be_retyped(data: bytes) -> bool:
    """Whether it is of a kind that `retyped` knows."""
    return data.startswith((b"PK", b"{", b"["))


def retyped(data: bytes, random: Random) -> bytes | None:
    """JSON, JSON lines, a zip of JSON or of arrays with one to three values retyped; None for what is none."""
    if data.startswith(b"PK"):
        return _of_archive(data, random)
    lines = data.split(b"\n")
    whole = _of_json(data, random)
    if whole is None and len(lines) > 1:
        at = random.randrange(len(lines))
        line = _of_json(lines[at], random)
        whole = line and b"\n".join([*lines[:at], line, *lines[at + 1 :]])
    return whole


def _of_json(data: bytes, random: Random) -> bytes | None:
    try:
        document = json.loads(data)
        for _ in range(random.choice((1, 1, 2, 3))):
            named, listed = [], []
            for place in _places(document):
                (named if isinstance(place[1], str) else listed).append(place)
            # of numbers in lists there are a thousand to every name
            chosen = named if named and (not listed or random.random() < 0.8) else listed
            if not chosen:
                return None
            holder, key = random.choice(chosen)
            before = repr(holder[key])
            while repr(holder[key]) == before:
                holder[key] = random.choice(_OTHERS)(holder[key])
        return json.dumps(document).encode()
    except (ValueError, RecursionError):
        return None


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(what holds it, its key) of every value in a document."""
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for key, inner in entries:
        yield value, key
        yield from _places(inner)


def _of_archive(data: bytes, random: Random) -> bytes | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {one.filename: archive.read(one) for one in archive.infolist()}
        name = random.choice([name for name in members if name.endswith((".json", ".npy"))])
        made = (_of_json if name.endswith(".json") else _of_array)(members[name], random)
    except Exception:  # whatever is made of what was damaged before
        return None
    if made is None:
        return None
    return zipped(members | {name: made})


def _of_array(data: bytes, random: Random) -> bytes:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    stream = io.BytesIO()
    with np.errstate(all="ignore"):
        made = random.choice(
            (
                lambda: array.astype(random.choice(_NUMPY_OTHERS)),
                lambda: array[None],
                lambda: array.reshape(-1)[:1],
                lambda: np.full_like(array, random.choice((0, -1, 1e300, np.nan, np.inf)), dtype=np.float64),
            )
        )()
    np.save(stream, made, allow_pickle=False)
    return stream.getvalue()
