"""Keypoints of a driving file as they are stored, and as users hand them in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.types import is_floating, is_integer

from manifests.errors import Damaged, Rejected
from manifests.frame_rate import FASTEST_CAMERA, frame_rate
from stages.poses.files import openpose_json
from stages.poses.files.array_file import read_header, read_number, read_rate
from stages.poses.keypoints import Keypoints, People
from stages.poses.wholebody import BODY, POINTS, openpose_order, outlined
from stages.video.limits import Limits

_FORMATS = "OpenPose JSON (.json: a list of frames; .zip: a file per frame), NumPy (.npz) or Parquet (.parquet)"
_REMEDY = f"give {_FORMATS}; see stages/poses/README.md, 'Keypoint files'"
_INDICES = ("frame", "person", "point")
_COLUMNS = (*_INDICES, "x", "y", "score")
_VALUE = 8  # bytes of a float64
_BLOCK = 256  # frames written at once
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
    if min(keypoints.width, keypoints.height) < 1:
        size = f"{keypoints.width}×{keypoints.height}"
        raise Rejected(f"keypoint file {path.name!r} is of pictures of {size} pixels", _REMEDY)
    return keypoints, fps


class _TooLarge(Exception):
    """More than the limits allow, in words."""


def _check_extent(frames: int, people: int, limits: Limits) -> None:
    """Raise `_TooLarge` before memory is taken for the keypoints of `people` in each frame."""
    if frames > limits.frames:
        raise _TooLarge(f"{frames} frames, allowed are {limits.frames}")
    _check_bytes(frames * people * _PERSON, limits)


def _check_bytes(found: int, limits: Limits) -> None:
    if found > limits.bytes:
        raise _TooLarge(f"{found} bytes unpacked, allowed are {limits.bytes}")


def _from_json(path: Path, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    found = json.loads(path.read_text(encoding="utf-8"))
    facts = found if isinstance(found, dict) else {}
    frames = facts.get("frames", [facts] if "people" in facts else found)
    fps = frame_rate(facts["fps"], FASTEST_CAMERA) if "fps" in facts else None
    _check_extent(len(frames), 0, limits)
    return openpose_json.read(_checked(frames, len(frames), limits), facts.get("width"), facts.get("height")), fps


def _from_zip(path: Path, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    with ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
        _check_extent(len(names), 0, limits)
        _check_bytes(sum(archive.getinfo(name).file_size for name in names), limits)
        numbered = sorted(names, key=lambda name: (openpose_json.frame_number(name) or 0, name))
        documents = (json.loads(archive.read(name)) for name in numbered)  # all at once they take five times as much
        return openpose_json.read(_checked(documents, len(names), limits)), None


def _checked(documents: Iterable[dict[str, Any]], frames: int, limits: Limits) -> Iterator[dict[str, Any]]:
    """The documents of so many `frames`, none of which has more people than all of them may have."""
    for document in documents:
        people = document.get("people") if isinstance(document, dict) else None
        _check_extent(frames, len(people) if isinstance(people, list) else 0, limits)
        yield document


def _from_numpy(path: Path, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    with ZipFile(path) as archive:
        with archive.open("keypoints.npy") as member:
            header = read_header(member)
            if header.dtype.kind not in "fiu":
                raise ValueError(f"keypoints are {header.dtype}, expected numbers")
            _check_shape(header.shape)
            _check_extent(header.shape[0], header.shape[1], limits)
            values = np.frombuffer(member.read(header.nbytes), header.dtype)
        triples = values.reshape(header.shape, order="F" if header.fortran else "C")
        width, height = (int(read_number(archive, side)) for side in ("width", "height"))
        return _keypoints(triples, width, height), read_rate(archive)


def _from_parquet(path: Path, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    """Rows (frame, person, point, x, y, score); width, height and perhaps fps in the schema's metadata."""
    with pq.ParquetFile(path) as file:
        _check_bytes(file.metadata.num_rows * len(_COLUMNS) * _VALUE, limits)
        types = {name: file.schema_arrow.field(name).type for name in _COLUMNS}
        if wrong := [name for name, kind in types.items() if not (is_integer(kind) or is_floating(kind))]:
            raise ValueError(f"column {wrong[0]} is {types[wrong[0]]}, expected numbers")
        table = file.read(columns=list(_COLUMNS))
        facts = {name.decode(): value.decode() for name, value in (file.schema_arrow.metadata or {}).items()}
    columns: dict[str, Any] = {name: table[name].to_numpy() for name in _COLUMNS}
    if any(not columns[name].min() >= 0 for name in _INDICES):  # nor NaN
        raise ValueError(f"{', '.join(_INDICES)} count from 0")
    shape = (*(int(columns[name].max()) + 1 for name in _INDICES), 3)
    _check_shape(shape)
    _check_extent(shape[0], shape[1], limits)
    triples = np.full(shape, np.nan)
    triples[tuple(columns[name].astype(np.int64) for name in _INDICES)] = np.stack(
        [columns[name] for name in _COLUMNS[len(_INDICES) :]], axis=-1
    )
    fps = frame_rate(facts["fps"], FASTEST_CAMERA) if "fps" in facts else None
    return _keypoints(triples, int(facts["width"]), int(facts["height"])), fps


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or shape[2] not in (POINTS, POINTS - 1, 18) or shape[3] != 3:
        raise ValueError(f"keypoints have shape {shape}, expected (frames, people, 134 or 133 or 18, 3)")


def _keypoints(triples: np.ndarray, width: int, height: int) -> Keypoints:
    """(frames, people, 134 | 133 | 18, 3) as x, y, score in pixels; a person of NaN is absent."""
    people = []
    for frame in np.asarray(triples, np.float64):
        there = frame[~np.isnan(frame).all(axis=(1, 2))]
        points, scores = np.nan_to_num(there[..., :2]), np.nan_to_num(there[..., 2])
        if triples.shape[2] == POINTS - 1:
            points, scores = openpose_order(points, scores)
        elif triples.shape[2] == 18:
            whole = np.zeros((len(there), POINTS, 3))
            whole[:, BODY, :2], whole[:, BODY, 2] = points, scores
            points, scores = whole[..., :2], whole[..., 2]
        people.append(People(points, scores, outlined(points, scores > 0)))
    return Keypoints.from_people(people, width, height)
