"""Wan-Animate (Wan2.2-Animate-14B, 2025): a reference image performs poses and expressions, segment by segment.

Source: SPEC.md, and diffusers' `WanAnimatePipeline`, whose results this has bit for bit; the sections named below are
SPEC.md's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from diffusers import WanAnimateTransformer3DModel

from stages.diffusion.animator import Denoised, Driving, Parts, PosePictures, Segment
from stages.diffusion.chained_segments import PER_LATENT, reflected, resolved, seen_frames
from stages.diffusion.networks.film_colours import FilmColours
from stages.diffusion.networks.film_pixels import LANCZOS, film_levels, last_shown, to_pixels
from stages.diffusion.networks.offload import spare
from stages.diffusion.networks.umt5 import PromptEncoder
from stages.diffusion.networks.video_latents import VideoLatents
from stages.diffusion.networks.wan_transformer import CANNOT, read_transformer, require_fitting
from stages.diffusion.sampling.denoise import Step
from stages.diffusion.sampling.flow import flow_steps, read_scheduler, shifted, starting_noise
from stages.diffusion.wan_animate.conditioning import carried_latents, reference_latents
from stages.diffusion.wan_animate.facts import WAN_ANIMATE, WanAnimateOptions
from stages.diffusion.wan_animate.picture_tokens import PictureTokens
from stages.diffusion.wan_animate.pictures import area_resized, letterboxed
from stages.diffusion.wan_animate.replacing import Background, Scene
from stages.video.image import fit

if TYPE_CHECKING:
    from manifests.clip import Clip
    from stages.diffusion.weights.lora import Lora

_ONE_LAYER = {"inject_face_latents_blocks": 1}
BLANK = -1.0  # of a face that is not seen: black


class WanAnimate:
    """The published networks with their weights, ready to animate one clip after another."""

    facts = WAN_ANIMATE
    waiting = ("autoencoder", "text", "image_encoder")
    streaming = ("transformer",)
    together = False  # branches of guidance are one after the other, whatever memory there is
    cannot = CANNOT

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
        self.modules = {
            "transformer": transformer,
            "autoencoder": images.autoencoder,
            "text": text.model,
            "image_encoder": tokens.model,
        }
        self.nbytes = sum(weight.nbytes for network in self.modules.values() for weight in network.parameters())

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Lora | None = None) -> WanAnimate:
        """Read the published folder of diffusers' layout (section 1). The autoencoder computes in float32."""
        folder = checkpoint / "transformer"
        made = cls(
            read_transformer(WanAnimateTransformer3DModel, folder, device, dtype, _ONE_LAYER, lora),
            VideoLatents.load(checkpoint / "vae", device, torch.float32),
            PromptEncoder.load(checkpoint, device, dtype),
            PictureTokens.load(checkpoint, device, dtype),
            read_scheduler(checkpoint / "scheduler"),
        )
        widths = {"vae": ("latent_channels", made.images.channels), "text_encoder": ("text_dim", made.text.channels)}
        widths |= {"image_encoder": ("image_dim", made.tokens.channels)}
        require_fitting(made.transformer, checkpoint, widths)
        return made

    @torch.inference_mode()
    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        """Denoise one segment → (1, channels, 1 + latent frames, height/8, width/8), the reference's first, float32.

        It carries the last frames that it shows, decoded, (1, 3, overlap, height, width). Arguments as
        `Animator.segment`.
        """
        poses = cast(PosePictures, driving.poses)
        faces = driving.faces or [None] * len(poses)
        picture = cast(np.ndarray, reference)
        if clip.mode == "parity":  # as the original prepares it
            picture = area_resized(picture, resolved(clip).width * resolved(clip).height)
        colours = _colours(clip, segment.carry)
        scene = None
        if WanAnimateOptions(**clip.options).replace:
            frames, masks = cast(PosePictures, driving.frames), cast(PosePictures, driving.masks)
            scene = Scene(Background(frames, masks), masks)
        for step in self.steps(clip, picture, poses, faces, replace(segment, carry=colours.taken_over), scene):
            finished = step.latents
        latents = finished.float().cpu()
        if segment.stop == len(poses):
            return Denoised(latents)
        last = last_shown(self.images, finished, segment, colours, resolved(clip).carried)
        return Denoised(latents, colours.carry(last, resolved(clip).carried).float().cpu())

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        """Decode one latent frame after the other: uint8 (n, height, width, 3), rounded."""
        return film_levels(self.images, parts, _colours(clip))

    def steps(
        self,
        clip: Clip,
        reference: np.ndarray,
        poses: PosePictures,
        faces: Sequence[np.ndarray | None],
        segment: Segment,
        scene: Scene | None = None,
    ) -> Iterator[Step]:
        """The denoising steps of one segment (section 7), on the networks' device.

        `faces` are uint8 (height, width, 3), one of each frame, None where none is known; `scene` is what the person
        is put into, in place of another (section 9).
        """
        device, dtype = self.transformer.device, self.transformer.dtype
        frames = seen_frames(clip, segment)
        shown = [reflected(segment.start + frame, len(poses)) for frame in range(frames)]
        asked = resolved(clip)
        width, height = asked.width, asked.height

        fitted = to_pixels(fit(poses[frame], width, height, asked.fit, LANCZOS) for frame in shown)
        there = None if scene is None else scene.pixels(shown, width, height, asked.fit)
        kept = None if scene is None else scene.kept(shown, width, height, asked.fit, self.images.scale)
        known = torch.cat(
            [
                reference_latents(self.images, to_pixels([letterboxed(reference, width, height)])),
                carried_latents(self.images, segment.carry, frames, (height, width), there, kept),
            ],
            dim=2,
        )
        given = {
            "pose_hidden_states": self.images.encode(fitted).to(dtype),
            "encoder_hidden_states_image": self.tokens.encode(reference).to(dtype),
            "return_dict": False,
        }
        seen = self.face_pixels([faces[frame] for frame in shown]).to(device, dtype)
        branches = [(self.text.encode(clip.prompt).to(dtype), seen)]
        if asked.guidance > 1:  # without text, and without a face: guidance strengthens expressions, not poses
            branches.append((self.text.encode(clip.negative_prompt).to(dtype), seen * 0 + BLANK))

        def predict(
            text: torch.Tensor, face: torch.Tensor, latents: torch.Tensor, timestep: torch.Tensor
        ) -> torch.Tensor:
            return self.transformer(
                hidden_states=torch.cat([latents, known], dim=1).to(dtype),
                timestep=timestep,
                encoder_hidden_states=text,
                face_pixel_values=face,
                **given,
            )[0]

        shape = known.shape[1] - PER_LATENT, *known.shape[2:]
        noise = starting_noise(clip, segment.number, segment.start, shape).to(device)
        return flow_steps(
            [partial(predict, *branch) for branch in branches],
            noise,
            shifted(self._scheduler, WanAnimateOptions(**clip.options).flow_shift),
            asked.steps,
            asked.guidance,
            segment.told,
        )

    def forget(self) -> int:
        """Let the weights leave the device until they compute, as with `low_vram`; and drop what prompts became."""
        device = str(self.transformer.device)
        return self.text.forget() + spare(self.modules, self.waiting, self.streaming, device)

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


def _colours(clip: Clip, carry: torch.Tensor | None = None) -> FilmColours:
    return FilmColours(WanAnimateOptions(**clip.options).colour_correction, carry)
