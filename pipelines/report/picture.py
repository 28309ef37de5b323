"""A picture that stands in a page itself."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def inline(picture: np.ndarray | Image.Image, side: int, quality: int = 85) -> str:
    """uint8 RGB (height, width, 3), or an image, as the data: address of a JPEG of `side` pixels at most each way."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.thumbnail((side, side))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
