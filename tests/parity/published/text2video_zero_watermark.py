"""A logo in the corner of a picture, as the published Text2Video-Zero pastes its own.

Source: stages/diffusion/text2video_zero/SPEC.md section 8.
"""

from __future__ import annotations

import numpy as np
from PIL import Image


def watermark(image: np.ndarray, logo: np.ndarray, relative_size: float = 1 / 16, boundary: int = 5) -> np.ndarray:
    """uint8 (height, width, 3) with `logo`, uint8 (h, w, 3 or 4), at the bottom right; laid over by its alpha channel.

    The logo's shorter side becomes `relative_size` of the picture's longer one; `boundary` pixels stay free around it.
    """
    side, (rows, columns) = int(max(image.shape[:2]) * relative_size), logo.shape[:2]
    ratio = max(rows, columns) / min(rows, columns)
    width, height = (side, int(side * ratio)) if rows > columns else (int(side * ratio), side)
    pasted = Image.fromarray(logo).resize((width, height), Image.Resampling.LANCZOS)
    canvas = Image.fromarray(image)
    corner = canvas.width - width - boundary, canvas.height - height - boundary
    canvas.paste(pasted, corner, pasted if pasted.mode == "RGBA" else None)
    return np.asarray(canvas)
