"""A seed means the same noise for ever, on every device and however a clip is cut."""

import zlib

import numpy as np
import torch

from stages.diffusion.sampling.noise import frame_noise, tiled_noise

SHAPE = (4, 8, 6)
LARGEST_SEED = 2**63 - 1  # of a manifest


def checksum(noise: torch.Tensor) -> int:
    """Of thousandths: the last bit of a logarithm may differ between processors."""
    return zlib.crc32(np.rint(noise.numpy().astype(np.float64) * 1000).astype("<i4").tobytes())


def test_noise_of_a_segment_is_a_slice_of_the_whole_clips() -> None:
    whole = frame_noise(3, range(0, 20), SHAPE)

    assert torch.equal(frame_noise(3, range(7, 12), SHAPE), whole[7:12])
    assert torch.equal(frame_noise(3, range(19, 20), SHAPE), whole[19:])


def test_noise_differs_between_frames_and_between_seeds() -> None:
    seeds = [0, 1, 2, 2**32, 2**62, LARGEST_SEED]
    frames = torch.cat([frame_noise(seed, range(0, 8), SHAPE) for seed in seeds]).flatten(1)
    alike = torch.corrcoef(frames) - torch.eye(len(frames))

    assert alike.abs().max() < 0.35  # five standard deviations of 192 independent numbers


def test_noise_is_standard_normal() -> None:
    noise = frame_noise(11, range(0, 64), (4, 16, 16)).flatten().double()

    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert abs((noise**4).mean() - 3) < 0.15
    assert 3.5 < noise.abs().max() < 6


def test_noise_is_float32_on_the_cpu_and_does_not_touch_the_global_generators() -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    for noise in (frame_noise(0, range(0, 3), SHAPE), tiled_noise(0, 3, SHAPE)):
        assert (noise.dtype, noise.device.type, tuple(noise.shape)) == (torch.float32, "cpu", (3, *SHAPE))

    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_the_noise_of_a_seed_never_changes() -> None:
    assert checksum(frame_noise(7, range(0, 16), SHAPE)) == 2430888294
    assert checksum(frame_noise(LARGEST_SEED, range(100_000, 100_002), SHAPE)) == 3041103481
    assert checksum(tiled_noise(7, 16, SHAPE)) == 973818182


def test_parity_noise_is_torchs_own_draw_of_one_block() -> None:
    drawn = torch.randn((1, 4, 16, 8, 6), generator=torch.Generator("cpu").manual_seed(5))
    noise = tiled_noise(5, 16, SHAPE)

    assert torch.equal(noise, drawn[0].transpose(0, 1))
    assert not torch.equal(noise, tiled_noise(6, 16, SHAPE))


def test_parity_noise_repeats_every_block() -> None:
    noise = tiled_noise(5, 40, SHAPE)

    assert torch.equal(noise[16:32], noise[:16])
    assert torch.equal(noise[32:], noise[:8])
    assert torch.equal(tiled_noise(5, 3, SHAPE), noise[:3])
    assert torch.equal(tiled_noise(5, 10, SHAPE, block=4)[4:8], tiled_noise(5, 4, SHAPE, block=4))
