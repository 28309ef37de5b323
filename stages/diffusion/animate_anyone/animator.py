"""Animate Anyone (Hu et al., 2023) as implemented and published by Moore Threads: a reference performs a skeleton.

Source: SPEC.md; the sections named below are its.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image

from stages.diffusion.animate_anyone.facts import ANIMATE_ANYONE, REFERENCE_TIMESTEP, VAE_SCALE, AnimateAnyoneOptions
from stages.diffusion.animate_anyone.image_encoder import ImageEncoder
from stages.diffusion.animate_anyone.latent_interpolation import interpolate, key_frames
from stages.diffusion.animate_anyone.settings import PublishedSettings
from stages.diffusion.animate_anyone.unet import PosedUNet, Stem, build_denoising_network
from stages.diffusion.animator import Denoised, Driving, Parts, PosePictures, Segment
from stages.diffusion.fast import fast_of
from stages.diffusion.networks.feature_cache import FeatureCache
from stages.diffusion.networks.latent_images import LatentImages
from stages.diffusion.networks.pose_guider import PoseGuider
from stages.diffusion.networks.reference_attention import transformer_blocks
from stages.diffusion.networks.reference_network import ReferenceNetwork, build_reference_network, end_at_last_feature
from stages.diffusion.sampling.branches import Branches
from stages.diffusion.sampling.cross_fade import cross_faded
from stages.diffusion.sampling.denoise import Step, classifier_free_guidance, denoise
from stages.diffusion.sampling.noise import frame_noise, tiled_noise
from stages.diffusion.sampling.schedulers import scheduled
from stages.diffusion.sampling.shared_frames import SharedFrames
from stages.diffusion.sampling.shortcuts import Shortened, again_in_turns, in_turns, shortcuts_of
from stages.diffusion.sampling.transfer import picked, sent
from stages.diffusion.sampling.windows import Window, window_plan
from stages.diffusion.weights.checkpoint import State, load_strictly, read_config, read_state
from stages.diffusion.weights.motion_checkpoint import motion_unet_state
from stages.video.image import fit

if TYPE_CHECKING:
    from manifests.clip import Clip
    from stages.diffusion.weights.lora import Lora


class AnimateAnyone:
    """The published networks with their weights, ready to animate one clip after another."""

    facts = ANIMATE_ANYONE
    others: Sequence[AnimateAnyone] = ()
    waiting = ("autoencoder", "image_encoder", "reference")
    together = True

    def __init__(
        self,
        unet: PosedUNet,
        reference: ReferenceNetwork,
        guider: PoseGuider,
        images: LatentImages,
        encoder: ImageEncoder,
        settings: PublishedSettings,
    ) -> None:
        self.unet = unet
        self.reference = reference
        self.guider = guider
        self.images = images
        self.encoder = encoder
        self.settings = settings
        self.features = FeatureCache()
        self.modules = {
            "unet": unet.network,
            "reference": reference.network,
            "pose_guider": guider.network,
            "autoencoder": images.autoencoder,
            "image_encoder": encoder.model,
        }
        self.nbytes = sum(weight.nbytes for module in self.modules.values() for weight in module.parameters())

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Lora | None = None) -> AnimateAnyone:
        """Read the published folder (section 1). Of the base model only the UNet's `config.json` matters."""
        settings = PublishedSettings.read(checkpoint)
        config = read_config(checkpoint / "stable-diffusion-v1-5" / "unet")
        unet = build_denoising_network(config, settings)
        state: State = {}
        for name in ("motion_module.pth", "denoising_unet.pth"):  # where both hold a layer, the second one wins
            state = motion_unet_state(unet, state, read_state(checkpoint / name), checkpoint / name)
        load_strictly(unet, state, f"{checkpoint} (denoising_unet, motion_module)", dtype)
        if lora:
            lora.fuse(unet)

        file = checkpoint / "reference_unet.pth"
        reference = build_reference_network(config)
        reference = end_at_last_feature(load_strictly(reference, read_state(file), file, dtype))

        return cls(
            PosedUNet(unet.to(device)),
            ReferenceNetwork(reference.to(device), transformer_blocks(reference)),
            PoseGuider.load(checkpoint / "pose_guider.pth", device, dtype),
            LatentImages.load(checkpoint / "sd-vae-ft-mse", VAE_SCALE, device, dtype),
            ImageEncoder.load(checkpoint / "image_encoder", device, dtype),
            settings,
        )

    @torch.inference_mode()
    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        """Denoise one segment → (frames, 4, height/8, width/8), float32 on the CPU. Arguments as `Animator.segment`.

        With an interpolation factor, key frames alone are denoised and the others are made between them (section 9).
        """
        options = AnimateAnyoneOptions(**clip.options)
        for step in self.steps(clip, reference, driving.poses, segment):
            finished = step.latents
        keys = key_frames(segment.start, segment.stop, options.interpolation_factor)
        return Denoised(interpolate(finished.float().cpu(), keys, options.interpolation_method))

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
        """The denoising steps of one segment's key frames, on the networks' device.

        `start` (key frames, 4, height/8, width/8) replaces the noise rule. `reference` and `poses` may have any size:
        what is not the film's is fitted to it as published (section 6); CLIP sees the reference as it is given.
        """
        options = AnimateAnyoneOptions(**clip.options)
        keys = key_frames(segment.start, segment.stop, options.interpolation_factor)
        shown = [frame % len(poses) for frame in keys]  # of a clip that loops, a segment goes on at its other end
        if start is None:
            start = starting_noise(clip, shown, (4, clip.height // 8, clip.width // 8))
        pose = self.guider.features(
            fit(poses[frame], clip.width, clip.height, clip.fit, Image.Resampling.LANCZOS) for frame in shown
        )
        models = [ClipModel(self, clip, reference, pose)]
        if self.others:
            pose = pose.cpu()  # for the poses of its windows, a replica must not wait for the first device
            models += [ClipModel(one, clip, reference, pose) for one in self.others]
        scheduler = scheduled(DDIMScheduler(**self.settings.scheduler), clip.steps, fast_of(clip), self.facts.steps)
        begin = segment.start // options.interpolation_factor
        windows = window_plan(clip, len(keys), options.context_stride, begin, segment.whole)
        return denoise(
            models,
            # half precision is for the networks; fused predictions and scheduler steps stay in float32
            start.to(self.unet.network.device, torch.float32),
            scheduler,
            windows,
            guidance_of(clip, windows(0), len(keys)),
            segment.told,
            shortcuts_of(clip),
        )


# reference ─┬─ VAE ── reference network ── tokens of every block ──┐
#            └─ CLIP ── one token ──────────────────────────────────┤
# poses ── pose guider ── + noise ── UNet with motion modules ──────┴── v prediction
class ClipModel(Shortened):
    """The window model of one clip: reference, image token and poses around the shared networks."""

    def __init__(self, animator: AnimateAnyone, clip: Clip, reference: np.ndarray, pose: torch.Tensor) -> None:
        """`pose` (frames, channels, height/8, width/8) are the pose guider's features."""
        super().__init__()
        self._animator = animator
        self.device = animator.unet.network.device
        token = animator.encoder.token(reference, clip.fit)
        # the unconditional branch has no reference and a token of zeros (section 4); without guidance it is left out
        tokens = token if clip.guidance[0] <= 1 else torch.cat([torch.zeros_like(token), token])
        fitted = fit(reference, clip.width, clip.height, clip.fit, Image.Resampling.LANCZOS)
        key = hashlib.sha256(reference.tobytes() + fitted.tobytes()).hexdigest()
        features = animator.features.get(
            (key, reference.shape, fitted.shape, clip.fit),
            # the conditional branch alone reads it (section 4)
            lambda: animator.reference.features(animator.images.encode(fitted), REFERENCE_TIMESTEP, token),
        )
        if clip.mode == "parity":
            features = {name: rounded(one) for name, one in features.items()}
        self._all_branches = animator.unet.condition(features, tokens)
        self._pose = pose
        self._turns = Branches(animator.together)
        self._stems: SharedFrames[Stem] = SharedFrames()

    def begin_step(self, timestep: int, windows: Sequence[Window], share: range) -> None:
        """Nothing of the reference changes with the timestep."""
        every = self._all_branches
        self._conditioning = every if self.shortcut.guided else every.of(range(every.branches)[-1:])
        self._stems.begin_step(windows, share)

    def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        """(frames, 4, height, width) → (branches, window frames, 4, height, width)."""
        unet, conditioning, deep = self._animator.unet, self._conditioning, self.deep(window)
        if deep and self.shortcut.deep == "reused":
            frames = list(window.frames)
            seen, pose = picked(latents, frames).to(self._pose.dtype), sent(picked(self._pose, frames), self.device)
            return again_in_turns(
                self._turns,
                conditioning.branches,
                deep,
                lambda which, part: unet.predict_again(seen, timestep, conditioning.of(which), pose, part),
                len(seen),
            )

        def stems(frames: list[int]) -> list[Stem]:
            seen, pose = picked(latents, frames).to(self._pose.dtype), sent(picked(self._pose, frames), self.device)
            return unet.stem(seen, timestep, conditioning, pose).split()

        stem = Stem.join(self._stems.of(stems))
        return in_turns(
            self._turns,
            conditioning.branches,
            deep,
            lambda which, part: unet.finish(stem.of(which), timestep, conditioning.of(which), part),
        )


def starting_noise(clip: Clip, frames: Sequence[int], shape: tuple[int, int, int]) -> torch.Tensor:
    """The mode's noise rule for these frames of the clip. Parity: one draw for all of them (section 7)."""
    if clip.mode == "parity":
        return tiled_noise(clip.seed, len(frames), shape, block=len(frames))
    return frame_noise(clip.seed, frames, shape)


def guidance_of(clip: Clip, windows: Sequence[Window], num_frames: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Guidance with the clip's scale. Parity keeps quirk 2: without guidance, windows are added and never divided."""
    scale = clip.guidance[0]
    if clip.mode != "parity" or scale > 1:
        return classifier_free_guidance(scale)
    times = [sum(frame in window.frames for window in windows) for frame in range(num_frames)]
    return lambda branches: branches[0] * sent(torch.tensor(times), branches.device).view(-1, 1, 1, 1)


def rounded(tokens: torch.Tensor) -> torch.Tensor:
    """Through half precision and back: the published code hands reference tokens over in float16 (section 3)."""
    return tokens.half().to(tokens.dtype)
