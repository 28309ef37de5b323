"""Text2Video-Zero (Khachatryan et al., 2023): Stable Diffusion 1.x draws films, held together by their first frame.

With a driving file a ControlNet follows its poses; without one, a prompt's scene is moved. No reference image.
Source: SPEC.md; the sections named below are its.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from manifests.errors import Problem
from stages.diffusion.animator import Denoised, Driving, Parts, PosePictures, Segment, StepsTold
from stages.diffusion.fast import fast_of
from stages.diffusion.networks.latent_images import LatentImages
from stages.diffusion.networks.text import TextEncoder
from stages.diffusion.sampling.branches import Branches
from stages.diffusion.sampling.ddim import ddim, read_scheduler_config
from stages.diffusion.sampling.denoise import Step, classifier_free_guidance, denoise
from stages.diffusion.sampling.micro_batches import micro_batches
from stages.diffusion.sampling.noise import tiled_noise
from stages.diffusion.sampling.schedulers import Scheduled, scheduled
from stages.diffusion.sampling.shortcuts import Deep, Shortened, again_in_turns, in_turns, shortcuts_of
from stages.diffusion.sampling.transfer import picked
from stages.diffusion.sampling.windows import Window
from stages.diffusion.text2video_zero.control import AnchoredControl
from stages.diffusion.text2video_zero.control_picture import control_picture
from stages.diffusion.text2video_zero.cross_frame_attention import Anchor, Conditioning, Wiring
from stages.diffusion.text2video_zero.facts import (
    BASE,
    CONTROL,
    POSE_NEGATIVE,
    POSE_SUFFIX,
    TEXT2VIDEO_ZERO,
    TEXT_SUFFIX,
    UNDRIVEN,
    VAE_SCALE,
    Text2VideoZeroOptions,
)
from stages.diffusion.text2video_zero.text_path import TextPath, starting_noise
from stages.diffusion.text2video_zero.unet import AnchoredUNet
from stages.diffusion.weights.checkpoint import load_network

if TYPE_CHECKING:
    from manifests.clip import Clip
    from stages.diffusion.weights.lora import Lora


class Text2VideoZero:
    """A base model and, where it is there, the pose ControlNet, ready to draw one clip after another."""

    facts = TEXT2VIDEO_ZERO
    others: Sequence[Text2VideoZero] = ()
    waiting = ("autoencoder", "text")
    together = True

    def __init__(
        self,
        unet: AnchoredUNet,
        control: AnchoredControl | None,
        images: LatentImages,
        text: TextEncoder,
        scheduler: dict[str, Any],
    ) -> None:
        self.unet = unet
        self.control = control
        self.images = images
        self.text = text
        self.scheduler = scheduler
        self.modules = {"unet": unet.network, "autoencoder": images.autoencoder, "text": text.model}
        self.modules |= {"control": control.network, "pose_embedding": control.embedding} if control else {}
        self.nbytes = sum(weight.nbytes for module in self.modules.values() for weight in module.parameters())

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Lora | None = None) -> Text2VideoZero:
        """Read the base model and the ControlNet's folder (section 1), which only rows with a driving file need."""
        base, control = checkpoint / BASE, checkpoint / CONTROL
        anchored = None
        if control.exists():
            anchored = AnchoredControl(load_network(ControlNetModel, control, device, dtype))
        unet = load_network(UNet2DConditionModel, base / "unet", device, dtype)
        text = TextEncoder.load(base, device, dtype)
        if lora:
            lora.fuse(unet, text.model)
        return cls(
            AnchoredUNet(unet),
            anchored,
            LatentImages.load(base / "vae", VAE_SCALE, device, dtype),
            text,
            read_scheduler_config(base / "scheduler"),
        )

    @torch.inference_mode()
    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        """Denoise one segment → (frames, 4, height/8, width/8), float32 on the CPU. Arguments as `Animator.segment`."""
        if driving.poses is None:
            steps = (step for _, step in self.text_path(clip, segment).steps())
        else:
            steps = self.pose_steps(clip, driving.poses, segment)
        for step in steps:
            finished = step.latents
        return Denoised(finished[-len(segment) :].float().cpu())

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        """Decode in batches: uint8 (n, height, width, 3); truncated as published in parity mode, else rounded."""
        return self.images.frames((latents for _, latents in parts), rounded=clip.mode != "parity")

    def pose_steps(self, clip: Clip, poses: PosePictures, segment: Segment) -> Iterator[Step]:
        """The denoising steps of one segment's frames, behind the film's first one if that is not among them."""
        options = Text2VideoZeroOptions(**clip.options)
        if self.control is None:
            raise Problem(
                f"the checkpoint of text2video_zero has no folder {CONTROL}, which draws poses",
                "add the pose ControlNet to the checkpoint folder, or leave driving out of the row",
            )
        frames = [0, *range(max(1, segment.start), segment.stop)]
        batches = (frames[begin : begin + clip.window] for begin in range(0, len(frames), clip.window))
        embedded = self.control.embed(
            torch.stack([control_picture(poses[frame], clip) for frame in batch]) for batch in batches
        )
        wiring = options.midblock_wiring or ("legacy" if clip.mode == "parity" else "modern")
        words, scale = prompts(clip, driven=True), options.controlnet_conditioning_scale
        models = [ClipModel(one, words, embedded, scale, wiring) for one in (self, *self.others)]
        start = tiled_noise(clip.seed, 1, _shape(clip), block=1)  # one draw that all frames start from (section 5)
        start = start.expand(len(frames), -1, -1, -1)
        return self._denoise(models, clip, segment.told, start, self._schedule(clip, self.facts.steps), 0)

    def text_path(self, clip: Clip, segment: Segment) -> TextPath:
        """What one segment without poses goes through. In its batch, the anchor stands before the frames."""
        words, device = prompts(clip, driven=False), self.unet.network.device
        models = [ClipModel(one, words) for one in (self, *self.others)]
        first, rest = starting_noise(clip, segment, _shape(clip))
        noise = first.to(device), rest.to(device)
        schedule, denoising = (
            self._schedule(clip, UNDRIVEN["steps"]),
            partial(self._denoise, models, clip, segment.told),
        )
        return TextPath(clip, segment, schedule, noise, denoising)

    def _schedule(self, clip: Clip, standard_steps: int) -> Scheduled:
        own = ddim(self.scheduler, published=clip.mode == "parity")
        return scheduled(own, clip.steps, fast_of(clip), standard_steps)

    def _denoise(
        self,
        models: Sequence[ClipModel],
        clip: Clip,
        told: StepsTold,
        start: torch.Tensor,
        scheduler: Scheduled,
        done: int,
    ) -> Iterator[Step]:
        """Over the scheduler's timesteps, of which `done` of the clip's lie before."""
        batches = micro_batches(len(start), clip.window)
        return denoise(
            models,
            # half precision is for the networks; guided predictions and scheduler steps stay in float32
            start.to(self.unet.network.device, torch.float32),
            scheduler,
            lambda step: batches,
            classifier_free_guidance(clip.guidance[0]),
            told,
            shortcuts_of(clip, done=done),
        )


def prompts(clip: Clip, driven: bool) -> list[str]:
    """What is encoded: [negative, prompt], or the prompt alone where guidance is off (quirk 4).

    Parity adds the published words of its path unless `options` name others; standard adds none of its own.
    """
    options, parity = Text2VideoZeroOptions(**clip.options), clip.mode == "parity"
    suffix, negative = options.prompt_suffix, clip.negative_prompt or options.default_negative_prompt
    if suffix is None:
        suffix = (POSE_SUFFIX if driven else TEXT_SUFFIX) if parity else ""
    if negative is None:
        negative = POSE_NEGATIVE if parity and driven else ""
    prompt = clip.prompt
    if suffix:
        prompt = f"{prompt if driven else _unpunctuated(prompt)}, {suffix}"
    return [prompt] if clip.guidance[0] <= 1 else [negative, prompt]


def _unpunctuated(prompt: str) -> str:
    """Without one comma or full stop at its end, as the text path's published driver has it (section 7)."""
    prompt = prompt.rstrip()
    return prompt[:-1].rstrip() if prompt.endswith((",", ".")) else prompt


def _shape(clip: Clip) -> tuple[int, int, int]:
    return 4, clip.height // 8, clip.width // 8


# frame 0, the anchor ── keys and values of every self-attention, in either network ──┐
# poses, embedded once ── ControlNet ── residuals of every frame ──┐                  │
# noise + text ── UNet ────────────────────────────────────────────┴──────────────────┴── noise prediction
class ClipModel(Shortened):
    """The window model of one clip: text, poses where it has some, and the anchor around the shared networks."""

    def __init__(
        self,
        animator: Text2VideoZero,
        words: Sequence[str],
        embedded: torch.Tensor | None = None,
        control_scale: float = 1.0,
        wiring: Wiring = "modern",
    ) -> None:
        """`embedded` (frames, channels, h, w) are the poses as the ControlNet embeds them."""
        super().__init__()
        self._unet, self._control = animator.unet, animator.control
        self.device = animator.unet.network.device
        self._text = animator.text.encode(words)
        self._embedded = embedded
        self._control_scale = control_scale
        self._wiring = wiring
        self._first: Window | None = None  # of the step, while the anchor is not known of it
        self._turns = Branches(animator.together)
        self._anchors: dict[range, tuple[Anchor, Anchor]] = {}  # the UNet's and the ControlNet's, of some branches

    def begin_step(self, timestep: int, windows: Sequence[Window], share: range) -> None:
        """The anchor is another at every timestep. The first window of a step holds it, and the others read it."""
        self._first = windows[0]
        self._anchors = {}
        self._asked = self._text if self.shortcut.guided else self._text[-1:]

    def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        """(frames, 4, height, width) → (branches, window frames, 4, height, width)."""
        first, self._first = self._first, None
        if first is not None and first != window:
            self._predicted(latents, timestep, first)  # for its anchor, together with the frames that it came with
        return self._predicted(latents, timestep, window)

    def _predicted(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        seen, deep, text = picked(latents, window.frames).to(self._text.dtype), self.deep(window), self._asked
        poses = None if self._embedded is None else picked(self._embedded, window.frames)
        control = cast(AnchoredControl, self._control)  # is there where there are poses

        def predicted_again(which: range, part: Deep) -> torch.Tensor:
            text, (anchor, control_anchor) = self._asked[which.start : which.stop], self._anchors_of(which, window)
            sample, first = seen.repeat(len(text), 1, 1, 1), None
            if poses is not None:
                conditioning = Conditioning(text, control_anchor, alike=True)
                first = control.first_residuals(sample, timestep, conditioning, poses, self._control_scale)
            noise = self._unet.predict_again(sample, timestep, Conditioning(text, anchor, alike=True), first, part)
            return noise.unflatten(0, (len(text), -1))

        def predicted(which: range, part: Deep | None) -> torch.Tensor:
            text, (anchor, control_anchor) = self._asked[which.start : which.stop], self._anchors_of(which, window)
            sample, residuals = seen.repeat(len(text), 1, 1, 1), None
            if poses is not None:
                conditioning = Conditioning(text, control_anchor, alike=True)
                residuals = control.residuals(sample, timestep, conditioning, poses, self._control_scale)
            conditioning = Conditioning(text, anchor, residuals, self._wiring, alike=True)
            return self._unet.predict(sample, timestep, conditioning, part).unflatten(0, (len(text), -1))

        if deep and self.shortcut.deep == "reused":
            return again_in_turns(self._turns, len(text), deep, predicted_again, len(seen))
        return in_turns(self._turns, len(text), deep, predicted)

    def _anchors_of(self, which: range, window: Window) -> tuple[Anchor, Anchor]:
        """Of some branches: to be filled by the window that holds the anchor, else what that one left."""
        if 0 in window.frames:
            self._anchors[which] = {}, {}
        elif which not in self._anchors:
            part = slice(which.start, which.stop)
            unet, control = (
                # what was computed for all branches at once is one for each of them too
                {
                    layer: (key[part], value[part]) if len(key) > 1 else (key, value)
                    for layer, (key, value) in anchor.items()
                }
                for anchor in self._anchors[range(len(self._asked))]
            )
            self._anchors[which] = unet, control
        return self._anchors[which]
