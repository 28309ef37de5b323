"""Promises of the animator Text2Video-Zero beyond what its recordings prove, on tiny random weights."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from safetensors.torch import load_file

from manifests.clip import Clip
from manifests.errors import Problem, Rejected
from manifests.source_memo import SourceMemo
from manifests.storage import Allowed
from manifests.work import Work
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from stages.checkpoint_files import checkpoint_digest
from stages.diffusion.animator import Denoised, Segment
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.sampling.ddim import ddim
from stages.diffusion.text2video_zero.animator import POSE_NEGATIVE, POSE_SUFFIX, TEXT_SUFFIX, Text2VideoZero, prompts
from stages.poses.recipes import Estimators
from stages.validate import Validate, film_size
from stages.video.limits import Limits
from tests.made.sample_media import write_driving
from tests.made.seam import frames_of, latents_of
from tests.made.tiny_diffusion import CONTROL, GOLDEN, control_network, write_text2video_zero
from tests.stages.diffusion.test_checkpoint_loading import Payload

WIDTH, HEIGHT = 64, 48
UNET = "stable-diffusion-v1-5/unet"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text2video_zero(tmp_path_factory.mktemp("text2video_zero") / "checkpoint")


@pytest.fixture(scope="module")
def animator(checkpoint: Path) -> Text2VideoZero:
    return Text2VideoZero.load(checkpoint, "cpu", torch.float32)


def clip(**fields: Any) -> Clip:
    given = {"width": WIDTH, "height": HEIGHT, "fit": "stretch", "steps": 2, "guidance": 7.5, "seed": 1, "window": 4}
    return Clip(id="c", animator="text2video_zero", **{**given, "prompt": "a panda dancing", **fields})


def poses(frames: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    random = np.random.default_rng(frames)
    return random.integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def follow(animator: Text2VideoZero, frames: int, segment: Segment | None = None, **fields: Any) -> torch.Tensor:
    return latents_of(animator, clip(**fields), None, poses(frames), segment or Segment(0, frames))


def imagine(animator: Text2VideoZero, frames: int, segment: Segment | None = None, **fields: Any) -> torch.Tensor:
    return latents_of(animator, clip(**{"steps": 3, **fields}), None, None, segment or Segment(0, frames))


JUMP = {"steps": 10, "options": {"t0": 35, "t1": 40}}


def batches(layer: torch.nn.Module, run: Callable[[], object]) -> list[int]:
    """Batch sizes that come into a layer meanwhile."""
    seen: list[int] = []
    handle = layer.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    run()
    handle.remove()
    return seen


# --- The published way, chunk by chunk, with diffusers' own networks.


class Repeated:
    """Keys and values of every frame are computed, and those of frame 0 put in their place."""

    def __call__(self, attn: Attention, hidden: torch.Tensor, encoder_hidden_states: Any = None, **_: Any) -> Any:
        context = hidden if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden), attn.to_k(context), attn.to_v(context)
        if encoder_hidden_states is None:
            key, value = (
                one.unflatten(0, (2, -1))[:, :1].expand(-1, len(hidden) // 2, -1, -1).flatten(0, 1)
                for one in (key, value)
            )
        query, key, value = map(attn.head_to_batch_dim, (query, key, value))
        mixed = torch.bmm(attn.get_attention_scores(query, key), value)
        return attn.to_out[0](attn.batch_to_head_dim(mixed))


@torch.inference_mode()
def published(folder: Path, shown: Clip, control: torch.Tensor, text: torch.Tensor, legacy: bool) -> torch.Tensor:
    """(frames, 4, h, w) of control pictures (frames, 3, H, W)."""
    unet, controlnet = UNet2DConditionModel.from_pretrained(folder / UNET), control_network(folder)
    for network in (unet, controlnet):
        network.set_attn_processor(Repeated())
    entered: list[torch.Tensor] = []
    unet.mid_block.register_forward_pre_hook(lambda _, given: (given[0] + entered[-1], *given[1:]) if legacy else None)
    scheduler = DDIMScheduler.from_pretrained(folder / "stable-diffusion-v1-5/scheduler")
    noise = torch.randn(1, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(shown.seed))
    made = []
    for start in range(0, len(control), shown.window - 1):
        frames = [0, *range(start, min(start + shown.window - 1, len(control)))]
        words, pictures = text.repeat_interleave(len(frames), dim=0), control[frames].repeat(2, 1, 1, 1)
        latents = noise.repeat(len(frames), 1, 1, 1)
        scheduler.set_timesteps(shown.steps)
        for timestep in scheduler.timesteps:
            both = latents.repeat(2, 1, 1, 1)
            down, mid = controlnet(both, timestep, words, pictures, return_dict=False)
            entered.append(down[-1])
            predicted = unet(
                both, timestep, words, down_block_additional_residuals=down, mid_block_additional_residual=mid
            ).sample
            negative, positive = predicted.chunk(2)
            guided = negative + shown.guidance[0] * (positive - negative)
            latents = scheduler.step(guided, timestep, latents).prev_sample
        made.append(latents[1:])
    return torch.cat(made)


@pytest.mark.parametrize("wiring", ["legacy", "modern"])
def test_poses_are_followed_as_published_although_nothing_is_computed_twice(
    checkpoint: Path, animator: Text2VideoZero, wiring: str
) -> None:
    row = clip(mode="parity", steps=3, options={"midblock_wiring": wiring})
    pictures = poses(6)
    control = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    text = animator.text.encode(prompts(row, driven=True))
    expected = published(checkpoint, row, control, text, legacy=wiring == "legacy")
    made = latents_of(animator, row, None, pictures, Segment(0, 6))
    assert (made - expected).abs().max() < 1e-4 * expected.std()
    other = latents_of(animator, clip(mode="standard", steps=3), None, pictures, Segment(0, 6))
    assert (other - expected).abs().max() > 0.01 * expected.std()


# --- Films


@pytest.mark.parametrize(("frames", "width", "height"), [(1, 32, 48), (3, 40, 24), (4, 64, 64), (9, 24, 40)])
def test_films_of_any_length_and_size_with_and_without_a_driving_file(
    animator: Text2VideoZero, frames: int, width: int, height: int
) -> None:
    row, shape = clip(width=width, height=height), (frames, 4, height // 8, width // 8)
    for driving in (poses(frames, 50, 70), None):
        latents = latents_of(animator, row, None, driving, Segment(0, frames))
        assert latents.shape == shape
        assert bool(torch.isfinite(latents).all())
    film = np.concatenate(list(frames_of(animator, Denoised(latents), row)))
    assert (film.shape, film.dtype) == ((frames, height, width, 3), np.uint8)


def test_the_size_of_the_chunks_changes_nothing_where_noise_is_a_frames_own(animator: Text2VideoZero) -> None:
    for make in (follow, imagine):
        small, large = make(animator, 7, window=2), make(animator, 7, window=16)
        assert torch.allclose(small, large, atol=1e-4 * float(large.std()))
    small, large = (imagine(animator, 7, mode="parity", window=size, **JUMP) for size in (2, 16))
    assert not torch.allclose(small, large, atol=0.1), "the published noise is drawn chunk by chunk"


def test_a_segment_is_its_part_of_the_film(animator: Text2VideoZero) -> None:
    for make in (follow, imagine):
        whole = make(animator, 6)
        for start, stop in ((0, 2), (2, 6), (5, 6)):
            part = make(animator, 6, Segment(start, stop))
            assert torch.allclose(part, whole[start:stop], atol=1e-4 * float(whole.std()))


def test_a_seed_is_a_film_whatever_is_made_beside_it(animator: Text2VideoZero) -> None:
    alone = [step.latents for step in animator.pose_steps(clip(steps=3), poses(5), Segment(0, 5))]
    beside = animator.pose_steps(clip(steps=3, seed=2, window=3), poses(6), Segment(0, 6))
    together = []
    for step in animator.pose_steps(clip(steps=3), poses(5), Segment(0, 5)):
        together.append(step.latents)
        next(beside)
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))
    assert not torch.allclose(follow(animator, 5), follow(animator, 5, seed=2))


def test_a_clip_drawn_between_two_windows_of_another_leaves_it_as_it_is(animator: Text2VideoZero) -> None:
    alone, forwards = follow(animator, 7), []

    def interrupt(*_: Any) -> None:
        forwards.append(1)
        if len(forwards) == 2:  # the first window has seen the anchor, the second is about to read it
            follow(animator, 3, seed=2)

    handle = animator.unet.network.register_forward_pre_hook(interrupt)
    beside = follow(animator, 7)
    handle.remove()
    assert torch.equal(beside, alone)


def test_the_scene_moves_by_the_motion_field_and_not_without_it(animator: Text2VideoZero) -> None:
    still = imagine(animator, 3, options={"motion_field_strength_x": 0, "motion_field_strength_y": 0})
    moved = imagine(animator, 3, options={"motion_field_strength_x": 128})
    assert torch.allclose(still[0], moved[0], atol=1e-4)
    assert not torch.allclose(still[2], moved[2], atol=0.1)
    unmoved = imagine(animator, 3, options={"use_motion_field": False})
    assert not torch.allclose(unmoved[0], moved[0], atol=0.1)


def test_films_are_rounded_and_truncated_as_published_in_parity(animator: Text2VideoZero) -> None:
    latents = follow(animator, 2)
    exact = torch.cat(list(animator.images.decode([latents]))).permute(0, 2, 3, 1).numpy() * 255
    standard, parity = (
        np.concatenate(list(frames_of(animator, Denoised(latents), clip(mode=one)))) for one in ("standard", "parity")
    )
    assert np.abs(standard - exact).max() <= 0.5 + 1e-3
    assert (parity <= exact).all()
    assert (exact - parity).max() > 0.9


# --- Work that is not wasted


def test_every_frame_enters_the_networks_once_per_step_in_bounded_batches(animator: Text2VideoZero) -> None:
    for network in (animator.unet.network, animator.control.network):
        sizes = batches(network.mid_block.resnets[0], lambda: follow(animator, 7, steps=3))
        assert sizes == [2 * 4, 2 * 3] * 3
    assert batches(animator.unet.network.conv_in, lambda: follow(animator, 3, steps=1, guidance=1.0)) == [3]


def test_until_the_first_words_are_read_both_branches_are_computed_as_one(animator: Text2VideoZero) -> None:
    for network in (animator.unet.network, animator.control.network):
        block = network.down_blocks[0]
        transformer = block.attentions[0].transformer_blocks[0]
        for layer in (network.conv_in, block.resnets[0].conv2, block.attentions[0].proj_in, transformer.attn1.to_q):
            assert batches(layer, lambda: follow(animator, 7, steps=1)) == [4, 3]
        assert batches(transformer.norm2, lambda: follow(animator, 7, steps=1)) == [2 * 4, 2 * 3]


def test_keys_and_values_are_projected_for_the_anchor_alone_and_text_once_per_branch(animator: Text2VideoZero) -> None:
    for network in (animator.unet.network, animator.control.network):
        block = network.mid_block.attentions[0].transformer_blocks[0]
        assert batches(block.attn1.to_k, lambda: follow(animator, 7, steps=3)) == [2] * 3
        assert set(batches(block.attn2.to_k, lambda: follow(animator, 7, steps=3))) == {2}


def test_a_pose_is_embedded_once_and_a_text_encoded_once(animator: Text2VideoZero) -> None:
    assert batches(animator.control.embedding.conv_in, lambda: follow(animator, 7, steps=3)) == [4, 3]
    asked: list[int] = []
    handle = animator.text.model.register_forward_hook(lambda *_: asked.append(1))
    follow(animator, 7, steps=3)
    handle.remove()
    assert len(asked) == 1


def test_the_single_frame_is_denoised_to_the_jump_alone_and_once_for_all_chunks(animator: Text2VideoZero) -> None:
    row = {"mode": "parity", "window": 3, **JUMP}  # timesteps 701 and 801 of 901, 801, … 1
    sizes = batches(animator.unet.network.conv_in, lambda: imagine(animator, 5, **row))
    assert sizes == [1, 1] + [3, 3] * 9, "of both branches, which are equal there"


# --- Branches and options


def test_without_guidance_the_conditional_branch_attends_to_its_own_anchor(animator: Text2VideoZero) -> None:
    for make in (follow, imagine):
        free, bound = make(animator, 5, guidance=1.0), make(animator, 5, guidance=1.000001)
        assert torch.allclose(free, bound, atol=1e-3 * float(free.std()))


def test_parity_adds_the_published_words_and_standard_says_what_the_row_says() -> None:
    assert prompts(clip(mode="parity", prompt="a cat "), driven=True) == [POSE_NEGATIVE, f"a cat , {POSE_SUFFIX}"]
    assert prompts(clip(mode="parity", prompt="a cat,. "), driven=False) == ["", f"a cat,, {TEXT_SUFFIX}"]
    assert prompts(clip(mode="parity", negative_prompt="dull"), driven=True)[0] == "dull"
    for driven in (True, False):
        assert prompts(clip(), driven) == ["", "a panda dancing"]
        named = {"prompt_suffix": "in ink", "default_negative_prompt": "colour"}
        assert prompts(clip(options=named), driven) == ["colour", "a panda dancing, in ink"]
        assert prompts(clip(guidance=1.0), driven) == ["a panda dancing"]
    nothing = {"prompt_suffix": "", "default_negative_prompt": ""}
    assert prompts(clip(mode="parity", options=nothing), driven=True) == ["", "a panda dancing"]


def test_a_jump_that_the_steps_do_not_hold_is_rejected_in_parity_and_rounded_in_standard(
    animator: Text2VideoZero,
) -> None:
    with pytest.raises(Rejected, match="t0 44 and t1 47 are timesteps 881 and 941"):
        imagine(animator, 2, mode="parity", steps=10)
    near = imagine(animator, 2, steps=10, options={"t0": 39, "t1": 46})  # 781 and 921: nearest are 801 and 901
    assert torch.equal(near, imagine(animator, 2, steps=10, options={"t0": 40, "t1": 45}))
    for mode in ("standard", "parity"):
        with pytest.raises(Rejected, match="t0 40 and t1 35") as refused:
            imagine(animator, 2, mode=mode, options={"t0": 40, "t1": 35})
        assert refused.value.remedy
    assert len(imagine(animator, 2)) == 2, "the published jump, in few steps"
    with pytest.raises(Rejected, match="the 1 steps"):
        imagine(animator, 2, steps=1)
    assert len(imagine(animator, 2, mode="parity", options={"t0": 40, "t1": 35, "use_motion_field": False})) == 2


def test_the_row_says_how_strong_a_pose_is(animator: Text2VideoZero) -> None:
    free = {"controlnet_conditioning_scale": 0.0}
    latents = [
        latents_of(animator, clip(options=free), None, given, Segment(0, 2)) for given in (poses(2), 255 - poses(2))
    ]
    assert torch.allclose(*latents, atol=1e-5)
    assert not torch.allclose(follow(animator, 2), latents[0], atol=0.01)


# --- Work out of rows


def validated(folder: Path, **fields: Any) -> Work:
    weights, sources = {"text2video_zero": "/models/t2v"}, str(folder / "sources")
    stage = Validate(str(folder), Allowed(prefixes=[str(folder)]), Limits(), weights, sources, Estimators())
    return stage(0, {"id": "a", "animator": "text2video_zero", "prompt": "a cat", **fields})


DRIVEN = {"driving": "driving.mp4", "driving_kind": "skeleton"}


def test_a_row_is_driven_or_has_the_defaults_of_the_text_path(tmp_path: Path) -> None:
    write_driving(tmp_path / "driving.mp4", frames=8)
    work = validated(tmp_path, duration=2.1)
    assert (work.frames, work.clip.fps, work.clip.steps, work.clip.guidance) == (8, Fraction(4), 50, (7.5,))
    assert (work.clip.width, work.clip.height, work.driving) == (512, 512, None)
    assert validated(tmp_path, frame_count=5).frames == 5
    driven = validated(tmp_path, **DRIVEN)
    assert (driven.frames, driven.clip.fps, driven.clip.steps, driven.clip.guidance) == (8, Fraction(25), 20, (9.0,))


def test_parity_chooses_size_and_frames_as_published(tmp_path: Path) -> None:
    write_driving(tmp_path / "driving.mp4", frames=8)  # 48×64 at 25 per second
    work = validated(tmp_path, mode="parity", fps=10, **DRIVEN)
    assert (work.frames, work.clip.width, work.clip.height) == (3, 384, 512)
    assert validated(tmp_path, fps=10, **DRIVEN).frames == 4
    with pytest.raises(Rejected, match="fps 3: the 8 frames"):
        validated(tmp_path, mode="parity", fps=3, **DRIVEN)
    facts, clip = ANIMATORS["text2video_zero"], Clip(id="c", animator="text2video_zero")
    assert film_size(clip.model_copy(update={"mode": "parity"}), facts, {"width": 96, "height": 60}) == (512, 320)
    assert film_size(clip.model_copy(update={"mode": "parity"}), facts, {"width": 96, "height": 2}) == (512, 64)
    assert film_size(clip, facts, {"width": 96, "height": 60}) == (96, 64)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "duration: without a driving video"),
        ({"duration": 1, "window": 1}, "window 1: text2video_zero needs at least 2"),
        ({"duration": 1, "overlap": 2}, "overlap 2: text2video_zero draws frames in turn"),
        ({"duration": 1, "options": {"t0": 48}}, "options: t0 48"),
        ({**DRIVEN, "retarget": "similarity"}, "retarget 'similarity': text2video_zero has no reference"),
        ({**DRIVEN, "driving_kind": "densepose"}, "driving_kind 'densepose'"),
        ({**DRIVEN, "driving_kind": "video", "mode": "parity"}, "no dwpose estimator"),
    ],
)
def test_what_cannot_be_done_is_rejected(tmp_path: Path, fields: dict, says: str) -> None:
    write_driving(tmp_path / "driving.mp4", frames=8)
    with pytest.raises(Rejected) as refused:
        validated(tmp_path, **fields)
    assert says in str(refused.value)
    assert refused.value.remedy


def test_rows_with_and_without_a_driving_file_become_films(checkpoint: Path, tmp_path: Path) -> None:
    write_driving(tmp_path / "driving.mp4", frames=3)
    chain = StageChain(
        RunConfig.load(None, {"checkpoints": {"text2video_zero": str(checkpoint)}}), str(tmp_path / "out")
    )
    row = {"id": "a", "animator": "text2video_zero", "prompt": "a cat", "width": 48, "height": 64, "steps": 3}
    driven, free = {"driving": str(tmp_path / "driving.mp4"), "driving_kind": "skeleton"}, {"frame_count": 2}
    results = [chain.film(chain.work({**row, **given})) for given in (driven, free)]
    assert [(one.status, one.frames, one.fps) for one in results] == [("done", 3, "25"), ("done", 2, "4")]
    assert (results[0].pose_key is None, results[1].pose_key, results[1].driving_digest) == (False, None, None)


# --- Checkpoint folders


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    return copytree(checkpoint, tmp_path / "mine")


def load(folder: Path) -> Text2VideoZero:
    return Text2VideoZero.load(folder, "cpu", torch.float32)


def test_only_poses_need_the_controlnet(folder: Path, animator: Text2VideoZero) -> None:
    whole = checkpoint_digest(str(folder), Text2VideoZero.facts, SourceMemo(str(folder.parent / "memo")))
    rmtree(folder / CONTROL)
    alone = load(folder)
    assert torch.equal(imagine(alone, 2), imagine(animator, 2))
    assert alone.nbytes < animator.nbytes
    with pytest.raises(Problem, match=CONTROL):
        follow(alone, 2)
    assert checkpoint_digest(str(folder), Text2VideoZero.facts, SourceMemo(str(folder.parent / "memo"))) != whole


def test_both_formats_and_the_old_names_of_the_autoencoder_are_read(folder: Path, animator: Text2VideoZero) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for part in (UNET, "stable-diffusion-v1-5/vae"):
        file = folder / part / "diffusion_pytorch_model.safetensors"
        state = load_file(file)
        for today, before in old.items():
            if part.endswith("vae"):
                state = {
                    key.replace(f"attentions.0.{today}.", f"attentions.0.{before}."): one for key, one in state.items()
                }
        file.unlink()
        torch.save(state, file.with_suffix(".bin"))
    latents = follow(animator, 2)
    assert torch.equal(follow(load(folder), 2), latents)
    films = [np.concatenate(list(frames_of(one, Denoised(latents), clip()))) for one in (animator, load(folder))]
    assert np.array_equal(*films)


def test_a_folder_of_another_system_is_refused() -> None:
    for system in ("magicanimate", "animate_anyone"):
        with pytest.raises(Problem) as refused:
            load(GOLDEN / system / "checkpoint")
        assert refused.value.remedy


@pytest.mark.parametrize("part", ["stable-diffusion-v1-5/vae", UNET, CONTROL])
def test_networks_in_each_others_places_are_refused_by_name(folder: Path, part: str) -> None:
    other = UNET if part != UNET else CONTROL
    rmtree(folder / part)
    copytree(folder / other, folder / part)
    with pytest.raises(Problem) as refused:
        load(folder)
    assert str(folder / part) in refused.value.error


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (f"{UNET}/config.json", b'{"block_out_channels": "wide"}'),
        (f"{CONTROL}/config.json", b'{"down_block_types": ["NoSuchBlock"]}'),
        ("stable-diffusion-v1-5/vae/config.json", b"[]"),
        ("stable-diffusion-v1-5/scheduler/scheduler_config.json", b'{"beta_schedule": "steep"}'),
        (f"{CONTROL}/diffusion_pytorch_model.bin", b"version https://git-lfs.github.com/spec/v1\n"),
        (f"{UNET}/diffusion_pytorch_model.safetensors", b"\x00" * 100),
    ],
)
def test_foreign_files_are_refused_by_name(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(Problem) as refused:
        load(folder)
    assert str(folder / name) in refused.value.error
    assert refused.value.remedy


@pytest.mark.parametrize(
    "name", [f"{CONTROL}/diffusion_pytorch_model.bin", f"{UNET}/diffusion_pytorch_model.safetensors"]
)
def test_truncated_files_are_refused_by_name(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Problem, match="cannot be read") as refused:
        load(folder)
    assert str(folder / name) in refused.value.error


def test_code_in_the_controlnets_pickle_is_never_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "the payload ran"
    torch.save({"a": Payload(trace)}, folder / CONTROL / "diffusion_pytorch_model.bin")
    with pytest.raises(Problem, match="refers to code"):
        load(folder)
    assert not trace.exists()


def test_half_precision_runs_throughout_and_stays_close(checkpoint: Path, animator: Text2VideoZero) -> None:
    half = Text2VideoZero.load(checkpoint, "cpu", torch.bfloat16)
    for make in (follow, imagine):
        made, exact = make(half, 3, guidance=1.0), make(animator, 3, guidance=1.0)
        assert made.dtype == torch.float32
        assert (made - exact).abs().mean() < 0.1 * exact.std()


def test_samples_are_clipped_only_as_published(caplog: pytest.LogCaptureFixture) -> None:
    config = {"beta_schedule": "scaled_linear", "timestep_spacing": "trailing"}
    published, mended = ddim(config, published=True), ddim(config, published=False)
    assert (published.config.clip_sample, published.config.timestep_spacing) == (True, "leading")
    assert "clip_sample" in caplog.text
    assert (mended.config.clip_sample, mended.config.timestep_spacing) == (False, "trailing")
