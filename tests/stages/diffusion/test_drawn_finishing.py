"""Promises of the network that makes pictures of latents beside the warped reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.training.batches import posture, skeleton_picture
from pipelines.training.finishing import begun, crops, finishing_loss, made_of
from pipelines.training.networks import SPATIAL, initialise
from pipelines.training.people import draw, random_character, standing
from stages.diffusion.drawn.codec import DrawnCodec
from stages.diffusion.drawn.finishing import Finishing, moved
from stages.diffusion.drawn.looks import Look, as_tensors
from stages.diffusion.drawn.networks import DrawnNetworks
from stages.diffusion.drawn.warp import ReferenceWarp
from stages.diffusion.skeletons import skeleton_of

WIDTH, HEIGHT = 96, 128
DRAWN, WARPED, SKIRTED, BACKDROP = range(4)


@pytest.fixture(scope="module")
def look() -> Look:
    """Of a person who is their own reference."""
    drawn = draw(random_character(1), standing(1), WIDTH, HEIGHT)
    known = posture(drawn.keypoints)
    return Look.of(ReferenceWarp(drawn.picture, known), (known.points, known.seen))


def finished(network: Finishing, look: Look) -> torch.Tensor:
    latents = torch.randn((1, 8, HEIGHT // 8, WIDTH // 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network(latents, *as_tensors([look], latents))


@pytest.mark.parametrize("source", [WARPED, SKIRTED, BACKDROP])
def test_a_source_that_has_all_of_the_share_is_shown_as_it_is(look: Look, source: int) -> None:
    torch.manual_seed(0)
    network = begun(Finishing(), DrawnCodec())
    with torch.no_grad():
        network.pixels_out.bias[12:] = -50.0
        network.pixels_out.bias[12 + 4 * source : 16 + 4 * source] = 50.0
    shown = torch.from_numpy(look.pictures[..., 3 * (source - 1) : 3 * source]).permute(2, 0, 1)[None] / 127.5 - 1
    torch.testing.assert_close(finished(network, look), shown, atol=1e-5, rtol=0)


def test_it_begins_as_the_codecs_decoder(look: Look) -> None:
    torch.manual_seed(0)
    codec = DrawnCodec()
    torch.nn.init.normal_(codec.decoder[14].weight, std=0.02)
    network = begun(Finishing(), codec)
    with torch.no_grad():
        network.pixels_out.bias[12:16] = 50.0
        for layers in (network.down_coarse, network.down_middle, network.pixels_in):  # nothing of the pixels
            for parameter in layers.parameters():
                parameter.zero_()
    latents = torch.randn((1, 8, HEIGHT // 8, WIDTH // 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(finished(network, look), codec.decode(latents), atol=1e-4, rtol=1e-4)


def test_a_picture_is_moved_by_as_many_pixels_as_are_said() -> None:
    picture = torch.rand((1, 3, 12, 16), generator=torch.Generator().manual_seed(0))
    moves = torch.zeros((1, 2, 12, 16))
    moves[:, 0], moves[:, 1] = 3, -2
    found = moved(picture, moves)
    torch.testing.assert_close(found[..., 2:, :-3], picture[..., :-2, 3:], atol=1e-5, rtol=0)


def test_the_skeleton_is_the_one_the_other_networks_were_shown() -> None:
    drawn = draw(random_character(2), standing(2), WIDTH, HEIGHT).keypoints
    drawn[7, 2] = 0
    known = posture(drawn)
    shown = skeleton_of(known.points, known.seen, (HEIGHT, WIDTH))
    assert np.array_equal(shown, skeleton_picture(drawn, WIDTH, HEIGHT))


def test_crops_lie_within_pictures_and_every_map_shows_the_same_place() -> None:
    torch.manual_seed(0)
    codec = DrawnCodec(encoder_channels=(8, 8), decoder_channels=(8, 8, 8))
    pool = made_of(initialise(DrawnNetworks(SPATIAL)), codec, np.random.default_rng(0))
    assert pool
    for one in pool:  # every map tells where it is
        rows, columns = (place.astype(np.float32) for place in np.mgrid[: one.weights.shape[0], : one.weights.shape[1]])
        one.latents[0], one.latents[1] = torch.from_numpy(rows), torch.from_numpy(columns)
        one.weights[:] = 1 + rows
        one.truth[..., 0] = rows.repeat(8, 0).repeat(8, 1)
        one.look.pictures[..., 0] = columns.repeat(8, 0).repeat(8, 1)
        one.look.maps[0] = rows.repeat(4, 0).repeat(4, 1)
    latents, looks, weights, truth = crops(pool, 24, np.random.default_rng(1))
    assert latents.shape == (24, 8, 16, 12)
    for number, look in enumerate(looks):
        rows, columns = latents[number, :2].numpy()
        assert np.array_equal(weights[number], 1 + rows)
        assert np.array_equal(look.maps[0][::4, ::4], rows)
        assert np.array_equal(look.pictures[::8, ::8, 0], columns)
        assert np.allclose((truth[number, 0, ::8, ::8] + 1) * 127.5, rows)
    assert len({float(of[0, 0, 0]) for of in latents}) > 3


def test_the_loss_is_nothing_for_the_truth_and_more_where_weights_are() -> None:
    truth = torch.zeros((1, 3, 128, 96))
    weights = torch.ones((1, 16, 12))
    weights[:, 4] = 5
    assert float(finishing_loss(truth, truth, weights)[0]) == 0
    losses = []
    for row in (4, 8):
        wrong = truth.clone()
        wrong[:, :, 8 * row : 8 * row + 8] = 0.5
        losses.append(float(finishing_loss(wrong, truth, weights)[0]))
    assert losses[0] > 2 * losses[1]
