"""Decoding in as many frames as fit, and in float32 where half precision does not reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from manifests.errors import NotFinite, Problem
from stages.diffusion.networks.decode_room import frames_at_once
from stages.diffusion.networks.latent_images import LatentImages

GIB = 2**30
SD_HALF = 768 * 2  # bytes that a pixel takes in Stable Diffusion's decoder, in half precision


def images(dtype: torch.dtype = torch.float32) -> LatentImages:
    """Stable Diffusion's autoencoder in miniature, with random weights."""
    torch.manual_seed(0)
    channels, down, up = (8, 8), ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    made = AutoencoderKL(block_out_channels=channels, down_block_types=down, up_block_types=up, norm_num_groups=4)
    return LatentImages(made.eval().to(dtype), 0.5)


def latents(frames: int) -> torch.Tensor:
    return torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def film(made: LatentImages, *parts: torch.Tensor) -> np.ndarray:
    return np.concatenate(list(made.frames(parts)))


@contextmanager
def room_for(frames: int, layer: torch.nn.Module) -> Iterator[list[int]]:
    """A device on which calls of more frames run out of memory in that layer; the frames of every call."""
    calls: list[int] = []

    def fail(_: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
        calls.append(len(given[0]))
        if len(given[0]) > frames:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")

    hook = layer.register_forward_pre_hook(fail)
    try:
        yield calls
    finally:
        hook.remove()


def test_on_a_cpu_a_frame_is_the_same_to_the_bit_whatever_stands_beside_it() -> None:
    made, every = images(), latents(5)
    with room_for(5, made.autoencoder.decoder.conv_out) as calls:
        whole = torch.cat(list(made.decode([every])))
    assert calls == [1] * 5
    assert torch.equal(torch.cat(list(made.decode([every[:1], every[1:]]))), whole)
    assert torch.equal(next(made.decode([every[3:]])), whole[3:4])


def test_what_does_not_fit_into_memory_is_decoded_in_halves_and_no_frame_is_lost() -> None:
    made, every = images(), latents(9)
    alone = film(made, every).astype(int)
    made.decode_frames = 8
    with room_for(3, made.autoencoder.decoder.conv_out) as calls:
        found = film(made, every)
    assert calls == [8, 4, 2, 2, 2, 2, 1]
    assert np.abs(found - alone).max() <= 1


def test_a_frame_that_does_not_fit_alone_is_a_problem_that_says_what_to_do() -> None:
    made = images()
    with room_for(0, made.autoencoder.decoder.conv_out) as calls, pytest.raises(Problem, match="out of memory") as said:
        film(made, latents(2))
    assert calls == [1]
    assert "smaller size" in said.value.remedy


def test_another_error_of_the_decoder_is_not_tried_again() -> None:
    made = images()
    made.decode_frames = 4

    def fail(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    made.autoencoder.decoder.conv_out.register_forward_pre_hook(fail)
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        film(made, latents(4))


def test_frames_that_overflow_half_precision_are_decoded_in_float32_alone() -> None:
    made, precise = images(torch.float16), images()
    precise.autoencoder.load_state_dict(made.autoencoder.state_dict())
    kinds: list[torch.dtype] = []
    for one in (made, precise):  # beyond 65504 between these layers, and back
        scaled = one.autoencoder.decoder.conv_norm_out
        scaled.register_forward_pre_hook(lambda _, given: (given[0] * 1e6,))
    made.autoencoder.decoder.register_forward_pre_hook(lambda _, given: kinds.append(given[0].dtype))
    weights = {name: one.clone() for name, one in made.autoencoder.state_dict().items()}

    found = film(made, latents(3))
    assert kinds == [torch.float16, *[torch.float32] * 3]
    assert np.abs(found - film(precise, latents(3)).astype(int)).max() <= 1
    for name, one in made.autoencoder.state_dict().items():
        assert one.dtype == torch.float16
        assert torch.equal(one, weights[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_frames_that_overflow_float32_too_are_no_picture(dtype: torch.dtype) -> None:
    made = images(dtype)
    with pytest.raises(NotFinite, match="the decoder produced values that are not finite"):
        film(made, latents(2) * torch.inf)


def test_a_reference_that_overflows_half_precision_is_encoded_in_float32() -> None:
    made, precise = images(torch.float16), images()
    precise.autoencoder.load_state_dict(made.autoencoder.state_dict())
    for one in (made, precise):
        one.autoencoder.encoder.conv_norm_out.register_forward_pre_hook(lambda _, given: (given[0] * 1e6,))
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    found = made.encode(picture)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), precise.encode(picture), rtol=1e-3, atol=1e-3)


def test_memory_that_runs_out_halfway_into_float32_leaves_the_weights_as_they_were() -> None:
    made = images(torch.bfloat16)
    before, late = film(made, latents(1)), made.autoencoder.decoder.conv_out
    convert, calls = late._apply, []

    def poor(*asked: Any) -> torch.nn.Module:
        calls.append(asked)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")
        return convert(*asked)

    late._apply = poor
    with pytest.raises(torch.OutOfMemoryError):
        made.posterior(torch.zeros(1, 3, 16, 16))
    assert {one.dtype for one in made.autoencoder.state_dict().values()} == {torch.bfloat16}
    assert np.array_equal(film(made, latents(1)), before)


@pytest.mark.parametrize(
    ("side", "free", "frames"),
    [
        (512, 100 * GIB, 4),  # by area
        (256, 100 * GIB, 16),
        (1024, 100 * GIB, 1),
        (512, int(1.7 * GIB), 2),  # by memory: half of what is free, at 0.4 GB a frame
        (512, GIB // 2, 1),
        (512, 0, 1),
    ],
)
def test_a_gpu_decodes_what_the_area_allows_and_its_free_memory_holds(side: int, free: int, frames: int) -> None:
    assert frames_at_once(side * side, SD_HALF, free) == frames
