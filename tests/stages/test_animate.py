"""Animate: what is found damaged is made anew, and what half precision cannot draw is drawn in float32."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from manifests import storage
from manifests.errors import Again, Problem
from manifests.layout import Film
from manifests.results import Result
from pipelines import cli
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.plan import make_plan
from pipelines.planned_clip import planned_clip
from stages.diffusion.animator import Parts
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.fast import NOTHING_LEFT_OUT
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.made.plain_animators import FACTS, Plain
from tests.made.sample_media import CHECKPOINT, UNMARKED, clip_row, write_reference

pytestmark = pytest.mark.usefixtures("plain_animators")


def pictures(film: str) -> np.ndarray:
    return np.stack(list(Frames(Path(film), Limits()).read()))


def row(media: Path, animator: str, **fields: Any) -> dict[str, Any]:
    files = {"reference": str(media / "reference.png"), "driving": str(media / "driving.mp4")}
    return clip_row("clip", **{**files, "driving_kind": "skeleton", "animator": animator, "steps": None, **fields})


def chain(media: Path, **fields: Any) -> StageChain:
    return StageChain(RunConfig.load(None, {**UNMARKED, **fields}), str(media / "out"))


# A damaged cache


def add_sound(video: Path) -> None:
    ffmpeg, silent = imageio_ffmpeg.get_ffmpeg_exe(), video.with_name("silent.mp4")
    video.rename(silent)
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1", "-shortest", "-c:v", "copy", str(video)]
    subprocess.run([ffmpeg, "-v", "error", "-y", "-i", str(silent), *sound], check=True)


def foreign(entry: Path) -> None:
    """Another file of the same format, where it has one."""
    if entry.suffix == ".safetensors":
        save_file({"weights": np.zeros(3, np.float32)}, entry)
    elif entry.suffix == ".png":
        Image.new("L", (48, 64)).save(entry)
    else:
        entry.write_bytes(b"other words" * 1000)


def flipped(entry: Path) -> None:
    found = bytearray(entry.read_bytes())
    found[len(found) * 2 // 3] ^= 0x55
    entry.write_bytes(found)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda entry: entry.write_bytes(b""),
    "cut short": lambda entry: os.truncate(entry, entry.stat().st_size // 2),
    "garbage": lambda entry: entry.write_bytes(os.urandom(3000)),
    "of another kind": foreign,
    "a bit flipped": flipped,
    "gone": lambda entry: entry.unlink(),
}
FLIPS_TELL = ("latents", "sounds")  # formats with a checksum of every byte


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["latents", "poses", "references", "sounds"])
def test_a_damaged_entry_of_the_cache_is_made_anew_and_the_film_is_the_same(
    kind: str, damage: str, media: Path
) -> None:
    if damage == "a bit flipped" and kind not in FLIPS_TELL:
        pytest.skip("the format cannot tell")
    add_sound(media / "driving.mp4")
    stages = chain(media)
    work = stages.work(row(media, "plain", audio="driving"))
    first = pictures(stages.film(work).film)
    layout = stages.settings.layout
    (entry,) = (media / "out" / "cache" / kind).iterdir()
    whole = entry.read_bytes()
    storage.delete(layout.film_marker(Film("clip", work.film_key)))
    if kind != "latents":  # which would stand for all before them
        storage.delete(layout.latents(work.latents_key))
    DAMAGES[damage](entry)

    rounds = 0
    while True:
        rounds += 1
        try:
            # the stages before this one take what is there for whole
            made = stages.film(stages.work(row(media, "plain", audio="driving")))
            break
        except Again:
            assert not entry.exists()
            assert rounds == 1, "a loop"
    assert rounds == (1 if kind == "latents" or damage == "gone" else 2)
    assert np.array_equal(pictures(made.film), first)
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"run": 5}', '{"run": "x", "frames": "many"}', "\x00" * 99])
def test_a_damaged_marker_stands_for_no_film(text: str, media: Path) -> None:
    stages = chain(media)
    work = stages.work(row(media, "plain"))
    layout, film = stages.settings.layout, Film("clip", work.film_key)
    whole = stages.film(work)
    Path(layout.film_marker(film)).write_text(text)
    assert make_plan([planned_clip(work)], layout, "another run").todo == [planned_clip(work)]
    assert stages.film(work).frames == whole.frames
    assert make_plan([planned_clip(work)], layout, "another run").todo == []


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"digest": 5}', "\x00" * 99])
def test_a_damaged_memo_is_found_out_again(text: str, media: Path) -> None:
    config = {"checkpoints": {"magicanimate": str(media / "weights")}}
    shutil.copytree(Path(__file__).parents[1] / "golden/magicanimate/checkpoint", media / "weights")
    fields = row(media, "magicanimate", driving_kind="densepose")
    before = chain(media, **config).work(fields)
    entries = list((media / "out" / "cache" / "sources").iterdir())
    assert len(entries) > 2
    for entry in entries:
        entry.write_text(text)
    assert chain(media, **config).work(fields) == before
    assert all(json.loads(entry.read_text()).keys() & {"digest", "found"} for entry in entries)


# Sources that change


def test_a_source_of_the_same_size_and_time_is_taken_anew(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference, other = media / "reference.bmp", media / "other.bmp"
    for path, seed in ((reference, 0), (other, 1)):
        Image.open(write_reference(media / "drawn.png", seed)).save(path)
    shown = os.stat(reference)
    words = [str(reference), str(media / "driving.mp4")]
    options = ["--animator", "plain", "--set", "driving_kind=skeleton", "--cache", str(media / "cache")]
    assert cli.main(["clip", *words, str(media / "first.mp4"), *options]) == cli.OK

    reference.write_bytes(other.read_bytes())
    os.utime(reference, ns=(shown.st_atime_ns, shown.st_mtime_ns))
    assert (os.stat(reference).st_size, os.stat(reference).st_mtime_ns) == (shown.st_size, shown.st_mtime_ns)
    for kind in ("references", "latents"):
        shutil.rmtree(media / "cache" / kind)
    assert cli.main(["clip", *words, str(media / "second.mp4"), *options]) == cli.OK
    assert "changed while the run was going on; once more" in capsys.readouterr().err
    mirrored = np.array(Image.open(other)).astype(int)[:, ::-1]
    assert np.abs(pictures(str(media / "second.mp4"))[0].astype(int) - mirrored).mean() < 12


def test_a_file_swapped_after_its_digest_was_taken_is_not_what_is_decoded(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = chain(media)
    work = stages.work(row(media, "plain"))
    secret = write_reference(media / "secret.png", seed=7).read_bytes()
    fetched = storage.fetch_copy

    def then_swapped(uri: str, *asked: Any) -> Any:
        found = fetched(uri, *asked)
        if uri.endswith("reference.png"):
            Path(uri).write_bytes(secret)
        return found

    monkeypatch.setattr(storage, "fetch_copy", then_swapped)
    first = pictures(stages.film(work).film)[0].astype(int)
    mirrored = np.array(Image.open(write_reference(media / "again.png"))).astype(int)[:, ::-1]
    assert np.abs(first - mirrored).mean() < 12


def test_a_source_that_never_rests_fails_with_that_reason(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = chain(media)
    work = stages.work(row(media, "plain"))
    for seed in (1, 2, 3):
        write_reference(media / "reference.png", seed)
        with pytest.raises(Again, match="changed while the run was going on"):
            stages.film(work)


# Half precision


def made(media: Path, animator: str, dtype: str = "bfloat16", **fields: Any) -> Result:
    stages = chain(media, animate_pool={"dtype": dtype})
    return stages.film(stages.work(row(media, animator, **fields)))


@pytest.mark.parametrize(
    ("animator", "reason"),
    [
        ("overflowingdenoiser", "overflowingdenoiser produced values that are not finite"),
        ("overflowingdecoder", "the decoder produced values that are not finite"),
        ("blackinhalf", "all frames are black"),
    ],
)
def test_what_half_precision_cannot_draw_is_drawn_in_float32_and_says_so(
    animator: str, reason: str, media: Path
) -> None:
    half, calm = made(media, animator), made(media, "plain")
    assert half.warnings == [f"made in float32: in bfloat16, {reason}"]
    assert calm.warnings == []
    assert np.array_equal(pictures(half.film), pictures(calm.film))
    marker = storage.read_json(half.film.replace(".mp4", ".json"))
    assert marker["remarks"] == half.warnings
    assert made(media, animator).warnings == half.warnings, "a film that is found again says nothing of it"
    assert not storage.exists(chain(media).settings.layout.latents(half.latents_key)) or animator != (
        "overflowingdenoiser"
    ), "latents in float32 are stored under the key of bfloat16"


@pytest.mark.parametrize(
    ("animator", "dtype", "reason"),
    [
        ("alwaysnan", "bfloat16", "produced values that are not finite, in bfloat16 and in float32"),
        ("alwaysnan", "float32", "alwaysnan produced values that are not finite$"),
        ("alwaysblack", "bfloat16", "all frames are black, in bfloat16 and in float32"),
        ("alwaysblack", "float32", "all frames are black$"),
    ],
)
def test_what_no_precision_can_draw_fails_with_the_reason(animator: str, dtype: str, reason: str, media: Path) -> None:
    with pytest.raises(Problem) as failed:
        made(media, animator, dtype)
    assert re.search(reason, failed.value.error)
    assert not list((media / "out").glob("films/*"))


# Frames of a film that is not made


def test_a_frame_for_a_look_is_drawn_by_the_recipe_of_its_film(media: Path) -> None:
    stages = chain(media, checkpoints={"magicanimate": str(CHECKPOINT)})

    def drawn(mode: str, **recipe: Any) -> np.ndarray:
        fields = {"mode": mode, "steps": 2, "options": {"fast": recipe} if recipe else {}}
        work = stages.work(row(media, "magicanimate", driving_kind="densepose", width=128, height=96, **fields))
        stages.prepare(work)
        return stages.animate().stills(work, [2]).drawn[0]

    standard = drawn("standard")
    assert np.array_equal(drawn("fast", **NOTHING_LEFT_OUT), standard)
    assert not np.array_equal(drawn("fast", **{**NOTHING_LEFT_OUT, "sampler": "unipc"}), standard)


# Short memory


def test_a_film_that_does_not_fit_beside_other_models_is_made_without_them(media: Path) -> None:
    stages = chain(media)
    works = [stages.work(row(media, name)) for name in ("plain", "greedy")]
    for work in works:
        stages.prepare(work)
    calm, alone = map(stages.animate(), works)
    assert np.array_equal(pictures(alone.film), pictures(calm.film))


def test_a_film_that_does_not_fit_beside_what_is_kept_of_others_is_made_without_it(media: Path) -> None:
    stages = chain(media)
    works = [stages.work(row(media, "hoarder", seed=seed)) for seed in (1, 2)]
    for work in works:
        stages.prepare(work)
    animate = stages.animate()
    assert [animate(work).status for work in works] == ["done", "done"]


def test_a_film_that_fits_nowhere_fails_with_what_would_help(media: Path) -> None:
    with pytest.raises(Problem, match="CUDA out of memory") as failed:
        made(media, "toolarge")
    assert re.search("smaller size or window.*low_vram", failed.value.remedy)


def test_a_dark_reference_makes_a_dark_film(media: Path) -> None:
    Image.new("RGB", (48, 64), (5, 5, 5)).save(media / "reference.png")
    assert made(media, "plain").warnings == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_black_film_without_a_reference_is_kept_with_a_warning(dtype: str, media: Path) -> None:
    fields = {"reference": None, "driving": None, "driving_kind": None, "prompt": "night", "frame_count": 3, "fps": 8}
    warnings = made(media, "textblack", dtype, **fields).warnings
    assert warnings[-1] == "all frames are black"
    assert len(warnings) == (1 if dtype == "float32" else 2)


# What metrics say of a film


class Flickering(Plain):
    """Every second frame is brighter by a fiftieth."""

    def frames(self, parts: Parts, clip: Any) -> Iterator[np.ndarray]:
        for segment, latents in parts:
            latents[1::2] *= 1.02
            yield from super().frames([(segment, latents.clamp(0, 255))], clip)


@pytest.fixture
def flickering(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = replace(FACTS, name="flickering", implementation=f"{__name__}:Flickering")
    monkeypatch.setitem(ANIMATORS, "flickering", facts)


@pytest.mark.usefixtures("flickering")
def test_a_films_metrics_are_in_its_result_and_their_curves_in_its_marker(media: Path) -> None:
    calm, unsteady = made(media, "plain"), made(media, "flickering")
    assert calm.review == ["frozen 5 > 3 at frame 5"], "its poses move, it does not"
    assert calm.quality["flicker"].value == 0
    assert calm.quality["sharpness"].value == pytest.approx(1, abs=0.05), "it is the reference itself"
    assert set(calm.quality) == {"container", "black", "frozen", "flicker", "warping_error", "sharpness"}
    assert unsteady.status == "done"
    (reason,) = (one for one in unsteady.review if one.startswith("flicker"))
    assert re.fullmatch(r"flicker [\d.]+ > 0\.5 at frame \d", reason)
    marker = storage.read_json(unsteady.film.replace(".mp4", ".json"))
    assert len(marker["curves"]["flicker"]) == unsteady.frames
    assert max(marker["curves"]["flicker"]) >= unsteady.quality["flicker"].value


@pytest.mark.usefixtures("flickering")
def test_other_limits_judge_a_finished_film_anew_without_making_it_again(media: Path) -> None:
    first = made(media, "flickering")
    written = Path(first.film).stat().st_mtime_ns
    stages = chain(media, animate_pool={"dtype": "bfloat16"}, review={"flicker": None})
    again = stages.film(stages.work(row(media, "flickering")))
    assert (again.film, again.quality) == (first.film, first.quality)
    assert [one.split()[0] for one in first.review] == ["flicker"]
    assert again.review == []
    assert Path(first.film).stat().st_mtime_ns == written
