"""Reference images: reading them safely, and fitting them to the size of the film."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from manifests.errors import Rejected
from stages.video.colour import profile_of, to_srgb
from stages.video.limits import Limits

Fit = Literal["stretch", "cover", "contain"]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
# The Exif orientations that lay the picture on its side.
ORIENTATION_TAG = 0x0112
ON_ITS_SIDE = (5, 6, 7, 8)
# TIFF's own numbers: the third byte of a file of more than 4 GiB, and the sample format of floats.
BIG_TIFF, FLOATS = 43, 3
SAVE_AGAIN = "open it in an image editor and save it again as PNG or JPEG"


def read_image(path: Path, limits: Limits) -> np.ndarray:
    """Read an image as uint8 RGB (height, width, 3) in sRGB, upright, transparency laid over white.

    Grey, palette, CMYK and 16-bit images are converted (of 16 bits the upper 8 are kept, as Pillow does for 16-bit
    RGB), by their colour profile if they have one; of an animation the first picture is read. Raises Rejected for a
    file that is missing, over `limits` (told from its header), of another format than JPEG, PNG, WebP, BMP or TIFF, or
    damaged.
    """
    return read_managed(path, limits)[0]


def read_managed(path: Path, limits: Limits) -> tuple[np.ndarray, bool]:
    """The image as `read_image` reads it, and whether its colour profile changed its colours."""
    with _opened(path, limits) as image:
        upright, managed = _upright_rgb(f"image {path.name!r}", image)
        return np.array(upright), managed


def image_size(path: Path, limits: Limits) -> tuple[int, int]:
    """Return (width, height) of the upright image from its header alone. Raises Rejected as `read_image` does."""
    with _opened(path, limits) as image:
        width, height = image.size
        # Pillow itself swaps the size of a TIFF when it opens it.
        on_its_side = _orientation(image) in ON_ITS_SIDE and image.format != "TIFF"
        return (height, width) if on_its_side else (width, height)


def fit(
    image: np.ndarray, width: int, height: int, how: Fit, filter: Image.Resampling = Image.Resampling.BICUBIC
) -> np.ndarray:
    """Bring uint8 RGB (h, w, 3) to (height, width, 3) with one of Pillow's antialiased filters.

    `stretch` ignores the aspect ratio, as the published MagicAnimate driver does; `cover` scales until the frame is
    full and crops the centre; `contain` scales until all of the image is inside and repeats its edge pixels around
    it, so a studio backdrop goes on. An image that already has the size is returned as it is.
    """
    rows, columns = image.shape[:2]
    if (columns, rows) == (width, height):
        return image
    if how == "stretch":
        return _resize(image, width, height, filter)
    across, down = width / columns, height / rows
    if how == "cover":
        scale = max(across, down)
        scaled = max(width, round(columns * scale)), max(height, round(rows * scale))
        return _resize(image, width, height, filter, crop_of=scaled)
    scale = min(across, down)
    inner_width = min(width, max(1, round(columns * scale)))
    inner_height = min(height, max(1, round(rows * scale)))
    whole = (columns, rows) == (inner_width, inner_height)
    inner = image if whole else _resize(image, inner_width, inner_height, filter)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    margins = (top, height - inner_height - top), (left, width - inner_width - left), (0, 0)
    return np.pad(inner, margins, mode="edge")


def _resize(
    image: np.ndarray, width: int, height: int, filter: Image.Resampling, crop_of: tuple[int, int] | None = None
) -> np.ndarray:
    """Resize to (height, width), or to that centre of the image scaled to `crop_of` = (width, height).

    The crop is handed to Pillow as a box of the source: a 1 × 10,000,000 image never becomes its scaled self in
    memory, and whole-pixel offsets at scale 1 stay exact.
    """
    rows, columns = image.shape[:2]
    whole_width, whole_height = crop_of or (width, height)
    left, top = (whole_width - width) // 2, (whole_height - height) // 2
    box = (
        left * columns / whole_width,
        top * rows / whole_height,
        (left + width) * columns / whole_width,
        (top + height) * rows / whole_height,
    )
    return np.asarray(Image.fromarray(image).resize((width, height), filter, box=box))


@contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[Image.Image]:
    """Open the image after every check that needs no pixels; turn whatever fails inside into Rejected."""
    name = f"image {path.name!r}"
    if not path.is_file():
        raise Rejected(f"{name} does not exist", "check the reference's URI")
    size = path.stat().st_size
    if size == 0:
        raise Rejected(f"{name} is empty (0 bytes)", "upload the image again")
    if size > limits.bytes:
        raise Rejected(f"{name} has {size} bytes, the limit is {limits.bytes}", "use a smaller file or raise the limit")
    try:
        with _header(path) as image:
            width, height = image.size
            if width * height > limits.pixels:
                raise _too_large(name, f"{width}×{height} pixels", limits)
            yield image
    except Rejected:
        raise
    except Image.UnidentifiedImageError as error:
        if samples := _samples_of_tiff(path):
            raise _unsupported(name, samples) from error
        raise Rejected(f"{name} is not a {', '.join(FORMATS)} image", SAVE_AGAIN) from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, str(error), limits) from error
    except Exception as error:  # hostile bytes: Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error…
        raise Rejected(f"{name} is damaged: {type(error).__name__}: {error}", SAVE_AGAIN) from error


def _unsupported(name: str, samples: str) -> Rejected:
    return Rejected(f"{name}: {samples} are not supported", "save it with 8 or 16 bits per channel")


def _samples_of_tiff(path: Path) -> str | None:
    """What samples a TIFF has that Pillow does not even identify; None where it is no TIFF."""
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):  # of what it does not hold
            header = file.read(8)
            directory = TiffImagePlugin.ImageFileDirectory_v2(header + (file.read(8) if header[2] == BIG_TIFF else b""))
            file.seek(directory.next)
            directory.load(file)
    except Exception:  # Pillow's own: SyntaxError for another prefix, struct.error, IndexError …
        return None
    if FLOATS in (kinds := directory.get(TiffImagePlugin.SAMPLEFORMAT, ())):
        return "float samples"
    bits = directory.get(TiffImagePlugin.BITSPERSAMPLE)
    return bits and f"samples of {'+'.join(map(str, bits))} bits (sample format {'+'.join(map(str, kinds)) or 1})"


def _header(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns of large images by a bound of its own; ours is checked right after.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=FORMATS)


def _too_large(name: str, what: str, limits: Limits) -> Rejected:
    return Rejected(f"{name} has {what}, the limit is {limits.pixels} pixels", "scale it down or raise the limit")


def _upright_rgb(name: str, image: Image.Image) -> tuple[Image.Image, bool]:
    image.load()
    profile = profile_of(image)
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise _unsupported(name, "float samples" if image.mode == "F" else "32-bit samples")
    managed = to_srgb(_opaque(image), profile) if profile or image.mode == "LAB" else None
    if image.has_transparency_data:
        # read off before the colours change: a colour may stand for transparency
        layer = image.convert("RGBA")
        if managed is not None:
            managed.putalpha(layer.getchannel("A"))
            layer = managed
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer).convert("RGB"), managed is not None
    return (image.convert("RGB"), False) if managed is None else (managed, True)


def _opaque(image: Image.Image) -> Image.Image:
    """The colours alone, in a mode that colour profiles are made for."""
    if image.mode in ("RGB", "L", "CMYK", "LAB"):
        return image
    if image.mode in ("1", "LA"):
        return image.convert("L")
    return (image.convert("RGBA") if image.has_transparency_data else image).convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Return the Exif orientation 1…8; a damaged Exif block in a sound picture counts as none."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return orientation if orientation in range(1, 9) else 1
