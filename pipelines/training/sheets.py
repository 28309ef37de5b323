"""Sheets of pictures, for the eyes of who trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

GAP = 4
NOTE = 16
PAPER = (255, 255, 255)


def sheet(rows: Sequence[Sequence[np.ndarray]], file: Path, note: str = "", scale: int = 1) -> None:
    """Write rows of uint8 pictures (height, width, 3), of any sizes, as one PNG, `scale` times as large.

    `note` stands above them: what is shown, with its numbers.
    """
    widths = [sum(picture.shape[1] * scale + GAP for picture in row) for row in rows]
    heights = [max(picture.shape[0] for picture in row) * scale + GAP for row in rows]
    paper = Image.new("RGB", (max(widths) + GAP, sum(heights) + GAP + NOTE), PAPER)
    ImageDraw.Draw(paper).text((GAP, 2), note, fill=(0, 0, 0))
    y = NOTE + GAP
    for row, height in zip(rows, heights, strict=True):
        x = GAP
        for picture in row:
            drawn = Image.fromarray(picture)
            paper.paste(drawn.resize((drawn.width * scale, drawn.height * scale), Image.Resampling.NEAREST), (x, y))
            x += drawn.width * scale + GAP
        y += height
    file.parent.mkdir(parents=True, exist_ok=True)
    paper.save(file)
