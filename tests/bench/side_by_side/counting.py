"""What the contenders compute, counted on the meta device: the very code that is timed, on tensors without values."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from stages.diffusion.sampling import denoise
from stages.diffusion.sampling.windows import Fusion
from tests.bench.model_sizes import operations
from tests.bench.published.networks import Configs
from tests.bench.side_by_side.contenders import Task, contenders


def denoising(names: Sequence[str], configs: Configs, task: Task) -> dict[str, float]:
    """TFLOP of denoising the clip, without what is encoded before."""
    found = {}
    # what looks at values to see that they are sound
    finite = patch.object(denoise, "require_finite")
    fused = patch.object(Fusion, "mean", lambda fusion: fusion._total)
    for name, contender in contenders(names, configs, "meta", torch.float32).items():
        before: list[int] = []
        with FlopCounterMode(display=False) as counter, finite, fused:
            contender.denoise(task, lambda before=before: before.append(counter.get_total_flops()))
        found[name] = (counter.get_total_flops() - before[0]) / 1e12
    return found


def decoding(configs: Configs, task: Task) -> dict[str, float]:
    """TFLOP of decoding the clip; the baseline decodes padded frames too."""
    contender = contenders(["ours"], configs, "meta", torch.float32)["ours"]
    latents = torch.empty(1, 4, task.height // 8, task.width // 8, device="meta")
    one = operations(lambda: contender.networks["vae"].decode(latents))
    padded = task.frames + -task.frames % 16
    return {"published": padded * one, "diffusers": task.frames * one, "ours": task.frames * one}
