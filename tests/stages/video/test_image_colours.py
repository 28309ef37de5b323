"""Reference images come in with the colours that their profiles say, as sRGB."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from stages.video.image import read_image, read_managed
from stages.video.limits import Limits
from tests.made import icc_profiles as icc

LIMITS = Limits()
MEDIA = Path(__file__).resolve().parents[2] / "media"
SAMPLE = MEDIA.parents[1] / "manifests" / "sample" / "catalogue"


def colours() -> np.ndarray:
    """48×64 patches of colours that every space here holds."""
    patches = np.random.default_rng(1).integers(40, 216, (8, 6, 3))
    return patches.repeat(8, 0).repeat(8, 1).astype(np.uint8)


def off(path: Path, expected: np.ndarray) -> int:
    """By how many levels, at most, the image is read otherwise than expected; its profile mattered."""
    image, managed = read_managed(path, LIMITS)
    assert managed
    return int(np.abs(image.astype(int) - expected).max())


def test_the_sample_in_adobe_rgb_has_the_colours_of_its_original() -> None:
    original = read_image(SAMPLE / "heart-tee.png", LIMITS)
    assert off(MEDIA / "adobe_rgb.png", original) <= 1
    unmanaged = np.asarray(Image.open(MEDIA / "adobe_rgb.png")).astype(int)
    assert np.abs(unmanaged - original).max() == 23  # as it was read before


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.webp", "a.jpg"])
@pytest.mark.parametrize("space", [icc.ADOBE_RGB, icc.DISPLAY_P3, icc.PROPHOTO], ids=["adobe", "p3", "prophoto"])
def test_an_image_of_another_colour_space_is_brought_to_srgb(tmp_path: Path, space: icc.Space, name: str) -> None:
    saved = {"icc_profile": icc.rgb_profile(space)} | {"a.webp": {"lossless": True}, "a.jpg": {"quality": 100}}.get(
        name, {}
    )
    Image.fromarray(icc.in_space(colours(), space)).save(tmp_path / name, subsampling=0, **saved)
    assert off(tmp_path / name, colours()) <= (13 if name == "a.jpg" else 5 if space is icc.PROPHOTO else 2)
    assert np.abs(icc.in_space(colours(), space).astype(int) - colours()).max() > 10


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.png"])
def test_a_camera_that_says_adobe_rgb_needs_no_profile(tmp_path: Path, name: str) -> None:
    stored = Image.fromarray(icc.in_space(colours(), icc.ADOBE_RGB))
    sharp = {"a.jpg": {"quality": 100, "subsampling": 0}, "a.webp": {"lossless": True}}.get(name, {})
    for index, managed in (("R03", True), ("R98", False)):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 1
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 65535 if managed else 1
        exif.get_ifd(ExifTags.IFD.Exif)[0xA005] = {1: index}
        stored.save(tmp_path / name, exif=exif, **sharp)
        if managed:
            assert off(tmp_path / name, colours()) <= (6 if name == "a.jpg" else 2)
        else:
            assert not read_managed(tmp_path / name, LIMITS)[1]


def test_a_profile_counts_more_than_what_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    exif.get_ifd(ExifTags.IFD.Exif)[0xA005] = {1: "R03"}
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(colours()).save(tmp_path / "a.png", exif=exif, icc_profile=srgb)
    image, managed = read_managed(tmp_path / "a.png", LIMITS)
    assert not managed
    assert np.array_equal(image, colours())


def test_transparency_palettes_and_turned_photos_are_brought_to_srgb_too(tmp_path: Path) -> None:
    profile, stored = icc.rgb_profile(icc.DISPLAY_P3), icc.in_space(colours(), icc.DISPLAY_P3)
    alpha = np.full((64, 48, 1), 255, np.uint8)
    alpha[:32] = 0
    over_white = np.where(alpha == 0, 255, colours())
    Image.fromarray(np.dstack([stored, alpha])).save(tmp_path / "alpha.png", icc_profile=profile)
    assert off(tmp_path / "alpha.png", over_white) <= 2
    Image.fromarray(stored).quantize(64).save(tmp_path / "palette.png", icc_profile=profile)
    assert off(tmp_path / "palette.png", colours()) <= 2
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "turned.png", icc_profile=profile, exif=exif)
    assert off(tmp_path / "turned.png", np.rot90(colours(), -1)) <= 2


@pytest.mark.parametrize("exponent", [1.8, 1.0])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "16.png", "alpha.png", "a.tiff"])
def test_grey_is_as_light_as_its_profile_says(tmp_path: Path, exponent: float, name: str) -> None:
    ramp = np.linspace(0.1, 1, 60)[None].repeat(40, 0)
    expected = np.round(icc.encoded(icc.linear(ramp, exponent), None) * 255)[..., None]
    bits = 65535 if name == "16.png" else 255
    image = Image.fromarray(np.round(ramp * bits).astype(np.uint16 if bits > 255 else np.uint8))
    if name == "alpha.png":
        image = Image.merge("LA", [image, Image.new("L", image.size, 255)])
    image.save(tmp_path / name, icc_profile=icc.grey_profile(exponent))
    assert off(tmp_path / name, expected) <= 3


@pytest.mark.parametrize("name", ["a.jpg", "a.tiff"])
def test_cmyk_is_printed_by_its_profile(tmp_path: Path, name: str) -> None:
    inks = np.random.default_rng(2).integers(0, 9, (8, 6, 4)) * 32 * 255 // 256
    light = np.array([[icc.press_light(ink / 255) for ink in row] for row in inks])
    expected = np.round(icc.encoded(light, None) * 255).repeat(8, 0).repeat(8, 1)
    stored = Image.fromarray(inks.repeat(8, 0).repeat(8, 1).astype(np.uint8), "CMYK")
    stored.save(tmp_path / name, icc_profile=icc.cmyk_profile(), **({"quality": 100} if name == "a.jpg" else {}))
    image, managed = read_managed(tmp_path / name, LIMITS)
    assert managed
    # a table of 8 bits is as fine as this in the dark, and black is made black
    assert np.abs(image - expected)[expected.min(-1) > 90].mean() < 4
    naive = np.asarray(Image.open(tmp_path / name).convert("RGB"))
    assert np.abs(naive - expected)[expected.min(-1) > 90].mean() > 12


def test_lab_images_are_read(tmp_path: Path) -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    ImageCms.profileToProfile(Image.fromarray(colours()), srgb, lab, outputMode="LAB").save(tmp_path / "lab.tiff")
    assert off(tmp_path / "lab.tiff", colours()) <= 8  # as coarse as Lab of 8 bits is


@pytest.mark.parametrize(
    "profile",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        icc.rgb_profile(icc.SRGB),
        icc.grey_profile(1.0),
        icc.cmyk_profile(),
        b"no profile at all",
        icc.rgb_profile(icc.ADOBE_RGB)[:200],
    ],
    ids=["lcms", "srgb", "grey", "cmyk", "nonsense", "cut off"],
)
def test_srgb_and_profiles_that_do_not_belong_to_the_pixels_change_nothing(tmp_path: Path, profile: bytes) -> None:
    Image.fromarray(colours()).save(tmp_path / "a.png", icc_profile=profile)
    image, managed = read_managed(tmp_path / "a.png", LIMITS)
    assert not managed
    assert np.array_equal(image, colours())


def test_a_grey_picture_with_the_profile_of_a_coloured_one_is_read_by_it(tmp_path: Path) -> None:
    ramp = np.linspace(40, 255, 60).astype(np.uint8)[None].repeat(40, 0)
    Image.fromarray(ramp).save(tmp_path / "a.tiff", icc_profile=icc.rgb_profile(icc.PROPHOTO))
    expected = np.round(icc.encoded(icc.linear(ramp / 255, 1.8), None) * 255)[..., None]
    assert off(tmp_path / "a.tiff", expected) <= 2
