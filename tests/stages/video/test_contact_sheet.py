"""The contact sheet: what went in and what came out, on one page."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.video.contact_sheet import HEADER, MARGIN, SheetRow, contact_sheet


def film(frames: int, height: int, width: int, channel: int) -> np.ndarray:
    """Frame k has the value 10·(k+1) in one channel and 0 in the others."""
    made = np.zeros((frames, height, width, 3), np.uint8)
    made[..., channel] = 10 * (np.arange(frames) + 1)[:, None, None]
    return made


def colours(path: Path) -> set[tuple[int, int, int]]:
    """Colours that fill at least a tenth of a cell."""
    found = Image.open(path).convert("RGB").getcolors(1 << 24)
    return {colour for count, colour in found if count > 2000}


def test_a_row_shows_the_reference_and_the_same_three_moments_of_both_films(tmp_path: Path) -> None:
    reference = np.full((256, 192, 3), (200, 30, 40), np.uint8)
    contact_sheet([SheetRow("a", reference, film(24, 256, 192, 1), film(24, 256, 192, 2))], tmp_path / "sheet.png")
    seen = colours(tmp_path / "sheet.png")
    assert (200, 30, 40) in seen
    for frame in (4, 12, 20):
        assert (0, 10 * (frame + 1), 0) in seen
        assert (0, 0, 10 * (frame + 1)) in seen
    assert sum(1 for c in seen if c[0] == 0) == 6


def test_every_clip_has_a_row_of_its_own(tmp_path: Path) -> None:
    rows = [
        SheetRow(f"clip {k}", np.full((64, 48, 3), 40 + k, np.uint8), film(3, 64, 48, 1), film(3, 64, 48, 2))
        for k in range(3)
    ]
    sizes = []
    for count in (1, 2, 3):
        contact_sheet(rows[:count], tmp_path / "sheet.png")
        sizes.append(Image.open(tmp_path / "sheet.png").size)
    assert {(40 + k,) * 3 for k in range(3)} <= colours(tmp_path / "sheet.png")
    assert len({width for width, _ in sizes}) == 1
    assert sizes[2][1] - sizes[1][1] == sizes[1][1] - sizes[0][1] > 200


def test_a_clip_without_a_film_and_a_film_of_one_frame_still_have_their_row(tmp_path: Path) -> None:
    one = film(1, 90, 160, 1)[0]
    contact_sheet([SheetRow("failed", None, one, None)], tmp_path / "deep" / "sheet.png")
    assert (0, 10, 0) in colours(tmp_path / "deep" / "sheet.png")


def test_pictures_of_any_shape_keep_their_proportions(tmp_path: Path) -> None:
    wide = np.full((50, 400, 3), (250, 0, 250), np.uint8)
    contact_sheet([SheetRow("wide", wide, film(2, 400, 50, 1), film(2, 64, 64, 2))], tmp_path / "sheet.png")
    rows, columns = np.nonzero((np.asarray(Image.open(tmp_path / "sheet.png")) == (250, 0, 250)).all(-1))
    assert np.ptp(columns) + 1 == pytest.approx(8 * (np.ptp(rows) + 1), rel=0.05)


def test_long_words_are_cut_at_the_margin(tmp_path: Path) -> None:
    picture = np.zeros((64, 48, 3), np.uint8)
    contact_sheet([SheetRow("long " * 80, picture, picture, picture)], tmp_path / "sheet.png", note="sheet " * 120)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (sheet[:, -MARGIN + 2 :] == sheet[0, 0]).all()
    assert (sheet[: HEADER - 4, :MARGIN] == sheet[0, 0]).all()
    assert (sheet[: HEADER - 30] != sheet[0, 0]).any(), "the title is missing"


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8)])
def test_a_picture_that_is_not_rgb_bytes_is_named(wrong: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dress-7: reference .*uint8"):
        contact_sheet([SheetRow("dress-7", wrong, None, None)], tmp_path / "sheet.png")


def test_a_sheet_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one clip"):
        contact_sheet([], tmp_path / "sheet.png")
