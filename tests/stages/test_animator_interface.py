"""The seam fits a system whose segments continue from one another: small but whole, it makes films.

It has the structure of such systems: a temporal codec (4n + 1 frames), segments that share a frame, decoded pixels
handed on, a loop of its own. Its weights are the tiny committed ones.
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

from manifests import storage
from manifests.clip import Clip
from manifests.layout import OutputLayout
from manifests.work import Source, Work
from stages.animate import Animate
from stages.diffusion.animator import Animator, Denoised, Driving, Parts, Segment, Segments
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.magicanimate.animator import SCHEDULER, MagicAnimate
from stages.diffusion.magicanimate.unet import Conditioning
from stages.diffusion.model_cache import ModelCache
from stages.diffusion.sampling.noise import frame_noise
from stages.diffusion.segments import segments_of
from stages.latents_cache import segments
from stages.latents_file import read_latents
from stages.poses.files.sequence import write_poses
from stages.provenance.credentials.film_signing import FilmSigning
from stages.provenance.settings import Provenance
from stages.video.encode import EncodeRecipe
from tests.conftest import CHECKOUT
from tests.made.sample_media import UNMARKED

CHECKPOINT = CHECKOUT / "tests" / "golden" / "magicanimate" / "checkpoint"
WIDTH, HEIGHT = 48, 64
SHAPE = (4, HEIGHT // 8, WIDTH // 8)
STEPS = 2


class Chained:
    """As Wan-Animate is: five frames at once, the first of which is the last one of the segment before."""

    rule = Segments(4, carried=1, per_latent=4)
    facts = replace(ANIMATORS["magicanimate"], name="chained", implementation=f"{__name__}:Chained", segments=rule)

    def __init__(self, system: MagicAnimate) -> None:
        self._system = system
        self.nbytes = system.nbytes

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> "Chained":
        return cls(MagicAnimate.load(checkpoint, device, dtype))

    @torch.inference_mode()
    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        images, unet, text = self._system.images, self._system.unet, self._system.text.encode([clip.prompt])
        count = self.rule.latent_frames(len(segment))
        shown = [driving.poses[min(segment.start + 4 * at, segment.stop - 1)] for at in range(count)]
        embedded = self._system.pose_embedding(torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2) / 255)
        key = images.encode(reference)
        known = key if segment.carry is None else images.autoencoder.encode(segment.carry).latent_dist.mean
        latents = frame_noise(clip.seed + segment.number, range(count), SHAPE)  # by (seed, segment)
        scheduler = DDIMScheduler(**SCHEDULER)
        scheduler.set_timesteps(clip.steps)
        for done, timestep in enumerate(scheduler.timesteps.tolist(), 1):
            features = self._system.reference.features(known, timestep, text)
            conditioning = Conditioning(text, reference=unet.project(features))
            down, mid = self._system.control(latents, timestep, text.expand(count, -1, -1), embedded, return_dict=False)
            rows = unet.predict(latents, timestep, conditioning, (down, mid))
            latents = scheduler.step(rows[0], timestep, latents).prev_sample
            segment.told(done, clip.steps)
        return Denoised(latents, self._decoded(latents, len(segment))[-1:])

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        for segment, latents in parts:
            pixels = self._decoded(latents, len(segment))[self.rule.carried if segment.number else 0 :]
            yield ((pixels + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()

    def _decoded(self, latents: torch.Tensor, frames: int) -> torch.Tensor:
        """(frames, 3, height, width): one frame of the first latent frame, four of each other, fading into it."""
        every = torch.cat([one.float() * 2 - 1 for one in self._system.images.decode([latents])])
        made = [every[:1]]
        made += [
            torch.lerp(every[at - 1], every[at], part / 4)[None] for at in range(1, len(every)) for part in (1, 2, 3, 4)
        ]
        return torch.cat(made)[:frames]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> type[Animator]:
    monkeypatch.setitem(ANIMATORS, Chained.facts.name, Chained.facts)
    return Chained


@pytest.fixture(scope="module")
def models() -> ModelCache:
    """As a worker holds them, for all tests."""
    return ModelCache("cpu", "float32", max_bytes=2**30)


def picture(seed: int) -> np.ndarray:
    """Blocks of colour, as large as the film."""
    blocks = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def pictures(frames: int) -> np.ndarray:
    return np.stack([picture(100 + frame) for frame in range(frames)])


def clip(system: type[Animator], **fields: object) -> Clip:
    facts = system.facts
    numbers = {"guidance": facts.guidance, "window": facts.window, "overlap": facts.overlap, "steps": STEPS, "fps": 12}
    inputs = {"driving_kind": "densepose", "width": WIDTH, "height": HEIGHT, "fit": "cover"}
    return Clip(id="clip", animator=facts.name, **{**inputs, **numbers, **fields})


def work(system: type[Animator], layout: OutputLayout, frames: int, **about: object) -> Work:
    """The clip with everything in storage that the stages before would have put there."""
    reference, poses = Path(layout.reference("reference")), Path(layout.poses("poses"))
    for stored in (reference, poses):
        stored.parent.mkdir(parents=True)
    Image.fromarray(picture(1)).save(reference)
    write_poses(poses, [(Fraction(at, 12), pose) for at, pose in enumerate(pictures(frames))], Fraction(12))
    size = {"width": WIDTH, "height": HEIGHT}
    given = {
        "row": 0,
        "clip": clip(system, prompt="a man dancing"),
        "reference": Source(uri="r.png", digest="r", **size),
        "driving": Source(uri="d.mp4", digest="d", frames=frames, fps=12, **size),
        "frames": frames,
        "checkpoint": str(CHECKPOINT),
        "checkpoint_digest": "digest",
        "reference_key": "reference",
        "pose_key": "poses",
        "latents_key": "latents",
        "film_key": "film",
    }
    return Work(**{**given, **about})


def stage(layout: OutputLayout, models: ModelCache, **options: object) -> Animate:
    signing = FilmSigning(Provenance.model_validate(UNMARKED["provenance"]))
    return Animate(layout, models, EncodeRecipe(crf=2, preset="veryfast"), "run", "code", signing=signing, **options)


def shown(film: str) -> tuple[np.ndarray, Fraction]:
    """Brightness of a film's frames, (frames, height, width) in 0…255, and its rate, read by PyAV."""
    with av.open(film) as container:
        rate = container.streams.video[0].average_rate
        planes = [frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]
        return (np.stack(planes).astype(float) - 16) * 255 / 219, rate


class Killed(Exception):
    """The worker dies here."""


@pytest.mark.parametrize("frames", [2, 5, 6, 14])
def test_a_chained_system_makes_a_film_of_its_frames_segment_by_segment(
    system: type[Animator], models: ModelCache, tmp_path: Path, frames: int
) -> None:
    layout = OutputLayout(str(tmp_path))
    asked = work(system, layout, frames)
    result = stage(layout, models)(asked)

    film, rate = shown(result.film)
    assert (result.status, len(film), rate) == ("done", frames, 12)
    animator, carry, whole = models.get(system.facts.name, CHECKPOINT, "digest"), None, []
    for segment in segments(asked):  # a loop that keeps everything in memory
        denoised = animator.segment(asked.clip, picture(1), Driving(pictures(frames)), replace(segment, carry=carry))
        whole.append((segment, denoised.latents))
        carry = denoised.carry
        stored = read_latents(Path(layout.latents("latents", None if segment.whole else segment.number)), segment)[0]
        assert torch.equal(stored.latents, denoised.latents)
        assert torch.equal(stored.carry, denoised.carry)
    drawn = np.concatenate(list(animator.frames(whole, asked.clip)))
    assert len(drawn) == frames
    assert np.abs(film - drawn @ (0.2126, 0.7152, 0.0722)).mean() < 2


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_chained_clip_that_was_killed_between_two_segments_goes_on_at_the_next_bit_for_bit(
    system: type[Animator], models: ModelCache, tmp_path: Path, killed_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    one = Chained.segment

    def noted(self: Chained, asked: Clip, reference: np.ndarray, driving: Driving, segment: Segment) -> Denoised:
        made.append(segment.number)
        return one(self, asked, reference, driving, segment)

    monkeypatch.setattr(Chained, "segment", noted)
    films = []
    for name in ("undisturbed", "killed"):
        layout = OutputLayout(str(tmp_path / name))
        asked = work(system, layout, 15)
        assert len(segments(asked)) == 4
        if name == "killed":
            made.clear()
            asked_for = iter(range(1, 4))

            def dies(numbers: Iterator[int] = asked_for) -> None:
                if next(numbers) == killed_after:
                    raise Killed

            with pytest.raises(Killed):
                stage(layout, models, going_on=dies)(asked)
            assert made == list(range(killed_after))
            made.clear()
        films.append(Path(stage(layout, models, keep_latents=name != "killed")(asked).film).read_bytes())
    assert made == list(range(killed_after, 4)), "more or less was denoised than was missing"
    assert films[0] == films[1]
    left = storage.listing(storage.parent(layout.latents("latents")))
    assert not left, "segments are kept no longer than the film needs them, where latents are not kept"


def test_what_is_carried_matters_to_the_last_bit(system: type[Animator], models: ModelCache) -> None:
    animator, poses = models.get(system.facts.name, CHECKPOINT, "digest"), Driving(pictures(9))
    made, asked = clip(Chained), segments_of(clip(Chained), Chained.facts, 9)
    first = animator.segment(made, picture(1), poses, asked[0])

    def second(carry: torch.Tensor | None) -> torch.Tensor:
        return animator.segment(made, picture(1), poses, replace(asked[1], carry=carry)).latents

    exact = second(first.carry)
    assert torch.equal(exact, second(first.carry.clone()))
    rounded = ((first.carry + 1) * 127.5).round() / 127.5 - 1
    assert not torch.equal(exact, second(rounded))
    assert not torch.allclose(exact, second(None), atol=1e-2)


def test_a_damaged_segment_alone_is_made_again(
    system: type[Animator], models: ModelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = OutputLayout(str(tmp_path))
    asked = work(system, layout, 15)
    film = Path(stage(layout, models)(asked).film)
    before = film.read_bytes()
    damaged = Path(layout.latents("latents", 2))
    damaged.write_bytes(damaged.read_bytes()[:-40] + bytes(40))
    for gone in (film, film.with_suffix(".json")):
        gone.unlink()
    made = []
    one = Chained.segment
    monkeypatch.setattr(Chained, "segment", lambda *of: made.append(of[-1].number) or one(*of))
    assert Path(stage(layout, models)(asked).film).read_bytes() == before
    assert made == [2]


@pytest.mark.parametrize(("fps", "frames"), [(24, 28), (Fraction(25), 29), (10, 12), (6, 7)])
def test_a_system_with_a_rate_of_its_own_draws_at_it_and_the_film_keeps_its_rate(
    models: ModelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fps: Fraction, frames: int
) -> None:
    monkeypatch.setitem(ANIMATORS, "chained", replace(Chained.facts, native_fps=Fraction(12)))
    layout = OutputLayout(str(tmp_path))
    asked = work(Chained, layout, 14, clip=clip(Chained, prompt="x", fps=fps), drawn=14)
    asked = asked.model_copy(update={"frames": frames})
    film, rate = shown(stage(layout, models)(asked).film)
    assert (len(film), rate) == (frames, fps)

    drawn = OutputLayout(str(tmp_path / "drawn"))
    native, _ = shown(stage(drawn, models)(work(Chained, drawn, 14, clip=clip(Chained, prompt="x"))).film)
    apart = np.abs(film[:, None] - native).mean(axis=(2, 3)).argmin(axis=1)
    assert apart.tolist() == [min(frame * 12 // fps, 13) for frame in range(frames)]


class Keeping(Chained):
    """Draws nothing but what its segments have kept beside their latents: a grey for each."""

    facts = replace(Chained.facts, name="keeping", implementation=f"{__name__}:Keeping")

    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        grey = torch.tensor([40 + 60 * segment.number], dtype=torch.uint8)
        return Denoised(torch.zeros(len(segment), *SHAPE), torch.zeros(1), {"grey": grey})

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        for segment, latents in parts:
            frames = len(latents) - (self.rule.carried if segment.number else 0)
            yield np.full((frames, HEIGHT, WIDTH, 3), int(segment.kept["grey"]), np.uint8)


def test_what_a_segment_keeps_is_there_when_it_is_decoded_from_storage_and_in_stills(
    models: ModelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANIMATORS, Keeping.facts.name, Keeping.facts)
    layout = OutputLayout(str(tmp_path))
    asked = work(Keeping, layout, 9)
    animate = stage(layout, models)
    for film in (animate(asked).film, animate(asked.keyed(film_key="again")).film):  # the second from stored latents
        greys = np.median(shown(film)[0], axis=(1, 2))
        assert np.abs(greys - np.repeat([40, 100], [5, 4])).max() < 3
    assert [int(one.mean()) for one in animate.stills(asked, [0, 8]).drawn] == [40, 40]
