"""What MagicAnimate promises beyond the recordings: nothing is computed twice, any length and size, no wrap-around.

Run on the committed tiny checkpoint: the published networks in miniature, with random weights.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.clip import Clip
from manifests.errors import Problem
from stages.diffusion.animator import Denoised, Segment
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.magicanimate.animator import MagicAnimate, starting_noise
from stages.diffusion.magicanimate.pose_control import EmbeddedPoses
from stages.diffusion.magicanimate.unet import Conditioning
from stages.diffusion.model_cache import ModelCache
from stages.diffusion.networks.feature_cache import FeatureCache
from stages.diffusion.networks.reference_attention import transformer_blocks
from stages.diffusion.sampling.noise import frame_noise
from stages.diffusion.sampling.shared_frames import SharedFrames
from tests.conftest import CHECKOUT
from tests.made.seam import frames_of, latents_of

CHECKPOINT = CHECKOUT / "tests" / "golden" / "magicanimate" / "checkpoint"
WINDOW, STEPS = 6, 2
FLOAT_NOISE = 1e-4  # of the latents' spread; one changed pose moves its neighbours by 1e-3 and more


@pytest.fixture(scope="module")
def loaded() -> MagicAnimate:
    return MagicAnimate.load(CHECKPOINT, "cpu", torch.float32)


@pytest.fixture
def animator(loaded: MagicAnimate) -> MagicAnimate:
    loaded.features = FeatureCache()
    return loaded


def clip(**fields: object) -> Clip:
    small = {"width": 48, "height": 64, "steps": STEPS, "guidance": 4.0, "window": WINDOW, "overlap": 2}
    return Clip(id="clip", animator="magicanimate", fps=25, **{**small, **fields})


def image(seed: int, width: int = 48, height: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def poses(frames: int, width: int = 48, height: int = 64) -> np.ndarray:
    return np.stack([image(1000 + frame, width, height) for frame in range(frames)])


def animate(animator: MagicAnimate, frames: int = WINDOW, reference: int = 0, **fields: object) -> torch.Tensor:
    return latents_of(animator, clip(**fields), image(reference), poses(frames), Segment(0, frames))


def distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Largest difference of each frame, in spreads of the first."""
    return (one - other).abs().amax(dim=(1, 2, 3)) / one.std()


@contextmanager
def batches(*layers: torch.nn.Module) -> Iterator[list[int]]:
    """Batch size of every call of the layers."""
    sizes: list[int] = []

    def listen(_: torch.nn.Module, given: tuple, named: dict) -> None:
        sizes.append(len(given[0] if given else named["hidden_states"]))

    hooks = [layer.register_forward_pre_hook(listen, with_kwargs=True) for layer in layers]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()


def below(animator: MagicAnimate) -> list[torch.nn.Module]:
    """Layers in which branches of equal text do not differ: the down path's and the middle block's first one."""
    unet = animator.unet.network
    return [*(resnet for block in unet.down_blocks for resnet in block.resnets), unet.mid_block.resnets[0]]


def above(animator: MagicAnimate) -> list[torch.nn.Module]:
    unet = animator.unet.network
    ups = [resnet for block in unet.up_blocks for resnet in block.resnets]
    return [*unet.mid_block.attentions, *ups, unet.conv_out]


@pytest.fixture
def predictions(animator: MagicAnimate, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Raw predictions of every window, as they come."""
    raw: list[torch.Tensor] = []
    predict = animator.unet.predict

    def listen(*given: object) -> torch.Tensor:
        raw.append(predict(*given))
        return raw[-1]

    monkeypatch.setattr(animator.unet, "predict", listen)
    return raw


def test_branches_of_equal_prompts_share_the_down_path_and_nothing_of_the_result_changes(
    animator: MagicAnimate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with batches(*below(animator)) as down, batches(*above(animator)) as up:
        shared = animate(animator)
    assert set(down) == {WINDOW}
    assert set(up) == {2 * WINDOW}

    predict = animator.unet.predict

    def unshared(latents: torch.Tensor, timestep: int, conditioning: Conditioning, *residuals: object) -> torch.Tensor:
        return predict(latents, timestep, replace(conditioning, shared_text=False), *residuals)

    monkeypatch.setattr(animator.unet, "predict", unshared)
    with batches(*below(animator)) as down:
        apart = animate(animator)
    assert set(down) == {2 * WINDOW}
    assert distance(apart, shared).max() < FLOAT_NOISE


def test_branches_of_unequal_prompts_are_computed_apart(animator: MagicAnimate) -> None:
    with batches(*below(animator), *above(animator)) as sizes:
        apart = animate(animator, prompt="a man dancing", negative_prompt="blurry")

    assert set(sizes) == {2 * WINDOW}
    assert distance(apart, animate(animator, prompt="a man dancing")).max() > 1e-3


@pytest.mark.parametrize("guidance", [1.0, 0.5])
def test_without_guidance_only_the_conditional_branch_is_computed(animator: MagicAnimate, guidance: float) -> None:
    with batches(*below(animator), *above(animator)) as sizes:
        single = animate(animator, guidance=guidance, negative_prompt="blurry")

    assert set(sizes) == {WINDOW}
    guided = animate(animator, guidance=1.000000001, negative_prompt="blurry")
    assert distance(guided, single).max() < FLOAT_NOISE


def test_the_unconditional_branch_never_sees_the_reference(
    animator: MagicAnimate, predictions: list[torch.Tensor]
) -> None:
    animate(animator, reference=1, steps=1)
    animate(animator, reference=2, steps=1)
    one, other = predictions

    assert torch.equal(one[0], other[0])
    assert distance(one[1], other[1]).min() > 1e-3


def test_reference_features_are_computed_once_per_timestep_for_all_windows_and_clips(animator: MagicAnimate) -> None:
    with batches(animator.reference.network) as computed:
        first = animate(animator, frames=9)
        assert computed == [1] * STEPS  # of the positive text alone

        animate(animator, seed=5, negative_prompt="blurry")
        assert len(computed) == STEPS

        animate(animator, reference=1)
        assert len(computed) == 2 * STEPS
        animate(animator, prompt="a man dancing")
        assert len(computed) == 3 * STEPS
        assert torch.equal(animate(animator, frames=9), first)
        assert len(computed) == 3 * STEPS


def test_references_of_other_sizes_do_not_share_features(animator: MagicAnimate) -> None:
    black = np.zeros((64, 48, 3), np.uint8)
    with batches(animator.reference.network) as computed:
        for reference in (black, black.transpose(1, 0, 2)):
            height, width, _ = reference.shape
            sized = clip(width=width, height=height, steps=1)
            latents_of(animator, sized, reference, poses(2, width, height), Segment(0, 2))

    assert len(computed) == 2


def test_the_feature_cache_forgets_what_was_used_longest_ago_beyond_its_bytes() -> None:
    cache, computed = FeatureCache(max_bytes=3 * 400), []

    def get(name: str, numbers: int = 100) -> None:
        def compute() -> dict[str, torch.Tensor]:
            computed.append(name)
            return {"a": torch.zeros(numbers // 2), "b": torch.zeros(numbers - numbers // 2)}

        cache.get(name, compute)

    for name in "abcad":  # a is used again before d drives out the oldest
        get(name)
    assert computed == list("abcd")
    for name in "cad":
        get(name)
    assert computed == list("abcd")
    get("b")
    assert computed == list("abcdb")
    get("larger than the cache", 1000)
    get("a")
    assert computed[-1] == "a"


def test_a_full_feature_cache_costs_time_and_no_correctness(animator: MagicAnimate) -> None:
    roomy = animate(animator)
    animator.features = FeatureCache(max_bytes=1)
    with batches(animator.reference.network) as computed:
        assert torch.equal(animate(animator), roomy)
        assert torch.equal(animate(animator), roomy)

    assert len(computed) == 2 * STEPS


@pytest.mark.parametrize(
    ("fields", "computed"), [({}, 9), ({"loop": True}, 9), ({"mode": "parity"}, 16), ({"overlap": 4}, 9)]
)
def test_controlnet_sees_every_frame_once_per_step(animator: MagicAnimate, fields: dict, computed: int) -> None:
    with batches(animator.control) as sizes:
        animate(animator, frames=9, **fields)

    assert sum(sizes) == STEPS * computed


def test_what_no_timestep_changes_is_computed_once_a_clip(animator: MagicAnimate) -> None:
    unet = animator.unet.network
    spatial = [unet.get_submodule(name).attn2.to_k for name in transformer_blocks(unet)]
    for prompt, branches in (("", 1), ("a red dress", 2)):
        with batches(animator.pose_embedding.conv_in) as frames, batches(*spatial) as words:
            animate(animator, frames=9, prompt=prompt)
        assert sum(frames) == 9
        assert words == [branches] * len(spatial)


def test_only_references_whose_features_are_not_kept_are_encoded(animator: MagicAnimate) -> None:
    with batches(animator.images.autoencoder.encoder) as pictures:
        for reference, seed in ((0, 1), (0, 2), (1, 1)):
            animate(animator, reference=reference, seed=seed)
    assert len(pictures) == 2


def test_poses_that_find_no_room_are_embedded_again_and_alike(
    animator: MagicAnimate, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = animate(animator, frames=9)
    frame = roomy[0, :1].nbytes * animator.pose_embedding.conv_out.out_channels
    monkeypatch.setattr(EmbeddedPoses.__init__, "__defaults__", (5 * frame,))
    with batches(animator.pose_embedding.conv_in) as frames:
        assert torch.equal(animate(animator, frames=9), roomy)
    assert sum(frames) > 9
    assert frames.count(4) + frames.count(1) == len(frames)


@pytest.mark.parametrize("loop", [False, True])
def test_kept_residuals_do_not_grow_with_the_clip(
    animator: MagicAnimate, monkeypatch: pytest.MonkeyPatch, loop: bool
) -> None:
    kept: list[int] = []
    shared = SharedFrames.of

    def listen(self: SharedFrames, *given: object) -> object:
        found = shared(self, *given)
        kept.append(len(self._kept))
        return found

    monkeypatch.setattr(SharedFrames, "of", listen)
    for frames in (9, 18):
        kept.clear()
        animate(animator, frames=frames, steps=1, loop=loop)
        assert 0 < max(kept) <= WINDOW
        assert kept[-1] == 0


def test_a_pose_without_weight_does_not_matter(animator: MagicAnimate) -> None:
    off = {"options": {"controlnet_conditioning_scale": 0.0}}
    still = np.zeros_like(poses(WINDOW))
    for fields, matters in (({}, True), (off, False)):
        moved = animate(animator, steps=1, **fields)
        fixed = latents_of(animator, clip(steps=1, **fields), image(0), still, Segment(0, WINDOW))
        assert bool(distance(moved, fixed).max() > FLOAT_NOISE) is matters


# 72 pixels for a single frame: norms of 32 groups over the 32 channels of one pixel are undefined
@pytest.mark.parametrize(("frames", "side"), [(1, 72), (5, 48), (17, 48), (37, 48)])
def test_standard_mode_makes_films_of_any_length(animator: MagicAnimate, frames: int, side: int) -> None:
    sized = clip(width=side, height=side, steps=1)
    latents = latents_of(animator, sized, image(0, side, side), poses(frames, side, side), Segment(0, frames))

    assert (latents.shape, latents.dtype) == ((frames, 4, side // 8, side // 8), torch.float32)
    assert torch.isfinite(latents).all()
    assert sum(len(batch) for batch in frames_of(animator, Denoised(latents), clip())) == frames


@pytest.mark.parametrize(("width", "height"), [(72, 40), (40, 72), (16, 16), (88, 24)])
def test_sizes_need_only_be_multiples_of_eight(animator: MagicAnimate, width: int, height: int) -> None:
    sized = clip(width=width, height=height)
    latents = latents_of(animator, sized, image(0, width, height), poses(3, width, height), Segment(0, 3))
    film = np.concatenate(list(frames_of(animator, Denoised(latents), clip())))

    assert torch.isfinite(latents).all()
    assert (film.shape, film.dtype) == ((3, height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("fields", "joined"), [({}, False), ({"loop": True}, True), ({"mode": "parity"}, True)], ids=str
)
def test_the_end_of_a_film_reaches_its_beginning_in_loops_and_as_published_only(
    animator: MagicAnimate, fields: dict, joined: bool
) -> None:
    frames = 16
    moved = poses(frames)
    moved[-1] = 255 - moved[-1]
    before = animate(animator, frames=frames, **fields)
    after = latents_of(animator, clip(**fields), image(0), moved, Segment(0, frames))
    changed = distance(before, after)

    assert changed[-1] > 1e-3
    assert bool(changed[:2].max() > 1e-3) is joined
    assert changed[:2].max() < FLOAT_NOISE or joined


@torch.inference_mode()
def test_parity_repeats_the_last_pose_to_a_multiple_of_sixteen_and_crops(animator: MagicAnimate) -> None:
    published = clip(mode="parity", window=16, overlap=4, steps=1)
    padded = np.concatenate([poses(5), np.repeat(poses(5)[-1:], 11, axis=0)])
    *_, last = animator.steps(published, image(0), poses(5), Segment(0, 5))
    cropped = latents_of(animator, published, image(0), poses(5), Segment(0, 5))

    assert len(last.latents) == 16
    assert torch.equal(cropped, last.latents[:5])
    assert torch.equal(cropped, latents_of(animator, published, image(0), padded, Segment(0, 16))[:5])


@torch.inference_mode()
def test_standard_mode_computes_no_frame_that_is_not_shown(animator: MagicAnimate) -> None:
    for step in animator.steps(clip(), image(0), poses(5), Segment(0, 5)):
        assert len(step.latents) == 5


@pytest.mark.parametrize("mode", ["standard", "parity"])
def test_only_shown_frames_are_decoded_on_a_cpu_one_at_a_time(animator: MagicAnimate, mode: str) -> None:
    latents = animate(animator, frames=5, mode=mode, steps=1)
    with batches(animator.images.autoencoder.decoder) as decoded:
        film = frames_of(animator, Denoised(latents), clip())
        assert len(next(film)) == 1
        assert decoded == [1]
        assert [len(batch) for batch in film] == [1] * 4

    assert decoded == [1] * 5


def test_no_layer_is_handed_what_it_does_not_read(
    animator: MagicAnimate, diffusers_log: pytest.LogCaptureFixture
) -> None:
    animate(animator, steps=1)
    assert not diffusers_log.records


def test_a_seed_is_a_film_whatever_was_made_before_it(animator: MagicAnimate) -> None:
    first = animate(animator, seed=7)
    animate(animator, reference=3, frames=9, seed=8, guidance=1.0, steps=1)

    assert torch.equal(animate(animator, seed=7), first)
    assert distance(first, animate(animator, seed=8)).min() > 0.1


def test_a_segment_starts_from_its_frames_part_of_the_clips_noise() -> None:
    shape = (4, 8, 6)

    assert torch.equal(
        starting_noise(clip(seed=3), Segment(10, 15), 20, shape), frame_noise(3, range(0, 20), shape)[10:15]
    )
    assert len(starting_noise(clip(mode="parity"), Segment(0, 17), 17, shape)) == 32


def test_half_precision_runs_throughout_and_stays_close(animator: MagicAnimate) -> None:
    half = MagicAnimate.load(CHECKPOINT, "cpu", torch.bfloat16)
    full, coarse = animate(animator), animate(half)

    for network in (half.unet.network, half.reference.network, half.control, half.images.autoencoder, half.text.model):
        assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}
    assert half.nbytes == animator.nbytes // 2
    assert coarse.dtype == torch.float32
    assert 1e-4 < (full - coarse).std() / full.std() < 0.05


class Weightless:
    """An animator that is only its size: as many bytes as its checkpoint folder is long in name."""

    loads: list[str] = []  # noqa: RUF012 - the loader is a classmethod, the record has to be the class's

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> "Weightless":
        cls.loads.append(f"{checkpoint} {device} {dtype}")
        if checkpoint.name == "foreign":
            raise Problem("checkpoint foreign does not fit", "use the published one")
        if checkpoint.name == "unlucky":
            raise RuntimeError("out of memory")
        return cls(int(checkpoint.name))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    facts = replace(ANIMATORS["magicanimate"], name="weightless", implementation=f"{__name__}:Weightless")
    monkeypatch.setitem(ANIMATORS, "weightless", facts)
    monkeypatch.setattr(Weightless, "loads", [])
    monkeypatch.setattr(gc, "collect", lambda: 0)  # with all of pytest's and torch's objects it takes half a second
    return Weightless.loads


def test_the_model_cache_keeps_what_was_used_last_within_its_bytes(loads: list[str]) -> None:
    cache = ModelCache("cpu", "bfloat16", max_bytes=100)

    def get(size: int) -> Weightless:
        return cache.get("weightless", Path(str(size)), f"digest {size}")

    small, large = get(30), get(60)
    assert (get(60), get(30)) == (large, small)
    assert loads == ["30 cpu torch.bfloat16", "60 cpu torch.bfloat16"]
    get(20)  # drives out 60, which was used longest ago
    assert (get(30), get(20).nbytes) == (small, 20)
    assert len(loads) == 3
    assert get(500).nbytes == 500  # alone, although it is too large
    assert get(30) is not small


def test_the_model_cache_knows_weights_by_their_digest(loads: list[str]) -> None:
    cache = ModelCache("cpu", "float32", max_bytes=100)

    assert cache.get("weightless", Path("1"), "a") is cache.get("weightless", Path("2"), "a")
    assert cache.get("weightless", Path("1"), "a") is not cache.get("weightless", Path("1"), "b")


def test_a_refused_checkpoint_is_opened_once(loads: list[str]) -> None:
    cache = ModelCache("cpu", "float32", max_bytes=100)
    for _ in range(3):
        with pytest.raises(Problem, match="does not fit"):
            cache.get("weightless", Path("foreign"), "a")
    assert len(loads) == 1
    assert cache.get("weightless", Path("5"), "b").nbytes == 5


def test_bad_luck_is_not_held_against_a_checkpoint(loads: list[str]) -> None:
    cache = ModelCache("cpu", "float32", max_bytes=100)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            cache.get("weightless", Path("unlucky"), "a")
    assert len(loads) == 2
