"""MagicAnimate (Xu et al., 2023): a reference image performs a DensePose sequence.

Source: SPEC.md; the sections named below are its.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler

from stages.diffusion.animator import Denoised, Driving, Parts, PosePictures, Segment
from stages.diffusion.fast import fast_of
from stages.diffusion.magicanimate.facts import (
    LONGEST_WINDOW,
    MAGICANIMATE,
    NOISE_BLOCK,
    SCHEDULER,
    VAE_SCALE,
    MagicAnimateOptions,
)
from stages.diffusion.magicanimate.pose_control import EmbeddedPoses, PoseControl, picture_layers
from stages.diffusion.magicanimate.unet import Conditioning, ControlledUNet, Words
from stages.diffusion.networks.feature_cache import FeatureCache
from stages.diffusion.networks.latent_images import LatentImages
from stages.diffusion.networks.motion_unet import build_motion_unet, span_frames
from stages.diffusion.networks.reference_attention import reading_blocks
from stages.diffusion.networks.reference_network import ReferenceNetwork, build_reference_network, end_at_last_feature
from stages.diffusion.networks.text import TextEncoder
from stages.diffusion.sampling.branches import Branches
from stages.diffusion.sampling.cross_fade import cross_faded
from stages.diffusion.sampling.denoise import Step, classifier_free_guidance, denoise
from stages.diffusion.sampling.noise import frame_noise, tiled_noise
from stages.diffusion.sampling.schedulers import scheduled
from stages.diffusion.sampling.shortcuts import Shortened, again_in_turns, in_turns, shortcuts_of
from stages.diffusion.sampling.transfer import picked
from stages.diffusion.sampling.windows import Window, window_plan
from stages.diffusion.weights.checkpoint import load_network, load_strictly, read_config, read_state, weights_file
from stages.diffusion.weights.motion_checkpoint import motion_unet_state
from stages.video.image import fit

if TYPE_CHECKING:
    from manifests.clip import Clip
    from stages.diffusion.weights.lora import Lora


class MagicAnimate:
    """The published networks with their weights, ready to animate one clip after another."""

    facts = MAGICANIMATE
    others: Sequence[MagicAnimate] = ()
    waiting = ("autoencoder", "text")
    together = True

    def __init__(
        self,
        unet: ControlledUNet,
        reference: ReferenceNetwork,
        control: ControlNetModel,
        images: LatentImages,
        text: TextEncoder,
    ) -> None:
        self.unet = unet
        self.reference = reference
        self.control = control
        self.pose_embedding = picture_layers(control)
        self.images = images
        self.text = text
        self.features = FeatureCache()
        self.modules = {
            "unet": unet.network,
            "reference": reference.network,
            "control": control,
            "pose_embedding": self.pose_embedding,
            "autoencoder": images.autoencoder,
            "text": text.model,
        }
        self.nbytes = sum(weight.nbytes for module in self.modules.values() for weight in module.parameters())

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Lora | None = None) -> MagicAnimate:
        """Read the three published folders (section 1): the base model, its fine-tuned VAE, and MagicAnimate's own."""
        base, vae, own = checkpoint / "stable-diffusion-v1-5", checkpoint / "sd-vae-ft-mse", checkpoint / "MagicAnimate"

        config = read_config(base / "unet")
        unet = span_frames(build_motion_unet(config, LONGEST_WINDOW, mid_block=False))
        motion_file = own / "temporal_attention" / "temporal_attention.ckpt"
        state = motion_unet_state(unet, read_state(weights_file(base / "unet")), read_state(motion_file), motion_file)
        load_strictly(unet, state, f"{base / 'unet'} with {motion_file}", dtype)

        text = TextEncoder.load(base, device, dtype)
        if lora:
            lora.fuse(unet, text.model)

        folder = own / "appearance_encoder"
        # the published file ends where the features end
        reference = end_at_last_feature(build_reference_network(read_config(folder)))
        load_strictly(reference, read_state(weights_file(folder)), folder, dtype)

        return cls(
            ControlledUNet(unet.to(device)),
            ReferenceNetwork(reference.to(device), reading_blocks(reference)),
            load_network(ControlNetModel, own / "densepose_controlnet", device, dtype),
            LatentImages.load(vae, VAE_SCALE, device, dtype),
            text,
        )

    @torch.inference_mode()
    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        """Denoise one segment → (frames, 4, height/8, width/8), float32 on the CPU. Arguments as `Animator.segment`."""
        for step in self.steps(clip, reference, driving.poses, segment):
            finished = step.latents
        return Denoised(finished[: len(segment)].float().cpu())

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        """Decode in batches: uint8 (n, height, width, 3), scaled to 255 and truncated as published."""
        return self.images.frames(cross_faded(parts))

    def forget(self) -> int:
        """Drop the features of references that are kept for later clips → their bytes."""
        return self.features.clear()

    def steps(
        self,
        clip: Clip,
        reference: np.ndarray,
        poses: PosePictures,
        segment: Segment,
        start: torch.Tensor | None = None,
    ) -> Iterator[Step]:
        """The denoising steps of one segment (section 9), on the networks' device.

        `start` (frames, 4, height/8, width/8) replaces the noise rule and fixes the number of frames computed. In
        parity mode without it, as with more frames in it than poses, the last pose is repeated (section 11).
        """
        options = MagicAnimateOptions(**clip.options)
        shape = (4, clip.height // 8, clip.width // 8)
        if start is None:
            start = starting_noise(clip, segment, len(poses), shape)
        shown = segment.shown(len(poses))
        shown += shown[-1:] * (len(start) - len(shown))
        reference = fit(reference, clip.width, clip.height, clip.fit)
        fitted = np.empty((len(shown), *reference.shape), np.uint8)
        for place, frame in enumerate(shown):  # beside the fitted ones, one pose is in memory
            fitted[place] = fit(poses[frame], clip.width, clip.height, clip.fit)

        scheduler = scheduled(DDIMScheduler(**SCHEDULER), clip.steps, fast_of(clip), self.facts.steps)
        scale = options.controlnet_conditioning_scale
        return denoise(
            [ClipModel(one, clip, reference, fitted, scale) for one in (self, *self.others)],
            # half precision is for the networks; fused predictions and scheduler steps stay in float32
            start.to(self.unet.network.device, torch.float32),
            scheduler,
            window_plan(clip, len(start), options.context_stride, segment.start, segment.whole),
            classifier_free_guidance(clip.guidance[0]),
            segment.told,
            shortcuts_of(clip),
        )


# reference ── VAE ── appearance encoder ── tokens of every block ──┐
# poses ── ControlNet ── residuals of every frame ──┐               │
# noise + text ── UNet with motion modules ─────────┴───────────────┴── noise prediction
class ClipModel(Shortened):
    """The window model of one clip: text, reference features and pose residuals around the shared networks."""

    def __init__(
        self,
        animator: MagicAnimate,
        clip: Clip,
        reference: np.ndarray,
        poses: np.ndarray,
        control_scale: float,
    ) -> None:
        super().__init__()
        self._animator = animator
        self._picture = reference
        self.device = animator.unet.network.device
        # guidance ≤ 1 means the conditional branch alone (quirk 2: the published code crashes there)
        prompts = [clip.prompt] if clip.guidance[0] <= 1 else [clip.negative_prompt, clip.prompt]
        self._text = animator.text.encode(prompts)
        self._shared_text = len(set(prompts)) == 1
        self._words: Words = {}
        self._words_alone: dict[int, Words] = {len(prompts) - 1: {}}  # of a branch by itself
        self._reference_key = hashlib.sha256(reference.tobytes() + clip.prompt.encode()).hexdigest()
        self._turns = Branches(animator.together)
        embedded = EmbeddedPoses(animator.pose_embedding, poses, self._text.dtype)
        self._control = PoseControl(animator.control, self._text[-1:], embedded, control_scale)

    @cached_property
    def _reference(self) -> torch.Tensor:
        """Only a reference whose features are not kept is looked at."""
        return self._animator.images.encode(self._picture)

    def begin_step(self, timestep: int, windows: Sequence[Window], share: range) -> None:
        """Reference features of this timestep: from an earlier clip of the same reference, or computed (section 4).

        A step that reuses deep features reads the reference as the step that made them did.
        """
        if self.shortcut.deep != "reused":
            features = self._animator.features.get(
                (self._reference_key, self._picture.shape, timestep),
                # the conditional branch alone reads it (section 5)
                lambda: self._animator.reference.features(self._reference, timestep, self._text[-1:]),
            )
            self._read = self._animator.unet.project(features)
        text, words, alone = self._text, self._words, self._words_alone
        if not self.shortcut.guided:
            text, words = text[-1:], alone[len(text) - 1]
        self._conditioning = Conditioning(text, self._shared_text or len(text) == 1, self._read, words, alone)
        self._control.begin_step(windows, share)

    def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        """(frames, 4, height, width) → (branches, window frames, 4, height, width)."""
        unet, conditioning, deep = self._animator.unet, self._conditioning, self.deep(window)
        if deep and self.shortcut.deep == "reused":
            first = self._control.first_residuals(latents, timestep)
            seen = picked(latents, window.frames).to(self._text.dtype)
            return again_in_turns(
                self._turns,
                conditioning.branches,
                deep,
                lambda which, part: unet.predict_again(seen, timestep, conditioning.of(which), first, part),
                len(seen),
            )
        residuals = self._control.residuals(latents, timestep)
        seen = picked(latents, window.frames).to(self._text.dtype)
        return in_turns(
            self._turns,
            conditioning.branches,
            deep,
            lambda which, part: unet.predict(seen, timestep, conditioning.of(which), residuals, part),
        )


def starting_noise(clip: Clip, segment: Segment, num_frames: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """The mode's noise rule, in a clip of `num_frames`.

    Parity computes whole blocks of 16 frames, as the published driver pads to.
    """
    if clip.mode == "parity":
        return tiled_noise(clip.seed, -(-len(segment) // NOISE_BLOCK) * NOISE_BLOCK, shape, NOISE_BLOCK)
    return frame_noise(clip.seed, segment.shown(num_frames), shape)
