"""The colours of reference images: whatever their profile says, brought to sRGB, which everything after it assumes."""

import struct
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

# As image editors do by default: colours that both have stay as they are, and black becomes black.
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
# A profile that changes no colour by more levels than this is sRGB by another maker, and is left alone.
SAME = 2

# What cameras write beside a picture in Adobe RGB, instead of a profile (DCF 2.0): tag 1 of Exif's interoperability.
INTEROPERABILITY, INDEX, IN_ADOBE_RGB = 0xA005, 1, "R03"
# Adobe RGB (1998): red, green and blue in XYZ under the white of profiles (D50), and the exponent of all three.
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
ADOBE_EXPONENT = 563 / 256

MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """Return an RGB, L, CMYK or LAB image as RGB in sRGB, or None where it is so already, for all that is known.

    That is where it has no profile, a damaged one, one of another kind than its pixels, or sRGB's own.
    """
    try:
        source = _profile(image.mode, profile)
        if source is None:
            return None
        mode = MODES[source.profile.xcolor_space]
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", INTENT, FLAGS)
    except (ImageCms.PyCMSError, KeyError, OSError, ValueError):
        return None
    if image.mode == "L" and mode == "RGB":  # a grey picture saved with the profile of an RGB one
        image = image.convert("RGB")
    if image.mode != mode or (mode in ("RGB", "L") and _changes_nothing(transform, mode)):
        return None
    return ImageCms.applyTransform(image, transform)


def profile_of(image: Image.Image) -> bytes | None:
    """The colour profile that an image carries, or that its camera says it would need."""
    if embedded := image.info.get("icc_profile"):
        return embedded
    try:
        index = image.getexif().get_ifd(INTEROPERABILITY).get(INDEX)
    except Exception:  # a damaged Exif block in a sound picture counts as none
        return None
    return adobe_rgb() if index == IN_ADOBE_RGB else None


@cache
def adobe_rgb() -> bytes:
    """Adobe RGB as the smallest profile that says so (ICC.1:2001-04)."""
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(ADOBE_EXPONENT * 256), 0)
    columns = [b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in xyz)) for xyz in ADOBE_RGB]
    tags = [
        *zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True),
        *((name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    table, data, first = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags:
        table += name + struct.pack(">II", first + len(data), len(content))
        data += content
    header = struct.pack(">I4x I4s4s4s12x4s", first + len(data), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    white = struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    return (header.ljust(68, b"\0") + white).ljust(128, b"\0") + table + data


def _profile(mode: str, profile: bytes | None) -> ImageCms.ImageCmsProfile | None:
    if mode == "LAB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.ImageCmsProfile(BytesIO(profile)) if profile else None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.arange(0, 256, 15 if mode == "RGB" else 1, dtype=np.uint8)
    samples = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3) if mode == "RGB" else levels[None]
    before = Image.fromarray(samples)
    after = ImageCms.applyTransform(before, transform)
    return np.abs(np.asarray(after, int) - np.asarray(before.convert("RGB"), int)).max() <= SAME
