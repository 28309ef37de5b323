"""The bundled animator's codec, what its training promises, and how trained parts become the bundled checkpoint."""

from __future__ import annotations

import json
import signal
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from manifests.errors import Problem
from pipelines.training import codec as codec_stage
from pipelines.training import export
from pipelines.training.__main__ import STAGES, main
from pipelines.training.codec import as_input, as_pictures, crops, decibels, initialise, reconstruction_loss
from pipelines.training.optimisation import CHECKPOINT, Interrupted, Settings, Training
from pipelines.training.pictures import Album
from stages.diffusion.drawn.codec import DrawnCodec

SMALL = {"encoder_channels": (8, 8), "decoder_channels": (8, 8, 8), "decoder_layers": (1, 1, 1)}


@pytest.fixture(scope="module")
def smooth() -> Album:
    """Eight pictures of soft colour waves, with a keypoint in each corner of the picture's middle."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:128, 0:96][..., None]
    waves = [127 + 90 * np.sin(x * random.uniform(0.01, 0.08, 3) + y * random.uniform(0.01, 0.08, 3)) for _ in range(8)]
    points = np.zeros((8, 23, 3), np.float32)
    points[:, :2] = (40, 40, 1), (60, 90, 1)
    return Album(np.stack(waves).astype(np.uint8), points)


@pytest.mark.parametrize(("height", "width"), [(256, 192), (224, 224), (32, 64)])
def test_latents_have_an_eighth_of_the_pictures_sides(height: int, width: int) -> None:
    codec = DrawnCodec(**SMALL)
    pictures = torch.zeros(2, 3, height, width)
    latents = codec.encode(pictures)
    assert latents.shape == (2, 8, height // 8, width // 8)
    assert codec.decode(latents).shape == pictures.shape


def test_a_codec_reads_back_from_its_folder_as_it_was_built(tmp_path: Path) -> None:
    codec = DrawnCodec(latent_channels=6, latent_std=1.7, **SMALL)
    codec.save_pretrained(tmp_path)
    again = DrawnCodec.from_pretrained(tmp_path)
    assert again.config.latent_std == 1.7
    assert again.config.latent_channels == 6
    pictures = torch.rand(1, 3, 32, 32)
    assert torch.equal(again(pictures)[0], codec(pictures)[0])


def test_principal_components_alone_keep_smooth_pictures(smooth: Album) -> None:
    codec = DrawnCodec(**SMALL)
    pictures = as_input(smooth.pictures)
    initialise(codec, pictures)
    with torch.no_grad():
        decoded, latents = codec(pictures)
    assert decibels(decoded, pictures) > 35
    assert latents.square().mean().sqrt() == pytest.approx(1, abs=1e-3)
    spectrum = latents.std((0, 2, 3))
    assert torch.equal(spectrum, spectrum.sort(descending=True).values)


def test_pictures_survive_the_way_to_the_network_and_back(smooth: Album) -> None:
    assert np.array_equal(as_pictures(as_input(smooth.pictures)), smooth.pictures)


def test_loss_grows_with_every_kind_of_error() -> None:
    pictures = torch.zeros(1, 3, 16, 16)
    flat, checked = torch.full_like(pictures, 0.1), torch.full_like(pictures, 0.1)
    checked[..., ::2] *= -1
    assert reconstruction_loss(pictures, pictures) == 0
    assert reconstruction_loss(flat, pictures) == pytest.approx(0.1 + 0.01 + 0.1)  # no edges are wrong
    assert reconstruction_loss(checked, pictures) == pytest.approx(0.1 + 0.5 * 0.2 + 0.01)  # its 4×4 means are right


def test_crops_lie_within_their_pictures_and_are_the_same_again(smooth: Album) -> None:
    made = crops([smooth], 20, np.random.default_rng(3))
    assert made.shape == (20, 3, 64, 64)
    assert torch.equal(made, crops([smooth], 20, np.random.default_rng(3)))
    assert not torch.equal(made, crops([smooth], 20, np.random.default_rng(4)))


def trained(smooth: Album, folder: Path, seconds: float, stop_at: int | None = None) -> Training:
    """A small codec after `seconds` steps; `stop_at` sends a signal in the middle of that step."""
    torch.manual_seed(0)
    network = DrawnCodec(**SMALL)
    initialise(network, as_input(smooth.pictures))
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    clock = partial(next, count())  # goes on by a second whenever it is read: once a step
    training = Training(network, optimiser, Settings(), folder=folder, seconds=seconds, warm_up=5, clock=clock)
    for step in training.steps():
        pictures = crops([smooth], 4, training.random())
        noisy = pictures + 0.05 * torch.randn(pictures.shape, generator=training.generator())
        training.update(reconstruction_loss(network(noisy)[0], pictures))
        if step == stop_at:
            signal.raise_signal(signal.SIGTERM)
    return training


def test_training_lowers_the_loss(smooth: Album, tmp_path: Path) -> None:
    trained(smooth, tmp_path, seconds=60)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    assert lines[-1]["rate"] < 0.01 * lines[1]["rate"]


def test_an_interrupted_training_ends_with_the_numbers_of_one_that_was_not(smooth: Album, tmp_path: Path) -> None:
    whole = trained(smooth, tmp_path / "whole", seconds=20)
    with pytest.raises(Interrupted) as stopped:
        trained(smooth, tmp_path / "broken", seconds=20, stop_at=8)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert (tmp_path / "broken" / CHECKPOINT).exists()
    resumed = trained(smooth, tmp_path / "broken", seconds=20)
    assert resumed.step == whole.step
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weight), name
        assert torch.equal(resumed.moving_average[name], whole.moving_average[name]), name


@pytest.mark.parametrize("seconds", [5, 10])  # the log's last line is written at the end, or just before
def test_a_training_whose_time_is_used_up_does_nothing_more(smooth: Album, tmp_path: Path, seconds: float) -> None:
    first = trained(smooth, tmp_path, seconds)
    again = trained(smooth, tmp_path, seconds)
    assert again.step == first.step
    assert torch.equal(again.network.patches_in.weight, first.network.patches_in.weight)


def test_the_moving_average_stands_in_and_goes_again(smooth: Album, tmp_path: Path) -> None:
    training = trained(smooth, tmp_path, seconds=5)
    weight = training.network.patches_in.weight
    before = weight.detach().clone()
    with training.averaged():
        assert torch.equal(weight, training.moving_average["patches_in.weight"])
        assert not torch.equal(weight, before)
    assert torch.equal(weight, before)


def test_an_overflow_in_one_step_leaves_the_weights_as_they_are(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 1)
    before = network.weight.detach().clone()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1.0)
    training = Training(network, optimiser, Settings(), folder=tmp_path, seconds=1, clock=partial(next, count()))
    for _ in training.steps():
        training.update(network(torch.full((1, 2), torch.inf)).sum())
    assert torch.equal(network.weight, before)


def test_the_codec_stage_gives_back_averaged_weights(
    smooth: Album, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_stage, "DrawnCodec", lambda: DrawnCodec(**SMALL))
    codec = codec_stage.train([smooth], Settings(output=tmp_path), seconds=0.5)
    state = torch.load(tmp_path / "codec" / CHECKPOINT, weights_only=True)
    for name, value in codec.state_dict().items():
        assert torch.equal(value, state["average"][name]), name


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """The folder that all trained parts lie in, each of one small tensor."""
    for part in export.PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text('{"channels": 4, "_name_or_path": "out/elsewhere"}')
        save_file({"weight": torch.full((4,), 0.1)}, tmp_path / part / export.WEIGHTS)
    (tmp_path / "scheduler").mkdir()
    (tmp_path / export.SCHEDULER).write_text("{}")
    return tmp_path


def test_export_halves_every_part_and_signs_every_file(parts: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundled"
    export.export(parts, target)
    for part in export.PARTS:
        assert load_file(target / part / export.WEIGHTS)["weight"].dtype == torch.float16
        assert json.loads((target / part / "config.json").read_text()) == {"channels": 4}
    digests = json.loads((target / "digests.json").read_text())
    files = {str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()}
    assert digests.keys() == files - {"digests.json"}
    assert all(len(digest) == 64 for digest in digests.values())


def test_export_refuses_a_missing_part_and_names_the_stage(parts: Path, tmp_path: Path) -> None:
    (parts / "motion" / export.WEIGHTS).unlink()
    with pytest.raises(Problem, match=r"pipelines\.training motion"):
        export.export(parts, tmp_path / "bundled")
    assert not (tmp_path / "bundled").exists()


@pytest.mark.parametrize("sizes", [{"unet": 16_000_001}, {"unet": 15_000_000, "reference": 13_000_001}])
def test_export_refuses_weights_that_are_too_large_for_the_repository(sizes: dict[str, int]) -> None:
    with pytest.raises(Problem, match="MB, over"):
        export.check_sizes(sizes)
    export.check_sizes({"unet": 16_000_000, "reference": 12_000_000})


def test_the_command_knows_every_stage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(stage in shown for stage in STAGES)
    assert main(["dataset", "--output", str(tmp_path)]) == 1
    assert "no codec" in capsys.readouterr().err
