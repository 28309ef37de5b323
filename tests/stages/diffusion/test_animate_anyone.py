"""Promises of the animator Animate Anyone beyond what its recordings prove, on tiny random weights."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from manifests.clip import Clip
from manifests.errors import Problem
from stages.checkpoint_files import checkpoint_digest, part_files
from stages.diffusion.animate_anyone.animator import (
    REFERENCE_TIMESTEP,
    AnimateAnyone,
    guidance_of,
    starting_noise,
)
from stages.diffusion.animate_anyone.latent_interpolation import interpolate, key_frames
from stages.diffusion.animate_anyone.settings import PublishedSettings
from stages.diffusion.animate_anyone.unet import SingleTokenAttention
from stages.diffusion.animator import Denoised, Segment
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.networks.reference_attention import transformer_blocks
from stages.diffusion.networks.reference_network import ReferenceNetwork, build_reference_network
from stages.diffusion.sampling.windows import averaged
from stages.diffusion.weights.checkpoint import load_strictly, read_config, read_state
from tests.conftest import CHECKOUT
from tests.made.seam import frames_of, latents_of
from tests.made.tiny_diffusion import write_animate_anyone

GOLDEN = CHECKOUT / "tests" / "golden"
WIDTH, HEIGHT = 32, 48
WINDOW, OVERLAP = 4, 1
UNET = "stable-diffusion-v1-5/unet"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed parts, and random weights in place of the UNets."""
    return write_animate_anyone(tmp_path_factory.mktemp("animate_anyone") / "checkpoint")


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> AnimateAnyone:
    return AnimateAnyone.load(checkpoint, "cpu", torch.float32)


@pytest.fixture
def animator(loaded: AnimateAnyone) -> AnimateAnyone:
    loaded.features.__init__()
    return loaded


def clip(**fields: object) -> Clip:
    given = {"width": WIDTH, "height": HEIGHT, "fit": "cover", "steps": 2, "guidance": 3.5, "seed": 1}
    return Clip(id="c", animator="animate_anyone", **{**given, "window": WINDOW, "overlap": OVERLAP, **fields})


def image(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def poses(frames: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.stack([image(100 + frame, width, height) for frame in range(frames)])


def animate(animator: AnimateAnyone, frames: int, reference: int = 0, **fields: object) -> torch.Tensor:
    made = clip(**fields)
    size = made.width, made.height
    return latents_of(animator, made, image(reference, *size), poses(frames, *size), Segment(0, frames))


def batches(layer: torch.nn.Module, run: Callable[[], object]) -> list[int]:
    """Batch sizes that come into a layer meanwhile."""
    seen: list[int] = []
    handle = layer.register_forward_pre_hook(
        lambda _, given, named: seen.append(len([*given, *named.values()][0])), with_kwargs=True
    )
    run()
    handle.remove()
    return seen


@pytest.mark.parametrize(("frames", "width", "height"), [(1, 32, 48), (3, 40, 24), (4, 32, 48), (9, 24, 40)])
def test_standard_mode_makes_films_of_any_length_and_size(
    animator: AnimateAnyone, frames: int, width: int, height: int
) -> None:
    latents = animate(animator, frames, width=width, height=height)
    assert latents.shape == (frames, 4, height // 8, width // 8)
    assert latents.isfinite().all()
    film = np.concatenate(list(frames_of(animator, Denoised(latents), clip())))
    assert film.shape == (frames, height, width, 3)
    assert film.dtype == np.uint8


@pytest.mark.parametrize(("guidance", "branches"), [(0.0, 1), (1.0, 1), (1.5, 2)])
def test_without_guidance_only_the_conditional_branch_is_computed(
    animator: AnimateAnyone, guidance: float, branches: int
) -> None:
    middle = animator.unet.network.mid_block.resnets[0]
    seen = batches(middle, lambda: animate(animator, WINDOW, guidance=guidance))
    assert seen == [branches * WINDOW] * 2


def test_overlapping_windows_are_added_without_guidance_in_parity_alone() -> None:
    windows = averaged([[0, 1, 2, 3], [3, 4, 5, 6], [6, 0, 1, 2]])
    single, both = torch.ones(1, 7, 4, 3, 2), torch.ones(2, 7, 4, 3, 2)
    added = guidance_of(clip(mode="parity", guidance=1.0), windows, 7)(single)
    assert added[:, 0, 0, 0].tolist() == [2, 2, 2, 2, 1, 1, 2]
    assert bool((guidance_of(clip(mode="standard", guidance=1.0), windows, 7)(single) == 1).all())
    assert bool((guidance_of(clip(mode="parity", guidance=2.0), windows, 7)(both) == 1).all())


def test_the_end_of_a_film_reaches_its_beginning_in_loops_and_as_published_only(animator: AnimateAnyone) -> None:
    frames = 8

    def first_frame_moves(**fields: object) -> bool:
        given, other = poses(frames), poses(frames)
        other[-1] = 255 - other[-1]
        made = [
            latents_of(animator, clip(steps=1, **fields), image(0), each, Segment(0, frames)) for each in (given, other)
        ]
        return not torch.equal(made[0][0], made[1][0])

    assert not first_frame_moves()
    assert first_frame_moves(loop=True)
    assert first_frame_moves(mode="parity")


def test_the_reference_network_runs_once_for_all_steps_windows_and_clips(animator: AnimateAnyone) -> None:
    entrance = animator.reference.network.conv_in
    assert batches(entrance, lambda: animate(animator, 9)) == [1]
    assert batches(entrance, lambda: animate(animator, 5, seed=2)) == []
    assert batches(entrance, lambda: animate(animator, 5, reference=1)) == [1]


def test_each_frame_enters_the_network_once_per_step_however_many_windows_hold_it(animator: AnimateAnyone) -> None:
    unet = animator.unet.network
    for layer in (unet.conv_in, unet.down_blocks[0].resnets[0]):
        assert sum(batches(layer, lambda: animate(animator, 10))) == 10 * 2
    deeper = unet.down_blocks[1].resnets[0]
    assert sum(batches(deeper, lambda: animate(animator, 10))) > 10 * 2 * 2


def test_the_unconditional_branch_sees_the_pose_and_nothing_of_the_reference(animator: AnimateAnyone) -> None:
    def raw(reference: int, pose: int) -> torch.Tensor:
        fitted = image(reference)
        token = animator.encoder.token(fitted, "cover")
        features = animator.reference.features(animator.images.encode(fitted), REFERENCE_TIMESTEP, token)
        conditioning = animator.unet.condition(features, torch.cat([torch.zeros_like(token), token]))
        latents = torch.randn(2, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(0))
        return animator.unet.predict(latents, 500, conditioning, animator.guider.features([image(pose)] * 2))

    with torch.inference_mode():
        base, other_reference, other_pose = raw(0, 5), raw(1, 5), raw(0, 6)
    assert torch.equal(base[0], other_reference[0])
    assert not torch.equal(base[1], other_reference[1])
    assert not torch.equal(base[0], other_pose[0])


def test_one_token_crosses_as_ordinary_attention_would(checkpoint: Path) -> None:
    with torch.device("cpu"):
        whole = UNet2DConditionModel.from_config(read_config(checkpoint / UNET))
    attn = whole.mid_block.attentions[0].transformer_blocks[0].attn2
    pixels, tokens = torch.randn(2, 6, attn.query_dim), torch.randn(2, 1, attn.cross_attention_dim)
    with torch.inference_mode():
        ordinary = attn(pixels, encoder_hidden_states=tokens)
        short = SingleTokenAttention(attn, "block").vectors(tokens)
    torch.testing.assert_close(short.expand_as(ordinary), ordinary, atol=1e-5, rtol=0)


def test_what_the_reference_network_leaves_out_changes_no_feature(checkpoint: Path, animator: AnimateAnyone) -> None:
    network, file = build_reference_network(read_config(checkpoint / UNET)), checkpoint / "reference_unet.pth"
    whole = ReferenceNetwork(load_strictly(network, read_state(file), file, torch.float32), transformer_blocks(network))
    token, latents = animator.encoder.token(image(0), "cover"), animator.images.encode(image(0))
    with torch.inference_mode():
        features = whole.features(latents, REFERENCE_TIMESTEP, token)
        shortened = animator.reference.features(latents, REFERENCE_TIMESTEP, token)
    assert features.keys() == shortened.keys()
    assert all(torch.equal(features[name], shortened[name]) for name in features)


def test_no_layer_is_handed_what_it_does_not_read(
    animator: AnimateAnyone, diffusers_log: pytest.LogCaptureFixture
) -> None:
    animate(animator, WINDOW, steps=1)
    assert not diffusers_log.records


def test_a_seed_is_a_film_whatever_was_made_before_it(animator: AnimateAnyone) -> None:
    first = animate(animator, 5)
    other = animate(animator, 5, seed=2, reference=1)
    assert torch.equal(animate(animator, 5), first)
    assert not torch.equal(other, first)


def test_clips_that_run_side_by_side_do_not_touch_each_other(animator: AnimateAnyone) -> None:
    def steps(reference: int, count: int) -> object:
        made = clip(steps=count)
        return animator.steps(made, image(reference), poses(WINDOW), Segment(0, WINDOW))

    alone = [step.latents for step in steps(0, 3)]
    beside = [step.latents for step, _ in zip(steps(0, 3), steps(1, 4), strict=False)]
    assert all(torch.equal(one, other) for one, other in zip(alone, beside, strict=True))


def test_a_segment_starts_from_its_frames_part_of_the_clips_noise() -> None:
    shape = (4, 3, 2)
    whole = starting_noise(clip(), range(10), shape)
    assert torch.equal(starting_noise(clip(), range(6, 9), shape), whole[6:9])


def test_interpolation_denoises_key_frames_alone_and_keeps_the_length(animator: AnimateAnyone) -> None:
    options = {"interpolation_factor": 3}
    seen = batches(animator.unet.network.conv_in, lambda: animate(animator, 8, options=options, steps=1))
    assert sum(seen) == 4
    latents = animate(animator, 8, options=options, steps=1)
    keys = key_frames(0, 8, 3)
    assert keys == [0, 3, 6, 7]
    assert len(latents) == 8
    torch.testing.assert_close(latents[1], latents[0] * 2 / 3 + latents[3] / 3)


@pytest.mark.parametrize("method", ["linear", "slerp"])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 2), (5, 12), (6, 13)])
def test_interpolated_films_keep_their_key_frames(method: str, start: int, stop: int) -> None:
    keys = key_frames(start, stop, 4)
    latents = torch.randn(len(keys), 4, 3, 2, generator=torch.Generator().manual_seed(0))
    made = interpolate(latents, keys, method)
    assert len(made) == stop - start
    assert all(torch.equal(made[key - start], latents[at]) for at, key in enumerate(keys))


def test_a_folder_of_another_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"motion_module\.pth is missing"):
        AnimateAnyone.load(GOLDEN / "magicanimate" / "checkpoint", "cpu", torch.float32)
    with pytest.raises(Problem, match=r"config\.json is missing"):
        AnimateAnyone.load(tmp_path, "cpu", torch.float32)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("denoising_unet.pth", "incomplete"),
        ("denoising_unet.pth", "foreign"),
        ("motion_module.pth", "incomplete"),
        ("motion_module.pth", "misshapen"),
        ("reference_unet.pth", "foreign"),
        ("pose_guider.pth", "misshapen"),
        ("pose_guider.pth", "swapped"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_what_is_wrong(
    checkpoint: Path, tmp_path: Path, file: str, damage: str
) -> None:
    folder = copytree(checkpoint, tmp_path / "checkpoint")
    state = read_state(folder / file)
    key = next(key for key in state if key.endswith("weight"))
    if damage == "incomplete":
        del state[key]
    elif damage == "foreign":
        state["some.other.weight"] = torch.zeros(1)
    elif damage == "misshapen":
        state[key] = torch.zeros(3, 3)
    else:
        state = read_state(folder / ("pose_guider.pth" if file != "pose_guider.pth" else "motion_module.pth"))
    torch.save(state, folder / file)
    with pytest.raises(Problem) as raised:
        AnimateAnyone.load(folder, "cpu", torch.float32)
    assert file.removesuffix(".pth") in raised.value.error


def test_settings_beside_the_weights_are_read_and_count_as_part_of_them(checkpoint: Path, tmp_path: Path) -> None:
    folder = copytree(checkpoint, tmp_path / "checkpoint")
    assert PublishedSettings.read(folder) == PublishedSettings()
    facts = ANIMATORS["animate_anyone"]
    memo = _NoMemo()
    before = checkpoint_digest(str(folder), facts, memo)
    (folder / "inference_config.json").write_text(
        '{"unet_additional_kwargs": {"motion_module_kwargs": {"temporal_position_encoding_max_len": 24}}}'
    )
    assert PublishedSettings.read(folder).positions == 24
    assert checkpoint_digest(str(folder), facts, memo) != before
    with pytest.raises(Problem, match="of another shape"):
        AnimateAnyone.load(folder, "cpu", torch.float32)


class _NoMemo:
    def get(self, *_: object) -> None:
        return None

    def put(self, *_: object) -> None:
        pass


def test_a_part_of_a_checkpoint_may_be_a_file_or_a_folder(checkpoint: Path) -> None:
    assert part_files(str(checkpoint), "pose_guider.pth").keys() == {"pose_guider.pth"}
    assert part_files(str(checkpoint), "image_encoder").keys() == {
        "image_encoder/config.json",
        "image_encoder/pytorch_model.bin",
    }
    assert part_files(str(checkpoint), "nothing") == {}


def test_half_precision_runs_throughout_and_stays_close(checkpoint: Path, animator: AnimateAnyone) -> None:
    half = AnimateAnyone.load(checkpoint, "cpu", torch.float16)
    size = {"width": 96, "height": 128}  # smaller, the deepest norms see two values each and amplify any rounding
    exact, close = animate(animator, 2, steps=1, **size), animate(half, 2, steps=1, **size)
    assert close.isfinite().all()
    assert (exact - close).abs().mean() < 0.1 * exact.std()
