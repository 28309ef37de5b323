"""What goes over the socket between a process and the one that reads a file for it: JSON and raw arrays, bounded.

A message is 8 bytes (the lengths of its head and of its body, big-endian), a head of JSON, and the arrays that the head
lists, one after the other. Nothing is unpickled: whoever took over the reading process can only say wrong things.
"""

from __future__ import annotations

import json
import math
import socket
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LONGEST_HEAD = 2 * 2**20  # bytes of JSON
MOST_ARRAYS = 8
DTYPES = ("uint8", "int64", "float32", "float64")


class Malformed(Exception):
    """A message that nobody who means well sends."""


class Closed(Exception):
    """The other side has gone."""


class Silent(Exception):
    """Nothing came for as long as the socket waits."""


@dataclass(frozen=True)
class Message:
    """`kind` is a word, `data` JSON."""

    kind: str
    data: Any = None
    arrays: list[np.ndarray] = field(default_factory=list)


def send(to: socket.socket, message: Message) -> None:
    """Send a message. Raises `Closed` when nobody reads any more."""
    arrays = [np.ascontiguousarray(array) for array in message.arrays]
    listed = [[array.dtype.name, list(array.shape)] for array in arrays]
    head = json.dumps([message.kind, message.data, listed]).encode()
    try:
        to.sendall(len(head).to_bytes(8, "big") + head)
        for array in arrays:
            if array.size:
                to.sendall(array.reshape(-1).view(np.uint8).data)
    except OSError as gone:
        raise Closed from gone


def receive(source: socket.socket, most_bytes: int) -> Message:
    """The next message, its arrays of at most `most_bytes` together.

    Raises `Closed`, `Silent` after the time that the socket waits, and `Malformed`, before memory is taken for it.
    """
    length = int.from_bytes(_exactly(source, bytearray(8)), "big")
    if length > LONGEST_HEAD:
        raise Malformed(f"a head of {length} bytes")
    kind, data, listed = _head(bytes(_exactly(source, bytearray(length))))
    arrays = [_array(source, dtype, shape) for dtype, shape in _allowed(listed, most_bytes)]
    return Message(kind, data, arrays)


def _head(text: bytes) -> tuple[str, Any, list[Any]]:
    try:
        kind, data, listed = json.loads(text)
    except (ValueError, TypeError, RecursionError) as wrong:
        raise Malformed("a head that is no JSON") from wrong
    if not isinstance(kind, str) or not isinstance(listed, list):
        raise Malformed("a head of another form")
    return kind, data, listed


def _allowed(listed: list[Any], most_bytes: int) -> list[tuple[np.dtype, tuple[int, ...]]]:
    """(dtype, shape) of each array."""
    found, total = [], 0
    for one in listed:
        match one:
            case [str() as name, list() as shape] if name in DTYPES and all(type(side) is int for side in shape):
                found.append((np.dtype(name), tuple(shape)))
                if len(shape) > 6 or any(not 0 <= side <= most_bytes for side in shape):
                    raise Malformed(f"an array of shape {str(shape)[:80]}")
                total += math.prod(shape) * np.dtype(name).itemsize
            case _:
                raise Malformed("an array of another form")
    if len(found) > MOST_ARRAYS or total > most_bytes:
        raise Malformed(f"{len(found)} arrays of {total} bytes")
    return found


def _array(source: socket.socket, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(shape, dtype)
    if array.size:
        _exactly(source, array.reshape(-1).view(np.uint8).data)
    return array


def _exactly(source: socket.socket, target: bytearray | memoryview) -> bytearray | memoryview:
    """Fill `target`."""
    view, done = memoryview(target), 0
    while done < len(view):
        try:
            count = source.recv_into(view[done:], len(view) - done, socket.MSG_WAITALL)
        except (BlockingIOError, TimeoutError):
            raise Silent from None
        except OSError as gone:
            raise Closed from gone
        if not count:
            raise Closed
        done += count
    return target
