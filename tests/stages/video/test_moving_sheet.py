"""The contact sheet that moves."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from stages.video.contact_sheet import SheetRow
from stages.video.moving_sheet import COLUMNS, PICTURE, moving_sheet


def brightening(frames: int, channel: int) -> np.ndarray:
    """A film that goes from black to a colour."""
    made = np.zeros((frames, 64, 48, 3), np.uint8)
    made[..., channel] = np.linspace(0, 200, frames).astype(np.uint8)[:, None, None]
    return made


def row(title: str = "a", result: np.ndarray | None = None) -> SheetRow:
    film = brightening(10, 1) if result is None else result
    return SheetRow(title, np.full((64, 48, 3), 90, np.uint8), brightening(30, 0), film)


def test_driving_video_and_film_move_together_beside_a_reference_that_stands_still(tmp_path: Path) -> None:
    moving_sheet([row()], tmp_path / "deep" / "sheet.webp", seconds=2, rate=5)
    sheet = Image.open(tmp_path / "deep" / "sheet.webp")
    frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(sheet)]
    assert (len(frames), sheet.info["loop"], frames[0].shape[0]) == (10, 0, PICTURE)
    width = round(PICTURE * 48 / 64)
    reference, driving, film = (frames_at + width // 2 for frames_at in (0, width + 4, 2 * (width + 4)))
    for at, frame in enumerate(frames):
        middle = frame[PICTURE // 2]
        assert np.abs(middle[reference] - 90).max() < 8
        # both are at the middle of their tenth, and the colours are the codec's
        assert middle[driving][0] == pytest.approx(20 * at + 10, abs=18)
        assert middle[film][1] == pytest.approx(22 * at, abs=18)


def test_clips_without_a_film_are_left_out(tmp_path: Path) -> None:
    failed = SheetRow("failed", np.full((64, 48, 3), 90, np.uint8), brightening(3, 0), None)
    sizes = []
    for rows in ([row()], [row(), failed], [row(), failed, row(), row()]):
        moving_sheet(rows, tmp_path / "sheet.webp", seconds=0.5)
        sizes.append(Image.open(tmp_path / "sheet.webp").size)
    assert sizes[0] == sizes[1]
    assert sizes[2][1] > 2 * sizes[0][1]
    assert sizes[2][0] > COLUMNS * sizes[0][0]
    with pytest.raises(ValueError, match="none was given"):
        moving_sheet([failed], tmp_path / "none.webp", seconds=1)
