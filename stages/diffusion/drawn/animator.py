"""The bundled animator `drawn`: small weights of our own, trained on procedurally drawn people alone.

Animate Anyone's family of parts without text, image tokens and guidance; `pipelines/training` trains it. It knows the
drawn style it was trained on, not photographs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from stages.diffusion.animator import Denoised, Driving, Parts, PosePictures, Segment, Skeletons
from stages.diffusion.drawn.codec import PATCH, DrawnCodec
from stages.diffusion.drawn.facts import DRAWN, DrawnOptions
from stages.diffusion.drawn.finishing import Finishing
from stages.diffusion.drawn.looks import Look, Looks, as_tensors, kept, reference_warp
from stages.diffusion.drawn.networks import LATENT_CHANNELS, DrawnNetworks
from stages.diffusion.drawn.rigid_parts import Posture
from stages.diffusion.drawn.warp import ReferenceWarp, Warped, encoded
from stages.diffusion.fast import fast_of
from stages.diffusion.networks.latent_images import LatentImages
from stages.diffusion.networks.offload import at_work
from stages.diffusion.networks.pose_guider import PoseGuider
from stages.diffusion.networks.timestep import timestep_on
from stages.diffusion.sampling.cross_fade import cross_faded
from stages.diffusion.sampling.ddim import ddim, read_scheduler_config
from stages.diffusion.sampling.denoise import Step, classifier_free_guidance, denoise
from stages.diffusion.sampling.noise import frame_noise
from stages.diffusion.sampling.schedulers import scheduled
from stages.diffusion.sampling.shortcuts import Shortened, shortcuts_of
from stages.diffusion.sampling.transfer import picked, sent
from stages.diffusion.sampling.windows import Window, window_plan
from stages.diffusion.skeletons import JOINTS
from stages.diffusion.weights.checkpoint import check_digests, load_network
from stages.video.image import fit

if TYPE_CHECKING:
    from manifests.clip import Clip


class Drawn:
    """The networks with their weights, ready to animate one clip after another."""

    facts = DRAWN
    others: Sequence[Drawn] = ()
    waiting = ("autoencoder", "reference")
    together = True  # a single branch

    def __init__(self, networks: DrawnNetworks, images: LatentImages, scheduler: dict[str, Any]) -> None:
        """`scheduler` is the configuration of a DDIM scheduler."""
        self.networks = networks
        self.guider = PoseGuider(networks.pose_guider)
        self.images = images
        self.scheduler = scheduler
        self.modules = {
            "unet": networks.unet,
            "reference": networks.reference,
            "pose_guider": networks.pose_guider,
            "autoencoder": images.autoencoder,
        }
        self.nbytes = sum(weight.nbytes for module in self.modules.values() for weight in module.parameters())

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> Drawn:
        """Read a folder as the training leaves it. Raises `Problem` where a part is missing or does not fit."""
        check_digests(checkpoint)
        codec = load_network(DrawnCodec, checkpoint / "codec", device, dtype)
        finishing = load_network(Finishing, checkpoint / "finishing", device, dtype)
        return cls(
            DrawnNetworks.load(checkpoint, device, dtype),
            LatentImages(_Autoencoder(codec, finishing), 1 / codec.config.latent_std),
            read_scheduler_config(checkpoint / "scheduler"),
        )

    @torch.inference_mode()
    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        """Denoise one segment → (frames, 8, height/8, width/8), float32 on the CPU. Arguments as `Animator.segment`."""
        for step in self.steps(clip, reference, driving.poses, segment):
            finished = step.latents
        options, poses = DrawnOptions(**clip.options), driving.poses
        known = kept(_fitted(reference, clip), poses, segment.shown(len(poses))) if options.warp else None
        return Denoised(finished.float().cpu(), kept=known)

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        """Decode in batches: uint8 (n, height, width, 3)."""
        known = parts[0][0].kept
        if known is None:
            return self.images.frames(cross_faded(parts), rounded=True)
        return self.images.frames(_looked_at(parts, reference_warp(known)), rounded=True)

    def steps(self, clip: Clip, reference: np.ndarray, poses: PosePictures, segment: Segment) -> Iterator[Step]:
        """The denoising steps of one segment, on the networks' device."""
        options = DrawnOptions(**clip.options)
        shape = (LATENT_CHANNELS, clip.height // 8, clip.width // 8)
        shown = segment.shown(len(poses))
        start = starting_noise(clip.seed, shown, shape, options)
        picture = _fitted(reference, clip)
        pose = self.guider.features(_fitted(poses[frame], clip) for frame in shown)
        aligned = self._aligned(picture, poses, shown, options)
        models = [ClipModel(self, options, picture, pose, aligned)]
        if self.others:
            # for what belongs to its windows, a replica must not wait for the first device
            pose, aligned = pose.cpu(), aligned.cpu()
            models += [ClipModel(one, options, picture, pose, aligned) for one in self.others]
        scheduler = scheduled(ddim(self.scheduler, published=False), clip.steps, fast_of(clip), self.facts.steps)
        return denoise(
            models,
            # half precision is for the networks; fused predictions and scheduler steps stay in float32
            start.to(self.networks.unet.device, torch.float32),
            scheduler,
            window_plan(clip, len(start), stride=1, begin=segment.start, whole=segment.whole),
            classifier_free_guidance(1.0),  # a single branch
            segment.told,
            shortcuts_of(clip),
        )

    def _aligned(
        self, picture: np.ndarray, poses: PosePictures, frames: Sequence[int], options: DrawnOptions
    ) -> torch.Tensor:
        """The reference at the film's size, warped into the pose of each frame: as the UNet is given it."""
        shown = warped(picture, poses, frames) if options.warp else (None for _ in frames)
        with at_work(self.images.autoencoder):
            return encoded(shown, self.images.autoencoder.codec, picture.shape[:2])


# reference ── codec ────┬── reference network ── tokens of every block ──┐
# the same, warped, ─────┤                                                │
# poses ── pose guider ──┤                                                │
# noise ─────────────────┴── UNet with motion modules ────────────────────┴── v prediction
class ClipModel(Shortened):
    """The window model of one clip: reference and poses around the shared networks."""

    def __init__(
        self, animator: Drawn, options: DrawnOptions, picture: np.ndarray, pose: torch.Tensor, aligned: torch.Tensor
    ) -> None:
        """`picture` is the reference at the film's size.

        Of each frame, `pose` (frames, channels, height/8, width/8) are the pose guider's features, `aligned`
        (frames, 19, height/8, width/8) what is known of the reference in its pose.
        """
        super().__init__()
        self._networks = animator.networks
        self.device = animator.networks.unet.device
        self._motion = options.motion
        self._conditioning = animator.networks.condition(animator.images.encode(picture))
        self._pose = pose
        self._aligned = aligned

    def begin_step(self, timestep: int, windows: Sequence[Window], share: range) -> None:
        """Nothing changes with the timestep."""

    def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        """(frames, 8, height, width) → (1, window frames, 8, height, width)."""
        seen = picked(latents, window.frames).to(self._pose.dtype)
        pose, aligned = (sent(picked(of, window.frames), self.device) for of in (self._pose, self._aligned))
        timesteps = timestep_on(self.device, timestep)
        given, deep = (seen, timesteps, self._conditioning, pose, aligned, self._motion), self.deep(window)
        if deep and self.shortcut.deep == "reused":
            return self._networks.denoiser.predict_again(*given, deep)
        return self._networks.denoiser.predict(*given, deep)


def starting_noise(
    seed: int, frames: Sequence[int], shape: tuple[int, int, int], options: DrawnOptions
) -> torch.Tensor:
    """Noise of these frames of the clip: by default frame 0's for every one of them, which keeps a backdrop still."""
    if options.noise == "shared":
        return frame_noise(seed, [0], shape).repeat(len(frames), 1, 1, 1)
    return frame_noise(seed, frames, shape)


def warped(reference: np.ndarray, poses: PosePictures, frames: Iterable[int]) -> Iterator[Warped | None]:
    """The reference, fitted to the film, in the posture of each frame; None where the one or the other shows nobody.

    Poses that were not drawn from keypoints tell of no joints, nor does a reference in which nobody was looked for.
    """
    if not isinstance(poses, Skeletons) or poses.reference_joints is None:
        yield from (None for _ in frames)
        return
    warp = ReferenceWarp(reference, Posture.of(*poses.reference_joints))
    for frame in frames:
        joints = poses.joints(frame)
        yield None if joints is None else warp.to(Posture.of(*joints))


def _fitted(picture: np.ndarray | None, clip: Clip) -> np.ndarray:
    """A reference or pose at the film's size."""
    return fit(picture, clip.width, clip.height, clip.fit)


class _WithJoints:
    """Parts whose latents have the joints of every frame behind them: (frames, latents and joints, 1, 1)."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, place: int) -> tuple[Segment, torch.Tensor]:
        segment, latents = self._parts[place]
        known = segment.kept or {}  # of one film all segments have it
        return segment, torch.cat([latents.flatten(1), known["joints"][1:].flatten(1)], dim=1)[..., None, None]


def _looked_at(parts: Parts, warp: ReferenceWarp) -> Iterator[tuple[torch.Tensor, Looks]]:
    """Latents as `cross_faded` gives them, and the looks of their frames."""
    height, width = (side // PATCH for side in warp.backdrop.shape[:2])
    for joined in cross_faded(_WithJoints(parts)):
        latents, joints = joined[..., 0, 0].split((LATENT_CHANNELS * height * width, 3 * JOINTS), dim=1)
        looks = Looks(warp, joints.unflatten(1, (JOINTS, 3)).numpy())
        yield latents.unflatten(1, (LATENT_CHANNELS, height, width)), looks


class _Autoencoder(nn.Module):
    """Codec and finishing network under the names by which diffusers' autoencoders are called."""

    def __init__(self, codec: DrawnCodec, finishing: Finishing) -> None:
        super().__init__()
        self.codec = codec
        self.finishing = finishing

    @property
    def device(self) -> torch.device:
        return self.codec.device

    @property
    def dtype(self) -> torch.dtype:
        return self.codec.dtype

    def encode(self, pictures: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=self.codec.encode(pictures)))

    def decode(
        self, latents: torch.Tensor, looks: Sequence[Look | None] | None = None, return_dict: bool = False
    ) -> tuple[torch.Tensor]:
        """Frames that the reference is known in the pose of are finished by it."""
        seen = {number: look for number, look in enumerate(looks or ()) if look is not None}
        if not seen:
            return (self.codec.decode(latents),)
        known = list(seen)
        finished = self.finishing(latents[known], *as_tensors(list(seen.values()), latents))
        if len(known) == len(latents):
            return (finished,)
        decoded = self.codec.decode(latents)
        decoded[known] = finished
        return (decoded,)
