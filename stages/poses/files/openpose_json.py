"""OpenPose's JSON of keypoints, in both dialects: OpenPose's own files, and those of the community's tools.

OpenPose writes one file per frame, `<name>_<12 digits>_keypoints.json`, with 25 body points (BODY_25) by default, in
pixels and without the size of the picture. The community's documents add `canvas_width` and `canvas_height`, hold 18
body points (COCO-18), leave parts out as null, and some of their readers drop every point whose confidence is not 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from manifests.errors import Rejected
from stages.poses.files.stated_facts import FURTHEST, picture_size
from stages.poses.keypoints import Keypoints, People
from stages.poses.wholebody import BODY, FACE, FEET, LEFT_HAND, POINTS, RIGHT_HAND

_MID_HIP = 8
_BODY25_FROM_COCO18 = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]  # where each joint stands there
_BODY25_FEET = slice(19, 25)
_HIPS = [8, 11]
_PUPILS = [14, 15]  # DWPose has no pupils; right and left eye of the body stand in, as the community's tools do
_PARTS = {
    "face_keypoints_2d": (FACE, (68, 70)),
    "hand_left_keypoints_2d": (LEFT_HAND, (21,)),
    "hand_right_keypoints_2d": (RIGHT_HAND, (21,)),
}
_BODY_REMEDY = "write BODY_25 (OpenPose's default) or COCO body points"
# Coordinates that stay below are fractions: nobody stands in the first two pixels of a picture.
_LARGEST_FRACTION = 2.0
# Further outside the picture than this to the left or above, fractions are those of −1 … 1.
_LEAST_FRACTION = -0.1


def frame_number(file: str) -> int | None:
    """The frame that a file of OpenPose's naming describes; None for other names."""
    found = re.search(r"_(\d{12})_keypoints\.json$", file)
    return int(found[1]) if found else None


def is_document(member: str) -> bool:
    """Whether a member of an archive is a document, and not what macOS puts beside each file."""
    folders, _, name = member.rpartition("/")
    return name.endswith(".json") and not name.startswith("._") and "__MACOSX" not in folders.split("/")


def read(documents: Iterable[dict[str, Any]], width: Any = None, height: Any = None) -> Keypoints:
    """One parsed document per frame, in order, of either dialect → keypoints in pixels. They are looked at one by one.

    The picture is `width` × `height` pixels, or as large as the documents say. Pixels are told from fractions of the
    picture (0 … 1) by their size over the whole sequence. Points that were not found are at (0, 0) with score 0. Raises
    `Rejected` naming the frame and field that is not as it should be, and for fractions from −1 to 1.
    """
    frames: list[tuple[np.ndarray, np.ndarray]] = []
    told: set[tuple[int, int]] = set()
    if not (width is None or height is None):
        width, height = picture_size(width, height)
    for number, document in enumerate(documents):
        frames.append(_frame(document, f"frame {number}"))
        if width is None or height is None:
            told |= _canvas(document, f"frame {number}")
    width, height = _size(told, width, height)
    scale = _to_pixels(frames, width, height)
    made = Keypoints.empty(len(frames), max((len(points) for points, _ in frames), default=0), width, height)
    for number, (points, scores) in enumerate(frames):
        here = slice(len(points))
        made.points[number, here] = np.where((scores > 0)[..., None], points * scale, 0.0)
        made.scores[number, here] = scores
        for slot, person in enumerate(made.points[number, here]):
            made.boxes[number, slot] = _box(person, scores[slot])
    return made


def write(people: People) -> dict[str, Any]:
    """OpenPose's document of one frame: 25 body points, in pixels; points without a score above 0 as 0, 0, 0."""
    return {"version": 1.3, "people": [_person(*one) for one in zip(people.points, people.scores, strict=True)]}


def _person(points: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    confidence = scores.clip(0)
    triples = np.where((confidence > 0)[:, None], np.column_stack([points, confidence]), 0.0)
    parts = {
        "pose_keypoints_2d": _body25(triples),
        "face_keypoints_2d": np.concatenate([triples[FACE], triples[_PUPILS]]),
        "hand_left_keypoints_2d": triples[LEFT_HAND],
        "hand_right_keypoints_2d": triples[RIGHT_HAND],
    }
    lists = {name: part.ravel().tolist() if part[:, 2].any() else [] for name, part in parts.items()}
    lists["pose_keypoints_2d"] = parts["pose_keypoints_2d"].ravel().tolist()
    return {"person_id": [-1], **lists, **{name.replace("2d", "3d"): [] for name in parts}}


def _body25(triples: np.ndarray) -> np.ndarray:
    body = np.zeros((25, 3))
    body[_BODY25_FROM_COCO18] = triples[BODY]
    hips = triples[_HIPS]
    if hips[:, 2].all():
        body[_MID_HIP] = [*hips[:, :2].mean(axis=0), hips[:, 2].min()]
    body[_BODY25_FEET] = triples[FEET]
    return body


def _frame(document: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Points (people, 134, 2) as written and scores (people, 134)."""
    listed = document.get("people") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(person, dict) for person in listed):
        raise Rejected(f"{where} has no list of people", "use JSON as OpenPose writes it, one document per frame")
    points, scores = np.zeros((len(listed), POINTS, 2)), np.zeros((len(listed), POINTS))
    for number, person in enumerate(listed):
        triples = np.zeros((POINTS, 3))
        _read_body(person, triples, f"{where}, person {number}")
        for field, (part, counts) in _PARTS.items():
            found = _triples(person, field, counts, f"{where}, person {number}")
            if found is not None:
                triples[part] = found[: part.stop - part.start]
        points[number], scores[number] = triples[:, :2], triples[:, 2]
    return points, scores


def _read_body(person: dict[str, Any], triples: np.ndarray, where: str) -> None:
    found = _triples(person, "pose_keypoints_2d", (18, 25), where)
    if found is None:
        return
    if len(found) == 18:
        triples[BODY] = found
    else:
        triples[BODY], triples[FEET] = found[_BODY25_FROM_COCO18], found[_BODY25_FEET]


def _triples(person: dict[str, Any], field: str, counts: tuple[int, ...], where: str) -> np.ndarray | None:
    """(points, 3) of a part; None where it was not computed."""
    numbers = _numbers(person.get(field), f"{where}: {field}")
    if not numbers.size:
        return None
    wanted = " or ".join(str(3 * count) for count in counts)
    if numbers.size not in [3 * count for count in counts]:
        remedy = _BODY_REMEDY if field.startswith("pose") else "write every point as x, y, confidence"
        raise Rejected(f"{where}: {field} has {numbers.size} numbers, expected {wanted}", remedy)
    return numbers.reshape(-1, 3)


def _numbers(listed: Any, where: str) -> np.ndarray:
    if listed is None:
        return np.empty(0)
    sound = isinstance(listed, list) and all(
        type(number) in (int, float) and -FURTHEST <= number <= FURTHEST for number in listed
    )
    if not sound:
        told = f"is not a list of finite numbers from −{FURTHEST} to {FURTHEST}"
        raise Rejected(f"{where} {told}", "write x, y and confidence of every point, in pixels")
    return np.array(listed, np.float64)


def _canvas(document: dict[str, Any], where: str) -> set[tuple[int, int]]:
    """The one size that a document states, or none."""
    sides = document.get("canvas_width"), document.get("canvas_height")
    return set() if sides == (None, None) else {picture_size(*sides, f"{where}: canvas_width × canvas_height")}


def _size(told: set[tuple[int, int]], width: int | None, height: int | None) -> tuple[int, int]:
    if width is not None and height is not None:
        return width, height
    if len(told) != 1:
        sizes = " and ".join(f"{one[0]}×{one[1]}" for one in sorted(told)[:2])
        raise Rejected(
            f"the pose documents name {f'sizes {sizes}' if told else 'no size'} of the picture",
            "give the width and height of the driving picture",
        )
    return told.pop()


def _to_pixels(frames: list[tuple[np.ndarray, np.ndarray]], width: int, height: int) -> np.ndarray:
    """By what coordinates (x, y) as written are multiplied to become pixels."""
    seen = [points[scores > 0] for points, scores in frames if (scores > 0).any()]
    if not seen or max(np.abs(points).max() for points in seen) > _LARGEST_FRACTION:
        return np.ones(2)
    if min(points.min() for points in seen) < _LEAST_FRACTION:
        raise Rejected("keypoints look like fractions from −1 to 1", "write pixels, or fractions from 0 to 1")
    return np.array([width, height], np.float64)


def _box(points: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The box around the points found: x1 y1 x2 y2; NaN if there are none."""
    found = points[scores > 0]
    return np.concatenate([found.min(axis=0), found.max(axis=0)]) if len(found) else np.full(4, np.nan)
