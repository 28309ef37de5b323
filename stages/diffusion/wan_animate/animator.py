"""Wan-Animate (Wan2.2-Animate-14B, 2025): a reference image performs poses and expressions, segment by segment.

Source: SPEC.md, and diffusers' `WanAnimatePipeline`, whose results this has bit for bit; the sections named below are
SPEC.md's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler, WanAnimateTransformer3DModel

from stages.diffusion.animator import Denoised, Driving, Parts, PosePictures, Segment
from stages.diffusion.networks.umt5 import PromptEncoder
from stages.diffusion.networks.video_latents import VideoLatents
from stages.diffusion.sampling.denoise import Step
from stages.diffusion.sampling.noise import frame_noise
from stages.diffusion.wan_animate.conditioning import carried_latents, reference_latents
from stages.diffusion.wan_animate.faces import FacePictures
from stages.diffusion.wan_animate.facts import WAN_ANIMATE, segment_length
from stages.diffusion.wan_animate.networks import PictureTokens, read_scheduler, read_transformer
from stages.diffusion.wan_animate.pictures import BLANK, LANCZOS, letterboxed, to_levels, to_pixels
from stages.diffusion.wan_animate.segments import reflected
from stages.video.image import fit

if TYPE_CHECKING:
    from manifests.clip import Clip


class WanAnimate:
    """The published networks with their weights, ready to animate one clip after another."""

    facts = WAN_ANIMATE

    def __init__(
        self,
        transformer: WanAnimateTransformer3DModel,
        images: VideoLatents,
        text: PromptEncoder,
        tokens: PictureTokens,
        scheduler: dict,
    ) -> None:
        self.transformer = transformer
        self.images = images
        self.text = text
        self.tokens = tokens
        self._scheduler = scheduler
        networks = (transformer, images.autoencoder, text.model, tokens.model)
        self.nbytes = sum(weight.nbytes for network in networks for weight in network.parameters())

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> WanAnimate:
        """Read the published folder of diffusers' layout (section 1). The autoencoder computes in float32."""
        return cls(
            read_transformer(checkpoint / "transformer", device, dtype),
            VideoLatents.load(checkpoint / "vae", device, torch.float32),
            PromptEncoder.load(checkpoint, device, dtype),
            PictureTokens.load(checkpoint, device, dtype),
            read_scheduler(checkpoint / "scheduler"),
        )

    @torch.inference_mode()
    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        """Denoise one segment → (1, channels, latent frames, height/8, width/8), the reference's first, float32.

        It carries the last frames that it shows, decoded, (1, 3, overlap, height, width). Arguments as
        `Animator.segment`.
        """
        poses = cast(PosePictures, driving.poses)
        faces = FacePictures(driving, len(poses), self.face_size)
        for step in self.steps(clip, cast(np.ndarray, reference), poses, faces, segment):
            finished = step.latents
        carry = None if segment.stop == len(poses) else self.decode(finished)[:, :, -clip.overlap :]
        return Denoised(finished.float().cpu(), carry if carry is None else carry.float().cpu())

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        """Decode one segment after the other: uint8 (n, height, width, 3), rounded."""
        for segment, latents in parts:
            yield to_levels(self.decode(latents)[:, :, segment.taken_over : len(segment)])

    def steps(
        self,
        clip: Clip,
        reference: np.ndarray,
        poses: PosePictures,
        faces: Sequence[np.ndarray | None],
        segment: Segment,
    ) -> Iterator[Step]:
        """The denoising steps of one segment (section 7), on the networks' device.

        `faces` are uint8 (height, width, 3), one of each frame, None where none is known.
        """
        device, dtype = self.transformer.device, self.transformer.dtype
        frames = segment_length(clip, len(poses))
        shown = [reflected(segment.start + frame, len(poses)) for frame in range(frames)]
        size = cast(int, clip.height), cast(int, clip.width)

        fitted = to_pixels(fit(poses[frame], clip.width, clip.height, clip.fit, LANCZOS) for frame in shown)
        known = torch.cat(
            [
                reference_latents(self.images, to_pixels([letterboxed(reference, clip.width, clip.height)])),
                carried_latents(self.images, segment.carry, frames, size),
            ],
            dim=2,
        )
        given = {
            "pose_hidden_states": self.images.encode(fitted).to(dtype),
            "encoder_hidden_states_image": self.tokens.encode(reference).to(dtype),
            "return_dict": False,
        }
        seen = self.face_pixels([faces[frame] for frame in shown]).to(device, dtype)
        scale = clip.guidance[0]
        branches = [(self.text.encode(clip.prompt).to(dtype), seen)]
        if scale > 1:  # without text, and without a face: guidance strengthens expressions, not poses
            branches.append((self.text.encode(clip.negative_prompt).to(dtype), seen * 0 + BLANK))

        latents = starting_noise(clip, segment, known).to(device)
        scheduler = UniPCMultistepScheduler.from_config(self._scheduler)  # which remembers its steps
        scheduler.set_timesteps(clip.steps, device=device)
        for index, timestep in enumerate(scheduler.timesteps):
            model_input = torch.cat([latents, known], dim=1).to(dtype)
            noise, *unconditional = (
                self.transformer(
                    hidden_states=model_input,
                    timestep=timestep.expand(1),
                    encoder_hidden_states=text,
                    face_pixel_values=face,
                    **given,
                )[0]
                for text, face in branches
            )
            for other in unconditional:
                noise = other + scale * (noise - other)
            latents = scheduler.step(noise, timestep, latents, return_dict=False)[0]
            segment.told(index + 1, clip.steps)
            yield Step(index, int(timestep), noise, latents)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(1, channels, latent frames, h, w), the reference's first → (1, 3, frames, height, width) in [-1, 1]."""
        return self.images.decode(latents[:, :, 1:])

    @property
    def face_size(self) -> int:
        """Width and height of the faces that the network is shown, in pixels."""
        return self.transformer.config.motion_encoder_size

    def face_pixels(self, faces: Sequence[np.ndarray | None]) -> torch.Tensor:
        """uint8 (height, width, 3) each, or None → (1, 3, faces, size, size) in [-1, 1]."""
        size = self.face_size
        blank = np.zeros((size, size, 3), np.uint8)
        return to_pixels(blank if face is None else fit(face, size, size, "stretch", LANCZOS) for face in faces)


def starting_noise(clip: Clip, segment: Segment, known: torch.Tensor) -> torch.Tensor:
    """The mode's noise rule, (1, channels, latent frames, h, w), for a segment of which `known` is known.

    Published is one generator for the film, of which each segment draws once; in standard mode a latent frame's noise
    depends on the seed and the number of the segment's first frame and itself alone.
    """
    _, channels, frames, height, width = known.shape
    shape = (1, channels - 4, frames, height, width)
    if clip.mode == "parity":
        generator = torch.Generator("cpu").manual_seed(clip.seed)
        for _ in range(segment.number + 1):
            drawn = torch.randn(shape, generator=generator)
        return drawn
    numbers = range(segment.start, segment.start + frames)  # a segment has more frames than latent ones
    return frame_noise(clip.seed, numbers, (shape[1], height, width)).transpose(0, 1)[None].contiguous()
