"""A contact sheet that moves: reference, driving video and film of each clip beside each other, in one WebP."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stages.video.contact_sheet import PAPER, SheetRow

PICTURE = 176  # height of every picture, in pixels
COLUMNS = 2  # clips beside each other
GAP, BETWEEN = 4, 20
QUALITY = 70


def moving_sheet(rows: Sequence[SheetRow], path: Path, seconds: float, rate: int = 12) -> None:
    """Write an endless WebP of `seconds`, in which all films begin and end together; pictures as in `contact_sheet`.

    Clips of which a reference, a driving video or a film is missing are left out. Raises ValueError where none is left.
    """
    whole = [
        (row.reference, row.driving, row.result)
        for row in rows
        if row.reference is not None and row.driving is not None and row.result is not None
    ]
    if not whole:
        raise ValueError("a moving sheet needs a clip with reference, driving video and film; none was given")
    shown = max(1, round(seconds * rate))
    frames = [Image.fromarray(_frame(whole, (2 * at + 1) / (2 * shown))) for at in range(shown)]
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        path,
        format="WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / rate),
        loop=0,
        quality=QUALITY,
        method=4,
    )


Whole = tuple[np.ndarray, np.ndarray, np.ndarray]  # reference, driving video, film


def _frame(clips_shown: Sequence[Whole], moment: float) -> np.ndarray:
    """The sheet at a `moment` of all films, 0 to 1: uint8 (height, width, 3)."""
    clips = [_beside([_scaled(picture) for picture in _pictures(*shown, moment)], GAP) for shown in clips_shown]
    width = max(clip.shape[1] for clip in clips)
    clips = [_widened(clip, width) for clip in clips]
    columns = min(COLUMNS, len(clips))
    clips += [np.full_like(clips[0], PAPER)] * (-len(clips) % columns)
    lines = [_beside(clips[at : at + columns], BETWEEN) for at in range(0, len(clips), columns)]
    return _beside([line.transpose(1, 0, 2) for line in lines], BETWEEN).transpose(1, 0, 2)


def _pictures(reference: np.ndarray, driving: np.ndarray, film: np.ndarray, moment: float) -> list[np.ndarray]:
    return [reference, *(one[min(int(moment * len(one)), len(one) - 1)] for one in (driving, film))]


def _scaled(picture: np.ndarray) -> np.ndarray:
    width = max(1, round(PICTURE * picture.shape[1] / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, PICTURE), Image.Resampling.LANCZOS))


def _widened(picture: np.ndarray, width: int) -> np.ndarray:
    paper = np.full((picture.shape[0], width, 3), PAPER, np.uint8)
    paper[:, : picture.shape[1]] = picture
    return paper


def _beside(pictures: Sequence[np.ndarray], gap: int) -> np.ndarray:
    """Pictures of one height next to each other, with paper between them."""
    height = pictures[0].shape[0]
    paper = np.full((height, gap, 3), PAPER, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, paper)][:-1], axis=1)
