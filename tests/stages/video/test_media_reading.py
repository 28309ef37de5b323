"""Driving videos come in frame by frame, each at its true time, or are refused with a reason.

The clips are made here: every frame has its number drawn into it, so a lost, doubled or shifted one is seen.
"""

import struct
import subprocess
import tracemalloc
from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from random import Random

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from manifests.errors import Rejected
from stages.video import read, timing
from stages.video.limits import Limits
from stages.video.probe import examine
from stages.video.read import Frames, VideoFacts, probe
from stages.video.stream import decoded
from stages.video.timing import EvenTimestamps, KeptTimestamps, select, selected_count
from tests.made.memory import peak_of

LIMITS = Limits()
MEDIA = Path(__file__).resolve().parents[2] / "media"
WIDTH, HEIGHT = 128, 96
X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-threads", "2", "-g", "20")
X265 = ("-c:v", "libx265", "-x265-params", "log-level=none:pools=2:keyint=20", "-pix_fmt", "yuv420p")  # open GOPs
NTSC = Fraction(30000, 1001)


def numbered(number: int) -> np.ndarray:
    """A frame with its number as 8 black or white bars on top, red and blue below: upright only one way."""
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(8):
        frame[:32, bit * 16 : bit * 16 + 16] = 255 * (number >> (7 - bit) & 1)
    frame[32:, : WIDTH // 2, 0] = frame[32:, WIDTH // 2 :, 2] = 255
    return frame


def number_of(frame: np.ndarray) -> int:
    bars = frame[16, 8::16, 1] > 127
    assert frame[64, 20, 0] > 200 > 60 > frame[64, 20, 2], "not upright"
    assert frame[64, 100, 2] > 200 > 60 > frame[64, 100, 0], "not upright"
    return int("".join(str(int(bar)) for bar in bars), 2)


def numbers_of(frames: Iterable[np.ndarray]) -> list[int]:
    return [number_of(frame) for frame in frames]


def ffmpeg(*arguments: str | Path | bytes, stdin: bytes | None = None) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments]
    subprocess.run(command, input=stdin, check=True, capture_output=True)


def clip(path: Path, *output: str, count: int = 60, fps: str = "25") -> Path:
    """Encode `count` numbered frames."""
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", fps, "-i", "-")
    ffmpeg(*raw, *output, path, stdin=b"".join(numbered(number).tobytes() for number in range(count)))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    """60 frames at 25 fps, H.264, with the index at the front as web uploads have it."""
    return clip(folder / "plain.mp4", *X264, "-movflags", "+faststart")


def rejection(path: Path, limits: Limits = LIMITS) -> Rejected:
    """What is said of a bad video before a frame is handed out."""
    with pytest.raises(Rejected) as caught:
        probe(path, limits)
    assert path.name in caught.value.error
    assert caught.value.remedy
    return caught.value


CONSTANT = {
    "h264.mp4": (X264, "25"),
    "ntsc.mp4": (X264, "30000/1001"),
    "ntsc.mkv": (X264, "30000/1001"),  # Matroska rounds timestamps to milliseconds
    "fragmented.mp4": ((*X264, "-movflags", "frag_keyframe+empty_moov"), "25"),
    "hevc.mp4": (X265, "24"),
    "vp9.webm": (("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p"), "30"),
    "prores.mov": (("-c:v", "prores"), "24000/1001"),
    "h264_444.mov": ((*X264[:2], "-pix_fmt", "yuv444p"), "25"),
    "hevc10.mp4": ((*X265[:-1], "yuv420p10le"), "24"),
    "prores4444.mov": (("-c:v", "prores_ks", "-profile:v", "4", "-pix_fmt", "yuva444p10le"), "25"),
    "av1_10.webm": (("-c:v", "libsvtav1", "-preset", "8", "-pix_fmt", "yuv420p10le"), "30"),
    "av1.mkv": (("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-pix_fmt", "yuv420p"), "30000/1001"),
    "av1.mp4": (("-c:v", "libsvtav1", "-preset", "8", "-pix_fmt", "yuv420p"), "25"),
    "mpeg4.avi": (("-c:v", "mpeg4", "-bf", "2", "-q:v", "3"), "25"),
    "h264.ts": (X264, "25"),
    "vp8.webm": (("-c:v", "libvpx", "-deadline", "realtime", "-auto-alt-ref", "1", "-lag-in-frames", "8"), "25"),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_a_constant_rate_clip_is_read_frame_for_frame_at_its_exact_rate(folder: Path, name: str) -> None:
    options, rate = CONSTANT[name]
    frames = Frames(clip(folder / name, *options, fps=rate), LIMITS)
    facts, fps = frames.facts, Fraction(rate)
    assert (facts.frames, facts.fps, facts.seconds, facts.variable) == (60, fps, 60 / fps, False)
    assert (facts.width, facts.height, facts.rotation, facts.audio) == (WIDTH, HEIGHT, 0, False)
    assert max(abs(at - k / fps) for k, at in enumerate(frames.timestamps)) <= Fraction(1, 1000)
    assert numbers_of(frames.read()) == list(range(60))
    assert select(frames.timestamps, facts.fps, native_fps=facts.fps) == list(range(60))


# decord places the colours of more than 8 bits otherwise, and starts MPEG-TS at a later keyframe.
OTHERWISE_WITH_DECORD = ("hevc10.mp4", "av1_10.webm", "mpeg4.avi", "h264.ts", "vp8.webm")


@pytest.mark.parametrize("name", [name for name in CONSTANT if name not in OTHERWISE_WITH_DECORD])
def test_pixels_are_those_that_another_decoder_gives(folder: Path, name: str) -> None:
    decord = pytest.importorskip("decord")  # which has no wheel for every system
    options, rate = CONSTANT[name]
    grain = "noise=alls=20:allf=t:all_seed=1"  # in luma and chroma alike
    path = clip(folder / f"grain_{name}", "-vf", grain, *options, count=25, fps=rate)
    frames = list(Frames(path, LIMITS).read())
    other = decord.VideoReader(str(path), num_threads=1)
    assert len(other) == len(frames) == 25
    assert np.array_equal(frames, [other.next().asnumpy() for _ in frames])


BY_WAY_OF_MATROSKA = ("24000/1001", "25", "30000/1001", "30", "50", "60000/1001", "60", "120")


@pytest.mark.parametrize("name", ["mp4", "mov", "mkv", "ts", "flv.mp4", "flv.mkv", "15360.mp4"])
@pytest.mark.parametrize("rate", BY_WAY_OF_MATROSKA)
def test_a_rate_outlives_the_milliseconds_of_a_container_on_the_way(folder: Path, rate: str, name: str) -> None:
    """Matroska and FLV round time stamps; a copy into another container keeps the rounding and forgets the rate."""
    first = folder / f"first_{rate.replace('/', '_')}.{'flv' if 'flv' in name else 'mkv'}"
    if not first.exists():
        clip(first, *X264, "-preset", "ultrafast", count=150, fps=rate)
    copy = folder / f"{first.stem}_copy.{name}"
    ffmpeg("-i", first, "-c", "copy", *(("-video_track_timescale", "15360") if "15360" in name else ()), copy)
    facts, timestamps = examine(copy, LIMITS)
    assert (facts.frames, facts.fps, facts.variable) == (150, Fraction(rate), False)
    assert select(timestamps, facts.fps) == list(range(150))


def test_the_sample_that_was_copied_out_of_matroska_keeps_its_rate() -> None:
    facts = probe(MEDIA / "remux_2997.mp4", LIMITS)
    assert (facts.frames, facts.fps, facts.variable) == (75, NTSC, False)


HELD = {
    "held_12.mp4": (X264, "12"),
    "held_12.mkv": (X264, "12"),
    "held_25.ts": (X264, "25"),
    "held_ntsc.mp4": (X264, "30000/1001"),
    "held_ntsc.webm": (CONSTANT["vp9.webm"][0], "30000/1001"),
    "held_60.mov": (X264, "60"),
    "held_60.mkv": (X265, "60"),
}


@pytest.mark.parametrize("name", HELD)
def test_a_screen_recording_that_writes_nothing_while_nothing_moves_runs_at_the_rate_of_its_motion(
    folder: Path, name: str
) -> None:
    codec, rate = HELD[name]
    moves = [n for n in range(120) if n % 40 < 10 or n % 13 == 0]  # bursts, and a cursor that blinks
    chosen = "+".join(f"eq(n,{n})" for n in moves)
    path = clip(folder / name, "-vf", f"select='{chosen}'", "-fps_mode", "vfr", *codec, count=120, fps=rate)
    frames = Frames(path, LIMITS)
    assert (frames.facts.frames, frames.facts.fps, frames.facts.variable) == (len(moves), Fraction(rate), True)
    film = select(frames.timestamps, frames.facts.fps)
    assert numbers_of(frames.read(film)) == [max(n for n in moves if n <= k) for k in range(moves[-1] + 1)]


def test_holds_are_told_from_clocks_that_stutter() -> None:
    tick, random = Fraction(1, 90000), np.random.default_rng(0)

    def times(periods: Iterable[float]) -> list[Fraction]:
        return [Fraction(0), *(Fraction(round(at * 90000), 90000) for at in np.cumsum(list(periods)))]

    stutter = 1 / 12 + random.uniform(-0.008, 0.008, 100)
    held = np.where(np.arange(100) % 10 == 9, random.uniform(0.4, 3, 100), stutter)  # of any length
    assert timing.rate(times(held), tick, []) == (12, True, True)
    average = timing.rate(times(stutter), tick, [])
    assert (average.variable, average.inferred) == (True, False)
    assert abs(average.fps - 12) < Fraction(1, 5)
    slower_in_the_dark = timing.rate(times([1 / 30] * 50 + [1 / 24] * 50), tick, [])
    assert (abs(slower_in_the_dark.fps - Fraction(80, 3)) < Fraction(1, 10), slower_in_the_dark.inferred) == (
        True,
        False,
    )
    assert timing.rate([Fraction(0), Fraction(1), Fraction(9)], tick, []).fps == Fraction(2, 9)  # too few to tell
    assert timing.rate([Fraction(10 * k) for k in range(30)], Fraction(1, 1000), []) == (Fraction(1, 10), False, False)


def test_a_variable_rate_clip_keeps_its_real_timestamps(folder: Path) -> None:
    path = clip(folder / "vfr.mp4", "-vf", "select='not(eq(mod(n,4),1))'", "-fps_mode", "vfr", *X264, fps="30")
    frames = Frames(path, LIMITS)
    numbers = numbers_of(frames.read())
    assert numbers == [n for n in range(60) if n % 4 != 1]
    assert frames.timestamps == [Fraction(n, 30) for n in numbers]
    assert frames.facts.variable
    assert frames.facts.fps == 30  # the rate at which it moves; 22.5 would leave frames out
    shown = [numbers[index] for index in select(frames.timestamps, Fraction(30), native_fps=frames.facts.fps)]
    assert shown[:60] == [n - 1 if n % 4 == 1 else n for n in range(60)]
    assert len(shown) == 60


@pytest.mark.parametrize(("turn", "rotation"), [("90", 90), ("180", 180), ("-90", 270)])
def test_a_phone_clip_held_sideways_comes_out_upright(folder: Path, plain: Path, turn: str, rotation: int) -> None:
    stored = folder / f"stored_{rotation}.mp4"  # the frames as the sensor saw them
    ffmpeg("-i", plain, "-vf", {"90": "transpose=1", "180": "hflip,vflip", "-90": "transpose=2"}[turn], *X264, stored)
    turned = folder / f"turned_{rotation}.mp4"
    ffmpeg("-display_rotation", turn, "-i", stored, "-c", "copy", turned)
    frames = Frames(turned, LIMITS)
    assert (frames.facts.rotation, frames.facts.mirrored) == (rotation, False)
    assert (frames.facts.width, frames.facts.height) == (WIDTH, HEIGHT)
    assert numbers_of(frames.read()) == list(range(60))


def test_a_mirrored_clip_is_mirrored_back(folder: Path, plain: Path) -> None:
    flipped, marked = folder / "flipped.mp4", folder / "marked.mp4"
    ffmpeg("-i", plain, "-vf", "hflip", *X264, flipped)
    ffmpeg("-display_hflip", "-i", flipped, "-c", "copy", marked)
    frames = Frames(marked, LIMITS)
    assert frames.facts.mirrored
    assert numbers_of(frames.read()) == list(range(60))


@pytest.mark.parametrize("name", ["cover.mp4", "cover.mov", "cover.mkv", "cover_png.mkv", "cover_h264.mp4", "last.mp4"])
def test_a_cover_that_is_not_marked_as_one_is_not_taken_for_the_film(folder: Path, plain: Path, name: str) -> None:
    """In front with the flag of the default stream, or behind; larger than the film."""
    still, path = folder / f"still_of_{name}.png", folder / name
    Image.fromarray(np.zeros((400, 300, 3), np.uint8)).save(still)
    codec = {"cover_png.mkv": "png", "cover_h264.mp4": "libx264"}.get(name, "mjpeg")
    inputs = ("-i", plain, "-i", still) if name == "last.mp4" else ("-i", still, "-i", plain)
    film = int(name != "last.mp4")
    flags = (f"-disposition:v:{1 - film}", "default", f"-disposition:v:{film}", "0")
    ffmpeg(*inputs, "-map", "0:v", "-map", "1:v", f"-c:v:{1 - film}", codec, f"-c:v:{film}", "copy", *flags, path)
    frames = Frames(path, LIMITS)
    assert (frames.facts.frames, frames.facts.fps, frames.facts.width) == (60, 25, WIDTH)
    assert numbers_of(frames.read()) == list(range(60))


def test_of_two_films_in_a_file_the_better_is_read_as_ever(folder: Path, plain: Path) -> None:
    small, both = folder / "proxy.mp4", folder / "both_sizes.mp4"
    ffmpeg("-i", plain, "-vf", "scale=64:48", *X264, small)
    ffmpeg("-i", small, "-i", plain, "-map", "0:v", "-map", "1:v", "-c", "copy", both)
    with av.open(str(both)) as container:
        best = container.streams.best("video").width
    facts = probe(both, LIMITS)
    assert (facts.width, facts.frames, facts.corrected) == (best, 60, "")


def test_a_file_of_nothing_but_stills_shows_one(folder: Path) -> None:
    stills, path = [folder / "one.png", folder / "two.png"], folder / "stills.mp4"
    for number, still in enumerate(stills):
        Image.fromarray(numbered(number)).save(still)
    ffmpeg("-i", stills[0], "-i", stills[1], "-map", "0:v", "-map", "1:v", *X264, path)
    assert numbers_of(Frames(path, LIMITS).read()) == [0]


PAL_WIDE, NTSC_TALL = Fraction(64, 45), Fraction(8, 9)
DV = ("-c:v", "dvvideo", "-pix_fmt", "yuv420p")
STRETCHED = {
    "sar.mp4": (X264, 2),
    "sar.mkv": (X264, Fraction(4, 3)),
    "sar.mov": (("-c:v", "prores"), NTSC_TALL),
    "sar.ts": (("-c:v", "mpeg2video", "-r", "25"), Fraction(4, 3)),
    "sar.avi": (("-c:v", "mpeg4", "-q:v", "3"), PAL_WIDE),
    "sar.webm": (CONSTANT["vp9.webm"][0], 2),
    "sar_hevc.mp4": (X265, NTSC_TALL),
    "sar_av1.mp4": (CONSTANT["av1.mp4"][0], Fraction(1, 2)),
    "sar_dv.avi": (DV, PAL_WIDE),
}


@pytest.mark.parametrize("name", STRETCHED)
def test_pixels_that_are_not_square_are_made_so(folder: Path, name: str) -> None:
    codec, aspect = STRETCHED[name]
    path = folder / f"stretched_{name}"
    size = "720:576" if "dv" in name else f"{WIDTH}:{HEIGHT}"
    clip(path, "-vf", f"scale={size},setsar={aspect}", *codec, count=5)
    facts = probe(path, LIMITS)
    wide, high = facts.stored
    assert (facts.width, facts.height) == (round(wide * Fraction(aspect)), high)
    assert facts.corrected == f"pixels of {aspect}"
    shapes = [frame.shape for frame in Frames(path, LIMITS).read()]
    assert shapes == [(facts.height, facts.width, 3)] * 5


def test_pictures_of_square_pixels_show_what_was_stored(folder: Path) -> None:
    path = clip(folder / "wide.mp4", "-vf", "setsar=2", *X264, count=3)
    assert numbers_of(frame[:, ::2] for frame in Frames(path, LIMITS).read()) == [0, 1, 2]


def test_pixels_are_made_square_before_the_picture_is_turned(folder: Path) -> None:
    stored, turned = clip(folder / "wide_stored.mp4", "-vf", "setsar=3/2", *X264, count=3), folder / "wide_turned.mp4"
    ffmpeg("-display_rotation", "90", "-i", stored, "-c", "copy", turned)
    facts = probe(turned, LIMITS)
    assert (facts.width, facts.height, facts.rotation) == (HEIGHT, WIDTH * 3 // 2, 90)
    assert [frame.shape for frame in Frames(turned, LIMITS).read()] == [(WIDTH * 3 // 2, HEIGHT, 3)] * 3


def test_the_containers_word_on_pixels_counts_more_than_the_bitstreams(folder: Path) -> None:
    stored, corrected = clip(folder / "says_2.mp4", "-vf", "setsar=2", *X264, count=3), folder / "says_square.mp4"
    ffmpeg("-i", stored, "-c", "copy", "-aspect", f"{WIDTH}:{HEIGHT}", corrected)
    assert (probe(corrected, LIMITS).width, probe(corrected, LIMITS).corrected) == (WIDTH, "")


def test_a_pixel_aspect_does_not_blow_a_picture_up_past_the_limits(folder: Path) -> None:
    path = clip(folder / "blown_up.mp4", "-vf", "setsar=90", *X264, count=3)
    assert "11520×96" in rejection(path, Limits(frame_pixels=1_000_000)).error


def test_the_squeezed_sample_is_shown_as_its_makers_saw_it() -> None:
    frames = Frames(MEDIA / "sar_2_1.mp4", LIMITS)
    assert (frames.facts.width, frames.facts.height, frames.facts.stored) == (192, 256, (96, 256))
    assert [frame.shape for frame in frames.read()] == [(256, 192, 3)] * 30


def test_frames_that_a_phone_trim_hides_are_neither_counted_nor_shown(folder: Path, plain: Path) -> None:
    data = bytearray(plain.read_bytes())
    entry = data.index(b"elst") + 12  # one entry: (duration in ms, first media time); keep frames 25 to 44
    (media_time,) = struct.unpack_from(">i", data, entry + 4)
    struct.pack_into(">Ii", data, entry, 800, media_time + 25 * 512)
    trimmed = folder / "phone_trim.mp4"
    trimmed.write_bytes(data)
    frames = Frames(trimmed, LIMITS)
    assert (frames.facts.frames, frames.facts.fps, frames.facts.seconds) == (20, 25, Fraction(4, 5))
    assert frames.timestamps == [Fraction(k, 25) for k in range(20)]
    assert numbers_of(frames.read()) == list(range(25, 45))


def test_a_clip_cut_without_re_encoding_starts_where_it_was_cut(folder: Path, plain: Path) -> None:
    cut = folder / "cut.mp4"
    ffmpeg("-ss", "1.2", "-i", plain, "-c", "copy", cut)
    frames = Frames(cut, LIMITS)
    assert numbers_of(frames.read()) == list(range(30, 60))
    assert frames.facts.frames == 30


@pytest.mark.parametrize("codec", [X264, X265])
def test_chosen_frames_are_read_with_their_repeats(folder: Path, codec: tuple[str, ...]) -> None:
    path = clip(folder / "chosen.mp4", *codec)
    for chosen in ([0, 0, 3, 17, 17, 17, 41], [21, 22, 39, 40, 58], [59], []):
        assert numbers_of(Frames(path, LIMITS).read(chosen)) == chosen
    for wrong in ([3, 2], [60], [-1]):
        with pytest.raises(ValueError, match="indices"):
            next(Frames(path, LIMITS).read(wrong))


def test_reading_holds_a_few_frames_only(plain: Path) -> None:
    frames = Frames(plain, LIMITS)
    tracemalloc.start()
    try:
        for _ in frames.read():
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * WIDTH * HEIGHT * 3


@pytest.mark.parametrize("name", ["cut_off.mp4", "cut_off.mkv", "cut_off.webm", "cut_off_fragments.mp4"])
def test_a_cut_off_upload_is_never_a_shorter_clip(folder: Path, name: str) -> None:
    codec = CONSTANT["vp9.webm"][0] if name.endswith("webm") else X264
    layout = "frag_keyframe+empty_moov" if "fragments" in name else "+faststart"
    path = clip(folder / name, *codec, *(("-movflags", layout) if name.endswith("mp4") else ()))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * (9 if "fragments" in name else 6) // 10])
    assert "truncated" in rejection(path).error


def packets_of(path: Path) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("at", ["a packet's end", "a packet's middle", "the last byte"])
def test_wherever_an_upload_is_cut_off_it_is_noticed(folder: Path, plain: Path, at: str) -> None:
    inner, last = packets_of(plain)[40], packets_of(plain)[-1]
    ends = {"a packet's end": inner.pos, "a packet's middle": inner.pos + 9, "the last byte": last.pos + last.size - 1}
    path = folder / "cut_off_anywhere.mp4"
    path.write_bytes(plain.read_bytes()[: ends[at]])
    assert "truncated" in rejection(path).error


def damaged(path: Path, source: Path, packet_number: int, damage: bytes, at: int) -> Path:
    """Copy `source` with some bytes of one packet replaced."""
    position = packets_of(source)[packet_number].pos + at
    data = bytearray(source.read_bytes())
    data[position : position + len(damage)] = damage
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("chosen", "given"), [(None, 20), ([3, 4, 41], 2)])
def test_a_damaged_frame_is_refused_where_it_is_reached_chosen_or_not(
    folder: Path, plain: Path, chosen: list[int] | None, given: int
) -> None:
    path = damaged(folder / "damaged.mp4", plain, 20, np.random.default_rng(0).bytes(60), 40)
    frames = []
    with pytest.raises(Rejected, match=r"damaged.*frame 20 .*the 20 before") as caught:
        frames.extend(Frames(path, LIMITS).read(chosen))
    assert len(frames) == given
    assert caught.value.remedy


def test_a_film_is_decoded_once_to_find_damage_and_for_its_pixels(
    folder: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, passes = Frames(plain, LIMITS), []
    monkeypatch.setattr(read, "decoded", lambda *asked: passes.append(asked) or decoded(*asked))
    assert len(list(frames.read())) == 60
    assert passes == [(plain, LIMITS)]


def test_a_frame_that_silently_vanishes_is_an_error_that_counts(folder: Path) -> None:
    source = clip(folder / "hevc_whole.mp4", *X265)
    # a filler unit, which a decoder passes over, in place of the last packet, to which no other frame refers
    path = damaged(folder / "vanishing.mp4", source, 59, b"\x4c", 4)
    with pytest.raises(Rejected, match="announces 60 frames, of which 59 decode"):
        list(Frames(path, LIMITS).read())


def test_a_first_frame_that_does_not_decode_is_found_by_the_probe(folder: Path, plain: Path) -> None:
    path = damaged(folder / "no_first.mp4", plain, 0, bytes(packets_of(plain)[0].size), 0)
    assert "damaged" in rejection(path).error


@pytest.mark.parametrize("limits", [LIMITS, Limits(frame_pixels=WIDTH * HEIGHT)])
def test_a_clip_that_changes_its_size_on_the_way_is_refused(folder: Path, plain: Path, limits: Limits) -> None:
    small, large, both = folder / "small.ts", folder / "large.ts", folder / "both.ts"
    ffmpeg("-i", plain, *X264, small)
    ffmpeg("-i", plain, "-vf", "scale=256:192", *X264, large)
    (folder / "list.txt").write_text("file small.ts\nfile large.ts\n")
    ffmpeg("-f", "concat", "-i", folder / "list.txt", "-c", "copy", both)
    with pytest.raises(Rejected, match=r"frame 60|after \d+ decoded frames"):
        list(Frames(both, limits).read())


def test_what_is_no_video_is_refused(folder: Path, plain: Path) -> None:
    assert "does not exist" in rejection(folder / "missing.mp4").error
    empty, text, sound, still = (folder / name for name in ("empty.mp4", "text.mp4", "sound.mp4", "still.mp4"))
    empty.touch()
    assert "0 bytes" in rejection(empty).error
    text.write_text("This is not a video.\n" * 100)
    assert "not a readable" in rejection(text).error
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", sound)
    assert "no video stream" in rejection(sound).error
    Image.fromarray(numbered(0)).save(still, "PNG")
    assert "not a readable" in rejection(still).error


def test_a_playlist_never_makes_the_reader_open_another_file(folder: Path, plain: Path) -> None:
    concat, hls = folder / "concat.mp4", folder / "hls.m3u8"
    concat.write_text(f"ffconcat version 1.0\nfile {plain.name}\n")
    hls.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{plain.name}\n#EXT-X-ENDLIST\n")
    assert "not a readable" in rejection(concat).error
    assert "not a readable" in rejection(hls).error


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(bytes=2000), "limit is 2000"),
        (Limits(frame_pixels=WIDTH * HEIGHT - 1), f"{WIDTH}×{HEIGHT}"),
        (Limits(frames=59), "60 frames"),
        (Limits(seconds=2.3), "2.4 s"),
    ],
)
@pytest.mark.parametrize("name", ["limits.mp4", "limits.mkv"])
def test_a_clip_over_the_limits_is_refused_before_it_is_decoded(
    folder: Path, name: str, limits: Limits, said: str
) -> None:
    path = clip(folder / name, *X264)
    assert probe(path, LIMITS).frames == 60
    if name.endswith("mp4"):  # its pictures are wiped: only what was read before decoding can be known
        data = bytearray(path.read_bytes())
        for packet in packets_of(path):
            data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
        path.write_bytes(data)
        assert "damaged" in rejection(path).error
    refused = rejection(path, limits).error
    assert "limit" in refused
    assert said in refused or said.replace("60", "more than 59") in refused


def test_a_picture_that_starts_long_after_its_file_is_refused(folder: Path, plain: Path) -> None:
    for offset, late in (("0.2", False), ("3.0", True)):
        path = folder / f"late_{offset}.mp4"
        sound = ("-f", "lavfi", "-i", "sine=duration=5")
        ffmpeg(*sound, "-itsoffset", offset, "-i", plain, "-map", "0:a", "-map", "1:v", "-c:v", "copy", path)
        if late:
            assert "first picture only 3.00 s" in rejection(path).error
        else:
            facts = probe(path, LIMITS)
            assert (facts.start, facts.audio) == (Fraction(1, 5), True)
            assert Frames(path, LIMITS).timestamps[0] == 0


def test_odd_letters_in_the_metadata_do_no_harm(folder: Path, plain: Path) -> None:
    path = folder / "latin1.mp4"
    ffmpeg("-i", plain, "-c", "copy", "-metadata", b"title=Caf\xe9", path)
    assert probe(path, LIMITS).frames == 60


REAL = {
    "magicanimate/running.mp4": (42, 25, 512, 512),
    "magicanimate/dancing2.mp4": (100, 25, 512, 512),
    "magicanimate/demo4.mp4": (107, 25, 512, 512),
    "animate_anyone/anyone-video-2_kps.mp4": (136, 30, 512, 768),
    "animate_anyone/anyone-video-5_kps.mp4": (179, 30, 512, 704),
    "people/street.mp4": (5, 5, 960, 540),
}


@pytest.mark.parametrize("name", REAL)
def test_the_published_driving_videos_are_read_whole(shared: Path, name: str) -> None:
    count, fps, width, height = REAL[name]
    frames = Frames(shared / "media" / name, LIMITS)
    expected = VideoFacts(
        frames=count,
        fps=Fraction(fps),
        seconds=Fraction(count, fps),
        width=width,
        height=height,
        stored=(width, height),
        rotation=0,
        mirrored=False,
        codec="h264",
        audio=False,
        variable=False,
        start=Fraction(0),
    )
    assert frames.facts == expected
    assert frames.timestamps == [Fraction(k, fps) for k in range(count)]
    assert sum(frame.shape == (height, width, 3) for frame in frames.read()) == count
    assert frames.facts == expected


def test_the_published_broken_video_is_refused(shared: Path) -> None:
    refused = rejection(shared / "media" / "broken" / "undecodable_h264.mp4")
    assert "8.33 s" in refused.error
    assert "-ss 8.33" in refused.remedy


# Which frame shows when.

REGULAR = [Fraction(k, 25) for k in range(100)]


def test_the_sources_own_rate_selects_every_frame_once() -> None:
    for fps in (Fraction(25), NTSC, Fraction(240), Fraction(1, 3)):
        exact = [k / fps for k in range(1000)]
        assert select(exact, fps) == list(range(1000))
    in_milliseconds = [Fraction(round(k / NTSC * 1000), 1000) for k in range(3000)]
    assert select(in_milliseconds, NTSC) == list(range(3000))


def test_another_rate_repeats_or_leaves_out_frames_evenly() -> None:
    assert select(REGULAR, Fraction(50), native_fps=Fraction(25)) == [k // 2 for k in range(200)]
    assert select(REGULAR, Fraction(25, 2), native_fps=Fraction(25)) == list(range(0, 100, 2))
    assert len(select(REGULAR, Fraction(30), native_fps=Fraction(25))) == 120
    assert select(REGULAR, NTSC, native_fps=Fraction(25))[-1] == 99


def test_each_instant_shows_the_last_frame_that_has_begun() -> None:
    timestamps = [Fraction(0), Fraction(1, 10), Fraction(1, 2), Fraction(9, 10)]
    assert select(timestamps, Fraction(10), native_fps=Fraction(10, 3)) == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]


def test_a_range_in_seconds_and_one_in_frames_agree() -> None:
    fps = Fraction(25)
    assert select(REGULAR, fps, start=Fraction(1), duration=Fraction(2)) == list(range(25, 75))
    assert select(REGULAR, fps, first_frame=25, frame_count=50) == list(range(25, 75))
    assert select(REGULAR, fps, start=Fraction(0), first_frame=97) == [97, 98, 99]
    assert select(REGULAR, fps, duration=Fraction(1, 5)) == list(range(5))
    assert select(REGULAR, fps, frame_count=1) == [0]


def test_a_range_ends_with_its_source() -> None:
    assert select(REGULAR, Fraction(25), start=Fraction(39, 10), duration=Fraction(60))[-1] == 99
    assert select(REGULAR, Fraction(25), first_frame=90, frame_count=50) == list(range(90, 100))


@pytest.mark.parametrize(
    "asked",
    [
        {"start": Fraction(4)},
        {"start": Fraction(-1)},
        {"start": Fraction(1), "duration": Fraction(0)},
        {"first_frame": 100},
        {"first_frame": -1},
        {"frame_count": 0},
    ],
)
def test_a_range_without_a_frame_is_refused(asked: dict[str, Fraction | int]) -> None:
    with pytest.raises(Rejected) as caught:
        select(REGULAR, Fraction(25), **asked)
    assert next(iter(asked)) in caught.value.error
    assert caught.value.remedy


def test_a_range_given_twice_is_refused() -> None:
    with pytest.raises(Rejected, match="both given"):
        select(REGULAR, Fraction(25), start=Fraction(1), frame_count=10)


@pytest.mark.parametrize("native_fps", [Fraction(25), NTSC, Fraction(480)])
@pytest.mark.parametrize("fps", [Fraction(25), Fraction(24), NTSC, Fraction(50), Fraction(12)])
@pytest.mark.parametrize(
    "asked",
    [{}, {"start": Fraction(1, 9)}, {"duration": Fraction(5, 7)}, {"first_frame": 7}, {"frame_count": 11}],
)
def test_frames_are_counted_as_they_are_selected(native_fps: Fraction, fps: Fraction, asked: dict) -> None:
    even = EvenTimestamps(101, native_fps)
    uneven = [at + Fraction(number % 7, 40000) for number, at in enumerate(even)]
    assert even[3:5] == [3 / native_fps, 4 / native_fps]
    for seconds in (even, uneven):
        chosen = select(seconds, fps, **asked, native_fps=native_fps)
        assert selected_count(seconds, fps, **asked, native_fps=native_fps) == len(chosen)


def chosen_by_the_rule(seconds: list[Fraction], fps: Fraction, native_fps: Fraction, begin: Fraction) -> list[int]:
    """As the rule reads, in fractions: the last frame that has begun an eighth of a period after each instant."""
    late = Fraction(1, 8) * min(1 / fps, 1 / native_fps)
    end, instant, chosen = seconds[-1] + 1 / native_fps, begin, []
    while not chosen or instant + late < end:
        chosen.append(max(0, bisect_right(seconds, instant + late) - 1))
        instant += 1 / fps
    return chosen


def test_frames_are_chosen_by_the_rule_whatever_the_timestamps() -> None:
    random = Random(7)
    ticks = [Fraction(1, parts) for parts in (1000, 90_000, 25, 600, 15_360, 30_000)]
    rates = [Fraction(25), Fraction(24), NTSC, Fraction(24000, 1001), Fraction(50), Fraction(12), Fraction(19001, 317)]
    for _ in range(400):
        native, fps, tick = random.choice(rates), random.choice(rates), random.choice(ticks)
        even = [k / native for k in range(random.choice([1, 2, 40]))]
        stray = random.choice([0, 1 / native, 9 / native])  # held pictures, and several at one moment
        seconds = sorted(round((at + stray * Fraction(random.random())) / tick) * tick for at in even)
        if random.random() < 0.3:  # each with a denominator of its own
            seconds = sorted(at + Fraction(1, random.randrange(10**6, 10**9)) for at in seconds)
        seconds = [at - seconds[0] for at in seconds]
        begin = random.choice([Fraction(0), seconds[-1] / 2, Fraction(random.random()) * seconds[-1]])
        asked = {"start": begin, "native_fps": native}
        assert select(seconds, fps, **asked) == chosen_by_the_rule(seconds, fps, native, begin)
        assert selected_count(seconds, fps, **asked) == len(chosen_by_the_rule(seconds, fps, native, begin))


def test_timestamps_that_are_kept_are_the_same_ones_in_little_memory() -> None:
    seconds = [Fraction(1001 * frame, 30_000) + Fraction(frame % 3, 90_000) for frame in range(1500)]
    kept, peak = peak_of(lambda: KeptTimestamps(seconds))
    assert list(kept) == seconds
    assert kept[100:140:7] == seconds[100:140:7]
    assert select(kept, Fraction(24)) == select(seconds, Fraction(24))
    assert peak < 40 * len(seconds)
