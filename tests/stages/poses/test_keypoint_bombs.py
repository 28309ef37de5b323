"""Promises about keypoint files that are made to cost more than they hold. Peaks are those of a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.errors import Rejected
from stages.poses.files.json_frames import LONGEST_FRAME, JsonFrames
from stages.poses.files.keypoint_file import import_keypoints
from stages.poses.files.uv_file import probe_uv
from stages.video.limits import Limits
from tests.conftest import CHECKOUT

MIB = 2**20
LIMITS = Limits(unpacked_bytes=8 * MIB, frames=2000)

# prints "outcome KiB" of each file: the end of it, and by how much the peak of the process has grown
_READ = """
import resource, sys
from pathlib import Path
from manifests.errors import Rejected
from stages.poses.files.keypoint_file import import_keypoints
from stages.video.limits import Limits

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

limits = Limits.model_validate_json(sys.argv[1])
before = peak()
for name in sys.argv[2:]:
    try:
        found = f"{len(import_keypoints(Path(name), limits)[0])}"
    except Rejected as rejected:
        found = "rejected"
    print(Path(name).name, found, peak() - before)
"""


def read_apart(paths: list[Path], limits: Limits) -> dict[str, tuple[str, int]]:
    """{file: (frames, or "rejected"; bytes by which the peak of the process that read it has grown until then)}."""
    command = [sys.executable, "-c", _READ, limits.model_dump_json(), *map(str, paths)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    return {name: (found, int(grown) * 1024) for name, found, grown in lines}


def packed(path: Path, members: dict[str, bytes], how: int = ZIP_DEFLATED) -> Path:
    with ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def array(shape: tuple[int, ...], dtype: str, content: bytes = b"", fortran: bool = False) -> bytes:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": fortran, "shape": shape})
    return header.getvalue() + content


def arrays(path: Path, keypoints: bytes, how: int = ZIP_DEFLATED) -> Path:
    sides = {f"{side}.npy": array((), "<i8", (100).to_bytes(8, "little")) for side in ("width", "height")}
    return packed(path, {"keypoints.npy": keypoints, **sides}, how)


def flat_table(path: Path, rows: int, **last: int) -> Path:
    """A Parquet file of zeros, all but the last row, which run-length encoding makes a few hundred bytes of."""
    columns = {name: np.zeros(rows, np.int32) for name in ("frame", "person", "point", "x", "y", "score")}
    for name, value in last.items():
        columns[name][-1] = value
    pq.write_table(pa.table(columns).replace_schema_metadata({"width": "9", "height": "9"}), path, compression="zstd")
    return path


def bombs(folder: Path) -> list[Path]:
    """Small files of which each would take 100 MB or more if it were unpacked whole."""
    document = json.dumps({"people": [{}], "x": "a" * LONGEST_FRAME}).encode()
    nested = folder / "brackets.json"
    nested.write_bytes(b'[{"people": [' + b"[]," * (4 * MIB) + b"0]}]")
    beside = folder / "beside.json"
    beside.write_bytes(b'{"x": [' + b"[]," * (4 * MIB) + b'0], "frames": []}')
    crowd = folder / "crowd.json"
    crowd.write_text(json.dumps([{"people": [{}] * 90}] * 2000))
    return [
        arrays(folder / "bytes.npz", array((2000, 20, 134, 3), "|u1", bytes(2000 * 20 * 134 * 3))),
        arrays(folder / "fortran.npz", array((2000, 20, 134, 3), "<f8", b"", fortran=True)),
        arrays(folder / "bzip2.npz", array((100, 20, 134, 3), "<f8", bytes(100 * 20 * 134 * 3 * 8)), ZIP_BZIP2),
        packed(folder / "document.zip", {"a.json": document * 30}),
        packed(folder / "brackets.zip", {"a.json": b'{"people":[' + b"[]," * (12 * MIB) + b"0]}"}),
        flat_table(folder / "rows.parquet", 4_000_000),
        flat_table(folder / "corner.parquet", 1, frame=1999, person=99, point=133),
        flat_table(folder / "beyond.parquet", 1, frame=2**31 - 1),
        nested,
        beside,
        crowd,
    ]


def test_a_file_that_unpacks_to_much_is_refused_for_little(tmp_path: Path) -> None:
    found = read_apart(bombs(tmp_path), LIMITS)
    assert {name for name, (outcome, _) in found.items() if outcome != "rejected"} == set()
    assert max(grown for _, grown in found.values()) < 60 * MIB, found  # what is imported on the way is most of it


@pytest.mark.parametrize("name", ["k.npz", "k.parquet", "k.json", "k.zip"])
def test_reading_takes_a_small_multiple_of_what_a_file_becomes(tmp_path: Path, name: str) -> None:
    becomes = 1000 * 10 * 134 * 3 * 8
    triples = np.random.default_rng(0).integers(1, 90, (1000, 10, 134, 3)).astype(np.int16)
    path = tmp_path / name
    if name == "k.npz":
        arrays(path, array(triples.shape, "<i2", triples.tobytes()))
    elif name == "k.parquet":
        places = np.indices(triples.shape[:3]).reshape(3, -1)
        columns = dict(zip(("frame", "person", "point"), places, strict=True))
        columns |= dict(zip(("x", "y", "score"), triples.reshape(-1, 3).T, strict=True))
        pq.write_table(pa.table(columns).replace_schema_metadata({"width": "90", "height": "90"}), path)
    else:
        person = {"pose_keypoints_2d": [3, 4, 1] * 25, "face_keypoints_2d": [5, 6, 1] * 70}
        frame = {"people": [person] * 10, "canvas_width": 90, "canvas_height": 90}
        if name == "k.zip":
            packed(path, {f"{number:05d}.json": json.dumps(frame).encode() for number in range(1000)})
        else:
            path.write_text(json.dumps([frame] * 1000))
    outcome, grown = read_apart([path], Limits())[name]
    assert outcome == "1000"
    assert grown < 2.5 * becomes + 40 * MIB  # of which the libraries take some


def test_the_members_of_a_zip_are_counted_before_they_are_listed(tmp_path: Path) -> None:
    path = packed(tmp_path / "k.zip", {f"{number:05d}".ljust(300, "x"): b"" for number in range(30_000)})
    with pytest.raises(Rejected, match="list of members of"):
        import_keypoints(path, Limits())
    with pytest.raises(Rejected, match="list of members of"):
        probe_uv(path, Limits())


@pytest.mark.parametrize("kind", [import_keypoints, probe_uv])
def test_what_only_unpacks_whole_is_not_unpacked(tmp_path: Path, kind: Callable[[Path, Limits], object]) -> None:
    member = array((4, 2, 8, 8), "<f4", bytes(4 * 2 * 8 * 8 * 4))
    path = packed(tmp_path / "k.npz", {"uv.npy": member, "keypoints.npy": member}, ZIP_BZIP2)
    with pytest.raises(Rejected, match="neither stored nor deflated"):
        kind(path, Limits())


def frames_in(path: Path, text: bytes) -> list[object]:
    path.write_bytes(text)
    return list(JsonFrames(path))


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        (b"[]", []),
        (b' [ {"a": "]}\\"{"} , [2] ] ', [{"a": ']}"{'}, [2]]),
        (b'{"fps": 25, "frames": [{"frames": [1]}, {}], "width": 3}', [{"frames": [1]}, {}]),
        (b'{"x": {"frames": [{}]}, "y": "frames", "people": []}', None),
        (b'{"y": "frames", "z": [1], "frames" : [{}]}', [{}]),
    ],
)
def test_the_frames_of_a_document_are_those_that_a_parser_finds(
    tmp_path: Path, text: bytes, frames: list[object] | None
) -> None:
    assert frames_in(tmp_path / "k.json", text) == ([json.loads(text)] if frames is None else frames)


@pytest.mark.parametrize(
    "text", [b"[{} {}]", b"[{},]", b"[{}, 3]", b"[{}", b"[{}]]", b"[{}] x", b'[{"a": 1]', b"]", b'["', b"[}{]", b"3"]
)
def test_what_is_no_document_of_frames_is_not_taken_for_one(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        frames_in(tmp_path / "k.json", text)


def test_quotes_that_never_close_are_searched_once(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_bytes(b'[{"a": ' + b'"\\' * MIB)  # by the square of its length this would take a day
    with pytest.raises(Rejected):
        import_keypoints(path, Limits())
