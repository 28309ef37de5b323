"""DreamPose's embedding adapter: a picture's CLIP tokens and its latents as the tokens the denoising network reads.

Source: SPEC.md section 3.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import max_pool2d

from manifests.errors import Problem
from stages.diffusion.weights.checkpoint import State, load_strictly

LATENT_TOKENS = 4  # one per latent channel


class EmbeddingAdapter(nn.Module):
    """Latents become tokens over their pixels, and all tokens are mixed by a layer over the token axis."""

    def __init__(self, area: int, width: int, tokens: int) -> None:
        """`area` in pooled latent pixels, 16 × 16 of the picture's; `tokens` is the number of CLIP's, and comes out."""
        super().__init__()
        self.vae2clip = nn.Linear(area, width)
        self.linear1 = nn.Linear(tokens + LATENT_TOKENS, tokens)

    @property
    def area(self) -> int:
        """Blocks of 16 × 16 pixels in the only pictures it takes."""
        return self.vae2clip.in_features

    def forward(self, clip: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """`clip` (n, tokens, width), scaled `latents` (n, 4, height, width) → (n, tokens, width)."""
        pooled = self.vae2clip(max_pool2d(latents, 2).flatten(2))
        return self.linear1(torch.cat([clip, pooled], dim=1).transpose(1, 2)).transpose(1, 2)


def build_embedding_adapter(state: State, source: Path, device: str) -> EmbeddingAdapter:
    """The adapter with the sizes of its weights, in float32: it is tiny. Raises `Problem` for other files."""
    shapes: list[tuple[int, ...]]
    shapes = [getattr(state.get(f"{name}.weight"), "shape", ()) for name in ("vae2clip", "linear1")]
    if [len(shape) for shape in shapes] != [2, 2] or shapes[1][1] != shapes[1][0] + LATENT_TOKENS:
        raise Problem(
            f"checkpoint file {source} holds no embedding adapter (vae2clip, linear1)",
            "use the adapter that was saved beside the UNet",
        )
    (width, area), (tokens, _) = shapes
    with torch.device("meta"):
        adapter = EmbeddingAdapter(area, width, tokens)
    return load_strictly(adapter, state, source, torch.float32).to(device)
