"""Wan-VACE (Wan2.1-VACE, 2025): a reference image and a control video of poses, sketches, depth or grey pictures.

Source: diffusers' `WanVACEPipeline`, whose results this has bit for bit, one call for each segment. Segments after the
first are given the last frames of the one before as frames to keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from diffusers import WanVACETransformer3DModel

from stages.diffusion.animator import Denoised, Driving, Parts, PosePictures, Segment
from stages.diffusion.chained_segments import reflected, resolved, seen_frames
from stages.diffusion.networks.film_colours import FilmColours
from stages.diffusion.networks.film_pixels import LANCZOS, film_levels, last_shown, to_pixels
from stages.diffusion.networks.offload import spare
from stages.diffusion.networks.umt5 import PromptEncoder
from stages.diffusion.networks.video_latents import VideoLatents
from stages.diffusion.networks.wan_transformer import CANNOT, read_transformer, require_fitting
from stages.diffusion.sampling.denoise import Step
from stages.diffusion.sampling.flow import flow_steps, read_scheduler, shifted, starting_noise
from stages.diffusion.wan_vace.conditioning import conditioning_latents, on_white
from stages.diffusion.wan_vace.facts import WAN_VACE, WanVaceOptions
from stages.video.image import fit

if TYPE_CHECKING:
    from manifests.clip import Clip
    from stages.diffusion.weights.lora import Lora

_ONE_LAYER = {"vace_layers": [0]}


class WanVace:
    """The published networks with their weights, ready to animate one clip after another."""

    facts = WAN_VACE
    waiting = ("autoencoder", "text")
    streaming = ("transformer",)
    together = False  # branches of guidance are one after the other, whatever memory there is
    cannot = CANNOT

    def __init__(
        self, transformer: WanVACETransformer3DModel, images: VideoLatents, text: PromptEncoder, scheduler: dict
    ) -> None:
        self.transformer = transformer
        self.images = images
        self.text = text
        self._scheduler = scheduler
        self.modules = {"transformer": transformer, "autoencoder": images.autoencoder, "text": text.model}
        self.nbytes = sum(weight.nbytes for network in self.modules.values() for weight in network.parameters())

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Lora | None = None) -> WanVace:
        """Read the published folder of diffusers' layout. The autoencoder computes in float32."""
        folder = checkpoint / "transformer"
        made = cls(
            read_transformer(WanVACETransformer3DModel, folder, device, dtype, _ONE_LAYER, lora),
            VideoLatents.load(checkpoint / "vae", device, torch.float32),
            PromptEncoder.load(checkpoint, device, dtype),
            read_scheduler(checkpoint / "scheduler"),
        )
        widths = {"vae": ("in_channels", made.images.channels), "text_encoder": ("text_dim", made.text.channels)}
        require_fitting(made.transformer, checkpoint, widths)
        return made

    @torch.inference_mode()
    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        """Denoise one segment → (1, channels, 1 + latent frames, height/8, width/8), the reference's first, float32.

        It carries the last frames that it shows, decoded, (1, 3, overlap, height, width). Arguments as
        `Animator.segment`.
        """
        control = cast(PosePictures, driving.poses)
        colours = _colours(clip, segment.carry)
        for step in self.steps(clip, cast(np.ndarray, reference), control, replace(segment, carry=colours.taken_over)):
            finished = step.latents
        latents = finished.float().cpu()
        if segment.stop == len(control):
            return Denoised(latents)
        last = last_shown(self.images, finished, segment, colours, resolved(clip).carried)
        return Denoised(latents, colours.carry(last, resolved(clip).carried).float().cpu())

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        """Decode one latent frame after the other: uint8 (n, height, width, 3), rounded."""
        return film_levels(self.images, parts, _colours(clip))

    def steps(self, clip: Clip, reference: np.ndarray, control: PosePictures, segment: Segment) -> Iterator[Step]:
        """The denoising steps of one segment, on the networks' device."""
        network, device = self.transformer, self.transformer.device
        frames = seen_frames(clip, segment)
        shown = [reflected(segment.start + frame, len(control)) for frame in range(frames)]
        asked = resolved(clip)
        options = WanVaceOptions(**clip.options)
        pictures = (fit(control[frame], asked.width, asked.height, asked.fit, LANCZOS) for frame in shown)

        given = {
            "control_hidden_states": conditioning_latents(
                self.images,
                to_pixels(pictures).to(device),
                None if segment.carry is None else segment.carry.to(device),
                on_white(reference, asked.width, asked.height, self.images.scale).to(device),
                network.config.patch_size[1],
            ).to(network.dtype),
            "control_hidden_states_scale": torch.full(
                (len(network.config.vace_layers),), options.conditioning_scale
            ).to(device, network.dtype),
            "return_dict": False,
        }
        prompts = [clip.prompt] if asked.guidance <= 1 else [clip.prompt, clip.negative_prompt]

        def predict(text: torch.Tensor, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            seen = latents.to(network.dtype)
            return network(hidden_states=seen, timestep=timestep, encoder_hidden_states=text, **given)[0]

        known = given["control_hidden_states"].shape[2:]
        noise = starting_noise(clip, segment.number, segment.start, (network.config.in_channels, *known)).to(device)
        branches = [partial(predict, self.text.encode(prompt).to(network.dtype)) for prompt in prompts]
        settings = shifted(self._scheduler, options.flow_shift)
        return flow_steps(branches, noise, settings, asked.steps, asked.guidance, segment.told)

    def forget(self) -> int:
        """Let the weights leave the device until they compute, as with `low_vram`; and drop what prompts became."""
        device = str(self.transformer.device)
        return self.text.forget() + spare(self.modules, self.waiting, self.streaming, device)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(1, channels, 1 + latent frames, h, w), the reference's first → (1, 3, frames, height, width) in [-1, 1]."""
        return self.images.decode(latents[:, :, 1:])


def _colours(clip: Clip, carry: torch.Tensor | None = None) -> FilmColours:
    return FilmColours(WanVaceOptions(**clip.options).colour_correction, carry)
