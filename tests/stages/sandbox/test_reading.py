"""What is read in the sandbox is what its readers read; what no reader would answer is refused."""

from __future__ import annotations

import ast
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from manifests.errors import Problem, Rejected
from manifests.storage import Allowed
from pipelines.time_limits import MIB, TimeLimits
from stages.poses.files import keypoint_file, uv_file
from stages.poses.recipes import Estimators
from stages.sandbox import reading
from stages.sandbox.held_file import HeldFile
from stages.sandbox.process import Reading, Sandbox
from stages.validate import Validate
from stages.video import image, read, sound
from stages.video.limits import Limits
from stages.video.quality import container
from tests.conftest import CHECKOUT
from tests.made.sample_media import clip_row, write_driving, write_reference
from tests.stages.sandbox.test_sandbox import asking, linux_only

LIMITS = Limits()
MEDIA = CHECKOUT / "tests" / "media"


@pytest.fixture(scope="module")
def liars() -> Iterator[Sandbox]:
    made = Sandbox("tests.stages.sandbox.liars")
    yield made
    made.stop()


@pytest.fixture
def lied(liars: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Writes the file over which readers lie as it says."""
    monkeypatch.setattr(reading, "SANDBOX", liars)

    def write(lie: str) -> Path:
        (tmp_path / "lie.mp4").write_text(lie)
        return tmp_path / "lie.mp4"

    return write


@pytest.fixture
def afresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox that begins with the environment as the test has set it."""
    made = Sandbox("stages.sandbox.readers")
    monkeypatch.setattr(reading, "SANDBOX", made)
    yield made
    made.stop()


# The same as without


@pytest.mark.parametrize("name", ["slowmo_480.mp4", "sar_2_1.mp4", "enters_late.mp4"])
def test_a_film_is_the_same_frame_by_frame(name: str) -> None:
    within, without = reading.Frames(MEDIA / name, LIMITS), read.Frames(MEDIA / name, LIMITS)
    assert (within.facts, within.timestamps) == (without.facts, without.timestamps)
    chosen = [0, 0, 2, min(7, within.facts.frames - 1)]
    assert np.array_equal([*within.read(chosen)], [*without.read(chosen)])
    assert sum(1 for _ in within.read()) == within.facts.frames


def test_pictures_keypoints_maps_and_sound_are_the_same(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference.png")
    assert np.array_equal(reading.read_image(reference, LIMITS), image.read_image(reference, LIMITS))

    points = np.random.default_rng(0).uniform(0, 60, (5, 2, 134, 3))
    np.savez(tmp_path / "k.npz", keypoints=points, width=64, height=60, fps=25)
    (within, rate), (without, same) = (
        module.import_keypoints(tmp_path / "k.npz", LIMITS) for module in (reading, keypoint_file)
    )
    assert all(np.array_equal(getattr(within, part), getattr(without, part)) for part in ("points", "scores", "boxes"))
    assert reading.probe_keypoints(tmp_path / "k.npz", LIMITS) == (5, 64, 60, rate)
    assert rate == same

    np.savez(tmp_path / "uv.npz", uv=np.random.default_rng(0).random((3, 2, 8, 6), np.float32))
    facts = reading.probe_uv(tmp_path / "uv.npz", LIMITS)
    assert facts == uv_file.probe_uv(tmp_path / "uv.npz", LIMITS)
    maps = uv_file.read_uv(tmp_path / "uv.npz", LIMITS)
    assert np.array_equal([*reading.read_uv(tmp_path / "uv.npz", facts, LIMITS)], [*maps])

    film = made_film(tmp_path / "film.mp4", "-f", "lavfi", "-i", "sine=d=0.4")
    reading.extract_sound(film, tmp_path / "a.flac", 0.1, LIMITS)
    sound.extract_sound(film, tmp_path / "b.flac", 0.1)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()
    assert reading.container_faults(film, None, LIMITS) == container.container_faults(film)


def test_what_is_not_there_is_told_in_the_reader_s_own_words(tmp_path: Path) -> None:
    for name, read_it in (("a.png", reading.read_image), ("a.mp4", reading.Frames)):
        with pytest.raises(Rejected, match=f"'{name}' does not exist"):
            read_it(tmp_path / name, LIMITS)
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(Rejected, match="does not exist"):
        reading.Frames(tmp_path / "a.mp4", LIMITS)


# What no reader would answer


@pytest.mark.parametrize(
    "lie",
    [
        "{'facts': {'frames': 10**12}}",
        "{'facts': {'frames': -1}}",
        "{'facts': {'frames': True}}",
        "{'facts': {'width': 10**6, 'height': 10**6}}",
        "{'facts': {'stored': [10**6, 10**6]}}",
        "{'facts': {'stored': 5}}",
        "{'facts': {'fps': [1, 0]}}",
        "{'facts': {'fps': [0, 1]}}",
        "{'facts': {'fps': '1e999999999'}}",
        "{'facts': {'seconds': [10**9, 1]}}",
        "{'facts': {'codec': chr(27) + '[31m'}}",
        "{'facts': {'codec': 'x' * 10**6}}",
        "{'seconds': [[1, 25], [0, 1]]}",
        "{'seconds': [[0, 0], [1, 0]]}",
        "{'seconds': [[0, 1]] * 3}",
        "{'facts': {}, 'seconds': [[0.0, 1.0]] * 2}",
    ],
)
def test_facts_that_no_film_has_are_refused(lied: Callable[[str], Path], lie: str) -> None:
    with pytest.raises(Rejected, match=r"'lie.mp4' made its reader answer nonsense") as caught:
        reading.Frames(lied(lie), LIMITS)
    assert len(caught.value.error) <= reading.LONGEST_TEXT


@pytest.mark.parametrize(
    "pictures",
    [
        "[np.zeros((2, 4, 3), np.uint8)]",
        "[np.zeros((2, 4, 3), np.uint8)] * 3",
        "[np.zeros((4, 2, 3), np.uint8)] * 2",
        "[np.zeros((2, 4, 3))] * 2",
        "[]",
    ],
)
def test_frames_of_another_number_or_form_are_refused(lied: Callable[[str], Path], pictures: str) -> None:
    frames = reading.Frames(lied(f"{{'pictures': {pictures}}}"), LIMITS)
    with pytest.raises(Rejected, match="answer nonsense"):
        list(frames.read())


def test_pictures_and_keypoints_of_another_form_are_refused(lied: Callable[[str], Path]) -> None:
    for picture in ("np.zeros((2, 2), np.uint8)", "np.zeros((2, 2, 4), np.uint8)", "np.zeros((2, 2, 3))"):
        with pytest.raises(Rejected, match="answer nonsense"):
            reading.read_image(lied(f"[{picture}]"), LIMITS)
    arrays = "np.zeros((3, 1, 134, 2)), np.zeros((3, 1, 134)), np.zeros((3, 1, 5))"
    with pytest.raises(Rejected, match="answer nonsense"):
        reading.import_keypoints(lied(f"[3, 64, 64, None], {arrays}"), LIMITS)
    with pytest.raises(Rejected, match="answer nonsense: frames of"):
        reading.probe_uv(lied("[3, 2**40, 2**20, None]"), LIMITS)


@pytest.mark.parametrize(
    "lie",
    [
        "{'state': 'untrusted', 'root': 1}",  # of one that was given
        "{'state': 'splendid'}",
        "{'state': 'none', 'signer': 'a' * 1000}",
        "{'state': 'none', 'signer': '\\x1b[31m'}",
        "{'state': 'invalid', 'problems': ['\\u202e']}",
        "{'state': 'none', 'more': 'than was asked for'}",
        "['state']",
    ],
)
def test_credentials_that_no_reader_gives_are_refused(lied: Callable[[str], Path], lie: str) -> None:
    with pytest.raises(Rejected, match="answer nonsense"):
        reading.read_credentials(lied(lie), ["a root"], LIMITS)


@pytest.mark.parametrize("lie", ["[np.zeros(3)]", "[np.zeros((2, 2), np.uint8)]", "[np.zeros(5 * 2**20, np.uint8)]"])
def test_credentials_of_a_reference_that_no_reader_gives_are_left_out(lied: Callable[[str], Path], lie: str) -> None:
    assert reading.carried_credentials(lied(lie), "00", LIMITS) is None


# What readers do not survive, and who notices


def made_film(path: Path, *more: str, size: str = "128x96") -> Path:
    source = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.4"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", *source, *more, "-c:v", "libx264", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, str(path)], check=True, capture_output=True)
    return path


def test_a_decoder_that_aborts_over_a_time_table_of_all_samples_there_can_be_costs_that_film_alone(
    tmp_path: Path,
) -> None:
    pytest.importorskip("decord")  # the one that does, which PyAV has replaced; it has no wheel for every system
    film = bytearray(made_film(tmp_path / "film.mp4").read_bytes())
    table = film.index(b"stts")
    film[table + 12 : table + 16] = struct.pack(">I", 2**32 - 1)
    (tmp_path / "claims.mp4").write_bytes(film)
    attacked = Sandbox("tests.stages.sandbox.attacks")
    try:
        with pytest.raises(Rejected, match=r"crashes its reader \(SIGABRT; it may have asked for more than 4.3 GB\)"):
            attacked.read(asking("decord", HeldFile(tmp_path / "claims.mp4"), memory=LIMITS.memory_bytes))
        assert attacked.read(asking("decord", HeldFile(tmp_path / "film.mp4"))).data == 10
    finally:
        attacked.stop()


def validated(folder: Path, limits: Limits = LIMITS) -> Validate:
    checkpoints = {"magicanimate": str(folder)}
    return Validate(str(folder), Allowed(prefixes=[str(folder)]), limits, checkpoints, str(folder / "m"), Estimators())


def test_a_row_whose_file_takes_too_much_is_rejected_and_the_next_one_goes_on(tmp_path: Path) -> None:
    write_reference(tmp_path / "reference.png")
    write_driving(tmp_path / "driving.mp4")
    Image.new("RGB", (6000, 5000)).save(tmp_path / "large.png")
    validate = validated(tmp_path, Limits(memory_bytes=30_000_000))
    with pytest.raises(Rejected, match=r"^reference .*large.png.*takes more than 0.03 GB of memory") as caught:
        validate(0, clip_row("a", reference="large.png"))
    assert "raise `limits.memory_bytes`" in caught.value.remedy
    assert validate(1, clip_row("b")).frames == 6


@linux_only
def test_a_link_that_is_turned_elsewhere_after_it_was_judged_shows_nothing_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    write_driving(inside / "driving.mp4")
    write_reference(inside / "honest.png")
    write_reference(outside / "reference.png", seed=1)
    (inside / "reference.png").symlink_to(inside / "honest.png")
    validate = validated(inside)
    asked = validate.asked(clip_row("a"))
    (inside / "reference.png").unlink()
    (inside / "reference.png").symlink_to(outside / "reference.png")
    with pytest.raises(Rejected, match="lies outside the allowed folders"):
        validate.work(0, asked)


def test_a_file_that_is_written_to_while_it_is_read_is_not_taken_for_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reference(tmp_path / "reference.png")
    write_driving(tmp_path / "driving.mp4")
    digest = HeldFile.sha256

    def write_after(file: HeldFile) -> str:
        try:
            return digest(file)
        finally:
            write_reference(tmp_path / "reference.png", seed=2)

    monkeypatch.setattr(HeldFile, "sha256", write_after)
    with pytest.raises(Rejected, match="changed while it was read"):
        validated(tmp_path)(0, clip_row("a"))


def asked_for(monkeypatch: pytest.MonkeyPatch, path: Path, size: int, limits: Limits = LIMITS) -> Reading:
    """What a film of so many bytes is given."""
    asked: list[Reading] = []

    class Asked:
        def read(self, one: Reading) -> None:
            asked.append(one)
            raise Rejected("enough", "look")

    with path.open("wb") as file:
        file.truncate(size)  # a hole, which takes no room
    monkeypatch.setattr(reading, "SANDBOX", Asked())
    with pytest.raises(Rejected, match="enough"):
        reading.Frames(path, limits)
    return asked[0]


@pytest.mark.parametrize("mib", [0, 1, 30, 119, 121, 500, 1000, 2048])
def test_a_silent_file_is_given_up_before_its_row_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mib: int) -> None:
    silence = asked_for(monkeypatch, tmp_path / "film.mp4", mib * MIB).silence
    assert 300 < silence <= 0.95 * TimeLimits().probing(mib * MIB)


def test_however_large_a_file_is_its_processor_time_has_a_ceiling(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert asked_for(monkeypatch, tmp_path / "film.mp4", 100 * MIB).bounds.cpu_seconds == 120 + 2 * 100
    assert asked_for(monkeypatch, tmp_path / "film.mp4", LIMITS.bytes).bounds.cpu_seconds == 3600
    lower = Limits(most_cpu_seconds=60)
    assert asked_for(monkeypatch, tmp_path / "film.mp4", 1, lower).bounds.cpu_seconds == 60


@linux_only
def test_the_ffmpeg_that_takes_the_sound_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film, program = made_film(tmp_path / "film.mp4", "-f", "lavfi", "-i", "sine=d=0.4"), tmp_path / "taken over"
    program.write_text("#!/bin/sh\n/bin/true\necho started one >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    unlocked = Sandbox("tests.stages.sandbox.unlocked")  # a script asks for a shell, which Landlock denies it
    monkeypatch.setattr(reading, "SANDBOX", unlocked)
    try:
        with pytest.raises(Problem, match="ffmpeg failed with status") as caught:
            reading.extract_sound(film, tmp_path / "sound.flac", 0.0, LIMITS)
    finally:
        unlocked.stop()
    assert "started one" not in caught.value.error
    assert "fork" in caught.value.error


def sound_alone(path: Path, channels: int) -> Path:
    source = ["-f", "s16le", "-ar", "8000", "-ch_layout", f"{channels}C", "-i", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *source, "-c", "copy", str(path)]
    subprocess.run(command, check=True, capture_output=True, input=bytes(2000 * channels))
    return path


def test_sound_of_more_channels_than_can_be_mixed_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"^video 'many.mkv' has sound of 65 channels, at most 64"):
        reading.extract_sound(sound_alone(tmp_path / "many.mkv", 65), tmp_path / "sound.flac", 0.0, LIMITS)
    reading.extract_sound(sound_alone(tmp_path / "most.mkv", 64), tmp_path / "sound.flac", 0.0, LIMITS)
    assert (tmp_path / "sound.flac").stat().st_size > 50


# Who may read


RAW = {
    "stages.video.read": {"Frames", "probe"},
    "stages.video.image": {"read_image", "read_managed", "image_size"},
    "stages.video.sound": {"extract_sound"},
    "stages.poses.files.keypoint_file": {"import_keypoints"},
    "stages.poses.files.uv_file": {"probe_uv", "read_uv"},
    "stages.diffusion.weights.lora_file": {"probe_lora"},
}


def test_nothing_but_the_sandbox_reads_a_stranger_s_file() -> None:
    imports = {
        (str(path.relative_to(CHECKOUT)), str(node.module), name.name)
        for folder in ("stages", "pipelines", "cluster", "manifests")
        for path in (CHECKOUT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    raw = {who for who, module, name in imports if name in RAW.get(module, ())}
    assert raw == {"stages/sandbox/readers.py"}


def test_the_ffmpeg_that_the_environment_names_is_the_one_that_takes_the_sound(
    afresh: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, film = tmp_path / "own ffmpeg", made_film(tmp_path / "film.mp4", "-f", "lavfi", "-i", "sine=d=0.4")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", os.path.relpath(own))
    with pytest.raises(Problem, match=r"own ffmpeg.* does not start: No such file") as none:
        reading.extract_sound(film, tmp_path / "sound.flac", 0.0, LIMITS)
    assert type(none.value) is Problem, "which is not the film's fault"
    real = Path(imageio_ffmpeg.__file__).parent / "binaries"
    own.symlink_to(next(real.glob("ffmpeg*")))
    reading.extract_sound(film, tmp_path / "sound.flac", 0.0, LIMITS)
    assert (tmp_path / "sound.flac").read_bytes()[:4] == b"fLaC"
