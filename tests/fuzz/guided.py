"""Coverage-guided fuzzing of our own parsers, where Atheris is installed (`pip install atheris`; it is no dependency).

    python -m tests.fuzz.guided keypoints|header|uri|cell|uv -max_total_time=300 [out/fuzz/corpus]

Options are libFuzzer's. What ends as none may is written to the current folder by Atheris; a mended find is added to
`tests/fuzz/finds`.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["manifests", "stages"]):
    from manifests import cell, storage
    from manifests.errors import Problem
    from stages.poses.files.array_file import read_header
    from stages.poses.files.json_frames import JsonFrames
    from stages.poses.files.keypoint_file import import_keypoints
    from stages.poses.files.uv_file import read_uv
    from stages.video.limits import Limits

from tests.fuzz.trials import said

_LIMITS = Limits()
_FOLDER = Path(tempfile.mkdtemp(prefix="catwalk-guided-"))


def _file(name: str, data: bytes) -> Path:
    path = _FOLDER / name
    path.write_bytes(data)
    return path


def keypoints(data: bytes) -> None:
    """A document of keypoints; where it is JSON, its frames are those that the parser finds."""
    path = _file("frames.json", data)
    try:
        import_keypoints(path, _LIMITS)
    except Problem as problem:
        said(problem)
    try:
        frames = list(JsonFrames(path))
    except (ValueError, RecursionError):
        return
    whole = json.loads(data)
    inside = whole.get("frames", [whole]) if isinstance(whole, dict) else whole
    assert json.dumps(frames) == json.dumps(inside), "cut into other frames than the parser finds"


def header(data: bytes) -> None:
    """The header of an array."""
    try:
        found = read_header(io.BytesIO(data))
    except ValueError:
        return
    assert found.nbytes >= 0


def uri(data: bytes) -> None:
    """A URI as a row has it: what is allowed lies inside, and no message has its secret."""
    text = data.decode("utf-8", "surrogateescape")
    allowed = storage.Allowed(prefixes=["/base/media", "s3://bucket/media"])
    try:
        resolved = storage.resolve(text, "/base/media")
        allowed.check(resolved, "reference")
    except Problem as problem:
        if "://" in text:  # in a local file's name '?' is a letter
            said(problem)
    else:
        place = os.path.realpath(resolved) if resolved.startswith("/") else resolved
        assert (place + "/").startswith(("/base/media/", "s3://bucket/media/")), place
    shown = storage.redact(f"s3://key:SECRET@bucket/{text}?SECRET")
    assert "SECRET" not in shown.replace(text, ""), shown


def cells(data: bytes) -> None:
    """A cell of metadata or options."""
    for given in (data, data.decode("utf-8", "surrogateescape"), data.decode("latin-1")):
        try:
            found = cell.mapping(given)
        except ValueError:
            continue
        json.dumps(found, allow_nan=False).encode()


def uv(data: bytes) -> None:
    """An archive of U and V."""
    try:
        for _ in read_uv(_file("uv.npz", data), _LIMITS):
            pass
    except Problem as problem:
        said(problem)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "keypoints": keypoints,
    "header": header,
    "uri": uri,
    "cell": cells,
    "uv": uv,
}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
