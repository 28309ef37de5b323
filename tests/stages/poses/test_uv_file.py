"""DensePose's U and V: handed in by users, made by the network, stored, and the films they drive."""

from __future__ import annotations

import zipfile
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from manifests import storage
from manifests.errors import Rejected
from manifests.layout import OutputLayout
from manifests.work import Source, Work
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from stages.extract_pose import ExtractPose
from stages.poses.files.array_file import read_header
from stages.poses.files.keypoint_file import import_keypoints
from stages.poses.files.sequence import PoseSequence, write_poses
from stages.poses.files.uv_file import UVFacts, probe_uv, read_uv
from stages.poses.recipes import DensePoseSettings, Estimators, Recipe, key_parts, recipe_for
from stages.validate import Validate
from stages.video.encode import Encoder, EncodeRecipe
from stages.video.limits import Limits
from tests.made.dreampose_media import HEIGHT, WIDTH, clip, image, uv, write_checkpoint
from tests.stages.poses.test_densepose import StandIn

LIMITS = Limits()


def write_uv(path: Path, maps: np.ndarray, **more: Any) -> Path:
    np.savez_compressed(path, uv=maps, **more)
    return path


def source(path: Path) -> Source:
    return Source(uri=str(path), digest=storage.digest(str(path)), width=40, height=72)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_of_floats_is_read_frame_by_frame(tmp_path: Path, dtype: type, save: Any) -> None:
    maps = uv(5).astype(dtype)
    save(tmp_path / "d.npz", uv=maps, fps="30000/1001")
    assert probe_uv(tmp_path / "d.npz", LIMITS) == UVFacts(5, 40, 72, Fraction(30000, 1001))
    read = list(read_uv(tmp_path / "d.npz", LIMITS))
    assert {frame.dtype for frame in read} == {np.dtype(np.float32)}
    assert np.array_equal(np.stack(read), maps.astype(np.float32))


@pytest.mark.parametrize(
    ("given", "fps"),
    [
        ({}, None),
        ({"fps": 25}, 25),
        ({"fps": "25/2"}, Fraction(25, 2)),
        ({"fps": 29.97}, Fraction(30000, 1001)),
    ],
)
def test_the_rate_may_be_left_out(tmp_path: Path, given: dict, fps: Fraction | None) -> None:
    assert probe_uv(write_uv(tmp_path / "d.npz", uv(1), **given), LIMITS).fps == fps


@pytest.mark.parametrize(
    ("maps", "says"),
    [
        (np.zeros((3, 2, 8, 8), np.uint8), "uint8"),
        (np.zeros((3, 3, 8, 8), np.float32), r"\[3, 3, 8, 8\]"),
        (np.zeros((2, 8, 8), np.float32), r"\[2, 8, 8\]"),
        (np.zeros((0, 2, 8, 8), np.float32), "no frames"),
        (np.zeros((3, 2, 8, 0), np.float32), "no frames"),
        (np.asfortranarray(np.zeros((3, 2, 8, 8), np.float32)), "Fortran"),
        (np.array([{"a": 1}], dtype=object), "object"),
        (np.zeros((9, 2, 8, 8), np.float32), "9 frames, allowed are 8"),
        (np.zeros((1, 2, 100, 101), np.float32), "10100 pixels, allowed are 10000"),
    ],
)
def test_an_array_of_something_else_is_rejected_from_its_header(tmp_path: Path, maps: np.ndarray, says: str) -> None:
    with pytest.raises(Rejected, match=f"'d.npz'.*{says}"):
        probe_uv(write_uv(tmp_path / "d.npz", maps), Limits(frames=8, frame_pixels=10_000))


def test_a_small_file_that_unpacks_to_a_large_array_is_never_unpacked(tmp_path: Path) -> None:
    header = BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 2, 4096, 4096)}
    np.lib.format.write_array_header_1_0(header, shape)
    rates = BytesIO()
    np.lib.format.write_array(rates, np.zeros(2**21))
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("uv.npy", header.getvalue() + bytes(2**20))
        archive.writestr("fps.npy", rates.getvalue())
    with pytest.raises(Rejected, match="fps is no single number"):
        probe_uv(tmp_path / "d.npz", LIMITS)
    with zipfile.ZipFile(tmp_path / "e.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("uv.npy", header.getvalue() + bytes(2**20))
    with pytest.raises(Rejected, match="1000000 frames"):
        probe_uv(tmp_path / "e.npz", LIMITS)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_a_long_header_is_refused_before_it_is_read(
    tmp_path: Path, version: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    length = 60_000 if version == (1, 0) else 2**26
    begin = b"\x93NUMPY" + bytes(version) + length.to_bytes(2 if version == (1, 0) else 4, "little")
    unpacked: list[int] = []
    read = zipfile.ZipExtFile.read

    def counting(member: zipfile.ZipExtFile, size: int = -1) -> bytes:
        unpacked.append(size)
        return read(member, size)

    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("uv.npy", begin + b" " * length)
        archive.writestr("keypoints.npy", begin + b" " * length)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", counting)
    for look in (probe_uv, import_keypoints):
        with pytest.raises(Rejected, match=f"header of {length} bytes" if version < (3, 0) else "format"):
            look(tmp_path / "d.npz", LIMITS)
    assert sum(unpacked) < 100


@pytest.mark.parametrize("text", ["{'descr': '<f8', (", "{'descr': '<f8'}", "[" * 200, "{'descr': 'V9', **1}", "\0\0"])
def test_a_header_that_is_no_dictionary_is_an_error_of_one_kind(text: str) -> None:
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    with pytest.raises(ValueError, match="an array's header that is none"):
        read_header(BytesIO(header))


@pytest.mark.parametrize("shape", [(-1, 2, -8, 8), (-3, 2, 8, 8), (3, 2, -8, -8)])
def test_sizes_below_zero_are_rejected(tmp_path: Path, shape: tuple[int, ...]) -> None:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("uv.npy", header.getvalue() + bytes(2**12))
    with pytest.raises(Rejected, match="array of shape"):
        probe_uv(tmp_path / "d.npz", LIMITS)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"not a zip", bytes(3000)])
def test_a_file_that_is_no_archive_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(Rejected, match=r"'d.npz' cannot be read"):
        probe_uv(tmp_path / "d.npz", LIMITS)


def test_an_archive_without_the_array_or_with_a_wrong_rate_is_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", other=uv(1))
    with pytest.raises(Rejected, match=r"uv\.npy"):
        probe_uv(tmp_path / "d.npz", LIMITS)
    for fps in ("fast", 0, -25, "nan", [25, 30], 10**9, "1/2000000000000"):
        with pytest.raises(Rejected):
            probe_uv(write_uv(tmp_path / "d.npz", uv(1), fps=fps), LIMITS)


def test_damage_is_noticed_in_the_frame_where_it_is(tmp_path: Path) -> None:
    for value in (np.nan, np.inf, 255.0, -7.0):
        maps = uv(4)
        maps[2, 1, 30, 20] = value
        frames = read_uv(write_uv(tmp_path / "d.npz", maps), LIMITS)
        assert [next(frames).shape for _ in range(2)] == [(2, 72, 40)] * 2
        with pytest.raises(Rejected, match="frame 2"):
            next(frames)
    np.savez(tmp_path / "whole.npz", uv=uv(4))
    with zipfile.ZipFile(tmp_path / "whole.npz") as whole, zipfile.ZipFile(tmp_path / "cut.npz", "w") as cut:
        cut.writestr("uv.npy", whole.read("uv.npy")[:-50_000])
    with pytest.raises(Rejected, match="ends in frame 1 of 4"):
        list(read_uv(tmp_path / "cut.npz", LIMITS))
    data = bytearray((tmp_path / "whole.npz").read_bytes())
    data[5000] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(data)
    with pytest.raises(Rejected):
        list(read_uv(tmp_path / "flipped.npz", LIMITS))


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), None])
def test_u_and_v_are_stored_exactly_and_read_back_in_any_order(tmp_path: Path, fps: Fraction | None) -> None:
    driving = write_uv(tmp_path / "d.npz", uv(5).astype(np.float64), **({"fps": str(fps)} if fps else {}))
    layout = OutputLayout(str(tmp_path))
    stage = ExtractPose(layout, LIMITS, Estimators())
    assert stage(source(driving), Recipe("none", "uv"), "key") is True
    assert stage(source(driving), Recipe("none", "uv"), "key") is False
    with PoseSequence(Path(layout.poses("key"))) as stored:
        assert (len(stored), stored.fps) == (5, fps)
        assert stored[3].dtype == np.float32
        assert all(np.array_equal(stored[number], uv(5)[number]) for number in (4, 0, 2))
        rate = fps or Fraction(10)
        assert stored.timing(Fraction(10)) == ([number / rate for number in range(5)], rate)


def test_pictures_are_stored_as_they_were(tmp_path: Path) -> None:
    write_poses(tmp_path / "p.arrow", [(Fraction(0), image())], Fraction(25))
    with PoseSequence(tmp_path / "p.arrow") as stored:
        assert np.array_equal(stored[0], image())
        assert stored[0].dtype == np.uint8


def test_the_densepose_network_makes_u_and_v_of_a_film(tmp_path: Path) -> None:
    film = np.zeros((3, 64, 48, 3), np.uint8)
    film[:2, :, :, 2] = 250  # nobody in the last frame
    with Encoder(tmp_path / "d.mp4", 48, 64, Fraction(25), EncodeRecipe(crf=2)) as encoder:
        encoder.write(film)
    torch.jit.script(StandIn()).save(str(tmp_path / "net.torchscript"))
    settings, layout = DensePoseSettings(model=str(tmp_path / "net.torchscript")), OutputLayout(str(tmp_path))
    stage = ExtractPose(layout, LIMITS, Estimators(densepose=settings))
    stage(source(tmp_path / "d.mp4"), Recipe("densepose", "uv"), "key")
    with PoseSequence(Path(layout.poses("key"))) as stored:
        assert (len(stored), stored.fps, stored[0].shape, stored[0].dtype) == (3, 25, (2, 64, 48), np.float32)
        assert stored[1][:, 50, 16] == pytest.approx([9 / 24, 1 - 9 / 24], abs=1e-6)
        assert not stored[0][:, :, 24:].any()
        assert not stored[2].any()


def test_what_drives_dreampose() -> None:
    estimators = Estimators(densepose=DensePoseSettings(model="net"))
    for kind in ("video", "densepose_uv"):
        recipe = recipe_for("densepose_uv", clip().model_copy(update={"driving_kind": kind}))
        assert recipe.stored == "uv"
        assert key_parts(recipe, estimators) != key_parts(recipe_for_pictures(kind), estimators)
    for kind in ("densepose", "skeleton", "keypoints"):
        with pytest.raises(Rejected, match=f"'{kind}': dreampose is driven by densepose_uv") as refused:
            recipe_for("densepose_uv", clip().model_copy(update={"driving_kind": kind}))
        assert refused.value.remedy == "set driving_kind to video or densepose_uv and give such a file"
        assert ("hold no U and V" in refused.value.error) == (kind == "densepose")


def recipe_for_pictures(kind: str) -> Recipe:
    return recipe_for("densepose", clip().model_copy(update={"driving_kind": kind.removesuffix("_uv")}))


@pytest.fixture
def media(tmp_path: Path) -> Path:
    Image.fromarray(image(0, 72, 120)).save(tmp_path / "reference.png")
    write_uv(tmp_path / "uv.npz", uv(6), fps=12)
    write_uv(tmp_path / "silent.npz", uv(6))
    return tmp_path


def row(**fields: Any) -> dict[str, Any]:
    given = {"id": "a", "reference": "reference.png", "driving": "uv.npz", "driving_kind": "densepose_uv"}
    return {**given, "animator": "dreampose", "steps": 2, "width": WIDTH, "height": HEIGHT, **fields}


def validate(media: Path, **fields: Any) -> Work:
    memo = str(media / "cache" / "sources")
    stage = Validate(str(media), storage.Allowed(), LIMITS, {"dreampose": "/models/dreampose"}, memo, Estimators())
    return stage(0, row(**fields))


def test_a_row_driven_by_u_and_v_is_resolved(media: Path) -> None:
    work = validate(media, width=None, height=None)
    assert (work.frames, work.clip.fps, work.clip.width, work.clip.height) == (6, 12, 512, 640)
    assert (work.clip.guidance, work.clip.window, work.clip.overlap) == ((8.0, 3.0), 8, 0)
    assert (work.driving.width, work.driving.height) == (40, 72)
    assert validate(media, fps="6").frames == 3
    assert validate(media, driving="silent.npz", fps="24").frames == 6
    with pytest.raises(Rejected, match="does not state a frame rate"):
        validate(media, driving="silent.npz")
    with pytest.raises(Rejected, match="guidance"):
        validate(media, guidance="7.5")


def test_a_file_that_was_looked_at_as_something_else_is_looked_at_again(media: Path) -> None:
    with pytest.raises(Rejected, match="no densepose estimator"):
        validate(media, driving_kind="video")
    with pytest.raises(Rejected, match=r"uv\.npz"):
        validate(media, driving_kind="keypoints", animator="animate_anyone", checkpoint="dreampose")
    assert validate(media).frames == 6


def test_u_and_v_become_a_film_at_the_rate_of_their_file_or_else_the_films(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_checkpoint(media / "weights")
    monkeypatch.chdir(media)
    chain = StageChain(RunConfig.load(None, {"checkpoints": {"dreampose": str(weights)}}), str(media / "out"))

    def latents(driving: str) -> torch.Tensor:
        work = chain.work(row(driving=driving, fps="12"))
        result = chain.film(work)
        assert (result.status, result.frames, result.fps) == ("done", 6, "12")
        assert storage.exists(result.film)
        return load_file(chain.settings.layout.latents(work.latents_key))["latents"]

    assert torch.equal(latents("uv.npz"), latents("silent.npz"))
