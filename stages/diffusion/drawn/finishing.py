"""The last network of `drawn`: pictures from latents beside the warped reference, pixel by pixel.

Latents of an eighth of a picture hold neither a pattern nor a mouth, but the reference does. So every pixel is blended
from what the latents say, from the reference warped into the pose, with a skirt and without, both moved by some pixels
more where that fits the latents better, and from the reference's own backdrop, which does not flicker.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional
from torch.nn.functional import pixel_unshuffle

from stages.diffusion.drawn.codec import PATCH, Residual
from stages.diffusion.drawn.warp import MAPS

MOST_MOVED = 8.0  # pixels that a warped reference can be moved by


class Finishing(ModelMixin, ConfigMixin):
    """Latents and what is known of every pixel → pictures.

    A UNet of convolutions at an eighth, a quarter and half of a picture's width, `channels` and `layers` from the
    coarsest; the way up is the codec's decoder with a layer more at a quarter and two at half.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        channels: tuple[int, int, int] = (128, 64, 32),
        layers: tuple[int, int, int] = (3, 3, 3),
    ) -> None:
        super().__init__()
        coarse, middle, fine = channels
        self.patches_out = nn.ConvTranspose2d(latent_channels, 3, PATCH, stride=PATCH)
        self.latents_in = nn.Conv2d(latent_channels, coarse, 3, padding=1)
        # three pictures and the skeleton
        self.pixels_in = nn.Sequential(nn.Conv2d(4 * 12 + MAPS, fine, 3, padding=1), Residual(fine))
        self.down_middle = nn.Sequential(nn.Conv2d(fine, middle, 3, stride=2, padding=1), Residual(middle))
        self.down_coarse = nn.Sequential(nn.Conv2d(middle, coarse, 3, stride=2, padding=1), Residual(coarse))
        self.coarse = nn.Sequential(*(Residual(coarse) for _ in range(layers[0])))
        self.up_middle = nn.Conv2d(coarse, 4 * middle, 3, padding=1)
        self.middle = nn.Sequential(*(Residual(middle) for _ in range(layers[1])))
        self.movement = nn.Conv2d(middle, 2 * 2, 3, padding=1)
        self.up_fine = nn.Conv2d(middle, 4 * fine, 3, padding=1)
        self.fine = nn.Sequential(*(Residual(fine) for _ in range(layers[2])))
        # three colours, and shares of the four sources
        self.pixels_out = nn.Conv2d(fine, 4 * (3 + 4), 3, padding=1)

    def forward(
        self, latents: torch.Tensor, pictures: torch.Tensor, skeletons: torch.Tensor, maps: torch.Tensor
    ) -> torch.Tensor:
        """→ (n, 3, height, width), about [-1, 1]: not clipped.

        `latents` (n, 8, height/8, width/8) as the codec decodes them; `pictures` (n, 9, height, width) in [-1, 1] the
        reference warped, warped with a skirt, and its backdrop; `skeletons` (n, 3, height, width) in [0, 1]; `maps`
        (n, 3, height/2, width/2) as `Warped` has them.
        """
        fine = self.pixels_in(torch.cat([pixel_unshuffle(torch.cat([pictures, skeletons], 1), 2), maps], 1))
        middle = self.down_middle(functional.silu(fine))
        hidden = self.latents_in(latents) + self.down_coarse(functional.silu(middle))
        hidden = self.up_middle(functional.silu(self.coarse(hidden)))
        hidden = self.middle(functional.pixel_shuffle(hidden, 2) + middle)
        moves = self.movement(functional.silu(hidden))
        hidden = self.up_fine(functional.silu(hidden))
        hidden = self.fine(functional.pixel_shuffle(hidden, 2) + fine)
        colour, shares = functional.pixel_shuffle(self.pixels_out(functional.silu(hidden)), 2).split((3, 4), dim=1)
        drawn = self.patches_out(latents) + colour
        moves = MOST_MOVED * torch.tanh(functional.interpolate(moves.float(), scale_factor=4.0, mode="bilinear"))
        warped, skirted, backdrop = pictures.split(3, dim=1)
        sources = drawn, moved(warped, moves[:, :2]), moved(skirted, moves[:, 2:]), backdrop
        return sum(share * source for share, source in zip(shares.softmax(1).split(1, dim=1), sources, strict=True))


def moved(pictures: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
    """Every pixel of (n, 3, height, width) from as many pixels right and below as (n, 2, height, width) say."""
    height, width = pictures.shape[2:]
    rows = torch.linspace(1 / height - 1, 1 - 1 / height, height, device=moves.device)
    columns = torch.linspace(1 / width - 1, 1 - 1 / width, width, device=moves.device)
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    step = torch.tensor([2 / width, 2 / height], device=moves.device)
    grid = places + moves.permute(0, 2, 3, 1) * step
    return functional.grid_sample(pictures.float(), grid, padding_mode="border", align_corners=False).to(pictures.dtype)
