"""Films are finished or absent, exact in frames, rate and colour, and the same bytes for the same frames.

What was written is read back with PyAV, another build of FFmpeg than the one that wrote it.
"""

import re
import subprocess
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from manifests.errors import Problem
from stages.video.encode import Encoder, EncodeRecipe, poster

WIDTH, HEIGHT = 96, 64
RECIPE = EncodeRecipe(preset="veryfast")
FPS = Fraction(25)


def moving(count: int) -> np.ndarray:
    """uint8 (count, HEIGHT, WIDTH, 3): a pattern that travels."""
    pattern = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    pattern = pattern.repeat(8, 0).repeat(8, 1)
    return np.stack([np.roll(pattern, k, 1) for k in range(count)])


def film(path: Path, frames: np.ndarray, fps: Fraction = FPS, recipe: EncodeRecipe = RECIPE, **sound: object) -> Path:
    height, width = frames.shape[1:3]
    with Encoder(path, width, height, fps, recipe, **sound) as encoder:
        for batch in np.array_split(frames, 3):
            encoder.write(batch)
    return path


def times(path: Path) -> list[Fraction]:
    """When each frame is shown, by its packets."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return sorted(packet.pts * stream.time_base for packet in container.demux(stream) if packet.size)


def sound_of(path: Path) -> np.ndarray:
    """The first channel of the sound, float, and nothing if there is none."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return np.zeros(0)
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of sound: silence, then a tone from 1 s on."""
    path = tmp_path_factory.mktemp("sound") / "tone.flac"
    source = "sine=frequency=440:sample_rate=48000:duration=1,adelay=1000"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source, path]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize("rate", ["25", "30000/1001", "24000/1001", "60", "25/2", "1/2", "7/3", "1320/59", "999/41"])
@pytest.mark.parametrize("with_sound", [False, True])
def test_a_film_has_exactly_its_frames_rate_and_duration(
    tmp_path: Path, tone: Path, rate: str, with_sound: bool
) -> None:
    fps = Fraction(rate)
    path = film(tmp_path / "film.mp4", moving(17), fps, audio=tone if with_sound else None)
    assert times(path) == [k / fps for k in range(17)]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.average_rate) == (17, fps)
        assert stream.duration * stream.time_base == 17 / fps
        assert sum(1 for _ in container.decode(stream)) == 17
        assert abs(container.duration / av.time_base - 17 / fps) < 1 / 1000
        assert bool(container.streams.audio) == with_sound


def test_a_film_is_what_every_player_expects(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", moving(5))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        assert (context.width, context.height) == (WIDTH, HEIGHT)
        bt709, limited = 1, 1
        assert (context.color_primaries, context.color_trc, context.colorspace) == (bt709, bt709, bt709)
        assert context.color_range == limited
        assert not {key for key in container.metadata if "time" in key or key == "encoder"}
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert b"colrnclx" in data
    assert b"Lavf" not in data


def test_flat_colours_survive(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (60, 60, 60), (255, 255, 255), (0, 0, 0)]
    frame = np.repeat(np.array(colours, np.uint8), 16, axis=0)[None].repeat(64, 0)
    path = film(tmp_path / "film.mp4", frame[None].repeat(6, 0), recipe=EncodeRecipe())
    with av.open(str(path)) as container:
        decoded = [picture.to_ndarray(format="rgb24").astype(int) for picture in container.decode(video=0)]
    for picture in decoded:
        seen = picture[32, 8::16]
        assert np.abs(seen - np.array(colours)).max() <= 3


def test_the_pictures_are_those_that_were_written(tmp_path: Path) -> None:
    frames = moving(12)
    path = film(tmp_path / "film.mp4", frames, recipe=EncodeRecipe(crf=5))
    with av.open(str(path)) as container:
        decoded = np.stack([picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)])
    luma = np.array([0.2126, 0.7152, 0.0722])  # colour is stored at half the resolution
    error = np.abs(decoded @ luma - frames @ luma).mean(axis=(1, 2))
    shuffled = np.abs(np.roll(decoded, 1, 0) @ luma - frames @ luma).mean(axis=(1, 2))
    assert error.max() < 4 < shuffled.min()


def test_the_same_frames_give_the_same_bytes(tmp_path: Path, tone: Path) -> None:
    for sound in (None, tone):
        first = film(tmp_path / "first.mp4", moving(40), audio=sound).read_bytes()
        again = film(tmp_path / "another name.mp4", moving(40), audio=sound).read_bytes()
        assert first == again
    assert film(tmp_path / "crf.mp4", moving(40), recipe=EncodeRecipe(crf=30)).read_bytes() != first


def test_sound_is_cut_to_the_film_from_where_it_starts(tmp_path: Path, tone: Path) -> None:
    with_tone = sound_of(film(tmp_path / "a.mp4", moving(30), audio=tone))
    begins = np.flatnonzero(np.abs(with_tone) > 0.02)[0] / 48000
    assert begins == pytest.approx(1.0, abs=0.03)
    assert len(with_tone) / 48000 == pytest.approx(1.2, abs=0.025)
    from_middle = sound_of(film(tmp_path / "b.mp4", moving(30), audio=tone, audio_start=Fraction(4, 5)))
    assert np.flatnonzero(np.abs(from_middle) > 0.02)[0] / 48000 == pytest.approx(0.2, abs=0.03)
    assert len(from_middle) / 48000 == pytest.approx(1.2, abs=0.025)


def test_short_or_missing_sound_never_changes_the_picture(tmp_path: Path, tone: Path) -> None:
    shorter = film(tmp_path / "shorter.mp4", moving(75), audio=tone, audio_start=Fraction(3, 2))
    assert len(times(shorter)) == 75
    assert len(sound_of(shorter)) / 48000 == pytest.approx(0.5, abs=0.05)
    beyond = film(tmp_path / "beyond.mp4", moving(10), audio=tone, audio_start=Fraction(9))
    assert (len(times(beyond)), len(sound_of(beyond))) == (10, 0)
    silent = film(tmp_path / "silent.mp4", moving(10))
    from_silent = film(tmp_path / "from_silent.mp4", moving(10), audio=silent)
    assert (len(times(from_silent)), len(sound_of(from_silent))) == (10, 0)


def test_sound_that_begins_late_in_its_file_stays_late(tmp_path: Path, tone: Path) -> None:
    silent, late = film(tmp_path / "silent.mp4", moving(50)), tmp_path / "late.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", silent, "-itsoffset", "0.4", "-i", tone]
    subprocess.run([*command, "-c:v", "copy", "-c:a", "aac", late], check=True)
    heard = sound_of(film(tmp_path / "film.mp4", moving(50), audio=late))
    assert np.flatnonzero(np.abs(heard) > 0.02)[0] / 48000 == pytest.approx(1.4, abs=0.04)


def test_a_playlist_is_no_sound(tmp_path: Path, tone: Path) -> None:
    playlist = tmp_path / "list.flac"
    (tmp_path / "tone.flac").write_bytes(tone.read_bytes())
    playlist.write_text("ffconcat version 1.0\nfile tone.flac\n")
    with pytest.raises(Problem, match="ffmpeg failed") as caught:
        film(tmp_path / "film.mp4", moving(3), audio=playlist)
    assert "audio" in caught.value.remedy
    assert list(tmp_path.glob("film*")) == []
    with pytest.raises(Problem, match=re.escape("'none.flac' does not exist")):
        Encoder(tmp_path / "film.mp4", WIDTH, HEIGHT, FPS, RECIPE, audio=tmp_path / "none.flac")


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen]]:
    """The processes that are started during a test."""
    started, start = [], subprocess.Popen.__init__

    def remember(self: subprocess.Popen, *arguments: object, **options: object) -> None:
        start(self, *arguments, **options)
        started.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", remember)
        yield started


def test_after_an_exception_neither_film_nor_ffmpeg_remains(tmp_path: Path, children: list[subprocess.Popen]) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"of an earlier attempt")

    def fail_halfway() -> None:
        with Encoder(path, WIDTH, HEIGHT, FPS, RECIPE) as encoder:
            encoder.write(moving(30))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []
    assert [child.poll() is not None for child in children] == [True]
    assert not any(thread.name.startswith("ffmpeg") for thread in threading.enumerate())


def test_until_it_is_finished_no_film_stands_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with Encoder(path, WIDTH, HEIGHT, FPS, RECIPE) as encoder:
        encoder.write(moving(200))
        assert not path.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.mp4"]


def test_an_ffmpeg_that_dies_is_a_problem_with_its_last_words(tmp_path: Path, children: list[subprocess.Popen]) -> None:
    def die_halfway() -> None:
        with Encoder(tmp_path / "film.mp4", WIDTH, HEIGHT, FPS, RECIPE) as encoder:
            children[0].kill()
            for _ in range(100):
                encoder.write(moving(10))

    with pytest.raises(Problem, match="ffmpeg failed with status -9"):
        die_halfway()
    with pytest.raises(Problem, match="No such file or directory") as caught:
        film(tmp_path / "no folder" / "film.mp4", moving(3))
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, HEIGHT, WIDTH + 2, 3), np.uint8),
        np.zeros((1, WIDTH, HEIGHT, 3), np.uint8),
        np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        np.zeros((1, HEIGHT, WIDTH, 4), np.uint8),
        np.zeros((1, HEIGHT, WIDTH, 3), np.float32),
    ],
)
def test_frames_of_another_size_are_refused(tmp_path: Path, frames: np.ndarray) -> None:
    def write() -> None:
        with Encoder(tmp_path / "film.mp4", WIDTH, HEIGHT, FPS, RECIPE) as encoder:
            encoder.write(moving(1))
            encoder.write(frames)

    with pytest.raises(Problem) as caught:
        write()
    assert str(frames.shape) in caught.value.error
    assert f"{HEIGHT}, {WIDTH}, 3" in caught.value.error
    assert list(tmp_path.iterdir()) == []


def test_a_film_without_frames_or_of_odd_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no frames"), Encoder(tmp_path / "film.mp4", WIDTH, HEIGHT, FPS, RECIPE):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Problem, match="97×64"):
        Encoder(tmp_path / "film.mp4", 97, 64, FPS, RECIPE)


def test_views_of_larger_arrays_are_written_as_they_look(tmp_path: Path) -> None:
    wide = np.concatenate([moving(8), moving(8)], axis=2)
    path = film(tmp_path / "view.mp4", wide[:, :, :WIDTH])
    assert path.read_bytes() == film(tmp_path / "copy.mp4", moving(8)).read_bytes()


@pytest.mark.parametrize("wrong", [{"codec": "theora"}, {"crf": 0}, {"crf": 52}, {"threads": 0}, {"presett": "fast"}])
def test_a_recipe_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EncodeRecipe(**wrong)


def test_a_poster_is_a_jpeg_of_the_frame(tmp_path: Path) -> None:
    frame = moving(1)[0]
    poster(frame, tmp_path / "high.jpg", 95)
    poster(frame, tmp_path / "low.jpg", 40)
    with Image.open(tmp_path / "high.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (WIDTH, HEIGHT))
        assert np.abs(np.asarray(image).astype(int) - frame).mean() < 12
    assert (tmp_path / "low.jpg").stat().st_size < (tmp_path / "high.jpg").stat().st_size
