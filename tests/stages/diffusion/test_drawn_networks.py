"""Promises of the drawn animator's networks: their size, their names, and what reaches what."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from manifests.errors import Problem
from pipelines.training.networks import MOTION, SPATIAL, UNET, continued, initialise, save, with_fresh_motion
from stages.diffusion.drawn.codec import DrawnCodec
from stages.diffusion.drawn.finishing import Finishing
from stages.diffusion.drawn.networks import WARP_CHANNELS, DrawnNetworks
from stages.diffusion.drawn.unet import build_unet, motion_modules
from stages.diffusion.weights.checkpoint import read_state, weights_file

BUDGET = 28e6  # bytes of all weights in half precision
ROWS, FRAMES = 2, 3

_UNET = {**UNET, "block_out_channels": [32, 32, 32], "attention_head_dim": [1, 1, 1]}
TINY = {
    "unet": _UNET,
    "reference": {**_UNET, "in_channels": 8},
    "pose_guider": {"channels": 32, "hidden_channels": [4, 4, 8]},
}


@pytest.fixture(scope="module")
def networks() -> DrawnNetworks:
    torch.manual_seed(0)
    return initialise(DrawnNetworks(TINY)).eval().requires_grad_(False)


@pytest.fixture
def moving(networks: DrawnNetworks, tmp_path: Path) -> DrawnNetworks:
    """The same weights with motion modules as they are before training."""
    save(networks, tmp_path)
    return with_fresh_motion(tmp_path, MOTION)


def tensors(seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Noisy latents, timesteps, references, poses and warped references of films of 64×96."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    n = ROWS * FRAMES
    pose = drawn(n, 3, 96, 64).sigmoid()
    return drawn(n, 8, 12, 8), torch.arange(n) * 150, drawn(ROWS, 8, 12, 8), pose, drawn(n, WARP_CHANNELS, 12, 8)


def test_all_weights_fit_the_budget() -> None:
    with torch.device("meta"):
        pictures = DrawnCodec(), Finishing()
    parts = DrawnNetworks({**SPATIAL, "motion": MOTION}), *pictures
    assert 2 * sum(tensor.numel() for part in parts for tensor in part.state_dict().values()) < BUDGET


def test_the_weights_are_those_of_a_published_unet_without_its_text_layers() -> None:
    with torch.device("meta"):
        published = UNet2DConditionModel.from_config(UNET).state_dict()
    own = build_unet(UNET).state_dict()
    dropped = published.keys() - own.keys()
    assert own.keys() <= published.keys()
    assert all(own[name].shape == published[name].shape for name in own)
    assert dropped
    assert all(".attn2." in name or (".norm2." in name and ".attentions." in name) for name in dropped)


def test_untrained_motion_modules_change_nothing(networks: DrawnNetworks, moving: DrawnNetworks) -> None:
    assert motion_modules(moving.unet)
    with torch.no_grad():
        assert torch.equal(moving(*tensors()), networks(*tensors()))


def test_only_motion_modules_take_gradients_after_the_image_stage(moving: DrawnNetworks) -> None:
    taking = {name for name, weight in moving.named_parameters() if weight.requires_grad}
    assert taking
    assert taking == {name for name, _ in moving.named_parameters() if ".motion_modules." in name}


def test_saved_parts_are_loaded_again(moving: DrawnNetworks, tmp_path: Path) -> None:
    stir(moving)
    save(moving, tmp_path / "saved")
    loaded = DrawnNetworks.load(tmp_path / "saved", "cpu", torch.float32)
    with torch.no_grad():
        assert torch.equal(loaded(*tensors()), moving(*tensors()))
    spatial = read_state(weights_file(tmp_path / "saved" / "unet"))
    assert not [name for name in spatial if ".motion_modules." in name]


def test_frames_see_each_other_through_motion_modules_alone(moving: DrawnNetworks) -> None:
    stir(moving)
    latents, timesteps, references, poses, warped = tensors()
    other = latents.clone()
    other[FRAMES - 1] += 1  # the last frame of the first row
    with torch.no_grad():
        conditioning, pose = moving.condition(references), moving.pose_guider(poses)
        for motion in (True, False, True):
            one, two = (
                moving.denoiser.predict(given, timesteps, conditioning, pose, warped, motion)
                for given in (latents, other)
            )
            changed = (one - two).abs().amax(dim=(2, 3, 4)) > 1e-6
            assert changed[0].tolist() == [motion, motion, True]
            assert not changed[1].any()


def test_every_row_reads_its_own_reference(networks: DrawnNetworks) -> None:
    latents, timesteps, references, poses, warped = tensors()
    with torch.no_grad():
        together = networks(latents, timesteps, references, poses, warped)
        apart = [
            networks(latents[part], timesteps[part], references[[row]], poses[part], warped[part])[0]
            for row, part in ((row, slice(row * FRAMES, (row + 1) * FRAMES)) for row in range(ROWS))
        ]
        swapped = networks(latents, timesteps, references.flip(0), poses, warped)
    torch.testing.assert_close(together, torch.stack(apart), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together, swapped, atol=1e-2)


def test_features_of_the_reference_count_besides_its_latents(networks: DrawnNetworks) -> None:
    latents, timesteps, references, poses, warped = tensors()
    with torch.no_grad():
        own, other = networks.condition(references), networks.condition(references.flip(0))
        exchanged, pose = replace(own, reference=other.reference), networks.pose_guider(poses)
        assert not torch.allclose(
            networks.denoiser.predict(latents, timesteps, own, pose, warped),
            networks.denoiser.predict(latents, timesteps, exchanged, pose, warped),
            atol=1e-3,
        )


def test_an_untrained_pose_guider_already_shows_the_pose(networks: DrawnNetworks) -> None:
    *others, poses, warped = tensors()
    with torch.no_grad():
        assert not torch.allclose(networks(*others, poses, warped), networks(*others, 1 - poses, warped), atol=1e-3)


def test_networks_go_on_from_ones_that_knew_of_no_warped_reference(networks: DrawnNetworks, tmp_path: Path) -> None:
    narrow = {**TINY, "unet": {**TINY["unet"], "in_channels": 16}}
    torch.manual_seed(1)
    before = initialise(DrawnNetworks(narrow)).half()
    save(before, tmp_path)
    after = continued(initialise(DrawnNetworks(TINY)), tmp_path)
    *others, warped = tensors()
    with torch.no_grad():
        assert torch.equal(after(*others, warped), after(*others, torch.zeros_like(warped)))
        assert torch.equal(after(*others, warped), before.float()(*others, warped[:, :0]))
    deeper = {**TINY, "pose_guider": {"channels": 32, "hidden_channels": [4, 4, 4, 8]}}
    with pytest.raises(Problem, match="pose_guider"):
        continued(initialise(DrawnNetworks(deeper)), tmp_path)


def stir(networks: DrawnNetworks) -> None:
    """Give the motion modules an effect."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, module in motion_modules(networks.unet):
            module.proj_out.weight.copy_(torch.randn(module.proj_out.weight.shape, generator=generator) / 8)
