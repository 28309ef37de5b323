"""Reference images come in as upright RGB, or are refused with a reason; fitting gives the film's size."""

import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from manifests.errors import Rejected
from stages.video.image import fit, image_size, read_image
from stages.video.limits import Limits

LIMITS = Limits()
MEDIA = Path(__file__).resolve().parents[2] / "media"
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(width: int = 60, height: int = 40) -> np.ndarray:
    """Red and green over blue and white: no turn or flip of it is itself."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, WHITE
    return image


def corners(image: np.ndarray) -> list[tuple[int, ...]]:
    """The colours at top left, top right, bottom left, bottom right, to the nearest full level (JPEG blurs)."""
    return [tuple(int(round(v / 255) * 255) for v in image[y, x]) for y in (3, -4) for x in (3, -4)]


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def rejection(path: Path, limits: Limits = LIMITS) -> Rejected:
    """What `read_image` says of a bad file."""
    with pytest.raises(Rejected) as caught:
        read_image(path, limits)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tiff"])
def test_every_allowed_format_is_read_as_rgb(tmp_path: Path, name: str) -> None:
    Image.fromarray(quarters()).save(tmp_path / name)
    image = read_image(tmp_path / name, LIMITS)
    assert image.shape == (40, 60, 3)
    assert image.dtype == np.uint8
    assert corners(image) == [RED, GREEN, BLUE, WHITE]
    assert image_size(tmp_path / name, LIMITS) == (60, 40)


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda stored: stored),
        (2, lambda stored: stored[:, ::-1]),
        (3, lambda stored: stored[::-1, ::-1]),
        (4, lambda stored: stored[::-1]),
        (5, lambda stored: stored.transpose(1, 0, 2)),
        (6, lambda stored: np.rot90(stored, -1)),
        (7, lambda stored: np.rot90(stored, 2).transpose(1, 0, 2)),
        (8, lambda stored: np.rot90(stored, 1)),
    ],
)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff"])
def test_a_photo_taken_sideways_stands_upright(tmp_path: Path, name: str, orientation: int, undo: object) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(quarters()).save(tmp_path / name, exif=exif)
    image = read_image(tmp_path / name, LIMITS)
    assert corners(image) == corners(undo(quarters()))
    assert image_size(tmp_path / name, LIMITS) == (image.shape[1], image.shape[0])


def test_a_damaged_exif_block_does_not_cost_the_picture(tmp_path: Path) -> None:
    Image.fromarray(quarters()).save(tmp_path / "a.jpg", exif=b"Exif\0\0not a TIFF header at all")
    assert corners(read_image(tmp_path / "a.jpg", LIMITS)) == [RED, GREEN, BLUE, WHITE]
    assert image_size(tmp_path / "a.jpg", LIMITS) == (60, 40)


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    half_red = np.dstack([quarters(), np.full((40, 60), 128, np.uint8)])
    half_red[:20, :30, 3] = 0
    Image.fromarray(half_red).save(tmp_path / "rgba.png")
    image = read_image(tmp_path / "rgba.png", LIMITS)
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[0, -1].tolist() == [127, 255, 127]

    grey = np.zeros((40, 60, 2), np.uint8)
    grey[:, 30:, 1] = 255
    Image.fromarray(grey, "LA").save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png", LIMITS)[0, [0, -1], 0].tolist() == [255, 0]

    palette = Image.fromarray(quarters()).quantize(4)
    palette.save(tmp_path / "p.png", transparency=palette.getpixel((0, 0)))
    assert corners(read_image(tmp_path / "p.png", LIMITS)) == [WHITE, GREEN, BLUE, WHITE]

    Image.fromarray(quarters()).save(tmp_path / "colour_key.png", transparency=GREEN)
    assert corners(read_image(tmp_path / "colour_key.png", LIMITS)) == [RED, WHITE, BLUE, WHITE]


def test_sixteen_bit_grey_and_cmyk_images_keep_their_look(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 60).astype(np.uint16)[None].repeat(40, 0)
    for name in ("grey16.png", "grey16.tiff"):
        Image.fromarray(ramp).save(tmp_path / name)
        image = read_image(tmp_path / name, LIMITS)
        assert image.shape == (40, 60, 3)
        assert np.array_equal(image[0, :, 1], ramp[0] >> 8)
    Image.fromarray(quarters()).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert corners(read_image(tmp_path / "cmyk.jpg", LIMITS)) == [RED, GREEN, BLUE, WHITE]
    Image.fromarray(quarters()).convert("1").save(tmp_path / "bilevel.png")
    assert read_image(tmp_path / "bilevel.png", LIMITS).shape == (40, 60, 3)


def float_tiff(path: Path, samples: np.ndarray) -> Path:
    """A TIFF of one uncompressed strip of RGB floats, which Pillow writes for grey only."""
    height, width, channels = samples.shape
    bits = samples.itemsize * 8
    short, long = 3, 4
    entries = [(256, short, 1, width), (257, short, 1, height), (258, short, 1, bits), (259, short, 1, 1)]
    entries += [(262, short, 1, 2), (273, long, 1, 8 + 2 + 11 * 12 + 4), (277, short, 1, channels)]
    entries += [(278, short, 1, height), (279, long, 1, samples.nbytes), (284, short, 1, 1), (339, short, 1, 3)]
    packed = [struct.pack("<HHI", *entry[:3]) + struct.pack("<I", entry[3]) for entry in entries]
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", 11) + b"".join(packed) + bytes(4) + samples.tobytes())
    return path


def test_samples_without_an_agreed_white_are_refused_by_their_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "grey.tiff")
    half = float_tiff(tmp_path / "half.tif", np.zeros((4, 4, 3), np.float16))
    double = float_tiff(tmp_path / "double.tif", np.zeros((4, 4, 3), np.float64))
    for path in (MEDIA / "float32.tif", tmp_path / "grey.tiff", half, double):
        refused = rejection(path)
        assert f"{path.name!r}: float samples are not supported" in refused.error
        assert "8 or 16 bits" in refused.remedy
    Image.fromarray(np.zeros((4, 4), np.int32)).save(tmp_path / "whole.tiff")
    assert "32-bit samples are not supported" in rejection(tmp_path / "whole.tiff").error
    whole = bytearray(half.read_bytes())
    whole[8 + 2 + 10 * 12 + 8] = 1  # sample format: unsigned
    whole[8 + 2 + 2 * 12 + 8] = 12
    (tmp_path / "twelve.tif").write_bytes(whole)
    assert "samples of 12 bits" in rejection(tmp_path / "twelve.tif").error
    (tmp_path / "cut.tif").write_bytes(half.read_bytes()[:20])
    assert "JPEG, PNG" in rejection(tmp_path / "cut.tif").error


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tiff"])
def test_a_cut_off_image_is_refused(tmp_path: Path, name: str) -> None:
    Image.fromarray(noise(200, 150)).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    refused = rejection(tmp_path / name)
    assert "damaged" in refused.error
    assert name in refused.error


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in rejection(tmp_path / "missing.png").error
    (tmp_path / "empty.png").touch()
    assert "0 bytes" in rejection(tmp_path / "empty.png").error
    (tmp_path / "text.png").write_text("not an image")
    assert "JPEG, PNG" in rejection(tmp_path / "text.png").error
    Image.fromarray(quarters()).save(tmp_path / "a.gif")
    assert "JPEG, PNG" in rejection(tmp_path / "a.gif").error


def giant_png(path: Path, width: int, height: int) -> Path:
    """A PNG whose header announces width × height, and which holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in (header, data)]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


@pytest.mark.parametrize(("width", "height"), [(9504, 6336), (11648, 8736)])
def test_stills_of_studio_cameras_are_within_the_limits(tmp_path: Path, width: int, height: int) -> None:
    assert image_size(giant_png(tmp_path / "still.png", width, height), LIMITS) == (width, height)


@pytest.mark.parametrize("side", [11000, 12000, 60000])
def test_too_many_pixels_are_refused_from_the_header_without_a_warning(tmp_path: Path, side: int) -> None:
    bomb = giant_png(tmp_path / "bomb.png", side, side)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused = rejection(bomb)
    assert "limit is 120000000 pixels" in refused.error  # and not: damaged, as it is when its pixels are looked at
    with pytest.raises(Rejected, match="limit"):
        image_size(bomb, LIMITS)


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    Image.fromarray(noise(64, 64)).save(tmp_path / "a.png")
    assert "limit is 1000" in rejection(tmp_path / "a.png", Limits(bytes=1000)).error


def test_the_size_is_known_without_decoding(tmp_path: Path) -> None:
    assert image_size(giant_png(tmp_path / "header.png", 300, 200), LIMITS) == (300, 200)


def test_stretching_equals_the_recorded_driver(shared: Path) -> None:
    folder = shared / "golden" / "magicanimate"
    case = next(c for c in json.loads((folder / "index.json").read_text())["cases"] if "driver_end" in c["file"])
    call = next(c for c in case["calls"] if c["name"] == "resize")
    tensors = load_file(folder / case["file"])
    size = call["params"]["size"]
    compared = 0
    for role, tensor_name in call["inputs"].items():
        recorded_name = call["expected"][role]
        expected, rule = tensors[recorded_name], case["expected"][recorded_name]
        raw = tensors[tensor_name].reshape(-1, *tensors[tensor_name].shape[-3:])
        fitted = np.stack([fit(image, size, size, "stretch") for image in raw]).reshape(expected.shape)
        off = np.abs(fitted.astype(int) - expected)
        assert off.max() <= rule["outlier_limit"]
        assert (off > rule["limit"]).mean() <= rule["max_fraction"]
        compared += 1
    assert compared == 2


def test_stretching_is_pillows_bicubic() -> None:
    image = noise(70, 90)
    expected = np.asarray(Image.fromarray(image).resize((48, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(fit(image, 48, 32, "stretch"), expected)


@pytest.mark.parametrize("how", ["stretch", "cover", "contain"])
def test_an_image_of_the_right_size_is_not_resampled(how: str) -> None:
    image = noise(64, 48)
    assert fit(image, 64, 48, how) is image


@pytest.mark.parametrize("how", ["stretch", "cover", "contain"])
@pytest.mark.parametrize("size", [(64, 48), (48, 64), (31, 97), (400, 8)])
def test_every_way_of_fitting_gives_the_size(how: str, size: tuple[int, int]) -> None:
    fitted = fit(noise(70, 51), *size, how)
    assert fitted.shape == (size[1], size[0], 3)
    assert fitted.dtype == np.uint8


def test_cover_is_scale_then_centre_crop() -> None:
    image = noise(100, 60)
    scaled = np.asarray(Image.fromarray(image).resize((80, 48), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(fit(image, 40, 48, "cover") - scaled[:, 20:60]).max() <= 1


def test_cover_without_scaling_only_crops() -> None:
    image = noise(101, 60)
    assert np.array_equal(fit(image, 64, 60, "cover"), image[:, 18:82])


def test_cover_keeps_proportions_and_loses_only_the_long_side() -> None:
    image = np.zeros((200, 600, 3), np.uint8)
    image[50:150, 250:350] = 255
    square = fit(image, 100, 100, "cover")[..., 0] > 127
    assert (square.any(0).sum(), square.any(1).sum()) == (50, 50)
    assert (np.flatnonzero(square.any(0))[0], np.flatnonzero(square.any(1))[0]) == (25, 25)


def test_contain_shows_everything_and_continues_the_backdrop() -> None:
    image = quarters(60, 40)
    fitted = fit(image, 120, 120, "contain")
    inner = np.asarray(Image.fromarray(image).resize((120, 80), Image.Resampling.BICUBIC))
    assert np.array_equal(fitted[20:100], inner)
    assert (fitted[:20] == inner[0]).all()
    assert (fitted[100:] == inner[-1]).all()


def test_a_sliver_is_fitted_without_blowing_it_up_in_memory() -> None:
    sliver = np.broadcast_to(np.arange(100_000, dtype=np.uint32)[:, None, None] % 251, (100_000, 1, 3))
    fitted = fit(np.ascontiguousarray(sliver, np.uint8), 512, 512, "cover")  # scaled whole, it would take 79 GB
    assert fitted.shape == (512, 512, 3)
