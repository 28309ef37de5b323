"""Rows as an attacker writes them, with the media that they name: what each must end as, and in what words."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.made.sample_media import clip_row, write_driving, write_reference

SECRET = "wJalrXUtnFEMI"  # what must not be seen again
ROW = {"animator": "still", "driving_kind": "skeleton", "steps": None}


class Attack(NamedTuple):
    """A hostile row, what it has to end as, and a part of what is said of it."""

    row: dict[str, Any]
    status: str
    said: str


def attacks(media: Path) -> list[Attack]:
    """All of them, their files in `media`, beside the good `reference.png` and `driving.mp4`."""
    return [*_places(media), *_images(media), *_videos(media), *_keypoints(media), *_cells()]


def _row(name: str, **fields: Any) -> dict[str, Any]:
    return clip_row(name, **{**ROW, **fields})


def _places(media: Path) -> list[Attack]:
    outside = media.with_name(f"{media.name}-outside")
    outside.mkdir(exist_ok=True)
    write_reference(outside / "secret.png")
    (media / "link.png").symlink_to(outside / "secret.png")
    (media / "circle.png").symlink_to(media / "circle.png")
    os.mkfifo(media / "fifo.png")
    places = {
        "traversal": (f"../{outside.name}/secret.png", "outside the allowed folders"),
        "absolute": ("/etc/passwd", "outside the allowed folders"),
        "link": ("link.png", "outside the allowed folders"),
        "circle": ("circle.png", "no such file"),
        "fifo": ("fifo.png", "no such file"),
        "device": ("/dev/zero", "outside the allowed folders"),
        "metadata-server": ("http://169.254.169.254/latest/meta-data/iam", "not allowed"),
        "credentials": (f"s3://AKIA:{SECRET}@catalogue/a.png?X-Amz-Signature={SECRET}", "plain bucket name"),
        "chained": ("s3://bucket/a.zip::file:///etc/passwd", "'::'"),
        "nul": ("reference.png\0.mp4", "control character"),
        "long": ("a" * 5000, "longer than 4096"),
    }
    return [
        Attack(_row(name, reference=where.replace("\0", "\x01") if name == "nul" else where), "rejected", said)
        for name, (where, said) in places.items()
    ]


def _chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def _images(media: Path) -> list[Attack]:
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    pixels = zlib.compress(bytes(60_000 * 3 + 1) * 200, 9)
    good = (media / "reference.png").read_bytes()
    profile = b"bomb\0\0" + zlib.compress(bytes(200 * 2**20), 9)
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "TIFF")
    circle = bytearray(stream.getvalue())
    (first,) = struct.unpack_from("<I", circle, 4)
    entries = struct.unpack_from("<H", circle, first)[0]
    struct.pack_into("<I", circle, first + 2 + 12 * entries, first)  # the next directory is this one
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG")
    vast = stream.getvalue().replace(b"\x00\x10\x00\x10", b"\xff\xdc\xff\xdc")
    stream = io.BytesIO()
    Image.new("P", (16, 16)).save(stream, "GIF")
    files = {
        "pixel-bomb.png": (head + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b""), "rejected", "limit is"),
        "profile-bomb.png": (good[:33] + _chunk(b"iCCP", profile) + good[33:], "rejected", "too large"),
        "circle.tif": (bytes(circle), "done", ""),
        "vast.jpg": (vast, "rejected", "limit is"),
        "other.png": (stream.getvalue(), "rejected", "is not a JPEG"),
        "page.png": (b"<svg onload=alert(1)>", "rejected", "is not a JPEG"),
    }
    found = []
    for name, (data, status, said) in files.items():
        (media / name).write_bytes(data)
        found.append(Attack(_row(name.replace(".", "-"), reference=name), status, said))
    return found


def boastful(video: Path, samples: int = 2**32 - 1) -> bytes:
    """The video with a table of times that claims so many samples: 42 KB that once ended process after process."""
    whole = bytearray(video.read_bytes())
    place = whole.index(b"stts")
    entries = int.from_bytes(whole[place + 8 : place + 12], "big")
    assert entries >= 1
    whole[place + 12 : place + 16] = samples.to_bytes(4, "big")
    return bytes(whole)


def _videos(media: Path) -> list[Attack]:
    good = (media / "driving.mp4").read_bytes()
    sizes = bytearray(good)
    place = sizes.index(b"stsz")
    sizes[place + 12 : place + 16] = (2**32 - 1).to_bytes(4, "big")
    playlist = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    files = {
        "claims-times.mp4": (boastful(media / "driving.mp4"), "rejected", "samples"),
        "claims-sizes.mp4": (bytes(sizes), "rejected", "samples"),
        "cut.mp4": (good[: len(good) * 2 // 3], "rejected", "truncated"),
        "playlist.mp4": (playlist.encode(), "rejected", "is not a readable"),
        "concat.mp4": (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "rejected", "is not a readable"),
    }
    found = []
    for name, (data, status, said) in files.items():
        (media / name).write_bytes(data)
        found.append(Attack(_row(name.replace(".", "-"), driving=name), status, said))
    return found


def _keypoints(media: Path) -> list[Attack]:
    with zipfile.ZipFile(media / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open("keypoints.npy", "w", force_zip64=True) as member:
            shape = (20_000, 100, 134, 3)
            np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for _ in range(40):
                member.write(bytes(2**20))
        for name in ("width", "height"):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.array(64))
    (media / "nested.json").write_bytes(b"[" * 200_000)
    facts = {"width": "64", "height": "64"}
    far = pa.table({name: pa.array([2**62, 0]) for name in ("frame", "person", "point")})
    for name in ("x", "y", "score"):
        far = far.append_column(name, pa.array([0.0, 0.0]))
    pq.write_table(far.replace_schema_metadata(facts), media / "far.parquet")
    document = {"people": [{"pose_keypoints_2d": [0.5, 0.5, 1.0] * 18}]}
    for name, height in (("tall.json", 2**61), ("strip.json", 9_000_000)):  # one alone once ended the night
        stated = {"width": 1, "height": height, "fps": 24, "frames": [document] * 24}
        (media / name).write_text(json.dumps(stated))
    told = {"bomb.npz": "unpacked", "nested.json": "cannot be read", "far.parquet": "cannot be read"}
    keypoints = {"driving_kind": "keypoints"}
    told |= {"tall.json": "the limit is", "strip.json": "a side is 16 to 4096"}
    return [
        Attack(_row(name.replace(".", "-"), driving=name, width=None, height=None, **keypoints), "rejected", said)
        for name, said in told.items()
    ]


def _cells() -> list[Attack]:
    return [
        Attack(_row("=cmd|' /C calc'!A0"), "rejected", "not a safe name"),
        Attack(_row("program", animator="os:system"), "rejected", "animator"),
        Attack(_row("tensors", checkpoint="/root/.ssh"), "rejected", "outside the allowed folders"),
        Attack(_row("digits", guidance="9" * 400), "rejected", "guidance"),
        Attack(_row("deep", options=json.loads('{"a":' * 40 + "1" + "}" * 40)), "rejected", "nested"),
        Attack(_row("formula", seed=77, metadata={"sku": "=HYPERLINK(1)", "<script>": "\u202e"}), "done", ""),
    ]


def write_media(media: Path) -> None:
    """The good media that hostile rows stand among."""
    write_reference(media / "reference.png")
    write_driving(media / "driving.mp4")
