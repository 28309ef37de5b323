"""Validation: what a row becomes, what is refused, and what is remembered of a file."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from manifests import storage
from manifests.clip import Clip
from manifests.errors import Problem, Rejected
from manifests.layout import latents_key
from manifests.source_memo import SourceMemo
from manifests.storage import Allowed
from manifests.work import Work
from stages.checkpoint_files import checkpoint_digest
from stages.diffusion.animator import Facts
from stages.diffusion.animators import ANIMATORS
from stages.poses.recipes import Estimators
from stages.validate import Validate
from stages.video.limits import Limits
from tests.made.sample_media import CHECKPOINT, clip_row, write_driving, write_reference

AWKWARD = Path(__file__).resolve().parents[1] / "media"
WEIGHTS = {"magicanimate": "/models/magicanimate", "tuned": "/models/tuned"}


def validate(folder: Path, limits: Limits | None = None, **fields: Any) -> Work:
    stage = Validate(
        str(folder),
        Allowed(prefixes=[str(folder)]),
        limits or Limits(),
        WEIGHTS,
        str(folder / "cache" / "sources"),
        Estimators(),
    )
    return stage(5, clip_row("a", **fields))


def test_a_row_becomes_work_with_every_default_resolved(media: Path) -> None:
    work = validate(media, width=None, height=None, steps=None)
    clip = work.clip
    assert (work.row, work.frames, work.checkpoint) == (5, 6, "/models/magicanimate")
    assert (clip.width, clip.height, clip.fps, clip.steps) == (48, 64, Fraction(25), 25)
    assert (clip.guidance, clip.window, clip.overlap, clip.fit) == ((7.5,), 16, 4, "cover")
    assert clip.options == {"context_stride": 1, "controlnet_conditioning_scale": 1.0}
    assert validate(media, mode="parity").clip.fit == "stretch"
    assert Work.model_validate_json(work.model_dump_json()) == work


def test_work_without_guidance_reads_back_as_it_was_sent(media: Path) -> None:
    work = validate(media, animator="drawn", driving_kind="video", width=64, height=64, steps=None)
    assert (work.checkpoint, work.clip.guidance, work.clip.steps) == ("bundled:drawn", None, 2)
    assert Work.model_validate_json(work.model_dump_json()) == work


def test_a_large_driving_video_is_scaled_to_the_native_area_in_its_own_shape(media: Path) -> None:
    from stages.validate import film_size

    facts, clip = ANIMATORS["magicanimate"], Clip(id="c", animator="magicanimate")
    assert film_size(clip, facts, {"width": 512, "height": 512}) == (512, 512)
    assert film_size(clip, facts, {"width": 48, "height": 64}) == (48, 64)
    width, height = film_size(clip, facts, {"width": 2160, "height": 3840})
    assert (width % 8, height % 8) == (0, 0)
    assert width * height <= 1.05 * 512 * 512
    assert width / height == pytest.approx(9 / 16, rel=0.03)


def strip(folder: Path, width: int, height: int) -> dict[str, Any]:
    """The fields of a row whose keypoints lie in such a picture."""
    person = {"pose_keypoints_2d": [0.5, 0.5, 1.0] * 18}
    stated = {"width": width, "height": height, "fps": 24, "frames": [{"people": [person]}] * 2}
    (folder / "strip.json").write_text(json.dumps(stated))
    return {"animator": "drawn", "driving": "strip.json", "driving_kind": "keypoints", "steps": None}


@pytest.mark.parametrize(("width", "height"), [(1, 9_000_000), (9_000_000, 1), (2, 5000)])
def test_a_film_in_the_shape_of_a_file_has_no_sides_that_a_row_could_not_give_it(
    media: Path, width: int, height: int
) -> None:
    row = strip(media, width, height)
    with pytest.raises(Rejected, match="a side is 16 to 4096") as caught:
        validate(media, **row, width=None, height=None)
    assert caught.value.remedy == "give width and height in the row"
    clip = validate(media, **row, width=64, height=32).clip
    assert (clip.width, clip.height) == (64, 32)


def test_a_narrow_film_within_bounds_is_made_as_it_is(media: Path) -> None:
    clip = validate(media, **strip(media, 640, 64), width=None, height=None).clip
    assert clip.width >= 2 * clip.height


@pytest.mark.parametrize(("width", "height"), [(1, 2**61), (2**40, 2**40)])
def test_keypoints_in_a_picture_larger_than_any_video_s_are_refused(media: Path, width: int, height: int) -> None:
    with pytest.raises(Rejected, match=r"strip.json' is of pictures of [\d,]+ pixels, the limit is 9,437,184"):
        validate(media, **strip(media, width, height), width=64, height=64)


@pytest.mark.parametrize(
    ("range_", "frames"),
    [
        ({}, 6),
        ({"fps": "50"}, 12),
        ({"fps": "25/2"}, 3),
        ({"start": 0.08}, 4),
        ({"duration": 0.08}, 2),
        ({"first_frame": 1, "frame_count": 3}, 3),
    ],
)
def test_the_length_of_the_film_follows_range_and_rate(media: Path, range_: dict, frames: int) -> None:
    assert validate(media, **range_).frames == frames


def test_a_camera_faster_than_any_film_needs_only_the_films_rate(media: Path) -> None:
    (media / "slowmo.mp4").write_bytes((AWKWARD / "slowmo_480.mp4").read_bytes())
    with pytest.raises(Rejected, match=r"fps: .* runs at 480 frames per second, a film at 240") as refused:
        validate(media, driving="slowmo.mp4")
    assert "give fps" in refused.value.remedy
    work = validate(media, driving="slowmo.mp4", fps=24)
    assert (work.driving.fps, work.driving.frames, work.clip.fps, work.frames) == (480, 24, 24, 2)
    assert Work.model_validate_json(work.model_dump_json()) == work


def test_a_film_begins_at_the_time_of_its_first_frame_also_where_pictures_are_held(media: Path) -> None:
    times = [0, 1, 2, 3, 20, 21, 22, 23, 40]  # in twelfths of a second
    with av.open(str(media / "held.mp4"), "w") as held:
        stream = held.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.time_base = 48, 64, Fraction(1, 12)
        for at in times:
            frame = av.VideoFrame(48, 64, "rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 12)
            held.mux(stream.encode(frame))
        held.mux(stream.encode())
    work = validate(media, driving="held.mp4", first_frame=4, frame_count=4)
    assert (work.clip.fps, work.frames) == (12, 20)
    assert work.begins == pytest.approx(20 / 12)
    assert validate(media, driving="held.mp4", start=0.5).begins == 0.5
    assert validate(media, first_frame=3).begins == pytest.approx(3 / 25)


def test_only_what_is_read_otherwise_than_stored_counts_as_other_content(media: Path) -> None:
    (media / "wide.mp4").write_bytes((AWKWARD / "sar_2_1.mp4").read_bytes())
    plain, wide = validate(media).driving, validate(media, driving="wide.mp4").driving
    assert (plain.content, plain.corrected) == (plain.digest, "")
    assert (wide.width, wide.height, wide.corrected) == (192, 256, "pixels of 2")
    assert wide.content not in (wide.digest, plain.content)
    (media / "adobe.png").write_bytes((AWKWARD / "adobe_rgb.png").read_bytes())
    reference, adobe = validate(media).reference, validate(media, reference="adobe.png").reference
    assert (reference.content, reference.corrected) == (reference.digest, "")
    assert (adobe.corrected, adobe.content != adobe.digest) == ("colour profile", True)


@pytest.mark.parametrize(
    ("fps", "film", "frames"),
    [(Fraction(300), 30, 5), (Fraction(480000, 1001), 60, 7), (Fraction(1000), 120, 6)],
)
def test_motion_capture_and_other_fast_recordings_do_too(media: Path, fps: Fraction, film: int, frames: int) -> None:
    write_driving(media / "fast.mp4", frames=50, fps=fps)
    person = [{"pose_keypoints_2d": [9.0, 9.0, 1.0] * 18}]
    stated = {"width": 48, "height": 64, "fps": str(fps), "frames": [{"people": person}] * 50}
    (media / "fast.json").write_text(json.dumps(stated))
    drawn = {"animator": "drawn", "width": 64, "height": 64, "steps": None}
    for fields in ({"driving": "fast.mp4"}, {"driving": "fast.json", "driving_kind": "keypoints", **drawn}):
        with pytest.raises(Rejected, match="a film at 240"):
            validate(media, **fields)
        work = validate(media, fps=film, **fields)
        assert (work.driving.fps, work.frames) == (fps, frames)
        assert Work.model_validate_json(work.model_dump_json()) == work


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"reference": None}, "reference: magicanimate needs"),
        ({"driving": None}, "driving: magicanimate needs"),
        ({"driving_kind": "video"}, "no densepose estimator"),
        ({"driving_kind": "skeleton"}, "driving_kind 'skeleton'"),
        ({"retarget": "bone_length"}, "retarget 'bone_length'"),
        ({"width": 50, "height": 64}, "multiples of 8"),
        ({"window": 25}, "window 25"),
        ({"overlap": 16}, "overlap 16"),
        ({"guidance": [7.5, 3.0]}, "guidance 7.5, 3.0"),
        ({"options": {"context_stride": 0}}, "options: context_stride 0"),
        ({"options": {"colour": "red"}}, "options: colour"),
        ({"options": {"fast": {"reuse": 2}}}, "options: fast is heeded in mode fast alone"),
        ({"mode": "fast", "options": {"fast": {"reuse": 9}}}, "options: fast.reuse 9"),
        ({"mode": "fast", "steps": 501}, "steps 501: mode fast has 500 at most"),
        ({"lora_scale": 0.5}, "lora_scale 0.5: there is no lora"),
        ({"mode": "parity", "loop": True}, "loop: mode 'parity'"),
        (
            {"animator": "animate_anyone", "driving_kind": "keypoints", "mode": "parity", "retarget": "similarity"},
            "retarget 'similarity': mode 'parity'",
        ),
        (
            {"animator": "text2video_zero", "driving": None, "driving_kind": None, "duration": 1},
            "reference: text2video_zero takes none",
        ),
        ({"animator": "drawn", "mode": "parity"}, "mode 'parity'"),
        ({"animator": "drawn", "driving_kind": "skeleton", "width": 64, "guidance": 3}, "takes 0"),
        ({"animator": "text2video_zero", "driving_kind": "skeleton", "loop": True}, "loop"),
        ({"animator": "magicanimat"}, "did you mean 'magicanimate'"),
        ({"reference": "nobody.png"}, "no such file"),
        ({"reference": "../../etc/passwd"}, "outside the allowed folders"),
        ({"driving": "http://example.com/a.mp4"}, "not allowed"),
        ({"first_frame": 6}, "no frame"),
        ({"checkpoint": "/etc"}, "outside the allowed folders"),
    ],
)
def test_what_cannot_be_done_is_rejected_with_field_and_remedy(media: Path, fields: dict, says: str) -> None:
    with pytest.raises(Rejected) as refused:
        validate(media, **fields)
    assert says in str(refused.value)
    assert refused.value.remedy


def test_an_animator_without_weights_says_where_to_name_them(media: Path) -> None:
    stage = Validate(str(media), Allowed(), Limits(), {}, str(media / "cache"), Estimators())
    with pytest.raises(Rejected, match="none is configured for magicanimate"):
        stage(0, clip_row("a"))
    assert validate(media, checkpoint="tuned").checkpoint == "/models/tuned"
    assert validate(media, checkpoint="mine").checkpoint == str(media / "mine")


@pytest.mark.parametrize(("animator", "told"), [("magicanimate", True), ("animate_anyone", False)])
def test_a_prompt_counts_only_for_animators_that_take_text(media: Path, animator: str, told: bool) -> None:
    kind = {"driving_kind": "densepose" if told else "skeleton", "animator": animator, "checkpoint": "tuned"}
    keys = {
        latents_key(validate(media, prompt=prompt, negative_prompt=other, **kind).clip, "r", ["p"], "c", "d", (0, 6))
        for prompt, other in (("red", ""), ("blue", ""), ("red", "blurred"))
    }
    assert len(keys) == (3 if told else 1)


OPTIONS_IN_KEYS: dict[str, dict[str, Any]] = {  # one more, by default too, and no film of that animator is found again
    "magicanimate": {"context_stride": 1, "controlnet_conditioning_scale": 1.0},
    "animate_anyone": {"context_stride": 1, "interpolation_factor": 1, "interpolation_method": "linear"},
    "dreampose": {"sampler": "checkpoint", "strength": 1.0, "image_tokens": "published", "levels": None},
    "text2video_zero": {
        "controlnet_conditioning_scale": 1.0,
        "midblock_wiring": None,
        "use_motion_field": True,
        "motion_field_strength_x": 12.0,
        "motion_field_strength_y": 12.0,
        "t0": 44,
        "t1": 47,
        "prompt_suffix": None,
        "default_negative_prompt": None,
    },
    "wan_vace": {"colour_correction": 0.0, "conditioning_scale": 1.0},
    "wan_animate": {"colour_correction": 0.0, "replace": False},
    "drawn": {"noise": "shared", "warp": True, "motion": True},
}


@pytest.mark.parametrize("name", ANIMATORS)
def test_options_of_a_standard_clip_are_those_that_its_key_has_always_held(name: str) -> None:
    def key(options: dict[str, Any]) -> str:
        clip = Clip(id="a", animator=name, width=64, height=64, steps=4, options=options)
        return latents_key(clip, "r", ["p"], "c", "d", (0, 6))

    resolved = ANIMATORS[name].options().model_dump()
    assert "fast" not in resolved
    assert resolved == OPTIONS_IN_KEYS[name]
    assert key(resolved) == key(OPTIONS_IN_KEYS[name])


def test_a_recipe_of_mode_fast_is_filled_in_and_part_of_the_key_of_that_mode_alone(media: Path) -> None:
    def key(clip: Clip) -> str:
        return latents_key(clip, "r", ["p"], "c", "d", (0, 6))

    plain, whole = validate(media).clip, validate(media, mode="fast", steps=None).clip
    partly = validate(media, mode="fast", steps=None, options={"fast": {"reuse": 1}}).clip
    given = {"sampler": "unipc", "guided": 0.67, "reuse": 2}
    assert "fast" not in plain.options
    assert (whole.steps, whole.options["fast"]) == (12, given)
    assert partly.options["fast"] == {**given, "reuse": 1}
    assert key(validate(media, mode="fast", steps=None, options={"fast": given}).clip) == key(whole)
    assert len({key(plain), key(whole), key(partly), key(whole.model_copy(update={"steps": 10}))}) == 4
    assert validate(media, mode="fast", steps=20).clip.steps == 20
    undriven = {"animator": "text2video_zero", "reference": None, "driving": None, "driving_kind": None, "duration": 1}
    assert validate(media, mode="fast", steps=None, checkpoint="tuned", prompt="a cat", **undriven).clip.steps == 24


@pytest.mark.parametrize("facts", ANIMATORS.values(), ids=list(ANIMATORS))
def test_options_left_out_are_the_same_as_their_defaults_given(facts: Facts) -> None:
    given = {name: field.default for name, field in facts.options.model_fields.items()}
    assert json.dumps(facts.options().model_dump()) == json.dumps(facts.options(**given).model_dump())


def test_limits_are_checked_before_anything_is_decoded(media: Path) -> None:
    tight = ({"bytes": 100}, {"pixels": 100}, {"frames": 3}, {"seconds": 0.1}, {"frame_pixels": 9})
    for limits in tight:
        with pytest.raises(Rejected):
            validate(media, Limits(**limits))
    assert validate(media).frames == 6  # a refusal under one limit is not remembered under another


def test_a_changed_file_is_examined_again(media: Path) -> None:
    before = validate(media)
    write_reference(media / "reference.png", seed=9)
    write_driving(media / "driving.mp4", frames=8)
    after = validate(media)
    assert after.frames == 8
    assert after.reference.digest != before.reference.digest
    assert after.driving.digest != before.driving.digest


def test_a_file_that_many_rows_name_is_asked_for_once(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed, sources = Allowed(prefixes=[str(media)]), str(media / "cache" / "sources")
    stage = Validate(str(media), allowed, Limits(), WEIGHTS, sources, Estimators())
    asked: list[str] = []
    stamp = storage.stamp
    monkeypatch.setattr(storage, "stamp", lambda uri: asked.append(Path(uri).name) or stamp(uri))
    rows = [clip_row(f"c{number}", driving="driving.mp4" if number % 2 else "absent.mp4") for number in range(10)]
    for number, row in enumerate(rows):
        if number % 2:
            assert stage(number, row).frames == 6
        else:
            with pytest.raises(Rejected, match="no such file"):
                stage(number, row)
    per_file = {name: asked.count(name) for name in ("reference.png", "driving.mp4", "absent.mp4")}
    assert max(per_file.values()) <= 3, per_file  # not 10


def test_what_a_row_names_is_told_without_reading_it(media: Path) -> None:
    stage = Validate(str(media), Allowed(), Limits(), WEIGHTS, str(media / "cache" / "sources"), Estimators())
    asked = stage.asked(clip_row("a"))
    files = {field: (Path(file.uri).name, file.kind) for field, file in asked.files.items()}
    assert files == {"reference": ("reference.png", "image"), "driving": ("driving.mp4", "video")}
    assert (asked.clip.id, asked.checkpoint) == ("a", "/models/magicanimate")
    assert [stage.is_known(file) for file in asked.files.values()] == [False, False]
    stage(0, clip_row("a"))
    assert [stage.is_known(file) for file in asked.files.values()] == [True, True]


def test_a_damaged_file_is_not_decoded_twice(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (media / "driving.mp4").write_text("no video")
    with pytest.raises(Rejected) as first:
        validate(media)
    monkeypatch.setattr("stages.validate._probe_video", None)  # whoever calls it now fails otherwise
    with pytest.raises(Rejected) as second:
        validate(media)
    assert str(first.value) == str(second.value)


def test_the_digest_of_a_checkpoint_is_of_the_files_that_are_read(tmp_path: Path) -> None:
    facts, memo = ANIMATORS["magicanimate"], SourceMemo(str(tmp_path / "memo"))
    copy = tmp_path / "weights"
    for path in CHECKPOINT.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(CHECKPOINT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    digest = checkpoint_digest(str(copy), facts, memo)
    assert digest == checkpoint_digest(str(CHECKPOINT), facts, memo)
    (copy / "stable-diffusion-v1-5" / "v1-5-pruned.ckpt").write_bytes(b"never read")
    assert checkpoint_digest(str(copy), facts, memo) == digest
    (copy / "MagicAnimate" / "temporal_attention" / "temporal_attention.ckpt").write_bytes(b"other")
    assert checkpoint_digest(str(copy), facts, memo) != digest
    (copy / "sd-vae-ft-mse" / "config.json").unlink()
    (copy / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(Problem, match="lacks sd-vae-ft-mse"):
        checkpoint_digest(str(copy), facts, memo)
