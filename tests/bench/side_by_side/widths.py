"""Networks of several widths, and random weights for them: speed does not depend on values."""

from __future__ import annotations

from typing import Any

import torch

from tests.bench.model_sizes import CLIP_L_TEXT, SD_UNET, SD_VAE
from tests.bench.published.networks import Configs

PRODUCTION = Configs(unet=SD_UNET, appearance=SD_UNET, control=SD_UNET, vae=SD_VAE, text=CLIP_L_TEXT)


def narrowed(unet: tuple[int, ...], words: int, control: tuple[int, ...], vae: tuple[int, ...]) -> Configs:
    """The same networks with other channels: eight heads and the published blocks."""
    spatial: dict[str, Any] = {**SD_UNET, "block_out_channels": list(unet), "cross_attention_dim": words}
    spatial |= {"norm_num_groups": unet[0] // 4}
    text = {"hidden_size": words, "intermediate_size": 4 * words, "num_hidden_layers": 4, "num_attention_heads": 4}
    return Configs(
        unet=spatial,
        appearance=spatial,
        control={**spatial, "conditioning_embedding_out_channels": list(control)},
        vae={**SD_VAE, "block_out_channels": list(vae), "norm_num_groups": vae[0] // 2},
        text=text,
    )


WIDTHS = {
    "production": PRODUCTION,
    "mid": narrowed((64, 128, 256, 256), 128, (16, 32, 64, 64), (32, 64, 128, 128)),
    "small": narrowed((32, 64, 128, 128), 64, (16, 16, 32, 32), (16, 32, 64, 64)),
    "tiny": narrowed((32, 32, 32, 32), 32, (8, 8, 16, 16), (16, 16, 16, 32)),
}


@torch.no_grad()
def with_random_weights(
    network: torch.nn.Module, seed: int, device: str | torch.device, dtype: torch.dtype
) -> torch.nn.Module:
    """Weights that leave signals about as large as they were, drawn on the device. The network may be on meta."""
    # diffusers' own `to` warns of layers to be kept in float32, of which there are none
    generator = torch.Generator(device).manual_seed(seed)
    network = torch.nn.Module.to(network, dtype).to_empty(device=device).eval()
    for name, weight in network.named_parameters():
        weight.normal_(generator=generator)
        if weight.dim() > 1:
            weight *= weight[0].numel() ** -0.5
        elif name.endswith("weight"):  # a norm's
            weight.mul_(0.1).add_(1)
        else:
            weight *= 0.1
    for name, buffer in network.named_buffers():
        owner = network.get_submodule(name.rpartition(".")[0])
        if name.endswith(".pe"):
            buffer.copy_(type(owner)(buffer.shape[2], max_seq_length=buffer.shape[1]).pe)
        elif not buffer.is_floating_point():
            buffer.copy_(torch.arange(buffer.shape[-1]).expand(buffer.shape))
    return network
