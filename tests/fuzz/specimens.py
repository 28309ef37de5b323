"""Good files, one or two of every format that rows and runs may name: what is mutated."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageCms
from safetensors.torch import save

from pipelines.configuration import RunConfig
from stages.poses.files.keypoint_file import write_people
from stages.poses.files.openpose_json import write as openpose_document
from stages.poses.keypoints import People
from tests.conftest import CHECKOUT
from tests.fuzz.specimen import Specimen, zipped
from tests.fuzz.structures import mended
from tests.made.sample_media import CHECKPOINT, clip_row

WIDTH, HEIGHT, FRAMES = 48, 64, 8
CHECKPOINT_FILES = (
    "MagicAnimate/appearance_encoder/config.json",
    "MagicAnimate/temporal_attention/temporal_attention.ckpt",
    "sd-vae-ft-mse/config.json",
    "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
    "stable-diffusion-v1-5/unet/config.json",
    "stable-diffusion-v1-5/unet/diffusion_pytorch_model.bin",
)


def media() -> Iterator[Specimen]:
    """Images, videos and sound of every format that is read, and of some that are not."""
    yield from _images()
    yield from _videos()


def files() -> Iterator[Specimen]:
    """Keypoints, U and V, checkpoints, LoRAs, tables and configurations."""
    yield from _keypoints()
    for place in CHECKPOINT_FILES:
        yield Specimen("checkpoint", Path(place).name, (CHECKPOINT / place).read_bytes(), place)
    yield from _programs()
    yield Specimen("lora", "kohya.safetensors", save(_lora()))
    yield from _tables()
    yield from _sources()
    yield Specimen("config", "run.yaml", RunConfig().to_yaml().encode())
    yield Specimen("config", "run.json", json.dumps(RunConfig().model_dump(mode="json")).encode())
    yield Specimen(
        "config", "short.yaml", b"limits: {seconds: 60}\nestimators:\n  dwpose: &a {pose: x, detector: y}\nlogs: {}\n"
    )
    yield Specimen("cluster", "cluster.yaml", (CHECKOUT / "cluster" / "example.yaml").read_bytes())


def _picture(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 255, (8, 6, 4), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return Image.fromarray(pixels).convert(mode)


def _images() -> Iterator[Specimen]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    coloured = {"icc_profile": profile, "exif": exif}
    formats: dict[str, tuple[str, dict[str, Any]]] = {
        "plain.png": ("RGB", {}),
        "profile.png": ("RGBA", coloured),
        "palette.png": ("P", {"transparency": 3}),
        "deep.png": ("I;16", {}),
        "moving.png": ("RGB", {"save_all": True, "append_images": [_picture()] * 2}),
        "plain.jpg": ("RGB", coloured),
        "progressive.jpg": ("RGB", {"progressive": True}),
        "press.jpg": ("CMYK", coloured),
        "lossy.webp": ("RGB", coloured),
        "lossless.webp": ("RGBA", {"lossless": True}),
        "moving.webp": ("RGB", {"save_all": True, "append_images": [_picture().rotate(90)] * 2}),
        "plain.bmp": ("RGB", {}),
        "palette.bmp": ("P", {}),
        "plain.tif": ("RGB", coloured),
        "packed.tif": ("RGB", {"compression": "tiff_lzw"}),
        "deflated.tif": ("RGB", {"compression": "tiff_adobe_deflate"}),
        "jpeg.tif": ("RGB", {"compression": "jpeg"}),
        "fax.tif": ("1", {"compression": "group4"}),
        "moving.gif": ("P", {"save_all": True, "append_images": [_picture("P")] * 2}),
    }
    for name, (mode, options) in formats.items():
        picture, stream = _picture("L" if mode == "I;16" else mode), io.BytesIO()
        if mode == "I;16":
            picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
        kind = {"jpg": "JPEG", "tif": "TIFF"}.get(name[-3:], name.rpartition(".")[2].upper())
        picture.save(stream, kind, **options)
        yield Specimen("image", name, stream.getvalue())
    stream = io.BytesIO()
    Image.fromarray(np.ones((8, 8), np.float32)).save(stream, "TIFF")
    yield Specimen("image", "floats.tif", stream.getvalue())


_X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "4", "-bf", "2")
_VIDEOS: dict[str, tuple[str, ...]] = {
    "sound.mp4": (*_X264, "-c:a", "aac", "-movflags", "+faststart"),
    "fragmented.mp4": (*_X264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"),
    "turned.mp4": (*_X264, "-an", "-display_rotation", "90"),
    "hevc.mp4": ("-c:v", "libx265", "-x265-params", "log-level=none:pools=1", "-pix_fmt", "yuv420p", "-an"),
    "av1.mp4": ("-c:v", "libsvtav1", "-preset", "10", "-an"),
    "prores.mov": ("-c:v", "prores", "-c:a", "pcm_s16le"),
    "h264.mkv": (*_X264, "-c:a", "flac"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "vp8.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-an"),
    "h264.ts": (*_X264, "-c:a", "aac"),
    "surround.mkv": (*_X264, "-c:a", "ac3", "-ac", "6"),
}


def _videos() -> Iterator[Specimen]:
    for name, options in _VIDEOS.items():
        made = _encoded(name, *options)
        yield Specimen("sound" if "-an" not in options else "video", name, made)


def _encoded(name: str, *options: str) -> bytes:
    """A short film with a tone, made by ffmpeg; -display_rotation stands before its input."""
    before = options[-2:] if "-display_rotation" in options else ()
    given = options[:-2] if before else options
    seconds = f"{FRAMES / 25}"
    picture = ("-f", "lavfi", "-i", f"testsrc=s={WIDTH}x{HEIGHT}:r=25:d={seconds}")
    tone = ("-f", "lavfi", "-i", f"sine=d={seconds}")
    run = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1"]
    quiet = {**os.environ, "SVT_LOG": "1"}
    with TemporaryDirectory() as folder:
        film = Path(folder) / name
        if not before:
            subprocess.run([*run, *picture, *tone, *given, film], check=True, env=quiet)
            return film.read_bytes()
        upright = Path(folder) / f"upright-{name}"
        subprocess.run([*run, *picture, *given, upright], check=True, env=quiet)
        subprocess.run([*run, *before, "-i", upright, "-c", "copy", film], check=True, env=quiet)
        return film.read_bytes()


def _keypoints() -> Iterator[Specimen]:
    random = np.random.default_rng(2)
    triples = random.uniform(1, 60, (FRAMES, 2, 134, 3))
    triples[..., 2] = 0.9
    numbers = {"keypoints": triples, "width": WIDTH, "height": HEIGHT, "fps": 25.0}
    for name, save_arrays in {"plain.npz": np.savez, "deflated.npz": np.savez_compressed}.items():
        stream = io.BytesIO()
        save_arrays(stream, **numbers)
        yield Specimen("keypoints", name, stream.getvalue())
    people = [People(frame[..., :2], frame[..., 2], np.zeros((2, 4))) for frame in triples]
    documents = [openpose_document(one) | {"canvas_width": WIDTH, "canvas_height": HEIGHT} for one in people]
    yield Specimen("keypoints", "frames.json", json.dumps({"frames": documents[:2], "fps": 25}).encode())
    files = {f"film_{number:012}_keypoints.json": json.dumps(one).encode() for number, one in enumerate(documents[:3])}
    yield Specimen("keypoints", "frames.zip", zipped(files))
    places = np.indices(triples.shape[:3]).reshape(3, -1)
    columns = dict(zip(("frame", "person", "point"), places, strict=True))
    columns |= dict(zip(("x", "y", "score"), triples.reshape(-1, 3).T, strict=True))
    facts = {"width": str(WIDTH), "height": str(HEIGHT), "fps": "25"}
    yield Specimen("keypoints", "points.parquet", _parquet(pa.table(columns).replace_schema_metadata(facts)))
    stream = io.BytesIO()
    np.savez(stream, uv=random.uniform(0, 1, (FRAMES, 2, 64, 32)).astype(np.float16), fps=25)
    yield Specimen("densepose_uv", "uv.npz", stream.getvalue())
    yield Specimen("poses", "stored.arrow", _stored(people))


def _stored(people: list[People]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "poses.arrow"
        seconds = [Fraction(number, 25) for number in range(len(people))]
        write_people(path, zip(seconds, people, strict=True), WIDTH, HEIGHT, Fraction(25))
        return path.read_bytes()


class _Program:
    """Pickled, it is a call."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._call = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


MARK = str(Path(gettempdir()) / "catwalk-fuzz-pickle-ran")  # appears if a pickle's code is run


def _programs() -> Iterator[Specimen]:
    """Pickles that are programs, in place of weights."""
    place = "MagicAnimate/temporal_attention/temporal_attention.ckpt"
    touch = _Program(open, MARK, "w")
    stream = io.BytesIO()
    torch.save({"state_dict": touch}, stream)
    yield Specimen("checkpoint", "program.ckpt", stream.getvalue(), place)
    yield Specimen("checkpoint", "bare.ckpt", pickle.dumps({"module.motion_modules": touch}), place)


def _lora() -> dict[str, torch.Tensor]:
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    return {
        f"{layer}.lora_down.weight": torch.zeros(2, 32),
        f"{layer}.lora_up.weight": torch.zeros(32, 2),
        f"{layer}.alpha": torch.tensor(2.0),
    }


def _tables() -> Iterator[Specimen]:
    rows = [clip_row(f"clip{number}", seed=number, price=1.5, tags=["a", "b"]) for number in range(20)]
    table = pa.Table.from_pylist(rows)
    yield Specimen("table", "plain.parquet", _parquet(table))
    yield Specimen("table", "zstd.parquet", _parquet(table, compression="zstd", use_dictionary=False))
    yield Specimen("table", "paged.parquet", _parquet(table, data_page_size=64, data_page_version="2.0"))
    struct = table.append_column("metadata", pa.array([{"sku": str(row), "n": row} for row in range(20)]))
    yield Specimen("table", "struct.parquet", _parquet(struct, compression="none", write_page_checksum=True))


def _sources() -> Iterator[Specimen]:
    """What `catwalk manifest build` makes tables of."""
    rows = [clip_row(f"clip{number}", metadata={"sku": "A, 1"}, seed=number) for number in range(3)]
    yield Specimen("source", "clips.jsonl", "\n".join(map(json.dumps, rows)).encode())
    cells = [[json.dumps(cell) if isinstance(cell, dict) else str(cell) for cell in row.values()] for row in rows]
    stream = io.StringIO()
    csv.writer(stream).writerows([list(rows[0]), *cells])
    yield Specimen("source", "clips.csv", stream.getvalue().encode())
    yield Specimen("source", "clips.tsv", stream.getvalue().replace(",", "\t").encode("utf-8-sig"))


def _parquet(table: pa.Table, **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def bombs() -> Iterator[Specimen]:
    """Small files that claim or unpack to very much."""
    for name, size in (("wide.png", (60_000, 60_000)), ("tall.png", (1, 2**31 - 1)), ("nought.png", (0, 0))):
        whole = bytearray(next(_images()).data)
        whole[16:24] = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
        yield Specimen("image", name, mended(bytes(whole)))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (("keypoints", "(400000, 1, 134, 3)"), ("width", "()"), ("height", "()")):
            header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {text}, }}".ljust(117).encode() + b"\n"
            with archive.open(f"{name}.npy", "w") as member:
                member.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
                for _ in range(50):
                    member.write(bytes(2**20))
    yield Specimen("keypoints", "bomb.npz", stream.getvalue())
    yield Specimen("keypoints", "nested.json", b"[" * 100_000)
    yield Specimen("keypoints", "digits.json", b'{"frames": [], "fps": ' + b"9" * 6000 + b"}")
    yield Specimen("config", "deep.yaml", b"limits: " + b"[" * 3000)
    yield Specimen("config", "laughs.yaml", _laughs())
    yield Specimen("lora", "long.safetensors", (2**62).to_bytes(8, "little") + b"{}")
    claims = b'{"lora_a.weight":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}'
    yield Specimen("lora", "claims.safetensors", len(claims).to_bytes(8, "little") + claims + bytes(16))
    config = CHECKPOINT_FILES[4]
    deep = b'{"a": ' * 100_000
    yield Specimen("checkpoint", "deep.json", deep, config)
    sizes = json.loads((CHECKPOINT / config).read_bytes()) | {"block_out_channels": [10**9] * 4}
    yield Specimen("checkpoint", "sizes.json", json.dumps(sizes).encode(), config)


def _laughs() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join([*lines, "checkpoints: *a9"]).encode()
