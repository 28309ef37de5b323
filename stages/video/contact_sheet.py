"""A contact sheet: one picture that shows what went into each clip and what came out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SHOWN = 3  # frames of each film
PICTURE = 224  # height of every picture, in pixels
NARROWEST, WIDEST = 112, 300  # of a picture's cell
MARGIN, GAP, GROUP_GAP, CAPTION, HEADER = 32, 8, 28, 30, 104

PAPER, CARD, LINE = (247, 246, 243), (255, 255, 255), (222, 219, 212)
INK, FAINT = (38, 38, 42), (120, 118, 114)


@dataclass(frozen=True)
class SheetRow:
    """One clip on the sheet: uint8 RGB pictures (height, width, 3), films (frames, height, width, 3) or one frame.

    Any of the three may be None where a clip has none; the sheet then says so in its place.
    """

    title: str
    reference: np.ndarray | None
    driving: np.ndarray | None
    result: np.ndarray | None


def contact_sheet(rows: list[SheetRow], path: Path, note: str = "") -> None:
    """Write a PNG with a row per clip: its reference, three frames of its driving video, three of the film.

    Frames are taken at 1/6, 3/6 and 5/6 of each film, so driving and result show the same moments. `note` stands
    in small print under the title. Raises ValueError for pictures that are not uint8 RGB, and for no rows at all.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one clip; none were given")
    clips = [(row.title, _groups(row)) for row in rows]
    cell = _cell_width([picture for _, groups in clips for group in groups for picture in group])
    lefts = _columns(cell)
    width = lefts[-1][-1] + cell + MARGIN
    sheet = Image.new("RGB", (width, HEADER + len(rows) * (CAPTION + PICTURE + GAP * 2) + MARGIN - GAP * 2), PAPER)
    draw = ImageDraw.Draw(sheet)
    _header(draw, lefts, note or f"{len(rows)} clip{'s' if len(rows) > 1 else ''}")
    for number, (name, groups) in enumerate(clips):
        top = HEADER + number * (CAPTION + PICTURE + GAP * 2)
        draw.text((MARGIN, top + 5), _shortened(draw, name, width - 2 * MARGIN, _font(15)), INK, _font(15))
        for group, columns, absent in zip(groups, lefts, ("none", "none", "no film"), strict=True):
            _place(sheet, draw, group, columns, top + CAPTION, cell, absent)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG", optimize=True)


def _groups(row: SheetRow) -> list[list[np.ndarray]]:
    """The pictures of a row to show: reference, driving frames, result frames."""
    groups = []
    for field, most in (("reference", 1), ("driving", SHOWN), ("result", SHOWN)):
        film = getattr(row, field)
        film = np.zeros((0, 1, 1, 3), np.uint8) if film is None else np.asarray(film)
        film = film[None] if film.ndim == 3 else film
        if film.ndim != 4 or film.shape[3] != 3 or film.dtype != np.uint8:
            raise ValueError(f"{row.title}: {field} is {film.dtype} {film.shape}; give uint8 (…, height, width, 3)")
        count = min(most, len(film))
        groups.append([film[(2 * k + 1) * len(film) // (2 * count)] for k in range(count)])
    return groups


def _cell_width(pictures: list[np.ndarray]) -> int:
    """The width of every cell: that of the widest picture at the common height, within reason."""
    widths = [round(PICTURE * picture.shape[1] / picture.shape[0]) for picture in pictures]
    return int(np.clip(max(widths, default=PICTURE), NARROWEST, WIDEST))


def _columns(cell: int) -> list[list[int]]:
    """The left edges of the cells of each group."""
    groups, left = [], MARGIN
    for count in (1, SHOWN, SHOWN):
        groups.append([left + k * (cell + GAP) for k in range(count)])
        left = groups[-1][-1] + cell + GROUP_GAP
    return groups


def _header(draw: ImageDraw.ImageDraw, lefts: list[list[int]], note: str) -> None:
    """Title, small print and the names of the columns."""
    width = draw.im.size[0] - 2 * MARGIN
    draw.text((MARGIN, 18), "Catwalk", INK, _font(26))
    draw.text((MARGIN, 51), _shortened(draw, note, width, _font(14)), FAINT, _font(14))
    for columns, name in zip(lefts, ("reference", "driving video", "result"), strict=True):
        draw.text((columns[0], 80), name, FAINT, _font(14))
    draw.line((MARGIN, HEADER - 2, MARGIN + width, HEADER - 2), LINE)


def _place(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    pictures: list[np.ndarray],
    columns: list[int],
    top: int,
    cell: int,
    absent: str,
) -> None:
    """Paste a group of pictures into its cells, each whole and in the middle; an empty group says `absent`."""
    for left, picture in zip(columns, pictures, strict=False):
        image = Image.fromarray(picture)
        scale = min(cell / image.width, PICTURE / image.height)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        draw.rectangle((left - 1, top - 1, left + cell, top + PICTURE), CARD, LINE)
        at = left + (cell - size[0]) // 2, top + (PICTURE - size[1]) // 2
        sheet.paste(image.resize(size, Image.Resampling.LANCZOS), at)
    if not pictures:
        draw.rectangle((columns[0] - 1, top - 1, columns[-1] + cell, top + PICTURE), CARD, LINE)
        middle = (columns[0] + columns[-1] + cell) / 2, top + PICTURE / 2
        draw.text(middle, absent, FAINT, _font(15), anchor="mm")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _shortened(draw: ImageDraw.ImageDraw, text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The text, cut with an ellipsis where it would not fit into `width` pixels."""
    text = " ".join(text.split())[:500]
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"
