"""Promises of the bundled animator `drawn`, on tiny random weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copy, copytree, rmtree

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from manifests.clip import Clip
from manifests.errors import Problem
from pipelines.training.networks import MOTION, SCHEDULER, initialise, save
from stages.diffusion.animator import Denoised, Driving, Segment, Segments
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.drawn.animator import Drawn, warped
from stages.diffusion.drawn.codec import DrawnCodec
from stages.diffusion.drawn.finishing import Finishing
from stages.diffusion.drawn.networks import DrawnNetworks
from stages.diffusion.segments import segments_of
from stages.latents_file import read_latents, write_latents
from tests.made.seam import frames_of, latents_of
from tests.made.walking import Walking, joints
from tests.stages.diffusion.test_drawn_networks import TINY, stir

WIDTH, HEIGHT = 64, 96
WINDOW, OVERLAP = 4, 1


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("drawn") / "checkpoint"
    networks = initialise(DrawnNetworks({**TINY, "motion": MOTION}))
    stir(networks)
    save(networks, folder)
    codec = DrawnCodec(encoder_channels=(8, 8), decoder_channels=(8, 8, 8), latent_std=0.5)
    codec.save_pretrained(folder / "codec")
    Finishing(channels=(8, 8, 8)).save_pretrained(folder / "finishing")
    DDIMScheduler.from_config(SCHEDULER).save_config(folder / "scheduler")
    return folder


@pytest.fixture(scope="module")
def animator(checkpoint: Path) -> Drawn:
    return Drawn.load(checkpoint, "cpu", torch.float32)


def clip(**fields: object) -> Clip:
    given = {"width": WIDTH, "height": HEIGHT, "fit": "cover", "steps": 2, "seed": 1}
    return Clip(id="c", animator="drawn", **{**given, "window": WINDOW, "overlap": OVERLAP, **fields})


def image(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def poses(frames: int, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    return [image(100 + frame, width, height) for frame in range(frames)]


def animate(animator: Drawn, frames: int, reference: int = 0, **fields: object) -> torch.Tensor:
    return latents_of(animator, clip(**fields), image(reference), poses(frames), Segment(0, frames))


def walking(frames: int, reference: int | None, width: int = WIDTH, height: int = HEIGHT) -> Walking:
    """Somebody whose reference has the joints of that number."""
    return Walking(poses(frames, width, height), None if reference is None else joints(reference, width, height))


def decoded(animator: Drawn, denoised: Denoised, asked: Clip) -> np.ndarray:
    return np.concatenate(list(frames_of(animator, denoised, asked)))


def test_the_reference_is_warped_where_both_skeletons_are_known(animator: Drawn) -> None:
    def made(shown: object, **options: bool) -> torch.Tensor:
        return latents_of(animator, clip(options=options), image(0), shown, Segment(0, 3))

    without = made(poses(3))
    assert torch.equal(made(walking(3, None)), without)
    assert torch.equal(made(walking(3, 9), warp=False), without)
    warped = made(walking(3, 9))
    assert warped.isfinite().all()
    assert all(not torch.allclose(one, other, atol=1e-3) for one, other in zip(warped, without, strict=True))


def test_a_frame_without_a_person_has_no_warped_reference() -> None:
    shown = walking(3, 9)
    shown.joints = lambda frame: None if frame == 1 else joints(frame, WIDTH, HEIGHT)
    first, second, third = warped(image(0), shown, range(3))
    assert (first is None, second is None, third is None) == (False, True, False)


def films(animator: Drawn, shown: Walking, segments: list[Segment], folder: Path, **fields: object) -> np.ndarray:
    """The film of segments that were stored and read again."""
    asked, parts = clip(**fields), []
    for segment in segments:
        denoised = animator.segment(asked, image(0), Driving(shown), segment)
        file = folder / f"{segment.start}-{len(list(folder.iterdir()))}.safetensors"
        write_latents(file, denoised, {}, segment)
        again, _ = read_latents(file, segment)
        parts.append((replace(segment, kept=again.kept), again.latents))
    return np.concatenate(list(animator.frames(parts, asked)))


@pytest.mark.parametrize("loop", [False, True])
def test_what_is_kept_with_latents_finishes_the_film_whatever_segments_it_was_cut_into(
    animator: Drawn, tmp_path: Path, loop: bool
) -> None:
    shown, asked = walking(9, 9), {"options": {"motion": False}, "loop": loop}
    segments = segments_of(clip(**asked), replace(animator.facts, segments=Segments(5, halo=1)), 9)
    assert (len(segments), segments[0].start) == (2, -1 if loop else 0)
    whole, cut = (films(animator, shown, parts, tmp_path, **asked) for parts in ([Segment(0, 9)], segments))
    assert np.abs(whole.astype(int) - cut).max() <= 1
    latents = latents_of(animator, clip(**asked), image(0), shown, Segment(0, 9))
    assert np.abs(whole.astype(int) - decoded(animator, Denoised(latents), clip())).max() > 20


def test_frames_without_a_person_and_films_without_a_warp_are_what_the_codec_makes_of_them(
    animator: Drawn, tmp_path: Path
) -> None:
    shown = walking(3, 9)
    shown.joints = lambda frame: None if frame == 1 else joints(frame, WIDTH, HEIGHT)
    film = films(animator, shown, [Segment(0, 3)], tmp_path)
    latents = latents_of(animator, clip(), image(0), shown, Segment(0, 3))
    pairs = zip(film, decoded(animator, Denoised(latents), clip()), strict=True)
    assert [np.array_equal(*pair) for pair in pairs] == [False, True, False]
    asked = clip(options={"warp": False})
    assert animator.segment(asked, image(0), Driving(shown), Segment(0, 3)).kept is None


def test_films_are_finished_in_half_precision_as_in_single(checkpoint: Path, animator: Drawn) -> None:
    half = Drawn.load(checkpoint, "cpu", torch.bfloat16)
    denoised = animator.segment(clip(), image(0), Driving(walking(3, 9)), Segment(0, 3))
    exact, near = (decoded(one, denoised, clip()).astype(int) for one in (animator, half))
    unfinished = decoded(half, Denoised(denoised.latents), clip())
    assert np.abs(exact - near).mean() < 1
    assert np.abs(exact - unfinished).mean() > 10


@pytest.mark.parametrize(("frames", "width", "height"), [(1, 64, 96), (4, 96, 64), (9, 64, 64)])
def test_films_of_any_length_and_shape(animator: Drawn, frames: int, width: int, height: int) -> None:
    made, shown = clip(width=width, height=height), walking(frames, 9, width, height)
    denoised = animator.segment(made, image(0, 70, 50), Driving(shown), Segment(0, frames))
    assert denoised.latents.shape == (frames, 8, height // 8, width // 8)
    assert denoised.latents.isfinite().all()
    assert (denoised.latents.dtype, denoised.latents.device.type) == (torch.float32, "cpu")
    film = decoded(animator, denoised, made)
    assert (film.shape, film.dtype) == ((frames, height, width, 3), np.uint8)
    assert not np.array_equal(film, decoded(animator, Denoised(denoised.latents), made)), "it is finished"


def test_no_layer_is_handed_what_it_does_not_read(animator: Drawn, diffusers_log: pytest.LogCaptureFixture) -> None:
    animate(animator, WINDOW)
    assert not diffusers_log.records


def test_a_seed_is_a_film_whatever_was_made_before_it(animator: Drawn) -> None:
    first = animate(animator, 6)
    other = animate(animator, 6, seed=2, reference=1, options={"motion": False})
    assert torch.equal(animate(animator, 6), first)
    assert not torch.equal(other, first)


def test_all_frames_start_from_one_noise_whatever_segment_they_are_in(animator: Drawn) -> None:
    def starts(segment: Segment, **options: str) -> torch.Tensor:
        begun: list[torch.Tensor] = []
        layer = animator.networks.unet.conv_in
        handle = layer.register_forward_pre_hook(lambda _, given: begun.append(given[0][:, :8]))
        next(iter(animator.steps(clip(options=options, window=24), image(0), poses(9), segment)))
        handle.remove()
        return begun[0]

    whole, part = starts(Segment(0, 9)), starts(Segment(5, 8))
    assert torch.equal(whole, whole[:1].expand_as(whole))
    assert torch.equal(part, whole[5:8])
    own, own_part = starts(Segment(0, 9), noise="independent"), starts(Segment(5, 8), noise="independent")
    assert len(own.unique(dim=0)) == 9
    assert torch.equal(own_part, own[5:8])


def test_without_motion_every_frame_is_made_by_itself(animator: Drawn) -> None:
    def changed(**options: bool) -> list[bool]:
        shown, other = poses(WINDOW), poses(WINDOW)
        other[-1] = 255 - other[-1]
        one, two = (
            latents_of(animator, clip(options=options), image(0), given, Segment(0, WINDOW)) for given in (shown, other)
        )
        return ((one - two).abs().amax(dim=(1, 2, 3)) > 1e-5).tolist()

    assert changed(motion=False) == [False, False, False, True]
    assert changed() == [True, True, True, True]


def test_a_segment_is_driven_by_its_own_frames_poses(animator: Drawn) -> None:
    settings = clip(options={"motion": False})
    whole = latents_of(animator, settings, image(0), poses(6), Segment(0, 6))
    part = latents_of(animator, settings, image(0), poses(6), Segment(3, 6))
    torch.testing.assert_close(part, whole[3:], atol=1e-4, rtol=1e-4)


def test_reference_and_poses_are_fitted_to_the_film(animator: Drawn) -> None:
    large, shown = image(0, 2 * WIDTH, HEIGHT), poses(2, 2 * WIDTH, HEIGHT)
    centre = slice(WIDTH // 2, WIDTH // 2 + WIDTH)
    whole = latents_of(animator, clip(), large, shown, Segment(0, 2))
    cropped = latents_of(animator, clip(), large[:, centre], [pose[:, centre] for pose in shown], Segment(0, 2))
    assert torch.equal(whole, cropped)


def test_the_facts_name_what_is_read(checkpoint: Path) -> None:
    assert sorted(entry.name for entry in checkpoint.iterdir()) == sorted(ANIMATORS["drawn"].checkpoint)
    assert ANIMATORS["drawn"].window_limits[1] == MOTION["longest_window"]


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: rmtree(folder / "motion"), r"motion.config\.json is missing"),
        (lambda folder: rmtree(folder / "codec"), r"codec.config\.json is missing"),
        (lambda folder: rmtree(folder / "scheduler"), r"scheduler_config\.json is missing"),
        (lambda folder: (folder / "unet" / "config.json").write_text('{"in_channels": "x"}'), "describe no"),
        (lambda folder: exchange(folder, "unet", "reference"), "does not fit"),
        (lambda folder: exchange(folder, "motion", "pose_guider"), "unexpected"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    checkpoint: Path, tmp_path: Path, damage: Callable[[Path], object], named: str
) -> None:
    folder = copytree(checkpoint, tmp_path / "checkpoint")
    damage(folder)
    with pytest.raises(Problem, match=named):
        Drawn.load(folder, "cpu", torch.float32)


def exchange(folder: Path, one: str, other: str) -> None:
    """Put the weights of one part in place of another's."""
    name = "diffusion_pytorch_model.safetensors"
    copy(folder / other / name, folder / one / name)
