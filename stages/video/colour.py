"""The colours of reference images: whatever their profile says, brought to sRGB, which everything after it assumes."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

# As image editors do by default: colours that both have stay as they are, and black becomes black.
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
# A profile that changes no colour by more levels than this is sRGB by another maker, and is left alone.
SAME = 2

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
