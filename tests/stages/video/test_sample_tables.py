"""Promises about films whose tables claim more than the file holds: refused before a decoder takes memory for them."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from manifests.errors import Rejected
from stages.video.limits import Limits
from stages.video.read import probe
from stages.video.sample_tables import check_tables
from stages.video.stream import MOST_STREAMS, open_stream
from tests.stages.video.test_media_reading import X264, clip, ffmpeg

SOUND = ("-f", "lavfi", "-i", "sine=duration=1")
FRAGMENTS = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A film with sound as MP4, MOV with PCM, in fragments, Matroska and AVI."""
    folder = tmp_path_factory.mktemp("films")
    whole = clip(folder / "whole.mp4", *X264, count=10)
    made = {"mp4": whole}
    for name, options in {
        "sound.mp4": ("-c:a", "aac"),
        "pcm.mov": ("-c:a", "pcm_s16le"),
        "fragments.mp4": ("-c:a", "aac", *FRAGMENTS),
        "film.mkv": ("-c:a", "aac"),
        "film.avi": ("-c:a", "mp3"),
        "film.ts": ("-c:a", "aac"),
    }.items():
        ffmpeg("-i", whole, *SOUND, "-c:v", "copy", *options, folder / name)
        made[name] = folder / name
    return made


def test_films_as_they_are_written_pass(films: dict[str, Path]) -> None:
    for path in films.values():
        check_tables(path)
        assert probe(path, Limits()).frames == 10


def claiming(path: Path, box: bytes, place: int, value: int, target: Path, last: bool = False) -> Path:
    """The film with another number at a place within the first or `last` of a kind of boxes, from its name on."""
    content = bytearray(path.read_bytes())
    start = (content.rfind if last else content.find)(box)
    assert start > 0
    content[start + place : start + place + 4] = struct.pack(">I", value)
    target.write_bytes(content)
    return target


@pytest.mark.parametrize("value", [2**32 - 1, 2**31 - 1, 100_000])
@pytest.mark.parametrize(
    ("box", "place"),
    [
        (b"stts", 8),  # entries
        (b"stts", 12),  # samples of the first entry: an earlier decoder ended the process on it
        (b"ctts", 8),
        (b"ctts", 12),
        (b"stsz", 8),  # bytes of every sample
        (b"stsz", 12),  # samples
        (b"stsc", 8),
        (b"stco", 8),
        (b"stss", 8),
        (b"stsd", 8),
        (b"elst", 8),
    ],
)
def test_a_table_of_more_than_the_file_holds_is_refused(
    films: dict[str, Path], tmp_path: Path, box: bytes, place: int, value: int
) -> None:
    path = claiming(films["sound.mp4"], box, place, value, tmp_path / "film.mp4")
    with pytest.raises(Rejected, match=r"is damaged or truncated: .*(claims|tells of) \d+") as refused:
        probe(path, Limits())
    assert "ffmpeg" in refused.value.remedy


@pytest.mark.parametrize("film", ["sound.mp4", "pcm.mov"])
def test_the_tables_of_sound_are_held_to_the_same(films: dict[str, Path], tmp_path: Path, film: str) -> None:
    for box in (b"stts", b"stsz"):
        path = claiming(films[film], box, 12, 2**31, tmp_path / film, last=True)
        with pytest.raises(Rejected, match=r"claims|tells of"):
            probe(path, Limits())


def test_a_fragment_of_50_million_samples_without_a_word_on_them_is_refused(
    films: dict[str, Path], tmp_path: Path
) -> None:
    # libav would list them all: 1.7 GB for these few bytes
    path = claiming(films["fragments.mp4"], b"trun", 4, 0, tmp_path / "film.mp4")
    path = claiming(path, b"trun", 8, 50_000_000, tmp_path / "film.mp4")
    with pytest.raises(Rejected, match="fragments claim 50000000 samples"):
        probe(path, Limits())
    path = claiming(films["fragments.mp4"], b"trun", 8, 50_000_000, tmp_path / "film.mp4")
    with pytest.raises(Rejected, match="trun claims 50000000 samples"):
        probe(path, Limits())


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def hidden(content: bytes) -> bytes:
    """A table as long as it is, in a box within boxes in which libav looks too."""
    table = box(b"stts", bytes(4) + struct.pack(">I", 2**32 - 1))
    return box(b"ftyp", bytes(8)) + box(b"moov", box(b"udta", box(b"trak", table))) + content


@pytest.mark.parametrize(
    "made",
    [
        hidden,
        lambda content: struct.pack(">I4sQ", 1, b"moov", 40) + box(b"stts", bytes(4) + b"\xff" * 4) + content,
        lambda content: box(b"ftyp", b"") + box(b"moov", box(b"cmov", bytes(20))) + content,
        lambda content: box(b"ftyp", b"") + box(b"free", b"") * 400_001,
    ],
    ids=["within others", "of 64-bit length", "compressed", "too many"],
)
def test_boxes_are_found_where_libav_finds_them(made: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(made(b""))
    with pytest.raises(Rejected):
        check_tables(tmp_path / "film.mp4")


@pytest.mark.parametrize(
    "content", [b"", b"ftyp", bytes(100), box(b"ftyp", b"") + b"\0\0\0\4moov", b"\x00\x00\x00\x00moov"]
)
def test_what_is_no_table_is_left_to_the_decoder(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    check_tables(tmp_path / "film.mp4")


def test_a_film_of_more_streams_than_anyone_needs_is_refused(films: dict[str, Path], tmp_path: Path) -> None:
    for count, passes in ((MOST_STREAMS, True), (MOST_STREAMS + 1, False)):
        target = tmp_path / f"{count}.mp4"
        ffmpeg("-i", films["mp4"], *["-map", "0:v"] * count, "-c", "copy", target)
        if passes:
            assert probe(target, Limits()).frames == 10
        else:
            with pytest.raises(Rejected, match=f"more than {MOST_STREAMS} streams"):
                probe(target, Limits())


def test_of_a_thousand_attachments_most_are_not_opened(films: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "font.ttf").write_bytes(b"-")
    attached = [part for _ in range(500) for part in ("-attach", str(tmp_path / "font.ttf"))]
    ffmpeg("-i", films["film.mkv"], "-c", "copy", *attached, "-metadata:s:t", "mimetype=font/ttf", tmp_path / "a.mkv")
    with open_stream(tmp_path / "a.mkv", Limits()) as (container, _):
        assert len(container.streams) == MOST_STREAMS
