"""The noise a clip starts from. Drawn on the CPU, so that a seed means the same film on every device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch


def tiled_noise(seed: int, num_frames: int, shape: tuple[int, int, int], block: int = 16) -> torch.Tensor:
    """(frames, channels, height, width): one block drawn by torch's generator, repeated along time.

    Frame j starts from the noise of frame j mod `block`: MagicAnimate's rule (magicanimate/SPEC.md section 8).
    """
    channels, height, width = shape
    generator = torch.Generator("cpu").manual_seed(seed)
    drawn = torch.randn((1, channels, block, height, width), generator=generator)
    frames = torch.arange(num_frames) % block
    return drawn[0].transpose(0, 1)[frames].contiguous()


def frame_noise(seed: int, frames: Iterable[int], shape: tuple[int, int, int]) -> torch.Tensor:
    """(frames, channels, height, width): noise of a frame depends on (seed, frame number) alone.

    Counter-based (Philox, key = seed, counter = frame), so any segment of a clip draws its own part without the rest.
    """
    drawn = [
        np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, frame])).standard_normal(shape, np.float32)
        for frame in frames
    ]
    return torch.from_numpy(np.stack(drawn))


def chunked_noise(
    seed: int, chunk_lengths: Sequence[int], shape: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, channels, height, width) and (sum of lengths, channels, height, width): one frame, and every chunk's others.

    The generator starts again for each chunk, whose frames are drawn together after the one frame, so equally long
    chunks have the same noise: Text2Video-Zero's published rule (text2video_zero/SPEC.md section 7).
    """
    channels, height, width = shape
    drawn = []
    for length in chunk_lengths:
        generator = torch.Generator("cpu").manual_seed(seed)
        first = torch.randn((1, channels, height, width), generator=generator)
        drawn.append(torch.randn((1, channels, length, height, width), generator=generator)[0].transpose(0, 1))
    return first, torch.cat(drawn)
