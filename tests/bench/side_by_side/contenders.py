"""Three ways to animate one clip, on the same weights: `published`, `diffusers` and `ours`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import (
    AnimateDiffControlNetPipeline,
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    MotionAdapter,
    UNet2DConditionModel,
    UNetMotionModel,
)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from manifests.clip import Clip
from stages.diffusion.acceleration import DEFAULT, Acceleration, accelerate
from stages.diffusion.animator import Segment
from stages.diffusion.magicanimate.animator import MagicAnimate
from stages.diffusion.magicanimate.unet import ControlledUNet
from stages.diffusion.networks.feature_cache import FeatureCache
from stages.diffusion.networks.latent_images import LatentImages
from stages.diffusion.networks.motion_unet import build_motion_unet, span_frames
from stages.diffusion.networks.reference_attention import reading_blocks
from stages.diffusion.networks.reference_network import ReferenceNetwork, build_reference_network, end_at_last_feature
from stages.diffusion.networks.text import TextEncoder
from tests.bench.published.magicanimate import (
    SCHEDULER,
    VAE_SCALE,
    PublishedMagicAnimate,
    Run,
    film,
    padded,
    tiled_noise,
)
from tests.bench.published.networks import POSITIONS, Configs, Networks
from tests.bench.side_by_side.widths import with_random_weights
from tests.conftest import CHECKOUT

TOKENIZER = CHECKOUT / "tests/golden/magicanimate/checkpoint/stable-diffusion-v1-5/tokenizer"


class Task:
    """A clip of so many frames: its pictures, and what is asked for."""

    def __init__(self, frames: int, width: int, height: int, steps: int) -> None:
        self.frames, self.width, self.height, self.steps = frames, width, height, steps
        draw = np.random.default_rng(frames)
        self.reference = draw.integers(0, 256, (height, width, 3), np.uint8)
        # smooth, as poses are; not the same twice
        coarse = draw.integers(0, 256, (frames, height // 8, width // 8, 3), np.uint8)
        self.poses = coarse.repeat(8, axis=1).repeat(8, axis=2)

    @property
    def latents(self) -> torch.Tensor:
        """Something to decode: (frames, 4, height/8, width/8)."""
        shape = self.frames, 4, self.height // 8, self.width // 8
        return torch.randn(shape, generator=torch.Generator().manual_seed(self.frames))


class Contender(Protocol):
    """One way to do it."""

    networks: dict[str, torch.nn.Module]

    def denoise(self, task: Task, begun: Callable[[], None]) -> torch.Tensor:
        """(frames, 4, height/8, width/8) in float32 on the CPU; `begun` is called when everything is encoded."""

    def decode(self, latents: torch.Tensor) -> Iterator[np.ndarray]:
        """uint8 (frames, height, width, 3), in parts."""


class Ours:
    """The product, in parity mode: the published windows, padding and noise."""

    def __init__(self, networks: dict[str, torch.nn.Module], tokenizer: CLIPTokenizer) -> None:
        self.networks = networks
        reference = ReferenceNetwork(networks["appearance"], reading_blocks(networks["appearance"]))
        images, text = LatentImages(networks["vae"], VAE_SCALE), TextEncoder(tokenizer, networks["text"])
        self.animator = MagicAnimate(ControlledUNet(networks["unet"]), reference, networks["control"], images, text)

    @torch.inference_mode()
    def denoise(self, task: Task, begun: Callable[[], None]) -> torch.Tensor:
        self.animator.features = FeatureCache()  # of an earlier run
        clip, segment = self.clip(task), Segment(0, task.frames)
        with when_encoded(self.networks, begun):
            for step in self.animator.steps(clip, task.reference, task.poses, segment):
                latents = step.latents
        return latents[: task.frames].float().cpu() if latents.device.type != "meta" else latents

    def decode(self, latents: torch.Tensor) -> Iterator[np.ndarray]:
        return self.animator.images.frames([latents])

    def clip(self, task: Task) -> Clip:
        """The manifest's row."""
        return Clip(
            id="side-by-side",
            animator="magicanimate",
            mode="parity",
            prompt="",
            negative_prompt="",
            width=task.width,
            height=task.height,
            fit="stretch",
            seed=1,
            steps=task.steps,
            guidance=(7.5,),
            window=16,
            overlap=4,
        )


class Published:
    """The frozen baseline."""

    def __init__(self, networks: dict[str, torch.nn.Module], configs: Configs, tokenizer: CLIPTokenizer) -> None:
        own = Networks(configs).take({name: dict(network.state_dict()) for name, network in networks.items()})
        self.networks = own.parts()
        self.pipeline = PublishedMagicAnimate(tokenizer, own)

    def denoise(self, task: Task, begun: Callable[[], None]) -> torch.Tensor:
        run = Run(num_inference_steps=task.steps)
        conditions = self.pipeline.encode(task.reference, run)
        begun()
        control = padded(task.poses)
        noise = tiled_noise(1, len(control), (4, task.height // 8, task.width // 8))
        for step in self.pipeline.steps(conditions, control, noise, run):
            latents = step.latents
        latents = latents[0].transpose(0, 1)
        return latents[: task.frames].float().cpu() if latents.device.type != "meta" else latents

    def decode(self, latents: torch.Tensor) -> Iterator[np.ndarray]:
        """The padded frames as well, and the film whole."""
        more = latents[-1:].expand(-len(latents) % 16, -1, -1, -1)
        video = torch.cat([latents, more]).transpose(0, 1)[None]
        yield film(self.pipeline.decode(video.to(self.pipeline.device, self.pipeline.dtype)), len(latents))


class OnTheHost(DDIMScheduler):
    """Its timesteps stay on the CPU: the meta device has no numbers, and others need not be waited for."""

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Whatever the device."""
        super().set_timesteps(num_inference_steps)


class Diffusers:
    """AnimateDiffControlNetPipeline: no reference, other norms, one motion module more; else the same network.

    Beyond 16 frames with FreeNoise (which asks for that module, in the middle block): windows of 16 frames advance by
    12 within the motion modules alone, so every other layer sees each frame once, and the whole clip is in memory.
    """

    def __init__(self, networks: dict[str, torch.nn.Module], configs: Configs, tokenizer: CLIPTokenizer) -> None:
        with torch.device("meta"):
            flat = UNet2DConditionModel.from_config(configs.unet)
            adapter = MotionAdapter(
                block_out_channels=flat.config.block_out_channels,
                motion_norm_num_groups=flat.config.norm_num_groups,
                motion_max_seq_length=POSITIONS,
                use_motion_mid_block=True,
            )
            unet = UNetMotionModel.from_unet2d(flat, adapter, load_weights=False)
            control = ControlNetModel.from_config(configs.control)
        if networks["unet"].device.type != "meta":
            with_random_weights(unet.mid_block.motion_modules, 9, networks["unet"].device, networks["unet"].dtype)
        unet.load_state_dict(networks["unet"].state_dict(), assign=True, strict=False)
        control.load_state_dict(networks["control"].state_dict(), assign=True)
        self.networks = {**networks, "unet": unet.eval(), "control": control.eval()}
        self.pipeline = AnimateDiffControlNetPipeline(
            vae=networks["vae"],
            text_encoder=networks["text"],
            tokenizer=tokenizer,
            unet=unet,
            motion_adapter=adapter,
            controlnet=control,
            scheduler=OnTheHost(**SCHEDULER),
        )
        self.pipeline.set_progress_bar_config(disable=True)

    def denoise(self, task: Task, begun: Callable[[], None]) -> torch.Tensor:
        if task.frames > 16:
            self.pipeline.enable_free_noise(context_length=16, context_stride=12)
        elif self.pipeline.free_noise_enabled:
            self.pipeline.disable_free_noise()
        with when_encoded(self.networks, begun):
            made = self.pipeline(
                prompt="",
                negative_prompt="",
                conditioning_frames=[Image.fromarray(pose) for pose in task.poses],
                num_frames=task.frames,
                width=task.width,
                height=task.height,
                num_inference_steps=task.steps,
                guidance_scale=7.5,
                generator=torch.Generator().manual_seed(1),
                output_type="latent",
            ).frames
        latents = made[0].transpose(0, 1)
        return latents.float().cpu() if latents.device.type != "meta" else latents

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> Iterator[np.ndarray]:
        vae = self.networks["vae"]
        video = latents.transpose(0, 1)[None].to(vae.device, vae.dtype)
        decoded = self.pipeline.decode_latents(video, decode_chunk_size=16)
        yield film((decoded / 2 + 0.5).clamp(0, 1).cpu().float(), len(latents))


@contextmanager
def when_encoded(networks: dict[str, torch.nn.Module], begun: Callable[[], None]) -> Iterator[None]:
    """Call `begun` before the first forward of a network that sees the latents or the reference."""
    waiting = [begun]

    def first(*_: Any) -> None:
        if waiting:
            waiting.pop()()

    hooks = [networks[name].register_forward_pre_hook(first) for name in ("unet", "appearance", "control")]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def random_networks(configs: Configs, device: str, dtype: torch.dtype) -> dict[str, torch.nn.Module]:
    """The product's networks. On the meta device, without values."""
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(configs.vae)
        control = ControlNetModel.from_config(configs.control)
        text = CLIPTextModel(CLIPTextConfig(**configs.text))
    networks = {
        "unet": span_frames(build_motion_unet(dict(configs.unet), POSITIONS, mid_block=False)),
        "appearance": end_at_last_feature(build_reference_network(dict(configs.appearance))),
        "control": control,
        "vae": vae,
        "text": text,
    }
    if device == "meta":
        return {name: torch.nn.Module.to(network, dtype).eval() for name, network in networks.items()}
    return {
        name: with_random_weights(network, seed, device, dtype) for seed, (name, network) in enumerate(networks.items())
    }


def contenders(
    names: Sequence[str],
    configs: Configs,
    device: str,
    dtype: torch.dtype,
    acceleration: Acceleration = DEFAULT,
) -> dict[str, Contender]:
    """Those of them, sharing their weights; the product accelerated as a pool's settings say."""
    networks = random_networks(configs, device, dtype)
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER, local_files_only=True)
    made: dict[str, Callable[[], Contender]] = {
        "published": lambda: Published(networks, configs, tokenizer),
        "diffusers": lambda: Diffusers(networks, configs, tokenizer),
        "ours": lambda: Ours(networks, tokenizer),
    }
    # the product last: it takes the ControlNet apart
    built = {name: made[name]() for name in sorted(names, key="ours".__eq__)}
    found = {name: built[name] for name in names}
    if "ours" in found:
        accelerate(found["ours"].animator, acceleration, device, dtype)
    return found
