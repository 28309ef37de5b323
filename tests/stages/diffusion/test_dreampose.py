"""Promises of the animator DreamPose beyond what its recordings prove, on tiny random weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from manifests.clip import Clip
from manifests.errors import Rejected
from stages.diffusion.animator import Denoised, Segment
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.dreampose.animator import DreamPose, neighbours_of
from stages.diffusion.dreampose.contrast_stretch import extremes, ranged_frames, stretched_frames
from stages.diffusion.dreampose.dual_guidance import FULL, IMAGE_ONLY, UNCONDITIONAL, branch_weights
from stages.diffusion.dreampose.facts import DreamPoseOptions
from stages.diffusion.dreampose.key_image import random_draws
from stages.diffusion.dreampose.pose_packing import pose_picture
from stages.validate import film_size
from tests.made.dreampose_media import clip, image, uv, write_checkpoint
from tests.made.seam import frames_of, latents_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("dreampose") / "checkpoint")


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> DreamPose:
    return DreamPose.load(checkpoint, "cpu", torch.float32)


@pytest.fixture
def animator(loaded: DreamPose) -> DreamPose:
    loaded.keys.features.__init__()
    return loaded


def animate(animator: DreamPose, frames: int, reference: int = 0, **fields: object) -> torch.Tensor:
    return latents_of(animator, clip(**fields), image(reference), uv(frames), Segment(0, frames))


def calls(layer: torch.nn.Module, run: Callable[[], object]) -> list[int]:
    """Batch sizes that come into a layer meanwhile."""
    seen: list[int] = []
    handle = layer.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    run()
    handle.remove()
    return seen


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-4 * float(other.std()), rtol=0)


@pytest.mark.parametrize(("frames", "width", "height"), [(1, 64, 128), (5, 128, 64), (9, 64, 128), (2, 32, 256)])
@pytest.mark.parametrize("mode", ["standard", "parity"])
def test_films_of_any_length_and_of_every_size_of_the_adapters_area_are_made(
    animator: DreamPose, mode: str, frames: int, width: int, height: int
) -> None:
    made = clip(width=width, height=height, mode=mode)
    latents = latents_of(animator, made, image(0, 72, 40), uv(frames), Segment(0, frames))
    assert latents.shape == (frames, 4, height // 8, width // 8)
    assert latents.isfinite().all()
    film = np.concatenate(list(frames_of(animator, Denoised(latents), made)))
    assert (film.shape, film.dtype) == ((frames, height, width, 3), np.uint8)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (512, 640), (96, 128)])
def test_a_size_of_another_area_is_rejected_with_sizes_that_work(animator: DreamPose, width: int, height: int) -> None:
    with pytest.raises(Rejected, match=f"{width}×{height}.*32 blocks.*{width * height // 256}") as refused:
        animate(animator, 1, width=width, height=height)
    for size in refused.value.remedy.removeprefix("use ").split(" or "):
        near_width, near_height = map(int, size.split("×"))
        assert animate(animator, 1, width=near_width, height=near_height).isfinite().all()


def test_a_row_without_a_size_gets_the_trained_one_upright_or_lying() -> None:
    facts, clip = ANIMATORS["dreampose"], Clip(id="c", animator="dreampose")
    assert film_size(clip, facts, {"width": 1080, "height": 1920}) == (512, 640)
    assert film_size(clip, facts, {"width": 300, "height": 300}) == (512, 640)
    assert film_size(clip, facts, {"width": 1920, "height": 1080}) == (640, 512)
    assert film_size(clip, facts, None) == (512, 640)


@pytest.mark.parametrize(
    ("guidance", "branches"),
    [((8, 3), 3), ((2.5, 2.5), 2), ((1, 3), 2), ((4, 0), 2), ((1, 1), 1), ((0, 0), 1), ((1, 0), 1)],
)
def test_predictions_that_do_not_count_are_not_made(
    animator: DreamPose, guidance: tuple[float, float], branches: int
) -> None:
    frames = 3
    entrance = animator.unet.network.conv_in
    seen = calls(entrance, lambda: animate(animator, frames, guidance=guidance, mode="parity"))
    assert seen == [branches * frames] * 3  # PNDM: two steps are three calls


def test_the_weights_of_the_branches_are_those_of_the_published_formula() -> None:
    unconditional, full, image_only = np.random.default_rng(0).normal(size=3)
    for scales in ((8, 3), (0.5, 0.5), (1, 1), (0, 0), (-1, 2), (1, 0)):
        weights = branch_weights(*scales)
        branches = {UNCONDITIONAL: unconditional, FULL: full, IMAGE_ONLY: image_only}
        formula = unconditional + scales[0] * (image_only - unconditional) + scales[1] * (full - image_only)
        assert sum(weight * branches[branch] for branch, weight in weights.items()) == pytest.approx(formula)
        assert all(weights.values())


def test_at_the_first_step_what_no_pose_tells_apart_is_predicted_once(animator: DreamPose) -> None:
    entrance = animator.unet.network.conv_in
    assert calls(entrance, lambda: animate(animator, 6)) == [2, 4, 2, 12, 6, 12, 6]
    assert calls(entrance, lambda: animate(animator, 6, mode="parity")) == [12, 6] * 3


def test_what_is_shared_at_the_first_step_changes_nothing(animator: DreamPose, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = animate(animator, 6)
    own = random_draws(clip(), Segment(0, 6))
    apart = replace(own, noise=own.noise.expand(6, -1, -1, -1))  # the same noise, held to be each frame's own
    monkeypatch.setattr("stages.diffusion.dreampose.animator.random_draws", lambda *_: apart)
    assert close(animate(animator, 6), shared)


def test_how_many_frames_go_through_the_network_at_once_changes_nothing(animator: DreamPose) -> None:
    for mode in ("standard", "parity"):
        assert close(animate(animator, 5, window=1, mode=mode), animate(animator, 5, window=8, mode=mode))
        entrance = animator.unet.network.conv_in
        assert max(calls(entrance, lambda mode=mode: animate(animator, 9, window=2, mode=mode))) == 6


@pytest.mark.parametrize("mode", ["standard", "parity"])
def test_segments_of_a_clip_are_parts_of_the_whole(animator: DreamPose, mode: str) -> None:
    made, poses = clip(mode=mode), uv(7)
    whole = latents_of(animator, made, image(), poses, Segment(0, 7))
    parts = [latents_of(animator, made, image(), poses, Segment(start, stop)) for start, stop in ((0, 3), (3, 7))]
    assert close(torch.cat(parts), whole)


def test_a_pose_reaches_two_frames_on_either_side(animator: DreamPose) -> None:
    poses, other = uv(9), uv(9)
    other[5] = other[5][:, ::-1]
    made = [latents_of(animator, clip(), image(), each, Segment(0, 9)) for each in (poses, other)]
    changed = (made[0] - made[1]).abs().amax(dim=(1, 2, 3))
    assert (changed > 1e-3).nonzero().flatten().tolist() == [3, 4, 5, 6, 7]


def test_at_its_ends_a_film_stands_still_or_goes_on_from_the_other_end_or_does_as_published() -> None:
    assert neighbours_of(clip(), 0, 6) == (0, 0, 0, 1, 2)
    assert neighbours_of(clip(), 4, 6) == (2, 3, 4, 5, 5)
    assert neighbours_of(clip(), 0, 1) == (0, 0, 0, 0, 0)
    assert neighbours_of(clip(loop=True), 0, 6) == (4, 5, 0, 1, 2)
    assert neighbours_of(clip(mode="parity"), 1, 6) == (1, 0, 1, 2, 3)
    assert neighbours_of(clip(mode="parity", loop=True), 4, 6) == (2, 3, 4, 5, 4)


def test_without_pose_guidance_all_frames_are_one_in_standard_mode_alone(animator: DreamPose) -> None:
    still = animate(animator, 4, guidance=(8, 0))
    assert close(still, still[:1].expand_as(still))
    redrawn = animate(animator, 4, guidance=(8, 0), mode="parity")  # quirk 9
    assert not close(redrawn, redrawn[:1].expand_as(redrawn))


def test_a_seed_is_a_film_whatever_was_made_before_it(animator: DreamPose) -> None:
    first = animate(animator, 3)
    other = animate(animator, 3, seed=2, reference=1)
    assert torch.equal(animate(animator, 3), first)
    assert not torch.allclose(other, first, atol=1e-2)


def test_the_key_image_is_looked_at_once_and_nothing_at_all_once_per_checkpoint(animator: DreamPose) -> None:
    entrance = animator.keys.images.autoencoder.encoder.conv_in
    assert len(calls(entrance, lambda: animate(animator, 5))) == 3
    assert calls(entrance, lambda: animate(animator, 7, seed=3, mode="parity")) == []
    assert len(calls(entrance, lambda: animate(animator, 2, reference=1))) == 2


def test_a_contexts_keys_and_values_are_projected_once_for_all_steps_and_calls(animator: DreamPose) -> None:
    attention = animator.unet.network.mid_block.attentions[0].transformer_blocks[0].attn2
    assert calls(attention.to_k, lambda: animate(animator, 9, steps=5)) == [2]
    assert calls(attention.to_k, lambda: animate(animator, 9, seed=1)) == [2]
    assert calls(attention.to_q, lambda: animate(animator, 4, steps=3)) == [2, 4, 12, 12, 12]


def test_a_contexts_keys_and_values_are_projected_once_however_clips_take_turns(animator: DreamPose) -> None:
    attention = animator.unet.network.mid_block.attentions[0].transformer_blocks[0].attn2

    def in_turns() -> None:
        with torch.inference_mode():
            both = [animator.steps(clip(seed=seed, steps=3), image(), uv(4), Segment(0, 4)) for seed in (1, 2)]
            for _ in zip(*both, strict=True):
                pass

    assert calls(attention.to_k, in_turns) == [2, 2]


def test_the_range_of_the_image_tokens_is_as_published_unless_asked_otherwise(animator: DreamPose) -> None:
    published, trained = (animate(animator, 1, options={"image_tokens": name}) for name in ("published", "trained"))
    assert torch.equal(animate(animator, 1), published)
    assert not torch.allclose(published, trained, atol=1e-3)


def test_strength_leaves_out_the_first_steps_and_keeps_more_of_the_key_image(animator: DreamPose) -> None:
    def timesteps(**options: object) -> list[int]:
        made = clip(steps=5, options=options)
        return [step.timestep for step in animator.steps(made, image(), uv(1), Segment(0, 1))]

    with torch.inference_mode():
        assert timesteps() == [801, 601, 601, 401, 201, 1]
        assert timesteps(strength=0.6) == [601, 401, 201, 1]
        assert timesteps(sampler="ddim", strength=0.6) == [401, 201, 1]
        assert timesteps(sampler="ddim", strength=0.01) == [1]


def test_what_decides_the_levels(animator: DreamPose) -> None:
    latents = animate(animator, 3)

    def levels(*, tuned: bool, **fields: object) -> str:
        system = DreamPose(animator.unet, animator.keys, animator.scheduler, tuned_decoder=tuned)
        film = np.concatenate(list(frames_of(system, Denoised(latents), clip(**fields))))
        candidates = {
            name: np.concatenate(list(frames_of(animator, Denoised(latents), clip(options={"levels": name}))))
            for name in ("frame", "clip", "trained")
        }
        return next(name for name, other in candidates.items() if np.array_equal(film, other))

    assert levels(tuned=True) == "trained"
    assert levels(tuned=False) == "clip"
    assert levels(tuned=False, mode="parity") == levels(tuned=True, mode="parity") == "frame"
    assert levels(tuned=True, mode="parity", options={"levels": "clip"}) == "clip"


def test_levels_are_stretched_per_frame_or_for_all_frames_alike() -> None:
    dark, bright = torch.full((2, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.5)
    dark[1, 0, 0, 0], bright[0, 1, 2, 2] = 0.75, 1.0
    by_frame = np.concatenate(list(stretched_frames([dark, bright])))
    assert by_frame.max(axis=(1, 2, 3)).tolist() == [0, 255, 255]  # a frame of one colour is black, not NaN
    assert by_frame.min() == 0
    low, high = extremes([dark, bright])
    assert (low, high) == (0.5, 1.0)
    alike = np.concatenate(list(ranged_frames([dark, bright], low, high)))
    assert alike.max(axis=(1, 2, 3)).tolist() == [0, 128, 255]
    assert extremes([torch.full((1, 3, 2, 2), 0.3)]) == (0.0, 1.0)
    assert np.concatenate(list(ranged_frames([torch.tensor([0.0, 0.2, 1.0]).expand(1, 3, 1, 3)], 0.2, 0.6))).tolist()[
        0
    ][0] == [[0] * 3, [0] * 3, [255] * 3]


def test_a_pose_meets_the_films_shape_as_the_key_image_does() -> None:
    maps = uv(1, width=40, height=80)[0]
    stretched = interpolate(torch.from_numpy(maps)[None], (128, 64), mode="bilinear")[0]
    assert torch.equal(pose_picture(maps, 64, 128, "stretch"), (stretched - 0.5) / 0.5)
    assert torch.equal(pose_picture(maps, 64, 128, "cover"), pose_picture(maps, 64, 128, "stretch"))  # the same shape

    wide = np.zeros((2, 40, 120), np.float32)
    wide[:, :, 40:80] = 1.0
    assert bool((pose_picture(wide, 64, 64, "cover") == 1).all()), "the centre fills the film"
    inside = pose_picture(wide, 64, 64, "contain")
    assert bool((inside[:, :20] == -1).all())
    assert bool((inside[:, -20:] == -1).all()), "no body around it"
    assert inside[:, 32, 32].tolist() == [1, 1]
    for how in ("cover", "contain", "stretch"):
        assert pose_picture(np.ones((2, 1, 2_000_000), np.float32), 64, 128, how).shape == (2, 128, 64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_runs_throughout_and_stays_close(
    checkpoint: Path, animator: DreamPose, dtype: torch.dtype
) -> None:
    half = DreamPose.load(checkpoint, "cpu", dtype)
    assert half.unet.network.dtype == half.keys.images.autoencoder.dtype == dtype
    made = clip(guidance=(2, 1.5))
    exact, near = (latents_of(one, made, image(), uv(2), Segment(0, 2)) for one in (animator, half))
    assert near.isfinite().all()
    assert (exact - near).abs().mean() < 0.1 * exact.std()
    assert half.keys.images.autoencoder.dtype == dtype, "after looking at the key image in float32"
    with pytest.raises(RuntimeError):
        half.keys.images.posterior(torch.zeros(1, 5, 32, 32))
    assert half.keys.images.autoencoder.dtype == dtype, "after a key image that cannot be encoded"
    film = np.concatenate(list(frames_of(half, Denoised(near), made)))
    assert film.std() > 1


def test_options_are_checked_by_name_and_value() -> None:
    for wrong in ({"strength": 0}, {"strength": 1.5}, {"sampler": "euler"}, {"levels": "all"}, {"eta": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DreamPoseOptions(**wrong)
