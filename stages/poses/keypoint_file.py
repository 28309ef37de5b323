"""Keypoints of a driving file as they are stored, and as users hand them in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import Problem, Rejected
from stages.poses import openpose_json
from stages.poses.keypoints import Keypoints, People
from stages.poses.wholebody import BODY, POINTS, openpose_order, outlined
from stages.video.limits import Limits

_FORMATS = "OpenPose JSON (.json: a list of frames; .zip: a file per frame), NumPy (.npz) or Parquet (.parquet)"
_REMEDY = f"give {_FORMATS}; see README, 'Keypoints'"


def write_keypoints(path: Path, keypoints: Keypoints, seconds: Sequence[Fraction], fps: Fraction | None) -> None:
    """Store a sequence with its timestamps as one Arrow file."""
    facts = {"width": keypoints.width, "height": keypoints.height, "slots": keypoints.points.shape[1], "fps": str(fps)}
    table = pa.table(
        {
            "second": [str(second) for second in seconds],
            "points": list(keypoints.points.reshape(len(keypoints), -1)),
            "scores": list(keypoints.scores.reshape(len(keypoints), -1)),
            "boxes": list(keypoints.boxes.reshape(len(keypoints), -1)),
        }
    ).replace_schema_metadata({name: str(value) for name, value in facts.items()})
    with pa.ipc.new_file(str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as file:
        file.write_table(table)


def read_keypoints(path: Path) -> tuple[Keypoints, list[Fraction], Fraction | None]:
    """(keypoints, seconds, fps) as stored. Raises `Problem` for a damaged file."""
    try:
        table = pa.ipc.open_file(pa.OSFile(str(path))).read_all()
        facts = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    except (pa.ArrowException, OSError, AttributeError) as broken:
        raise Problem(f"keypoints {path.name} cannot be read: {broken}", "delete the file and run again") from None
    shape = (table.num_rows, int(facts["slots"]))
    points, scores, boxes = (
        np.array(table[name].to_pylist(), np.float64).reshape(*shape, *tail)
        for name, tail in (("points", (POINTS, 2)), ("scores", (POINTS,)), ("boxes", (4,)))
    )
    keypoints = Keypoints(points, scores, boxes, int(facts["width"]), int(facts["height"]))
    fps = None if facts["fps"] == "None" else Fraction(facts["fps"])
    return keypoints, [Fraction(second) for second in table["second"].to_pylist()], fps


def import_keypoints(path: Path, limits: Limits) -> tuple[Keypoints, Fraction | None]:
    """A user's keypoint file → (keypoints in pixels, frame rate if the file states one). Raises `Rejected`."""
    readers = {".json": _from_json, ".zip": _from_zip, ".npz": _from_numpy, ".parquet": _from_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise Rejected(f"keypoint file {path.name!r} has an unknown format", _REMEDY)
    try:
        keypoints, fps = reader(path)
    except Rejected:
        raise
    except Exception as broken:  # whatever four formats make of hostile bytes
        raise Rejected(
            f"keypoint file {path.name!r} cannot be read: {type(broken).__name__}: {broken}", _REMEDY
        ) from None
    if not len(keypoints):
        raise Rejected(f"keypoint file {path.name!r} has no frames", _REMEDY)
    if len(keypoints) > limits.frames:
        raise Rejected(
            f"keypoint file {path.name!r} has {len(keypoints)} frames, allowed are {limits.frames}", "cut it"
        )
    return keypoints, fps


def _from_json(path: Path) -> tuple[Keypoints, Fraction | None]:
    found = json.loads(path.read_text(encoding="utf-8"))
    facts = found if isinstance(found, dict) else {}
    frames = facts.get("frames", [facts] if "people" in facts else found)
    fps = Fraction(str(facts["fps"])) if "fps" in facts else None
    return openpose_json.read(frames, facts.get("width"), facts.get("height")), fps


def _from_zip(path: Path) -> tuple[Keypoints, Fraction | None]:
    with ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
        numbered = sorted(names, key=lambda name: (openpose_json.frame_number(name) or 0, name))
        return openpose_json.read([json.loads(archive.read(name)) for name in numbered]), None


def _from_numpy(path: Path) -> tuple[Keypoints, Fraction | None]:
    with np.load(path, allow_pickle=False) as arrays:
        fps = Fraction(str(arrays["fps"])) if "fps" in arrays else None
        return _keypoints(arrays["keypoints"], int(arrays["width"]), int(arrays["height"])), fps


def _from_parquet(path: Path) -> tuple[Keypoints, Fraction | None]:
    """Rows (frame, person, point, x, y, score); width, height and perhaps fps in the schema's metadata."""
    table = pq.read_table(path)
    facts = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    columns: dict[str, Any] = {name: table[name].to_numpy() for name in ("frame", "person", "point", "x", "y", "score")}
    shape = [int(columns[name].max()) + 1 for name in ("frame", "person", "point")]
    triples = np.full((*shape, 3), np.nan)
    place = tuple(columns[name].astype(int) for name in ("frame", "person", "point"))
    triples[place] = np.stack([columns[name] for name in ("x", "y", "score")], axis=-1)
    fps = Fraction(facts["fps"]) if "fps" in facts else None
    return _keypoints(triples, int(facts["width"]), int(facts["height"])), fps


def _keypoints(triples: np.ndarray, width: int, height: int) -> Keypoints:
    """(frames, people, 134 | 133 | 18, 3) as x, y, score in pixels; a person of NaN is absent."""
    if triples.ndim != 4 or triples.shape[2] not in (POINTS, POINTS - 1, 18) or triples.shape[3] != 3:
        raise ValueError(f"keypoints have shape {triples.shape}, expected (frames, people, 134 or 133 or 18, 3)")
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
