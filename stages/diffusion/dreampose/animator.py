"""DreamPose (Karras et al., 2023): a key image performs a sequence of DensePose coordinates, every frame by itself.

Source: SPEC.md; the sections named below are its.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from manifests.errors import Problem, Rejected
from stages.diffusion.animator import Denoised, Driving, Parts, PosePictures, Segment
from stages.diffusion.dreampose.checkpoint import PublishedFiles, read_unet, read_wrapped
from stages.diffusion.dreampose.clip_tokens import ClipTokens
from stages.diffusion.dreampose.contrast_stretch import extremes, ranged_frames, stretched_frames
from stages.diffusion.dreampose.dual_guidance import FULL, Branch, branch_weights, dual_guidance
from stages.diffusion.dreampose.embedding_adapter import build_embedding_adapter
from stages.diffusion.dreampose.facts import DREAMPOSE, VAE_SCALE, DreamPoseOptions
from stages.diffusion.dreampose.key_image import Draws, KeyImages, random_draws
from stages.diffusion.dreampose.pose_packing import (
    PackedPoses,
    clamped_neighbours,
    looped_neighbours,
    published_neighbours,
)
from stages.diffusion.dreampose.scheduler import PublishedScheduler
from stages.diffusion.dreampose.unet import Conditioning, ContextUNet
from stages.diffusion.fast import fast_of
from stages.diffusion.networks.latent_images import LatentImages
from stages.diffusion.sampling.branches import Branches
from stages.diffusion.sampling.denoise import Step, denoise
from stages.diffusion.sampling.micro_batches import micro_batches
from stages.diffusion.sampling.shortcuts import Deep, Shortened, again_in_turns, in_turns, shortcuts_of
from stages.diffusion.sampling.transfer import picked, sent
from stages.diffusion.sampling.windows import Window
from stages.video.image import fit

if TYPE_CHECKING:
    from manifests.clip import Clip
    from stages.diffusion.weights.lora import Lora


class DreamPose:
    """The published networks with their weights, ready to animate one clip after another."""

    facts = DREAMPOSE
    others: Sequence[DreamPose] = ()
    waiting = ("autoencoder", "image_encoder")
    together = True

    def __init__(
        self,
        unet: ContextUNet,
        keys: KeyImages,
        scheduler: PublishedScheduler,
        tuned_decoder: bool,
    ) -> None:
        """`tuned_decoder`: the VAE was fine-tuned on the subject, so that it decodes to [0, 1] (section 7)."""
        self.unet = unet
        self.keys = keys
        self.images = keys.images
        self.scheduler = scheduler
        self.tuned_decoder = tuned_decoder
        self.modules = {
            "unet": unet.network,
            "adapter": keys.adapter,
            "autoencoder": keys.images.autoencoder,
            "image_encoder": keys.encoder.model,
        }
        self.nbytes = sum(weight.nbytes for module in self.modules.values() for weight in module.parameters())

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Lora | None = None) -> DreamPose:
        """Read the published folder (section 2). CLIP and the adapter run in float32, once per clip."""
        files = PublishedFiles.found(checkpoint)
        unet = read_unet(files, device, dtype)
        if lora:
            lora.fuse(unet)
        adapter = build_embedding_adapter(read_wrapped(files.adapter), files.adapter, device)
        encoder = ClipTokens.load(files.image_encoder, device)
        width, tokens = adapter.vae2clip.out_features, adapter.linear1.out_features
        made = encoder.model.config.hidden_size, encoder.num_tokens
        if (width, tokens) != made or width != unet.config.cross_attention_dim:
            raise Problem(
                f"checkpoint {checkpoint}: CLIP makes {made[1]} tokens of width {made[0]}, the adapter is for {tokens} "
                f"of width {width}, and the UNet reads width {unet.config.cross_attention_dim}",
                "use the UNet and the adapter of one training, with CLIP ViT-B/32",
            )
        tuned = read_wrapped(files.tuned_vae) if files.tuned_vae else None
        images = LatentImages.load(files.vae, VAE_SCALE, device, dtype, tuned)
        scheduler = PublishedScheduler.read(files.scheduler)
        return cls(ContextUNet(unet), KeyImages(images, encoder, adapter), scheduler, tuned is not None)

    @torch.inference_mode()
    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        """Denoise one segment → (frames, 4, height/8, width/8), float32 on the CPU. Arguments as `Animator.segment`.

        Raises `Rejected` for a size that the adapter does not take.
        """
        for step in self.steps(clip, reference, driving.poses, segment):
            finished = step.latents
        return Denoised(finished.float().cpu())

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        """Decode in batches: uint8 (n, height, width, 3), over the range that the options or the mode say.

        One range for a whole clip is found by decoding it twice.
        """
        default = "trained" if self.tuned_decoder else "clip"
        levels = DreamPoseOptions(**clip.options).levels or ("frame" if clip.mode == "parity" else default)

        def decoded() -> Iterator[torch.Tensor]:
            return self.keys.images.decode(latents for _, latents in parts)

        if levels == "frame":
            return stretched_frames(decoded())
        # training showed the decoder 0 … 1, which is ½ … 1 here
        low, high = (0.5, 1.0) if levels == "trained" else extremes(decoded())
        return ranged_frames(decoded(), low, high)

    def forget(self) -> int:
        """Drop the tokens and latents of key images that are kept for later clips → their bytes."""
        return self.keys.features.clear()

    def steps(
        self,
        clip: Clip,
        reference: np.ndarray,
        poses: PosePictures,
        segment: Segment,
        draws: Draws | None = None,
        neighbours: Sequence[Sequence[int]] | None = None,
    ) -> Iterator[Step]:
        """The denoising steps of one segment, on the networks' device.

        `draws` replaces the mode's noise rule; `neighbours`, five places in `poses` for every frame of the segment, its
        packing rule.
        """
        self.check_size(clip)
        options = DreamPoseOptions(**clip.options)
        draws = draws or random_draws(clip, segment)
        if neighbours is None:
            neighbours = [neighbours_of(clip, frame, len(poses)) for frame in range(segment.start, segment.stop)]
        fitted = fit(reference, clip.width, clip.height, clip.fit, Image.Resampling.BICUBIC)
        seen = self.keys.seen(fitted, options.image_tokens)
        parity = clip.mode == "parity"
        scheduler = self.scheduler.prepared(options.sampler, clip.steps, options.strength, parity, fast_of(clip))
        start = self.keys.start_latents(seen, draws, scheduler).to(self.unet.network.device)
        weights = branch_weights(*clip.guidance)
        contexts = self.keys.contexts(seen, draws)
        packed = PackedPoses.pack(poses, neighbours, clip.width, clip.height, clip.fit)
        models = [
            ClipModel(one.unet, contexts, packed, list(weights), len(start) == 1, one.together)
            for one in (self, *self.others)
        ]
        shortcuts = shortcuts_of(clip, len(scheduler.timesteps))
        windows, guide = micro_batches(len(segment), clip.window), dual_guidance(weights.values())
        frames = start.expand(len(segment), -1, -1, -1)
        return denoise(models, frames, scheduler, lambda _: windows, guide, segment.told, shortcuts)

    def check_size(self, clip: Clip) -> None:
        """Raise `Rejected` unless the adapter was trained on pictures of as many blocks of 16 × 16 pixels."""
        area, blocks = self.keys.adapter.area, (clip.width // 16) * (clip.height // 16)
        if blocks == area:
            return
        sides = [(side * 16, area // side * 16) for side in range(2, area, 2) if area % (2 * side) == 0]
        shape = clip.width / clip.height
        near = sorted(sides, key=lambda side: max(side[0] / side[1], shape) / min(side[0] / side[1], shape))[:2]
        raise Rejected(
            f"width × height {clip.width}×{clip.height}: the adapter of this checkpoint is made for {area} blocks of "
            f"16×16 pixels, this film has {blocks}",
            "use " + (" or ".join(f"{width}×{height}" for width, height in near) or "the size it was trained at"),
        )


# key image ─┬─ CLIP + VAE ── adapter ── context ── keys and values of every layer ──┐
#            └─ VAE + noise ──┐                                                      │
# five poses, or zeros ───────┴── UNet, every branch of a frame by itself ───────────┴── noise prediction
class ClipModel(Shortened):
    """The window model of one clip, whose frames do not see each other: its windows are what one call holds."""

    def __init__(
        self,
        unet: ContextUNet,
        contexts: torch.Tensor,
        poses: PackedPoses,
        branches: Sequence[Branch],
        equal_starts: bool = False,
        together: bool = True,
    ) -> None:
        """`contexts` (2, 1 or frames, tokens, width) and `poses` are those of the clip's frames, wherever they are.

        `equal_starts`: all frames start from the same latents, so at the first step only their poses differ.
        """
        super().__init__()
        self._unet = unet
        self.device, dtype = unet.network.device, unet.network.dtype
        self._contexts = contexts.to(self.device, dtype)
        self._shared = unet.project(self._contexts[:, 0]) if contexts.shape[1] == 1 else None
        self._poses = poses.to(self.device, dtype)
        self._branches = branches
        self._equal_starts = equal_starts
        self._turns = Branches(together)
        self._steps = 0
        self._first: dict[Branch, torch.Tensor] = {}
        self._first_deep = Deep()  # of the branches in `_first`
        self._asked: Sequence[Branch] = branches  # at this step
        self._of_deep: Sequence[Branch] = branches  # of which deep features are kept

    def begin_step(self, timestep: int, windows: Sequence[Window], share: range) -> None:
        """Count the steps; without guidance, the branch with image and pose is left."""
        self._steps += 1
        self._asked = self._branches if self.shortcut.guided or FULL not in self._branches else [FULL]
        if self.shortcut.deep != "reused":
            self._of_deep = self._asked

    def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        """(frames, 4, height, width) → (branches, window frames, 4, height, width)."""
        frames, deep, branches = list(window.frames), self.deep(window), self._asked
        latents = picked(latents, frames)
        if deep and self.shortcut.deep == "reused":
            return self._predicted_again(latents, timestep, frames, deep)
        if self._steps > 1 or not self._equal_starts:
            return self._predicted(branches, latents, timestep, frames, deep)
        posed = [branch for branch in branches if branch.posed]
        unposed = [branch for branch in branches if not branch.posed]
        if unposed and not self._first:
            made = self._predicted(unposed, latents[:1], timestep, frames[:1], self._first_deep)
            self._first = dict(zip(unposed, made, strict=True))
        found = dict(self._first)
        if posed:
            found |= zip(posed, self._predicted(posed, latents, timestep, frames, deep), strict=True)
        if deep:
            kept = dict(zip(unposed, self._first_deep.by_branch(len(unposed)), strict=True)) if unposed else {}
            kept |= dict(zip(posed, deep.by_branch(len(posed)), strict=True)) if posed else {}
            deep.hidden = torch.cat([kept[branch].expand(len(frames), -1, -1, -1) for branch in branches])
        return torch.stack([found[branch].expand(latents.shape) for branch in branches])

    def _predicted(
        self,
        branches: Sequence[Branch],
        latents: torch.Tensor,
        timestep: int,
        frames: list[int],
        deep: Deep | None = None,
    ) -> torch.Tensor:
        def predicted(which: range, part: Deep | None) -> torch.Tensor:
            some = branches[which.start : which.stop]
            sample, given = self._sample(some, latents, frames), self._conditioning(some, frames)
            return self._unet.predict(sample, timestep, given, part).unflatten(0, (len(some), len(frames)))

        return in_turns(self._turns, len(branches), deep, predicted)

    def _predicted_again(self, latents: torch.Tensor, timestep: int, frames: list[int], deep: Deep) -> torch.Tensor:
        """Around deep features, of which those of the branches that are asked for now are read."""
        branches, of_branch = self._asked, dict(zip(self._of_deep, deep.by_branch(len(self._of_deep)), strict=True))
        asked = Deep(torch.cat([of_branch[branch] for branch in branches]))

        def predicted(which: range, part: Deep) -> torch.Tensor:
            some = branches[which.start : which.stop]
            sample, given = self._sample(some, latents, frames), self._conditioning(some, frames)
            return self._unet.predict_again(sample, timestep, given, part).unflatten(0, (len(some), len(frames)))

        return again_in_turns(self._turns, len(branches), asked, predicted, len(frames))

    def _sample(self, branches: Sequence[Branch], latents: torch.Tensor, frames: list[int]) -> torch.Tensor:
        """Latents beside their poses, all frames of the first branch first."""
        poses = self._poses[frames]
        latents = latents.to(poses.dtype)
        return torch.cat(
            [torch.cat([latents, poses if branch.posed else torch.zeros_like(poses)], dim=1) for branch in branches]
        )

    def _conditioning(self, branches: Sequence[Branch], frames: list[int]) -> Conditioning:
        """Which context each sample reads, all frames of the first branch first.

        What the whole clip reads is projected once; each frame's own (as published) anew with every window, because
        they would take 5 MB a frame.
        """
        of_branch = sent(torch.tensor([branch.context for branch in branches]), self._contexts.device)
        if self._shared is not None:
            return Conditioning(self._shared, of_branch.repeat_interleave(len(frames)))
        own = self._contexts[:, sent(torch.tensor(frames), self._contexts.device)]
        numbers = torch.arange(own.shape[0] * own.shape[1], device=own.device).view(own.shape[:2])
        return Conditioning(self._unet.project(own.flatten(0, 1)), numbers[of_branch].flatten())


def neighbours_of(clip: Clip, frame: int, num_frames: int) -> tuple[int, ...]:
    """The mode's rule for the five poses of a frame."""
    if clip.mode == "parity":
        return published_neighbours(frame, range(num_frames))
    return (looped_neighbours if clip.loop else clamped_neighbours)(frame, num_frames)
