"""Wan's systems: what diffusers' pipelines make in one call, made in parts that may be interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanAnimatePipeline
from PIL import Image

from manifests.clip import Clip
from manifests.errors import Rejected
from stages.diffusion.animator import Driving, Segment
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.chained_segments import reflected, seen_frames, segments
from stages.diffusion.networks import film_colours
from stages.diffusion.networks.film_pixels import to_levels
from stages.diffusion.wan_animate.animator import WanAnimate
from stages.diffusion.wan_animate.replacing import Scene
from stages.diffusion.wan_vace.animator import WanVace
from stages.poses.recipes import DWPoseSettings, Estimators
from stages.suitability import check_suitable
from tests.conftest import CHECKOUT

GOLDEN = CHECKOUT / "tests" / "golden"
WIDTH, HEIGHT, FACE = 48, 32, 32


@pytest.fixture(scope="module")
def animate() -> WanAnimate:
    return WanAnimate.load(GOLDEN / "wan_animate" / "checkpoint", "cpu", torch.float32)


@pytest.fixture(scope="module")
def vace() -> WanVace:
    return WanVace.load(GOLDEN / "wan_vace" / "checkpoint", "cpu", torch.float32)


def pictures(seed: int, frames: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(0, 256, (frames, height // 8, width // 8, 3), dtype=np.uint8)
    return drawn.repeat(8, 1).repeat(8, 2)


def clip(name: str, **fields: Any) -> Clip:
    given = {
        "id": "clip",
        "animator": name,
        "prompt": "a man dancing",
        "width": WIDTH,
        "height": HEIGHT,
        "fit": "cover",
    }
    return Clip(**{**given, "fit": "cover", "steps": 2, "guidance": 1.0, "window": 9, "overlap": 1, **fields})


def driving(frames: int) -> Driving:
    return Driving(pictures(1, frames), faces=list(pictures(2, frames, FACE, FACE)))


def made(animator: Any, asked: Clip, frames: int, since: list | None = None) -> list[tuple[Segment, torch.Tensor, Any]]:
    """All segments of a film; those of `since` are there already."""
    done = list(since or ())
    carry = done[-1][2] if done else None
    for segment in segments(asked, frames)[len(done) :]:
        denoised = animator.segment(asked, pictures(3, 1, 40, 56)[0], driving(frames), replace(segment, carry=carry))
        done.append((segment, denoised.latents, denoised.carry))
        carry = denoised.carry
    return done


def film(animator: Any, asked: Clip, parts: list) -> np.ndarray:
    return np.concatenate(list(animator.frames([part[:2] for part in parts], asked)))


@pytest.mark.parametrize("system", ["animate", "vace"])
@pytest.mark.parametrize("mode", ["standard", "parity"])
def test_a_film_goes_on_at_any_segment_bit_for_bit_with_other_clips_between(
    system: str, mode: str, request: pytest.FixtureRequest
) -> None:
    animator = request.getfixturevalue(system)
    asked = clip(animator.facts.name, mode=mode, guidance=2.0, seed=5)
    whole = made(animator, asked, 23)
    assert len(whole) == 3
    for border in (1, 2):
        made(animator, asked.model_copy(update={"seed": 6, "prompt": "a horse"}), 5)
        resumed = made(animator, asked, 23, whole[:border])
        assert all(torch.equal(one[1], other[1]) for one, other in zip(whole, resumed, strict=True))
    assert len(film(animator, asked, whole)) == 23


@pytest.mark.parametrize("mode", ["animate", "replace"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_wan_animate_makes_what_diffusers_pipeline_does_in_one_call(
    animate: WanAnimate, guidance: float, mode: str
) -> None:
    asked = clip("wan_animate", mode="parity", seed=11, guidance=guidance, negative_prompt="a horse", fit="stretch")
    given, reference = driving(19), pictures(3, 1)[0]
    scene = Scene(pictures(4, 19), pictures(5, 19)[..., 0]) if mode == "replace" else None
    carry, parts = None, []
    for segment in segments(asked, 19):
        steps = animate.steps(asked, reference, given.poses, given.faces, replace(segment, carry=carry), scene)
        with torch.inference_mode():
            latents = [step.latents for step in steps][-1]
        carry = animate.decode(latents)[:, :, -1:]
        parts.append((segment, latents))
    scheduler = UniPCMultistepScheduler.from_config(animate._scheduler)
    networks = {"text_encoder": animate.text.model, "tokenizer": animate.text.tokenizer}
    networks |= {"image_encoder": animate.tokens.model, "image_processor": animate.tokens.processor}
    networks |= {"vae": animate.images.autoencoder, "transformer": animate.transformer, "scheduler": scheduler}
    pipeline = WanAnimatePipeline(**networks)
    pipeline.set_progress_bar_config(disable=True)
    published = pipeline(
        image=Image.fromarray(reference),
        pose_video=[Image.fromarray(one) for one in given.poses],
        face_video=[Image.fromarray(one) for one in given.faces],
        mode=mode,
        background_video=scene and [Image.fromarray(one) for one in scene.background],
        mask_video=scene and [Image.fromarray(one) for one in scene.masks],
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        width=WIDTH,
        height=HEIGHT,
        segment_frame_length=9,
        num_inference_steps=2,
        guidance_scale=guidance,
        generator=torch.Generator("cpu").manual_seed(11),
        output_type="pt",
    ).frames[0]
    shown = [animate.decode(latents)[:, :, one.taken_over : len(one)] for one, latents in parts]
    assert torch.equal((torch.cat(shown, dim=2)[0] / 2 + 0.5).clamp(0, 1).transpose(0, 1), published)


@pytest.mark.parametrize("system", ["animate", "vace"])
@pytest.mark.parametrize("frames", [1, 2, 9, 10, 18])
def test_a_film_of_any_length_has_its_frames_and_no_padding(
    system: str, frames: int, request: pytest.FixtureRequest
) -> None:
    animator = request.getfixturevalue(system)
    asked = clip(animator.facts.name)
    shown = film(animator, asked, made(animator, asked, frames))
    assert shown.shape == (frames, HEIGHT, WIDTH, 3)
    assert shown.std() > 5


def test_a_carry_rounded_to_what_a_film_shows_gives_another_film(vace: WanVace) -> None:
    asked = clip("wan_vace")
    first, second = made(vace, asked, 17)
    rounded = ((first[2] + 1) * 127.5).round() / 127.5 - 1
    again = made(vace, asked, 17, [(first[0], first[1], rounded)])[1]
    assert not torch.equal(again[1], second[1])


@pytest.mark.parametrize(("longest", "carried"), [(77, 1), (77, 5), (81, 1), (13, 5)])
def test_segments_of_a_standard_film_are_even_and_throw_away_three_frames_at_most(longest: int, carried: int) -> None:
    for frames in range(1, 400):
        asked = clip("wan_animate", window=longest, overlap=carried)
        laid = segments(asked, frames)
        seen = [seen_frames(asked, one) for one in laid]
        assert all(length % 4 == 1 and length <= longest for length in seen)
        assert [one.start + one.taken_over for one in laid[1:]] == [one.stop for one in laid[:-1]]
        assert (laid[0].start, laid[-1].stop) == (0, frames)
        assert sum(seen) - sum(map(len, laid)) <= (3 if frames > 1 else 4)


def test_what_lies_beyond_the_end_is_mirrored() -> None:
    assert [reflected(frame, 5) for frame in range(10)] == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1]
    assert reflected(7, 1) == 0


def test_reference_control_prompt_and_face_all_matter(animate: WanAnimate, vace: WanVace) -> None:
    def latents(animator: Any, asked: Clip, given: Driving, reference: np.ndarray) -> torch.Tensor:
        return animator.segment(asked, reference, given, Segment(0, 5)).latents

    given, reference = driving(5), pictures(3, 1)[0]
    for animator in (animate, vace):
        asked = clip(animator.facts.name)
        plain = latents(animator, asked, given, reference)
        others = [
            latents(animator, asked, given, reference[::-1].copy()),
            latents(animator, asked, replace(given, poses=given.poses[::-1].copy()), reference),
            latents(animator, asked.model_copy(update={"prompt": "a horse"}), given, reference),
            latents(animator, asked.model_copy(update={"seed": 1}), given, reference),
        ]
        if animator is animate:
            others.append(latents(animator, asked, replace(given, faces=None), reference))
        assert not any(torch.equal(plain, other) for other in others)


def test_guidance_of_one_asks_the_network_once_a_step(vace: WanVace) -> None:
    calls: list[int] = []
    handle = vace.transformer.register_forward_hook(lambda *_: calls.append(1))
    try:
        vace.segment(clip("wan_vace"), pictures(3, 1)[0], driving(5), Segment(0, 5))
        assert len(calls) == 2
        vace.segment(clip("wan_vace", guidance=2.0), pictures(3, 1)[0], driving(5), Segment(0, 5))
        assert len(calls) == 2 + 4
    finally:
        handle.remove()


def test_modules_that_must_stay_in_float32_do() -> None:
    loaded = WanVace.load(GOLDEN / "wan_vace" / "checkpoint", "cpu", torch.bfloat16)
    kept = {name for name, weight in loaded.transformer.named_parameters() if weight.dtype == torch.float32}
    assert any("scale_shift_table" in name for name in kept)
    assert any("time_embedder" in name for name in kept)
    assert loaded.transformer.dtype == torch.bfloat16
    assert loaded.images.autoencoder.dtype == torch.float32


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"window": 76}, "4n \\+ 1"),
        ({"overlap": 2}, "carries 1 or 5"),
        ({"window": 9, "overlap": 5}, "too short"),
        ({"loop": True}, "loop"),
        ({"mode": "fast"}, "mode 'fast' is not available"),
        ({"options": {"replace": True}}, "a file of keypoints shows no scene"),
        ({"options": {"replace": True}, "mode": "parity"}, "the published mode animate"),
        ({"mask": "m.mp4"}, "mask: nobody is replaced"),
        ({"mode": "fast"}, "use mode parity or standard"),
        ({"mode": "parity", "options": {"colour_correction": 0.5}}, "colour_correction is heeded in mode standard"),
        ({"width": 40, "height": 40}, "multiples of 16"),
        ({"guidance": 0.5}, "guidance 0.5: wan_animate is guided above 1 alone"),
        ({"options": {"flow_shift": 0}}, "flow_shift"),
        ({"driving_kind": "sketch"}, "is driven by skeletons → set"),
        ({"driving_kind": "video", "mode": "parity"}, "no dwpose estimator"),
    ],
)
def test_what_wan_animate_cannot_do_is_refused_before_it_is_loaded(fields: dict, says: str) -> None:
    given = {"reference": "r.png", "driving": "d.npz", "driving_kind": "keypoints", **fields}
    asked = Clip(id="c", animator="wan_animate", **given)
    with pytest.raises(Rejected, match=says) as refused:
        check_suitable(asked, ANIMATORS["wan_animate"], Estimators())
    assert "toes" not in f"{refused.value.error} {refused.value.remedy}", "which is a name of ours"


@pytest.mark.parametrize("system", ["animate", "vace"])
def test_a_row_shifts_its_steps_as_a_folder_with_that_setting_does(
    system: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    animator = request.getfixturevalue(system)
    plain = clip(animator.facts.name, window=5)
    (own,), (asked,) = (made(animator, one, 5) for one in (plain, clip(plain.animator, options={"flow_shift": 1.5})))
    monkeypatch.setattr(animator, "_scheduler", {**animator._scheduler, "flow_shift": 1.5})
    ((_, expected, _),) = made(animator, plain, 5)
    assert torch.equal(asked[1], expected)
    assert not torch.equal(own[1], expected)


@pytest.mark.parametrize("system", ["animate", "vace"])
def test_colours_that_drift_are_led_back_without_a_jump_where_a_segment_begins(
    system: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    animator = request.getfixturevalue(system)
    asked = clip(animator.facts.name, window=13)
    parts, decoded = made(animator, asked, 37), animator.images.decoded

    def drifting(latents: torch.Tensor) -> Iterator[torch.Tensor]:
        (number,) = (number for number, part in enumerate(parts) if torch.equal(part[1][:, :, 1:], latents))
        yield from (pixels * 0.85**number for pixels in decoded(latents))

    monkeypatch.setattr(animator.images, "decoded", drifting)

    def contrast(strength: float) -> np.ndarray:
        shown = film(animator, corrected(asked, strength), parts).astype(float)
        return np.array([shown[start : start + 12].std() for start in (0, 13, 25)])

    def corrected(given: Clip, strength: float) -> Clip:
        return given.model_copy(update={"options": {"colour_correction": strength}})

    lost = np.abs(contrast(0) / contrast(0)[0] - 1)
    left = np.abs(contrast(1) / contrast(1)[0] - 1)
    assert lost[1] > 0.1
    assert (left[1:] < 0.7 * lost[1:]).all()
    half = np.abs(contrast(0.5) / contrast(0)[0] - 1)
    assert (left[1:] < half[1:]).all()
    assert (half[1:] < lost[1:]).all()
    plain, led = (film(animator, corrected(asked, strength), parts).astype(int) for strength in (0, 1))
    assert np.array_equal(plain[:13], led[:13]), "the first segment is what the others are led back to"
    assert np.abs(plain[13] - led[13]).mean() < 0.2 * np.abs(plain[24] - led[24]).mean()


@pytest.mark.parametrize("system", ["animate", "vace"])
def test_a_segment_goes_on_from_colours_that_the_film_shows(system: str, request: pytest.FixtureRequest) -> None:
    animator = request.getfixturevalue(system)
    asked = clip(animator.facts.name, options={"colour_correction": 0.7}, overlap=1)
    whole = made(animator, asked, 23)
    shown = film(animator, asked, whole)
    for segment, _, carry in whole[:-1]:
        *_, height, width = carry.shape
        assert (height, width) == (HEIGHT + 1, WIDTH), "with a row that holds the first segment's colours"
        assert np.array_equal(to_levels(carry[..., :-1, :])[0], shown[segment.stop - 1])
    resumed = made(animator, asked, 23, whole[:2])
    assert torch.equal(resumed[2][1], whole[2][1])


@pytest.mark.parametrize("system", ["animate", "vace"])
def test_without_colour_correction_no_pixel_is_touched(
    system: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    animator = request.getfixturevalue(system)
    asked = clip(animator.facts.name)
    monkeypatch.setattr(film_colours, "colours_of", lambda pixels: pytest.fail("looked at"))
    whole = made(animator, asked, 23)
    decoded = [animator.decode(latents)[:, :, one.taken_over : len(one)] for one, latents, _ in whole]
    assert np.array_equal(to_levels(torch.cat(decoded, dim=2)), film(animator, asked, whole))
    assert torch.equal(whole[0][2], decoded[0][:, :, -1:])


def test_nobody_is_replaced_without_masks_and_what_makes_them_is_said() -> None:
    fields = {"reference": "r.png", "driving": "d.mp4", "options": {"replace": True}}
    asked, dwpose = Clip(id="c", animator="wan_animate", **fields), DWPoseSettings(detector="d.onnx", pose="p.onnx")
    with pytest.raises(Rejected, match="estimator dwpose makes none") as refused:
        check_suitable(asked, ANIMATORS["wan_animate"], Estimators(dwpose=dwpose))
    assert "fill in mask" in refused.value.remedy
    given = asked.model_copy(update={"mask": "m.mp4"})
    check_suitable(given, ANIMATORS["wan_animate"], Estimators(dwpose=dwpose))
    moved = given.model_copy(update={"retarget": "similarity"})
    with pytest.raises(Rejected, match="move the person"):
        check_suitable(moved, ANIMATORS["wan_animate"], Estimators(dwpose=dwpose))


def test_who_is_replaced_leaves_the_scene_and_the_scene_matters(animate: WanAnimate) -> None:
    asked, masks = clip("wan_animate", options={"replace": True}), np.zeros((5, HEIGHT, WIDTH), np.uint8)
    masks[:, 8:24, 8:24] = 255
    given = replace(driving(5), frames=pictures(6, 5), masks=masks)

    def latents(row: Clip, what: Driving) -> torch.Tensor:
        return animate.segment(row, pictures(3, 1)[0], what, Segment(0, 5)).latents

    replaced = latents(asked, given)
    person = given.frames.copy()
    person[:, 8:24, 8:24] = 99
    assert torch.equal(latents(asked, replace(given, frames=person)), replaced), "nothing is seen of who was there"
    assert not torch.equal(latents(asked, replace(given, frames=given.frames[::-1].copy())), replaced)
    assert not torch.equal(latents(asked, replace(given, masks=255 - masks)), replaced)
    assert not torch.equal(latents(clip("wan_animate"), given), replaced)
