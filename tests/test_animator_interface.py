"""The animator interface fits systems that are nothing like MagicAnimate: three, small but whole, make real films.

Each follows the structure of a published system, on the tiny committed weights, with a loop of its own.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from PIL import Image
from pydantic import Field
from safetensors.torch import load_file
from torch.nn.functional import interpolate, max_pool2d, scaled_dot_product_attention

from manifests import storage
from manifests.clip import Clip
from manifests.errors import Problem
from manifests.layout import Places
from manifests.work import Source, Work
from stages.animate import Animate
from stages.diffusion.animators import ANIMATORS, Animator, Options, Segment
from stages.diffusion.checkpoint import load_strictly, read_config, read_state, weights_file
from stages.diffusion.latent_images import LatentImages
from stages.diffusion.magicanimate import SCHEDULER, VAE_SCALE, MagicAnimate
from stages.diffusion.model_cache import ModelCache
from stages.diffusion.noise import frame_noise
from stages.diffusion.text import TextEncoder
from stages.poses import recipes
from stages.poses.sequence import write_poses
from stages.video.encode import EncodeRecipe
from tests.conftest import CHECKOUT

CHECKPOINT = CHECKOUT / "tests" / "golden" / "magicanimate" / "checkpoint"
WIDTH, HEIGHT = 48, 64
SHAPE = (4, HEIGHT // 8, WIDTH // 8)
BASE = ("stable-diffusion-v1-5/unet", "sd-vae-ft-mse")


def autoencoder(checkpoint: Path, dtype: torch.dtype) -> LatentImages:
    return LatentImages.load(checkpoint / "sd-vae-ft-mse", VAE_SCALE, "cpu", dtype)


def bytes_of(*networks: torch.nn.Module) -> int:
    return sum(weight.nbytes for network in networks for weight in network.parameters())


def ddim(steps: int) -> DDIMScheduler:
    scheduler = DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(steps)
    return scheduler


# --- Text2Video-Zero, text path (specs/text2video_zero.md sections 2, 3 and 7): no image, no driving video, chunks of
# frames that attend to frame 0, and a motion field between the steps of its own loop.


class TextToVideoZeroOptions(Options):
    chunk_size: int = Field(8, ge=2, le=16)
    motion: float = 12.0  # pixels per frame of a 512 × 512 image


class AttentionToFirstFrame:
    """Keys and values of every frame are those of its row's first frame."""

    frames = 1

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        anchors = hidden_states[:: self.frames].repeat_interleave(self.frames, dim=0)
        query, key, value = (
            project(tokens).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for project, tokens in ((attn.to_q, hidden_states), (attn.to_k, anchors), (attn.to_v, anchors))
        )
        return attn.to_out[0](scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class TextToVideoZero:
    facts = replace(
        ANIMATORS["magicanimate"],
        name="text2video_zero",
        implementation=f"{__name__}:TextToVideoZero",
        pose="none",
        reference=False,
        segments="whole",
        checkpoint=(*BASE, "stable-diffusion-v1-5/tokenizer", "stable-diffusion-v1-5/text_encoder"),
        options=TextToVideoZeroOptions,
    )

    def __init__(self, network: UNet2DConditionModel, text: TextEncoder, images: LatentImages) -> None:
        self._network, self._text, self._images = network, text, images
        self._attention = AttentionToFirstFrame()
        for name, module in network.named_modules():
            if name.endswith("attn1"):
                module.set_processor(self._attention)
        self.nbytes = bytes_of(network, text.model, images.autoencoder)

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> "TextToVideoZero":
        base = checkpoint / "stable-diffusion-v1-5"
        with torch.device("meta"):
            network = UNet2DConditionModel.from_config(read_config(base / "unet"))
        load_strictly(network, read_state(weights_file(base / "unet")), base, dtype)
        return cls(network.to(device), TextEncoder.load(base, device, dtype), autoencoder(checkpoint, dtype))

    @torch.inference_mode()
    def latents(
        self, clip: Clip, reference: np.ndarray | None, poses: np.ndarray | None, segment: Segment
    ) -> torch.Tensor:
        assert reference is None
        assert poses is None
        options, shape = TextToVideoZeroOptions(**clip.options), (4, clip.height // 8, clip.width // 8)
        new, chunks = options.chunk_size - 1, []
        for start in range(0, len(segment), new):
            frames = range(start, min(start + new, len(segment)))
            chunks.append(self._chunk(clip, frames, options.motion, shape))
        return torch.cat(chunks)

    def _chunk(self, clip: Clip, frames: range, motion: float, shape: tuple[int, int, int]) -> torch.Tensor:
        scheduler = ddim(clip.steps)
        late, early = (int(scheduler.timesteps[index]) for index in (1, 2))
        anchor = frame_noise(clip.seed, 0, 1, shape)
        reached = {}
        for timestep in scheduler.timesteps.tolist()[:3]:
            reached[timestep] = anchor
            anchor = self._step(scheduler, clip, anchor, timestep)
        warped = torch.cat([_shifted(reached[early], frame * motion) for frame in frames])
        kept = torch.prod(scheduler.alphas[early:late])
        jump = torch.cat([frame_noise(clip.seed + 1, frame, frame + 1, shape) for frame in frames])
        latents = torch.cat([reached[late], kept.sqrt() * warped + (1 - kept).sqrt() * jump])
        for timestep in scheduler.timesteps.tolist()[1:]:
            latents = self._step(scheduler, clip, latents, timestep)
        return latents[1:]  # the anchor is never shown

    def _step(self, scheduler: DDIMScheduler, clip: Clip, latents: torch.Tensor, timestep: int) -> torch.Tensor:
        self._attention.frames = len(latents)
        words = self._text.encode([clip.negative_prompt, clip.prompt]).repeat_interleave(len(latents), dim=0)
        both = self._network(latents.repeat(2, 1, 1, 1), timestep, words).sample
        unconditional, conditional = both.chunk(2)
        noise = unconditional + clip.guidance[0] * (conditional - unconditional)
        return scheduler.step(noise, timestep, latents).prev_sample

    def frames(self, latents: torch.Tensor) -> Iterator[np.ndarray]:
        return self._images.frames(latents)


def _shifted(latents: torch.Tensor, pixels: float) -> torch.Tensor:
    """The constant motion field in closed form: nearest, reflecting at the borders."""
    for axis in (-2, -1):
        size = latents.shape[axis]
        place = torch.arange(size) + (pixels - 0.5) * size / 512
        folded = (place + 0.5) % (2 * size)
        place = torch.minimum(folded, 2 * size - folded) - 0.5
        latents = latents.index_select(axis, place.clamp(0, size - 1).round().long())
    return latents


# --- DreamPose (specs/dreampose.md sections 3 to 7): every frame by itself from five poses as extra input channels, two
# guidance scales over three rows, start latents with the key image in them, one noise for all frames.


class DreamPose:
    facts = replace(
        ANIMATORS["magicanimate"],
        name="dreampose",
        implementation=f"{__name__}:DreamPose",
        pose="densepose_uv",
        window=1,
        overlap=0,
        longest_window=1,
        guidance=(8.0, 3.0),
        segments="independent",
        checkpoint=BASE,
        options=Options,
    )
    batch = 3  # frames

    def __init__(self, network: UNet2DConditionModel, adapter: torch.Tensor, images: LatentImages) -> None:
        self._network, self._adapter, self._images = network, adapter, images
        self.nbytes = bytes_of(network, images.autoencoder)

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> "DreamPose":
        folder = checkpoint / "stable-diffusion-v1-5" / "unet"
        config, state = read_config(folder), read_state(weights_file(folder))
        generator = torch.Generator().manual_seed(0)  # in place of fine-tuned weights
        poses = torch.randn(*state["conv_in.weight"].shape[:1], 10, 3, 3, generator=generator)
        state["conv_in.weight"] = torch.cat([state["conv_in.weight"].float(), 0.3 * poses], dim=1)
        with torch.device("meta"):
            network = UNet2DConditionModel.from_config({**config, "in_channels": 14})
        load_strictly(network, state, folder, dtype)
        adapter = torch.randn(16, config["cross_attention_dim"], generator=generator)
        return cls(network.to(device), adapter.to(device, dtype), autoencoder(checkpoint, dtype))

    @torch.inference_mode()
    def latents(
        self, clip: Clip, reference: np.ndarray | None, poses: np.ndarray | None, segment: Segment
    ) -> torch.Tensor:
        if clip.width * clip.height != WIDTH * HEIGHT:
            raise Problem(f"width × height {clip.width}×{clip.height}: the adapter is made for 48×64", "use 48×64")
        key = self._images.encode(reference)
        tokens = torch.cat([self._tokens(self._images.encode(np.zeros_like(reference))), self._tokens(key)])
        packed = _five_poses(poses)
        batches = [packed[at : at + self.batch] for at in range(0, len(segment), self.batch)]
        return torch.cat([self._denoised(clip, key, tokens, batch) for batch in batches])

    def _tokens(self, latents: torch.Tensor) -> torch.Tensor:
        """(1, 4, h, w) → (1, 4, width): one token per latent channel."""
        pooled = max_pool2d(latents, 2).flatten(2)
        return interpolate(pooled, size=len(self._adapter)) @ self._adapter

    def _denoised(self, clip: Clip, key: torch.Tensor, tokens: torch.Tensor, poses: torch.Tensor) -> torch.Tensor:
        scheduler, frames = ddim(clip.steps), len(poses)
        noise = frame_noise(clip.seed, 0, 1, tuple(key.shape[1:]))
        latents = scheduler.add_noise(key, noise, scheduler.timesteps[:1]).repeat(frames, 1, 1, 1)
        context = tokens[[0, 1, 1]].repeat_interleave(frames, dim=0)
        conditions = torch.cat([torch.zeros_like(poses), poses, torch.zeros_like(poses)])
        image_scale, pose_scale = clip.guidance
        for timestep in scheduler.timesteps.tolist():
            rows = torch.cat([latents.repeat(3, 1, 1, 1), conditions], dim=1)
            nothing, full, image = self._network(rows, timestep, context).sample.chunk(3)
            guided = nothing + image_scale * (image - nothing) + pose_scale * (full - image)
            latents = scheduler.step(guided, timestep, latents).prev_sample
        return latents

    def frames(self, latents: torch.Tensor) -> Iterator[np.ndarray]:
        """As published: every frame is stretched to the full range by itself."""
        for batch in self._images.frames(latents):
            low, high = (edge(batch, axis=(1, 2, 3), keepdims=True).astype(np.float32) for edge in (np.min, np.max))
            yield ((batch - low) / (high - low) * 255).astype(np.uint8)


def _five_poses(poses: np.ndarray) -> torch.Tensor:
    """uint8 (frames, height, width, 2) → (frames, 10, height/8, width/8): a missing neighbour is the frame itself."""
    maps = (torch.from_numpy(poses[:, ::8, ::8].copy()).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    frames = range(len(maps))
    return torch.stack(
        [torch.cat([maps[n + k] if n + k in frames else maps[n] for k in (-2, -1, 0, 1, 2)]) for n in frames]
    )


# --- A chained system, as Wan-Animate is: blocks of frames, each continuing from the last latents of the one before.


class Chained:
    facts = replace(ANIMATORS["magicanimate"], name="chained", implementation=f"{__name__}:Chained", segments="chained")
    block, carried = 5, 2  # new frames at once, frames of the preceding block beside them

    def __init__(self, system: MagicAnimate) -> None:
        self._system = system
        self.nbytes = system.nbytes

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> "Chained":
        return cls(MagicAnimate.load(checkpoint, device, dtype))

    @torch.inference_mode()
    def latents(
        self, clip: Clip, reference: np.ndarray | None, poses: np.ndarray | None, segment: Segment
    ) -> torch.Tensor:
        key, made = self._system.images.encode(reference), []
        before = torch.empty(0, *key.shape[1:]) if segment.carry is None else segment.carry
        for start in range(segment.start, segment.stop, self.block):
            stop = min(start + self.block, segment.stop)
            shown = poses[start - segment.start : stop - segment.start]
            before = self._continued(clip, key, shown, range(start, stop), before[-self.carried :])
            made.append(before)
        return torch.cat(made)

    def _continued(
        self, clip: Clip, key: torch.Tensor, poses: np.ndarray, frames: range, carry: torch.Tensor
    ) -> torch.Tensor:
        unet, text, scheduler = self._system.unet, self._system.text.encode([clip.prompt]), ddim(clip.steps)
        shape, old = tuple(key.shape[1:]), len(carry)
        latents = frame_noise(clip.seed, frames.start, frames.stop, shape)
        held = frame_noise(clip.seed, frames.start - old, frames.start, shape) if old else carry
        images = torch.from_numpy(poses).permute(0, 3, 1, 2) / 255
        for timestep in scheduler.timesteps.tolist():
            features = self._system.reference.features(key, timestep, text)
            unet.read({name: rows[-1] for name, rows in features.items()})
            down, mid = self._system.control(
                latents, timestep, text.expand(len(latents), -1, -1), images, return_dict=False
            )
            # carried frames are given as they are at this timestep, and are not steered by a pose
            residuals = [torch.cat([torch.zeros_like(one[:1]).repeat(old, 1, 1, 1), one]) for one in (*down, mid)]
            known = scheduler.add_noise(carry, held, torch.tensor([timestep])) if old else carry
            rows = unet.predict(torch.cat([known, latents]), timestep, text, (residuals[:-1], residuals[-1]))
            latents = scheduler.step(rows[0, old:], timestep, latents).prev_sample
        return latents

    def frames(self, latents: torch.Tensor) -> Iterator[np.ndarray]:
        return self._system.frames(latents)


# --- Promises


@pytest.fixture(params=[TextToVideoZero, DreamPose, Chained], ids=lambda system: system.facts.name)
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Animator]:
    monkeypatch.setitem(ANIMATORS, request.param.facts.name, request.param.facts)
    # stored UV maps are shown to the network as they are
    monkeypatch.setitem(recipes._RECIPES, ("densepose_uv", "densepose"), recipes.Recipe("none", "frames"))
    return request.param


@pytest.fixture(scope="module")
def models() -> ModelCache:
    """As a worker holds them, for all tests."""
    torch.set_num_threads(1)
    return ModelCache("cpu", "float32", max_bytes=2**30)


def loaded(system: type[Animator], models: ModelCache, monkeypatch: pytest.MonkeyPatch) -> Animator:
    monkeypatch.setitem(ANIMATORS, system.facts.name, system.facts)
    return models.get(system.facts.name, CHECKPOINT, "digest")


def picture(seed: int, channels: int = 3) -> np.ndarray:
    """Blocks of colour, as large as the film."""
    blocks = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, WIDTH // 8, channels), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def pictures(frames: int, channels: int = 3) -> np.ndarray:
    return np.stack([picture(100 + frame, channels) for frame in range(frames)])


def clip(system: type[Animator], **fields: object) -> Clip:
    facts = system.facts
    numbers = {"guidance": facts.guidance, "window": facts.window, "overlap": facts.overlap, "steps": 3, "fps": 12}
    inputs = {"driving_kind": "densepose", "width": WIDTH, "height": HEIGHT, "fit": "cover"}
    return Clip(id="clip", animator=facts.name, **{**inputs, **numbers, **fields})


def work(system: type[Animator], places: Places, frames: int) -> Work:
    """The clip with everything in storage that the stages before would have put there."""
    facts, keys = system.facts, {"checkpoint_digest": "digest", "latents_key": "latents", "film_key": "film"}
    fields = {"prompt": "a man dancing"}
    if facts.reference:
        source = Path(places.reference("reference"))
        source.parent.mkdir(parents=True)
        Image.fromarray(picture(1)).save(source)
        keys["reference_key"] = "reference"
    if facts.pose == "none":
        fields["duration"] = frames / 12
    else:
        stored = Path(places.poses("poses"))
        stored.parent.mkdir(parents=True)
        drawn = pictures(frames, 2 if facts.pose == "densepose_uv" else 3)
        write_poses(stored, [(Fraction(at, 12), pose) for at, pose in enumerate(drawn)], Fraction(12))
        keys["pose_key"] = "poses"
    size = {"width": WIDTH, "height": HEIGHT}
    return Work(
        row=0,
        clip=clip(system, **fields),
        reference=Source(uri="r.png", digest="r", **size) if facts.reference else None,
        driving=None if facts.pose == "none" else Source(uri="d.mp4", digest="d", frames=frames, fps=12, **size),
        frames=frames,
        checkpoint=str(CHECKPOINT),
        **keys,
    )


def shown(film: str) -> tuple[np.ndarray, Fraction]:
    """Brightness of a film's frames, (frames, height, width) in 0…255, and its rate, read by PyAV."""
    with av.open(film) as container:
        rate = container.streams.video[0].average_rate
        planes = [frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]
        return (np.stack(planes).astype(float) - 16) * 255 / 219, rate


def test_any_system_makes_a_film_of_its_frames(system: type[Animator], models: ModelCache, tmp_path: Path) -> None:
    places, frames = Places(str(tmp_path)), 7
    stage = Animate(places, models, EncodeRecipe(crf=2, preset="veryfast"), "run", "code")
    result = stage(work(system, places, frames))

    film, rate = shown(result.film)
    assert (result.status, result.frames, rate) == ("done", frames, 12)
    latents = load_file(places.latents("latents"))["latents"]
    assert latents.shape == (frames, *SHAPE)

    animator = models.get(system.facts.name, CHECKPOINT, "digest")
    drawn = np.concatenate(list(animator.frames(latents))) @ (0.2126, 0.7152, 0.0722)
    apart = np.abs(film[:, None] - drawn).mean(axis=(2, 3))
    assert apart.argmin(axis=1).tolist() == list(range(frames)), "frames are lost, repeated or in another order"
    assert apart.diagonal().max() < 2 < apart[~np.eye(frames, dtype=bool)].min()
    assert storage.exists(result.poster)


def test_a_whole_clip_system_may_chunk_its_frames_as_it_likes(
    models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    animator = loaded(TextToVideoZero, models, monkeypatch)

    def latents(**options: float) -> torch.Tensor:
        return animator.latents(clip(TextToVideoZero, options=options), None, None, Segment(0, 6))

    assert torch.allclose(latents(chunk_size=3), latents(chunk_size=7), atol=1e-3)
    assert not torch.allclose(latents(motion=0.0), latents(motion=80.0), atol=1e-2)


def test_a_per_frame_system_reads_five_poses_and_two_guidance_scales(
    models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    animator, moved = loaded(DreamPose, models, monkeypatch), pictures(9, 2)
    moved[5] = 255 - moved[5]

    def latents(poses: np.ndarray, *guidance: float) -> torch.Tensor:
        scales = clip(DreamPose, guidance=guidance, steps=2)
        return animator.latents(scales, picture(1), poses, Segment(0, len(poses)))

    changed = (latents(pictures(9, 2), 8, 3) - latents(moved, 8, 3)).abs().amax(dim=(1, 2, 3))
    assert (changed > 1e-2).nonzero().flatten().tolist() == [3, 4, 5, 6, 7]
    still = latents(moved, 8, 0)  # without pose guidance all frames are one
    assert torch.allclose(still, still[:1].expand_as(still), atol=1e-3)
    assert not torch.allclose(still, latents(moved, 2, 0), atol=1e-2)


def test_a_chained_system_continues_from_the_segment_before(
    models: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    animator, poses, cut = loaded(Chained, models, monkeypatch), pictures(8), Chained.block

    def latents(segment: Segment) -> torch.Tensor:
        part = poses[segment.start : segment.stop]
        return animator.latents(clip(Chained, steps=2), picture(1), part, segment)

    whole, first = latents(Segment(0, 8)), latents(Segment(0, cut))
    assert torch.equal(first, whole[:cut])
    assert torch.allclose(latents(Segment(cut, 8, carry=first)), whole[cut:], atol=1e-4)
    assert not torch.allclose(latents(Segment(cut, 8, carry=first.flip(0))), whole[cut:], atol=1e-2)
    assert not torch.allclose(latents(Segment(cut, 8)), whole[cut:], atol=1e-2)
