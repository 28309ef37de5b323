"""Promises of the animator's training, on a tiny network and people of one colour each."""

import json
import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from manifests.clip import Clip
from pipelines.training import finishing, image, motion
from pipelines.training.__main__ import main
from pipelines.training.batches import (
    DROPPED,
    FACE_WEIGHT,
    HAND_WEIGHT,
    HELD_BACK,
    JITTER,
    PERSON_WEIGHT,
    REFERENCE_SHARES,
    WITHOUT_WARP,
    clips_of,
    disturbed,
    gathered,
    pictures_of,
    posture,
    skeleton_picture,
    weights_of,
)
from pipelines.training.motion import shifted
from pipelines.training.networks import MOTION, SCHEDULER, initialise
from pipelines.training.objective import ANY_SHARE, LAST, SECOND, Begun, errors_from, weighted_mean
from pipelines.training.optimisation import Settings, Training
from pipelines.training.people import draw, random_character, standing
from pipelines.training.pictures import FRAMES, PICTURES, SHAPES, STILLS
from stages.diffusion.drawn.animator import Drawn
from stages.diffusion.drawn.codec import DrawnCodec
from stages.diffusion.drawn.finishing import Finishing
from stages.diffusion.drawn.networks import DrawnNetworks
from stages.diffusion.drawn.unet import motion_modules
from stages.diffusion.drawn.warp import ReferenceWarp, encoded
from stages.diffusion.weights.checkpoint import read_state, weights_file
from stages.poses.conditioning import skeleton_pictures
from stages.poses.keypoints import Keypoints, People
from stages.poses.wholebody import openpose_order
from tests.stages.diffusion.test_drawn_networks import TINY

WIDTH, HEIGHT = 64, 96
CHARACTERS = HELD_BACK + 8


def person(random: np.random.Generator) -> np.ndarray:
    """Keypoints (23, 3) all over a small picture."""
    return np.concatenate([random.uniform(8, (WIDTH - 8, HEIGHT - 8), (23, 2)), np.ones((23, 1))], axis=1)


def people(seed: int = 0) -> SimpleNamespace:
    """A dataset whose characters are told apart by colour, and whose pictures by brightness."""
    random = np.random.default_rng(seed)
    colours = random.normal(size=(CHARACTERS, 1, 8, 1, 1)) + np.linspace(0, 0.1, PICTURES)[:, None, None, None]
    latents = np.broadcast_to(colours, (CHARACTERS, PICTURES, 8, HEIGHT // 8, WIDTH // 8)).astype(np.float16)
    keypoints = np.stack([[person(random) for _ in range(PICTURES)] for _ in range(CHARACTERS)]).astype(np.float32)
    stills = random.integers(0, 256, (CHARACTERS, STILLS, HEIGHT, WIDTH, 3), dtype=np.uint8)
    return SimpleNamespace(latents=latents, keypoints=keypoints, stills=stills, latent_std=2.0)


@pytest.fixture(scope="module")
def codec() -> DrawnCodec:
    torch.manual_seed(0)
    return DrawnCodec(encoder_channels=(8, 8), decoder_channels=(8, 8, 8), latent_std=2.0)


@pytest.fixture
def settings(tmp_path: Path, codec: DrawnCodec, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A folder with data and a codec, and stages that train the tiny network for as many steps as seconds are given."""
    torch.manual_seed(0)
    dataset = people()
    for width, height in SHAPES:
        folder = tmp_path / "data" / f"{width}x{height}"
        folder.mkdir(parents=True)
        np.save(folder / "latents.npy", dataset.latents)
        np.save(folder / "keypoints.npy", dataset.keypoints)
        np.save(folder / "stills.npy", dataset.stills)
        index = {"width": WIDTH, "height": HEIGHT, "characters": CHARACTERS, "first_seed": 0, "latent_std": 2.0}
        (folder / "index.json").write_text(json.dumps(index))
    codec.save_pretrained(tmp_path / "codec")
    monkeypatch.setattr(image, "SPATIAL", TINY)
    monkeypatch.setattr(finishing, "SPATIAL", TINY)
    for stage in (image, motion, finishing):
        monkeypatch.setattr(stage, "Training", lambda *given, **named: Training(*given, **named, clock=ticks()))
    return Settings(output=tmp_path, seconds=35)


def ticks() -> Callable[[], float]:
    """A clock that goes on by one second whenever it is looked at."""
    return partial(next, count(1.0))


def log(settings: Settings, stage: str) -> list[dict]:
    return [json.loads(line) for line in (settings.output / stage / "log.jsonl").read_text().splitlines()]


def test_the_image_stage_learns_goes_on_where_it_stopped_and_shows_what_it_does(settings: Settings) -> None:
    image.train(settings)
    first = log(settings, "image")
    assert first[-1]["loss"] < 0.75 * first[0]["loss"]
    assert (settings.output / "image" / "192x256_00035.png").exists()

    image.train(Settings(output=settings.output, seconds=45))
    steps = [line["step"] for line in log(settings, "image")]
    assert steps == sorted(set(steps))
    assert steps[-1] > first[-1]["step"]

    figures = [json.loads(line) for line in (settings.output / "image" / "preview.jsonl").read_text().splitlines()]
    assert [figure["name"] for figure in figures] == [
        f"{width}x{height}_{seconds}" for seconds in ("00035", "00045") for width, height in SHAPES
    ]


def test_the_image_stage_goes_on_from_the_weights_of_another_checkpoint(settings: Settings) -> None:
    image.train(Settings(output=settings.output, seconds=12))
    trained = {part: read_state(weights_file(settings.output / part)) for part in TINY}
    shutil.copytree(settings.output / "codec", settings.output / "later" / "codec")
    shutil.copytree(settings.output / "data", settings.output / "later" / "data")
    image.train(Settings(output=settings.output / "later", seconds=1, begin=settings.output))
    for part, state in trained.items():
        after = read_state(weights_file(settings.output / "later" / part))
        moved = [float((after[name] - value).abs().mean()) for name, value in state.items()]
        assert max(moved) < 1e-3


def test_the_motion_stage_trains_motion_modules_alone_into_a_whole_checkpoint(settings: Settings) -> None:
    image.train(Settings(output=settings.output, seconds=5))
    before = {part: read_state(weights_file(settings.output / part)) for part in TINY}
    motion.train(Settings(output=settings.output, seconds=20))
    Finishing(channels=(8, 8, 8)).save_pretrained(settings.output / "finishing")
    for part, state in before.items():
        after = read_state(weights_file(settings.output / part))
        assert state.keys() == after.keys()
        assert all(torch.equal(state[name], after[name]) for name in state)
    animator = Drawn.load(settings.output, "cpu", torch.float32)
    trained = [module.proj_out.weight for _, module in motion_modules(animator.networks.unet)]
    assert len(trained) == len(MOTION["modules"])
    assert all(bool(weight.any()) for weight in trained)


def test_clips_begin_at_any_position_of_the_motion_modules() -> None:
    networks = initialise(DrawnNetworks({**TINY, "motion": MOTION}))
    tables = [module.transformer_blocks[0].pos_embed for _, module in motion_modules(networks.unet)]
    whole = tables[0].pe
    seen = set()
    for seed in range(200):
        with shifted(networks, np.random.default_rng(seed)):
            assert all(table.pe.shape[1] >= FRAMES for table in tables)
            seen.add(int((whole[0] == tables[0].pe[0, 0]).all(dim=1).nonzero()))
    assert seen == set(range(MOTION["longest_window"] - FRAMES + 1))
    assert tables[0].pe is whole


def test_batches_pair_pictures_of_one_character_and_leave_the_held_back_out(codec: DrawnCodec) -> None:
    dataset, seen = people(), set()
    characters = dataset.latents[:, 0, :, 0, 0].astype(np.float32) / dataset.latent_std
    for seed in range(40):
        batch = pictures_of(dataset, codec, 4, 4, np.random.default_rng(seed))
        assert (batch.targets.shape, batch.poses.shape) == ((16, 8, 12, 8), (16, 3, HEIGHT, WIDTH))
        references = [np.abs(characters - one[:, 0, 0].numpy()).max(1).argmin() for one in batch.references]
        targets = [np.abs(characters - one[:, 0, 0].numpy()).max(1).argmin() for one in batch.targets]
        assert targets == np.repeat(references, 4).tolist()
        seen |= set(targets)
        for row in range(4):
            same = (batch.targets[row * 4 : row * 4 + 4] == batch.references[row]).flatten(1).all(1)
            assert not same.any(), "a picture is its own reference"
    assert seen == set(range(CHARACTERS - HELD_BACK))


def test_clips_are_the_frames_of_a_motion_in_either_direction(codec: DrawnCodec) -> None:
    dataset, directions = people(), set()
    for seed in range(20):
        batch = clips_of(dataset, codec, 2, np.random.default_rng(seed))
        brightness = batch.targets[:, 0, 0, 0].unflatten(0, (2, FRAMES)).diff(dim=1)
        assert bool((brightness > 0).all(1).logical_or((brightness < 0).all(1)).all())
        directions |= set((brightness[:, 0] > 0).tolist())
    assert directions == {True, False}


def test_the_skeleton_is_the_one_an_animator_is_shown() -> None:
    drawn = person(np.random.default_rng(0))
    points, scores = np.zeros((1, 133, 2)), np.zeros((1, 133))
    points[0, :23], scores[0, :23] = drawn[:, :2], 1
    points, scores = openpose_order(points, scores)
    found = Keypoints.from_people([People(points, scores, np.array([[0.0, 0, WIDTH, HEIGHT]]))], WIDTH, HEIGHT)
    clip = Clip(id="c", animator="drawn", width=WIDTH, height=HEIGHT, fit="cover")
    shown, _ = skeleton_pictures(found, Fraction(10), clip, [0])
    assert np.array_equal(skeleton_picture(drawn, WIDTH, HEIGHT), shown[0])


def test_disturbed_keypoints_move_a_little_and_go_missing_now_and_then(codec: DrawnCodec) -> None:
    given = np.stack([person(np.random.default_rng(0))] * 500)
    moved = disturbed(given, np.random.default_rng(1))
    assert 0.8 * JITTER < (moved - given)[..., :2].std() < 1.2 * JITTER
    assert 0.5 * DROPPED < 1 - moved[..., 2].mean() < 2 * DROPPED
    dataset = people()
    assert not torch.equal(
        gathered(dataset, codec, [(0, 0, [1])]).poses,
        gathered(dataset, codec, [(0, 0, [1])], np.random.default_rng(0)).poses,
    )


def test_later_steps_begin_where_the_first_one_led() -> None:
    scheduler = DDIMScheduler.from_config(SCHEDULER)
    targets, clean, noise = torch.randn((3, 6, 8, 4, 4), generator=torch.Generator().manual_seed(0))
    begun = Begun(SimpleNamespace(targets=targets), noise, clean)
    seen: list[int] = []
    own = 0
    for seed in range(400):
        step, latents = begun.later(scheduler, np.random.default_rng(seed))
        steps = torch.full((6,), step)
        by_own = torch.equal(latents, scheduler.add_noise(clean, noise, steps))
        assert by_own or torch.equal(latents, scheduler.add_noise(targets, noise, steps))
        seen.append(step)
        own += by_own
    assert set(SECOND) <= set(seen)
    assert 0.5 * ANY_SHARE < 1 - own / 400 < 2 * ANY_SHARE


@pytest.mark.parametrize("step", [LAST, 499])
def test_a_step_that_leads_to_its_target_has_no_error(step: int) -> None:
    scheduler = DDIMScheduler.from_config(SCHEDULER)
    targets, elsewhere, noise = torch.randn((3, 2, 8, 4, 4), generator=torch.Generator().manual_seed(0))
    latents = scheduler.add_noise(elsewhere, noise, torch.full((2,), step))
    kept = scheduler.alphas_cumprod[step]
    velocity = (kept.sqrt() * latents - targets) / (1 - kept).sqrt()
    batch = SimpleNamespace(targets=targets, references=None, poses=None, warped=None)
    errors, clean = errors_from(lambda *_: velocity[None], batch, scheduler, latents, step)
    assert float(errors.max()) < 1e-10
    torch.testing.assert_close(clean, targets)
    errors, _ = errors_from(lambda *_: velocity[None] + 1, batch, scheduler, latents, step)
    torch.testing.assert_close(errors, torch.ones(2, 4, 4))


def test_the_finishing_network_learns_to_be_nearer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    image.train(Settings(output=settings.output, seconds=5))
    codec = DrawnCodec(decoder_channels=(32, 16, 8), latent_std=2.0)
    codec.save_pretrained(settings.output / "codec")
    monkeypatch.setattr(finishing, "SHAPES", [(96, 128)])
    monkeypatch.setattr(finishing, "Finishing", partial(Finishing, channels=(32, 16, 8)))
    finishing.train(Settings(output=settings.output, seconds=24))
    lines = log(settings, "finishing")
    assert lines[-1]["square"] < lines[0]["square"]
    assert Finishing.from_pretrained(settings.output / "finishing")


def test_errors_on_people_count_more_and_most_on_faces_and_hands() -> None:
    drawn = draw(random_character(0), standing(0), 192, 256).keypoints
    weights = weights_of(drawn, 192, 256)
    assert (weights.shape, weights[0, 0]) == ((32, 24), 1)

    def at(point: np.ndarray) -> float:
        return float(weights[tuple((point[1::-1] // 8).astype(int))])

    nose, wrist, elbow, hips = drawn[0], drawn[9], drawn[7], drawn[11:13].mean(axis=0)
    assert at(hips) == 1 + PERSON_WEIGHT
    assert at(wrist + 0.35 * (wrist - elbow)) == 1 + HAND_WEIGHT
    assert at(nose) == 1 + FACE_WEIGHT
    errors = torch.zeros(1, 32, 24)
    errors[0, 0, 0] = 1
    given = torch.from_numpy(weights)[None]
    assert float(weighted_mean(errors, given)) == pytest.approx(1 / weights.sum())
    assert float(weighted_mean(torch.ones(1, 32, 24), given)) == pytest.approx(1)


def test_most_references_are_warped_into_the_targets_postures_and_some_are_not(codec: DrawnCodec) -> None:
    dataset = people()
    known = gathered(dataset, codec, [(0, 1, [0, 5])]).warped
    expected = ReferenceWarp(dataset.stills[0, 1], posture(dataset.keypoints[0, 1]))
    wanted = [expected.to(posture(dataset.keypoints[0, at])) for at in (0, 5)]
    assert torch.equal(known, encoded(wanted, codec, (HEIGHT, WIDTH)))
    rows = [pictures_of(dataset, codec, 4, 1, np.random.default_rng(seed)).warped for seed in range(60)]
    missing = torch.cat(rows).flatten(1).eq(0).all(1).float().mean()
    assert 0.4 * WITHOUT_WARP < float(missing) < 2 * WITHOUT_WARP


def test_references_are_mostly_catalogue_stills() -> None:
    assert len(REFERENCE_SHARES) == STILLS
    assert sum(REFERENCE_SHARES[:2]) > 0.8


def test_training_without_onnx_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("keypoints", "keypoint_onnx", "onnx_graph"):
        monkeypatch.delitem(sys.modules, f"pipelines.training.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["keypoints", "--output", str(tmp_path)]) == 1
    assert "pip install -e '.[train]'" in capsys.readouterr().err
