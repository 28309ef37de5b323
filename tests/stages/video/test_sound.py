"""A driving video's sound comes under the film, however many channels it has."""

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from stages.video.encode import Encoder, EncodeRecipe
from stages.video.sound import extract_sound

RATE = 48000
SECONDS = 0.5


def video_with_sound(path: Path, loudness: list[float], layout: str) -> Path:
    """Half a second of black with a tone in every channel, as loud as is said."""
    tone = np.sin(2 * np.pi * 440 * np.arange(int(RATE * SECONDS)) / RATE)
    samples = (0.8 * tone[:, None] * np.array(loudness)).astype("<f4")
    sound = ("-f", "f32le", "-ar", str(RATE), "-ch_layout", layout, "-i", "-")
    picture = ("-f", "lavfi", "-i", f"color=s=64x48:r=25:d={SECONDS}")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *sound, *picture, "-c:a", "pcm_s16le", path]
    subprocess.run(command, input=samples.tobytes(), check=True)
    return path


def loudness_in_film(video: Path) -> list[float]:
    """Peak of each channel of a film that keeps the video's sound, by the whole way that it takes."""
    flac, film = video.with_suffix(".flac"), video.with_suffix(".film.mp4")
    extract_sound(video, flac, 0.0)
    with Encoder(film, 64, 48, Fraction(25), EncodeRecipe(), audio=flac) as encoder:
        encoder.write(np.zeros((10, 48, 64, 3), np.uint8))
    with av.open(str(film)) as container:
        channels = container.streams.audio[0].codec_context.channels
    # not with PyAV 18.1, whose `to_ndarray` reads past the planes of 8 channels
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", film, "-vn", "-f", "f32le", "-"]
    sound = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, "<f4").reshape(-1, channels)
    assert len(sound) / RATE == pytest.approx(0.4, abs=0.05)
    return np.abs(sound[RATE // 10 :]).max(axis=0).tolist()


@pytest.mark.parametrize(
    ("name", "layout", "left", "right"),
    [
        ("height.mov", "7.1.4", [0, 4, 6, 8, 10], [1, 5, 7, 9, 11]),
        ("height.mkv", "12C", range(0, 12, 2), range(1, 12, 2)),  # Matroska does not name so many
        ("cube.mov", "cube", [0, 2, 4, 6], [1, 3, 5, 7]),  # 8 channels, which AAC has not
        ("over.mov", "5.1.2", [0, 4, 6], [1, 5, 7]),
        ("tracks.mov", "9C", range(0, 9, 2), range(1, 9, 2)),
        ("tracks.mkv", "16C", range(0, 16, 2), range(1, 16, 2)),
        ("22.2.mov", "24C", range(0, 24, 2), range(1, 24, 2)),
    ],
)
def test_more_channels_than_a_film_holds_are_mixed_to_two(
    tmp_path: Path, name: str, layout: str, left: list[int], right: list[int]
) -> None:
    channels = {"7.1.4": 12, "cube": 8, "5.1.2": 8}.get(layout) or int(layout[:-1])
    for side, (heard, silent) in enumerate(((left, right), (right, left))):
        loud = [float(number in heard) for number in range(channels)]
        assert not set(heard) & set(silent)
        peaks = loudness_in_film(video_with_sound(tmp_path / name, loud, layout))
        assert len(peaks) == 2
        assert 0.5 < peaks[side] <= 0.85
        assert peaks[1 - side] < 0.02


def test_the_centre_is_heard_on_both_sides_and_nothing_clips(tmp_path: Path) -> None:
    centre = loudness_in_film(video_with_sound(tmp_path / "centre.mov", [float(n == 2) for n in range(12)], "7.1.4"))
    assert centre[0] == pytest.approx(centre[1], rel=0.05)
    assert centre[0] > 0.05
    everything = loudness_in_film(video_with_sound(tmp_path / "everything.mov", [1.0] * 12, "7.1.4"))
    assert all(0.7 < peak <= 0.85 for peak in everything)


@pytest.mark.parametrize(
    ("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1", 6), ("7.1", 8), ("5.1.2(back)", 8)]
)
def test_what_a_film_can_hold_keeps_its_channels(tmp_path: Path, layout: str, channels: int) -> None:
    loud = [1 - 0.1 * number for number in range(channels)]
    assert len(loudness_in_film(video_with_sound(tmp_path / "held.mov", loud, layout))) == channels
