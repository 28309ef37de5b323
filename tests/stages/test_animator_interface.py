"""The animator interface fits a system whose segments continue from one another: small but whole, it makes films.

It follows the structure of such a system, on the tiny committed weights, with a loop of its own.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from safetensors.torch import load_file

from manifests import storage
from manifests.clip import Clip
from manifests.layout import OutputLayout
from manifests.work import Source, Work
from stages.animate import Animate
from stages.diffusion.animator import Animator, PosePictures, Segment
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.magicanimate.animator import SCHEDULER, MagicAnimate
from stages.diffusion.magicanimate.unet import Conditioning
from stages.diffusion.model_cache import ModelCache
from stages.diffusion.sampling.noise import frame_noise
from stages.poses.files.sequence import write_poses
from stages.video.encode import EncodeRecipe
from tests.conftest import CHECKOUT

CHECKPOINT = CHECKOUT / "tests" / "golden" / "magicanimate" / "checkpoint"
WIDTH, HEIGHT = 48, 64
SHAPE = (4, HEIGHT // 8, WIDTH // 8)


def ddim(steps: int) -> DDIMScheduler:
    scheduler = DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(steps)
    return scheduler


# --- A chained system, as Wan-Animate is: blocks of frames, each continuing from the last latents of the one before.


class Chained:
    facts = replace(ANIMATORS["magicanimate"], name="chained", implementation=f"{__name__}:Chained")
    block, carried = 5, 2  # new frames at once, frames of the preceding block beside them

    def __init__(self, system: MagicAnimate) -> None:
        self._system = system
        self.nbytes = system.nbytes

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> "Chained":
        return cls(MagicAnimate.load(checkpoint, device, dtype))

    @torch.inference_mode()
    def latents(
        self, clip: Clip, reference: np.ndarray | None, poses: PosePictures | None, segment: Segment
    ) -> torch.Tensor:
        key, made = self._system.images.encode(reference), []
        before = torch.empty(0, *key.shape[1:]) if segment.carry is None else segment.carry
        for start in range(segment.start, segment.stop, self.block):
            stop = min(start + self.block, segment.stop)
            shown = np.stack([poses[frame] for frame in range(start, stop)])
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
            conditioning = Conditioning(text, reference=unet.project(features))
            down, mid = self._system.control(
                latents, timestep, text.expand(len(latents), -1, -1), images, return_dict=False
            )
            # carried frames are given as they are at this timestep, and are not steered by a pose
            residuals = [torch.cat([torch.zeros_like(one[:1]).repeat(old, 1, 1, 1), one]) for one in (*down, mid)]
            known = scheduler.add_noise(carry, held, torch.tensor([timestep])) if old else carry
            rows = unet.predict(torch.cat([known, latents]), timestep, conditioning, (residuals[:-1], residuals[-1]))
            latents = scheduler.step(rows[0, old:], timestep, latents).prev_sample
        return latents

    def frames(self, latents: torch.Tensor, clip: Clip) -> Iterator[np.ndarray]:
        return self._system.frames(latents, clip)


# --- Promises


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> type[Animator]:
    monkeypatch.setitem(ANIMATORS, Chained.facts.name, Chained.facts)
    return Chained


@pytest.fixture(scope="module")
def models() -> ModelCache:
    """As a worker holds them, for all tests."""
    torch.set_num_threads(1)
    return ModelCache("cpu", "float32", max_bytes=2**30)


def picture(seed: int) -> np.ndarray:
    """Blocks of colour, as large as the film."""
    blocks = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def pictures(frames: int) -> np.ndarray:
    return np.stack([picture(100 + frame) for frame in range(frames)])


def clip(system: type[Animator], **fields: object) -> Clip:
    facts = system.facts
    numbers = {"guidance": facts.guidance, "window": facts.window, "overlap": facts.overlap, "steps": 3, "fps": 12}
    inputs = {"driving_kind": "densepose", "width": WIDTH, "height": HEIGHT, "fit": "cover"}
    return Clip(id="clip", animator=facts.name, **{**inputs, **numbers, **fields})


def work(system: type[Animator], layout: OutputLayout, frames: int) -> Work:
    """The clip with everything in storage that the stages before would have put there."""
    reference, poses = Path(layout.reference("reference")), Path(layout.poses("poses"))
    for stored in (reference, poses):
        stored.parent.mkdir(parents=True)
    Image.fromarray(picture(1)).save(reference)
    write_poses(poses, [(Fraction(at, 12), pose) for at, pose in enumerate(pictures(frames))], Fraction(12))
    size = {"width": WIDTH, "height": HEIGHT}
    return Work(
        row=0,
        clip=clip(system, prompt="a man dancing"),
        reference=Source(uri="r.png", digest="r", **size),
        driving=Source(uri="d.mp4", digest="d", frames=frames, fps=12, **size),
        frames=frames,
        checkpoint=str(CHECKPOINT),
        checkpoint_digest="digest",
        reference_key="reference",
        pose_key="poses",
        latents_key="latents",
        film_key="film",
    )


def shown(film: str) -> tuple[np.ndarray, Fraction]:
    """Brightness of a film's frames, (frames, height, width) in 0…255, and its rate, read by PyAV."""
    with av.open(film) as container:
        rate = container.streams.video[0].average_rate
        planes = [frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]
        return (np.stack(planes).astype(float) - 16) * 255 / 219, rate


def test_a_system_with_a_loop_of_its_own_makes_a_film_of_its_frames(
    system: type[Animator], models: ModelCache, tmp_path: Path
) -> None:
    layout, frames = OutputLayout(str(tmp_path)), 7
    stage = Animate(layout, models, EncodeRecipe(crf=2, preset="veryfast"), "run", "code")
    result = stage(work(system, layout, frames))

    film, rate = shown(result.film)
    assert (result.status, result.frames, rate) == ("done", frames, 12)
    latents = load_file(layout.latents("latents"))["latents"]
    assert latents.shape == (frames, *SHAPE)

    animator = models.get(system.facts.name, CHECKPOINT, "digest")
    drawn = np.concatenate(list(animator.frames(latents, clip(system)))) @ (0.2126, 0.7152, 0.0722)
    apart = np.abs(film[:, None] - drawn).mean(axis=(2, 3))
    assert apart.argmin(axis=1).tolist() == list(range(frames)), "frames are lost, repeated or in another order"
    assert apart.diagonal().max() < 2 < apart[~np.eye(frames, dtype=bool)].min()
    assert storage.exists(result.poster)


def test_a_chained_system_continues_from_the_segment_before(system: type[Animator], models: ModelCache) -> None:
    animator, poses, cut = models.get(system.facts.name, CHECKPOINT, "digest"), pictures(8), Chained.block

    def latents(segment: Segment) -> torch.Tensor:
        return animator.latents(clip(Chained, steps=2), picture(1), poses, segment)

    whole, first = latents(Segment(0, 8)), latents(Segment(0, cut))
    assert torch.equal(first, whole[:cut])
    assert torch.allclose(latents(Segment(cut, 8, carry=first)), whole[cut:], atol=1e-4)
    assert not torch.allclose(latents(Segment(cut, 8, carry=first.flip(0))), whole[cut:], atol=1e-2)
    assert not torch.allclose(latents(Segment(cut, 8)), whole[cut:], atol=1e-2)
