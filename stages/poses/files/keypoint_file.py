"""Keypoints of a driving file as they are stored, and as users hand them in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.types import is_floating, is_integer

from manifests.errors import Damaged, Rejected
from stages.poses.files import openpose_json
from stages.poses.files.archive import opened_archive
from stages.poses.files.array_file import read_header, read_number, read_rate, read_rows
from stages.poses.files.json_frames import LONGEST_FRAME, JsonFrames
from stages.poses.files.stated_facts import FURTHEST, picture_size, stated_rate, written_number
from stages.poses.keypoints import Keypoints, People
from stages.poses.wholebody import BODY, POINTS, openpose_order, outlined
from stages.video.limits import Limits

_FORMATS = "OpenPose JSON (.json: a list of frames; .zip: a file per frame), NumPy (.npz) or Parquet (.parquet)"
_REMEDY = f"give {_FORMATS}; see stages/poses/README.md, 'Keypoint files'"
_INDICES = ("frame", "person", "point")
_COLUMNS = (*_INDICES, "x", "y", "score")
_VALUE = 8  # bytes of a float64
_BLOCK = 256  # frames written at once
_ROWS = 65_536  # of a Parquet file, read at once
_HIGHEST = 2**31  # no frame, person or point has such a number
_VALUES = pa.list_(pa.float64())
_SCHEMA = pa.schema([("second", pa.string()), ("points", _VALUES), ("scores", _VALUES), ("boxes", _VALUES)])
_PERSON = POINTS * 3 * _VALUE  # bytes of one person in one frame


def write_keypoints(path: Path, keypoints: Keypoints, seconds: Iterable[Fraction], fps: Fraction | None) -> None:
    """Store a sequence, filled from the front, with its timestamps as one Arrow file."""
    people = (keypoints.people(frame) for frame in range(len(keypoints)))
    write_people(path, zip(seconds, people, strict=True), keypoints.width, keypoints.height, fps)


def write_people(
    path: Path, timed_people: Iterable[tuple[Fraction, People]], width: int, height: int, fps: Fraction | None
) -> None:
    """Store the people of picture after picture with its second, as they are found: a few frames are in memory."""
    facts = {"width": width, "height": height, "fps": fps}
    schema = _SCHEMA.with_metadata({name: str(value) for name, value in facts.items()})
    frames = iter(timed_people)
    with pa.ipc.new_file(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as file:
        while block := list(islice(frames, _BLOCK)):
            values = [[getattr(people, name).ravel() for _, people in block] for name in _SCHEMA.names[1:]]
            file.write_batch(pa.record_batch([[str(second) for second, _ in block], *values], schema=schema))


def read_keypoints(path: Path) -> tuple[Keypoints, list[Fraction], Fraction | None]:
    """(keypoints, seconds, fps) as stored. Raises `Damaged` for any other file."""
    try:
        with pa.OSFile(str(path)) as opened:
            seconds, slots = list[Fraction](), 0
            for batch in _batches(opened, "second", "boxes"):
                seconds += map(Fraction, batch["second"].to_pylist())
                slots = max(slots, _people_in(batch).max(initial=0))
            stored = pa.ipc.open_file(opened).schema.metadata
            facts = {name.decode(): value.decode() for name, value in stored.items()}
            keypoints = Keypoints.empty(len(seconds), int(slots), int(facts["width"]), int(facts["height"]))
            start = 0
            for batch in _batches(opened, *_SCHEMA.names):
                _fill(keypoints.part(range(start, start + len(batch))), batch)
                start += len(batch)
        return keypoints, seconds, None if facts["fps"] == "None" else Fraction(facts["fps"])
    except Exception as broken:  # cut short, of other bytes, another kind of file
        reason = (str(broken) or type(broken).__name__).splitlines()[0]
        raise Damaged(f"keypoints {path.name} cannot be read: {reason}", "delete the file and run again") from None


def _batches(opened: pa.NativeFile, *columns: str) -> Iterator[pa.RecordBatch]:
    """The blocks of frames one by one; of other columns nothing is read."""
    fields = [_SCHEMA.get_field_index(name) for name in columns]
    file = pa.ipc.open_file(opened, options=pa.ipc.IpcReadOptions(included_fields=fields))
    for number in range(file.num_record_batches):
        batch = file.get_batch(number)
        batch.validate(full=True)
        yield batch


def _people_in(batch: pa.RecordBatch) -> np.ndarray:
    """int (frames,): how many people are stored of each frame of a block."""
    return batch["boxes"].value_lengths().to_numpy() // 4


def _fill(keypoints: Keypoints, batch: pa.RecordBatch) -> None:
    """Put a block into empty keypoints of its frames, in place. As Python's floats it would take four times as much."""
    slots = keypoints.points.shape[1]
    there = np.arange(slots) < _people_in(batch)[:, None]
    for name in _SCHEMA.names[1:]:
        array = getattr(keypoints, name)
        array[there] = batch[name].flatten().to_numpy().reshape(-1, *array.shape[2:])


def import_keypoints(path: Path, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    """A user's keypoint file → (keypoints in pixels, frame rate if the file states one). Raises `Rejected`."""
    readers = {".json": _from_json, ".zip": _from_zip, ".npz": _from_numpy, ".parquet": _from_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise Rejected(f"keypoint file {path.name!r} has an unknown format", _REMEDY)
    try:
        keypoints, fps = reader(path, limits)
    except _TooLarge as large:
        raise Rejected(f"keypoint file {path.name!r} has {large}", "cut it") from None
    except Rejected:
        raise
    except Exception as broken:  # whatever four formats make of hostile bytes
        raise Rejected(
            f"keypoint file {path.name!r} cannot be read: {type(broken).__name__}: {broken}", _REMEDY
        ) from None
    if not len(keypoints):
        raise Rejected(f"keypoint file {path.name!r} has no frames", _REMEDY)
    if (pixels := keypoints.width * keypoints.height) > limits.frame_pixels:
        error = f"is of pictures of {pixels:,} pixels, the limit is {limits.frame_pixels:,}"
        raise Rejected(f"keypoint file {path.name!r} {error}", "scale width, height and its points down")
    return keypoints, fps


class _TooLarge(Exception):
    """More than the limits allow, in words."""


def _check_extent(frames: int, people: int, limits: Limits) -> None:
    """Raise `_TooLarge` before memory is taken for the keypoints of `people` in each frame."""
    if frames > limits.frames:
        raise _TooLarge(f"{frames} frames, allowed are {limits.frames}")
    if people > limits.people:
        raise _TooLarge(f"{people} people in a frame, allowed are {limits.people}")
    if (found := frames * people * _PERSON) > limits.unpacked_bytes:
        raise _TooLarge(f"{found} bytes unpacked, allowed are {limits.unpacked_bytes}")


def _from_json(path: Path, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    frames = JsonFrames(path)
    facts = frames.facts
    fps = stated_rate(facts.get("fps"))
    return openpose_json.read(_checked(frames, limits), facts.get("width"), facts.get("height")), fps


def _from_zip(path: Path, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    with opened_archive(path) as archive:
        members = [one for one in archive.infolist() if openpose_json.is_document(one.filename)]
        if (longest := max((one.file_size for one in members), default=0)) > LONGEST_FRAME:
            raise _TooLarge(f"a frame of {longest} bytes unpacked, allowed are {LONGEST_FRAME}")
        _check_extent(len(members), 0, limits)
        names = sorted((openpose_json.frame_number(one.filename) or 0, one.filename) for one in members)
        documents = (json.loads(archive.read(name)) for _, name in names)
        return openpose_json.read(_checked(documents, limits)), None


def _checked(documents: Iterable[Any], limits: Limits) -> Iterator[Any]:
    """The documents as long as all of them, each with as many people as the fullest, are within the limits."""
    most = 0
    for number, document in enumerate(documents, start=1):
        people = document.get("people") if isinstance(document, dict) else None
        most = max(most, len(people) if isinstance(people, list) else 0)
        _check_extent(number, most, limits)
        yield document


def _from_numpy(path: Path, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    with opened_archive(path) as archive, archive.open("keypoints.npy") as member:
        header = read_header(member)
        if header.dtype.kind not in "fiu":
            raise ValueError(f"keypoints are {header.dtype}, expected numbers")
        _check_shape(header.shape)
        frames, people = header.shape[0], header.shape[1]
        _check_extent(frames, people, limits)
        sides = (written_number(read_number(archive, side)) for side in ("width", "height"))
        width, height = picture_size(*sides)
        keypoints = Keypoints.empty(frames, people, width, height)
        for number, triples in enumerate(read_rows(member, header)):
            _put(keypoints, number, triples)
        return _without_empty_slots(keypoints), read_rate(archive)


def _from_parquet(path: Path, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    """Rows (frame, person, point, x, y, score); width, height and perhaps fps in the schema's metadata."""
    with pq.ParquetFile(path) as file:
        facts = {name.decode(): value.decode() for name, value in (file.schema_arrow.metadata or {}).items()}
        width, height = picture_size(*(written_number(facts.get(side)) for side in ("width", "height")))
        fps = stated_rate(facts.get("fps"))
        types = {name: file.schema_arrow.field(name).type for name in _COLUMNS}
        if wrong := [name for name, kind in types.items() if not (is_integer(kind) or is_floating(kind))]:
            raise ValueError(f"column {wrong[0]} is {types[wrong[0]]}, expected numbers")
        _check_extent(file.metadata.num_rows // (limits.people * POINTS), 0, limits)
        frames = people = points = 0
        for places, _ in _blocks(file):
            furthest = places.max(axis=1)
            frames, people, points = (max(*two) for two in zip((frames, people, points), furthest + 1, strict=True))
        _check_shape((frames, people, points, 3))
        _check_extent(frames, people, limits)
        triples = np.full((frames, people, points, 3), np.nan)
        for places, values in _blocks(file):
            triples[tuple(places)] = values.T
    keypoints = Keypoints.empty(frames, people, width, height)
    for number, frame in enumerate(triples):
        _put(keypoints, number, frame)
    return _without_empty_slots(keypoints), fps


def _blocks(file: pq.ParquetFile) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows as (3, rows) places and (3, rows) values, a block at a time. Raises `ValueError` for no place."""
    for batch in file.iter_batches(_ROWS, columns=list(_COLUMNS), use_threads=False):
        columns = [batch[name].to_numpy(zero_copy_only=False) for name in _COLUMNS]
        indices, values = columns[: len(_INDICES)], columns[len(_INDICES) :]
        if any(not ((one >= 0) & (one < _HIGHEST)).all() for one in indices):  # nor NaN
            raise ValueError(f"{', '.join(_INDICES)} count from 0")
        yield np.stack([one.astype(np.int64) for one in indices]), np.stack(values).astype(np.float64)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or shape[2] not in (POINTS, POINTS - 1, 18) or shape[3] != 3:
        raise ValueError(f"keypoints have shape {shape}, expected (frames, people, 134 or 133 or 18, 3)")


def _put(keypoints: Keypoints, number: int, triples: np.ndarray) -> None:
    """Put (people, 134 | 133 | 18, 3) as x, y, score in pixels into a frame; a person of NaN is absent.

    Raises `ValueError` for infinite and other impossible numbers.
    """
    frame = triples.astype(np.float64)
    if (np.abs(frame) > FURTHEST).any():  # NaN is not
        raise ValueError(f"frame {number} has coordinates or scores beyond ±{FURTHEST}")
    there = frame[~np.isnan(frame).all(axis=(1, 2))]
    points, scores = np.nan_to_num(there[..., :2]), np.nan_to_num(there[..., 2])
    if triples.shape[1] == POINTS - 1:
        points, scores = openpose_order(points, scores)
    elif triples.shape[1] == 18:
        whole = np.zeros((len(there), POINTS, 3))
        whole[:, BODY, :2], whole[:, BODY, 2] = points, scores
        points, scores = whole[..., :2], whole[..., 2]
    here = slice(len(there))
    keypoints.points[number, here], keypoints.scores[number, here] = points, scores
    keypoints.boxes[number, here] = outlined(points, scores > 0)


def _without_empty_slots(keypoints: Keypoints) -> Keypoints:
    """As many slots as the fullest frame has people."""
    fullest = int(keypoints.present.sum(axis=1).max(initial=0))
    if fullest == keypoints.points.shape[1]:
        return keypoints
    return replace(
        keypoints,
        points=keypoints.points[:, :fullest].copy(),
        scores=keypoints.scores[:, :fullest].copy(),
        boxes=keypoints.boxes[:, :fullest].copy(),
    )
