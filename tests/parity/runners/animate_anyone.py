"""Kinds of call of Animate Anyone's recordings, each run through the product's own code.

Recorded tensors are laid out (rows, channels, frames, height, width); the product's are (frames, channels, …).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from PIL import Image

from manifests.clip import Clip
from stages.diffusion.animate_anyone.animator import (
    REFERENCE_TIMESTEP,
    VAE_SCALE,
    AnimateAnyone,
    rounded,
    starting_noise,
)
from stages.diffusion.animate_anyone.image_encoder import ImageEncoder
from stages.diffusion.animate_anyone.latent_interpolation import interpolate, key_frames
from stages.diffusion.animate_anyone.settings import PublishedSettings
from stages.diffusion.animate_anyone.unet import Conditioning, build_denoising_network
from stages.diffusion.animator import Segment
from stages.diffusion.networks.latent_images import LatentImages
from stages.diffusion.networks.pose_guider import PoseGuider, build_pose_guider
from stages.diffusion.networks.reference_attention import transformer_blocks
from stages.diffusion.networks.reference_network import ReferenceNetwork, build_reference_network
from stages.diffusion.sampling.windows import bit_reversed_fraction, uniform_windows
from stages.diffusion.weights.checkpoint import load_strictly, read_config, read_state
from stages.diffusion.weights.motion_checkpoint import motion_unet_state
from stages.video.image import fit
from tests.made.seam import latents_of
from tests.parity.recording import Recording
from tests.parity.runners.motion_layers import MotionLayers, frames_first, rows_first

Results = dict[str, Any]

PUBLISHED_MOTION_NAMES = (  # today's names of a motion module's layers → the published ones
    (r"pos_embed\.pe$", "attention_blocks.0.pos_encoder.pe"),
    (r"\.attn1\.", ".attention_blocks.0."),
    (r"\.attn2\.", ".attention_blocks.1."),
    (r"\.norm1\.", ".norms.0."),
    (r"\.norm2\.", ".norms.1."),
    (r"\.norm3\.", ".ff_norm."),
)


@cache
def _animator(checkpoint: Path) -> AnimateAnyone:
    return AnimateAnyone.load(checkpoint, "cpu", torch.float32)


class AnimateAnyoneRunners(MotionLayers):
    """Runs calls against the animator loaded from the recording's own checkpoint, when a call needs it."""

    def __init__(self, recording: Recording) -> None:
        self._checkpoint = recording.checkpoint

    @property
    def animator(self) -> AnimateAnyone:
        return _animator(self._checkpoint)

    # parts that stand alone, so that a recording of them alone needs no other weights
    @cached_property
    def guider(self) -> PoseGuider:
        return PoseGuider.load(self._checkpoint / "pose_guider.pth", "cpu", torch.float32)

    @cached_property
    def images(self) -> LatentImages:
        return LatentImages.load(self._checkpoint / "sd-vae-ft-mse", VAE_SCALE, "cpu", torch.float32)

    @cached_property
    def encoder(self) -> ImageEncoder:
        return ImageEncoder.load(self._checkpoint / "image_encoder", "cpu", torch.float32)

    def window_schedule(self, params: dict, **record: int) -> Results:
        return {
            "windows": uniform_windows(
                record["num_frames"],
                record["context_size"],
                record["context_stride"],
                record["context_overlap"],
                record["step"],
                record["closed_loop"],
            )
        }

    def bit_reversal(self, params: dict) -> Results:
        return {"fraction": bit_reversed_fraction(params["step"])}

    def scheduler_table(self, params: dict) -> Results:
        scheduler = DDIMScheduler(**PublishedSettings.read(self._checkpoint).scheduler)
        results = {
            "final_alpha_cumprod": float(scheduler.final_alpha_cumprod),
            "init_noise_sigma": float(scheduler.init_noise_sigma),
        }
        if params["key_is"] == "num_inference_steps":
            scheduler.set_timesteps(params["num_inference_steps"])
            # where each step goes, as DDIMScheduler.step computes it
            stride = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
            results["timesteps"] = scheduler.timesteps.tolist()
            results["previous_timesteps"] = [timestep - stride for timestep in results["timesteps"]]
        elif params["key_is"] == "timestep":
            results["alphas_cumprod"] = float(scheduler.alphas_cumprod[params["timestep"]])
        return results

    @torch.inference_mode()
    def spatial_transformer(
        self,
        params: dict,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        bank: torch.Tensor | None = None,
    ) -> Results:
        block = f"{params['module']}.transformer_blocks.0"
        if params["mode"] == "write":
            assert params["network"] == "reference_unet", params["network"]
            reference = self._whole_reference_network()
            module = reference.network.get_submodule(params["module"])
            result = module(hidden_states, encoder_hidden_states, return_dict=False)[0]
            return {"hidden_states": result, "bank": reference.writers[block].written}
        if params["use_row"] is not None:
            hidden_states, encoder_hidden_states = (
                one[[params["use_row"]]] for one in (hidden_states, encoder_hidden_states)
            )
        module, packed = self._denoising_layer(params, hidden_states)
        features = {} if params["mode"] == "plain" else {block: self._handed_over(bank[-1:], params)}
        given = {"conditioning": self.animator.unet.condition(features, encoder_hidden_states)}
        result = module(packed, cross_attention_kwargs=given, return_dict=False)[0]
        return {"hidden_states": rows_first(result, params["frames"])}

    def _whole_reference_network(self) -> ReferenceNetwork:
        """The reference network with what the product drops behind its last feature."""
        network = build_reference_network(read_config(self._checkpoint / "stable-diffusion-v1-5" / "unet"))
        file = self._checkpoint / "reference_unet.pth"
        return ReferenceNetwork(
            load_strictly(network, read_state(file), file, torch.float32), transformer_blocks(network)
        )

    def _handed_over(self, tokens: torch.Tensor, params: dict) -> torch.Tensor:
        return rounded(tokens) if params["bank_rounding"] == "float16" else tokens

    @torch.inference_mode()
    def pose_guider(self, params: dict, pose_pixels: torch.Tensor) -> Results:
        features = self.guider.network(frames_first(pose_pixels))
        return {"pose_features": rows_first(features)}

    @torch.inference_mode()
    def time_embedding(self, params: dict, timesteps: torch.Tensor) -> Results:
        networks = {"denoising_unet": self.animator.unet, "reference_unet": self.animator.reference}
        network = networks[params["network"]].network
        projection = network.time_proj(timesteps)
        return {"projection": projection, "embedding": network.time_embedding(projection)}

    def image_encoding(self, params: dict, image_u8: torch.Tensor) -> Results:
        encoder, stride = self.encoder, params["recorded_pixel_stride"]
        pixels = encoder.pixels(image_u8.numpy(), "stretch")
        assert pixels.shape[-1] == params["size"], pixels.shape
        embeds = encoder.token(image_u8.numpy(), "stretch")[:, 0]
        return {"pixel_values_strided": pixels[:, :, ::stride, ::stride], "image_embeds": embeds}

    def vae_encode(self, params: dict, image_u8: torch.Tensor) -> Results:
        fitted = _stretched(image_u8, params)
        pixels = torch.from_numpy(fitted).permute(2, 0, 1)[None].float() / 127.5 - 1
        return {"pixels": pixels, "ref_latents": self.images.encode(fitted)}

    def vae_decode(self, params: dict, latents: torch.Tensor) -> Results:
        return {"video": self._video(frames_first(latents))}

    def pose_preprocess(self, params: dict, image_u8: torch.Tensor) -> Results:
        return {"pixels": torch.from_numpy(_stretched(image_u8, params)).permute(2, 0, 1)[None].float() / 255}

    def latent_interpolation(self, params: dict, latents: torch.Tensor) -> Results:
        keys = key_frames(0, (latents.shape[2] - 1) * params["factor"] + 1, params["factor"])
        return {"latents": rows_first(interpolate(frames_first(latents), keys, params["method"]))}

    @torch.inference_mode()
    def unet_reference(
        self,
        params: dict,
        sample: torch.Tensor,
        ref_latents: torch.Tensor,
        image_embeds: torch.Tensor,
        timestep: torch.Tensor,
        pose_features: torch.Tensor | None = None,
    ) -> Results:
        conditioning, features = self._conditioning(params, ref_latents, image_embeds)
        pose = None if pose_features is None else frames_first(pose_features)
        noise = self.animator.unet.predict(frames_first(sample), int(timestep), conditioning, pose)
        return {"noise_pred": noise.transpose(1, 2), "bank_cond": features}

    def debug_blocks(self, params: dict, **inputs: torch.Tensor) -> Results:
        """Outputs of modules; what the product computes for one row or not at all is left out."""
        seen: dict[str, torch.Tensor] = {}

        def listen(name: str) -> Callable[..., None]:
            def keep(module: torch.nn.Module, args: Any, output: Any) -> None:
                seen[name] = output[0] if isinstance(output, tuple) else output

            return keep

        networks = {"denoising": self.animator.unet.network, "reference": self.animator.reference.network}
        handles = [
            module.register_forward_hook(listen(f"{part}.{path}"))
            for part, network in networks.items()
            for path, module in network.named_modules()
        ]
        results = self.unet_reference({**params, "bank_rounding": "float16"}, **inputs)
        for handle in handles:
            handle.remove()
        # ends at its norm, whose output is the last feature
        seen.pop("reference.up_blocks.3.attentions.1", None)
        bank = {f"bank.{name}": rows for name, rows in results["bank_cond"].items()}
        return {"noise_pred": results["noise_pred"], "modules": {**seen, **bank}}

    def _conditioning(
        self, params: dict, ref_latents: torch.Tensor, token: torch.Tensor
    ) -> tuple[Conditioning, dict[str, torch.Tensor]]:
        features = self.animator.reference.features(ref_latents, REFERENCE_TIMESTEP, token)
        handed_over = {name: self._handed_over(rows[-1:], params) for name, rows in features.items()}
        tokens = torch.cat([torch.zeros_like(token), token]) if params["guidance"] else token
        return self.animator.unet.condition(handed_over, tokens), features

    @torch.inference_mode()
    def pipeline(
        self,
        params: dict,
        ref_image_u8: torch.Tensor,
        pose_images_u8: torch.Tensor,
        noise: torch.Tensor,
        video_frames_index: torch.Tensor | None = None,
    ) -> Results:
        assert params["reference_bank_rounding"] == "float16", "unrounded reference features are not official"
        clip, reference = _clip(params), ref_image_u8.numpy()
        # The published code denoises the frames it is given and makes others between them: its input are the key
        # frames of the longer film.
        segment = Segment(0, params["output_frames"])
        poses = pose_images_u8.numpy()[: params["frames"]].repeat(params["interpolation_factor"], axis=0)
        poses = poses[: params["output_frames"]]
        start = frames_first(noise)
        if params["seed"] is not None:
            keys = key_frames(segment.start, segment.stop, params["interpolation_factor"])
            assert torch.equal(starting_noise(clip, keys, tuple(start.shape[1:])), start), "the seed gives other noise"
        steps = list(self.animator.steps(clip, reference, poses, segment, start))
        latents = steps[-1].latents
        if len(segment) > len(latents):
            latents = latents_of(self.animator, clip, reference, poses, segment)
        video = self._video(latents)
        return {
            "timesteps": torch.tensor([step.timestep for step in steps]),
            "latents_after_step": {str(step.index): rows_first(step.latents) for step in steps},
            "guided_noise": {str(step.index): rows_first(step.noise) for step in steps},
            "video_frames": video[:, :, params["video_frames_index"]],
            "video_frame_means": video[0].mean(dim=(-2, -1)),
            "latents_to_decode": rows_first(latents),
        }

    def checkpoint_keys(self, params: dict) -> Results:
        """{published name: shape} of one file at production size, from the networks that the product builds."""
        production, file = params["production"], params["file"]
        if file == "pose_guider.pth":
            widths = tuple(production["pose_guider_block_out_channels"])
            with torch.device("meta"):
                network = ControlNetConditioningEmbedding(production["pose_guider_channels"], block_out_channels=widths)
            published = network.state_dict()
            network = build_pose_guider(published, Path(file))
        elif file == "reference_unet.pth":
            network = build_reference_network(_unet_config(production))
            published = network.state_dict()
        else:
            network = _denoising_network(production)
            published = published_file(file, network)
        state = {name: torch.zeros(()).expand(tensor.shape) for name, tensor in published.items()}
        wanted = network.state_dict()
        if file in ("denoising_unet.pth", "motion_module.pth"):
            state = motion_unet_state(network, {}, state, Path(file))
            motion = file == "motion_module.pth"
            of_file = {key for key in wanted if ("motion_modules" in key) == motion}
            assert state.keys() == of_file, f"{file} leaves {sorted(of_file - state.keys())[:4]} unset"
        assert all(wanted[key].shape == tensor.shape for key, tensor in state.items())
        return {"shapes": {name: list(tensor.shape) for name, tensor in published.items()}}

    def _video(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.cat(list(self.images.decode([latents]))).transpose(0, 1)[None]


def _stretched(image_u8: torch.Tensor, params: dict) -> np.ndarray:
    return fit(image_u8.numpy(), params["width"], params["height"], "stretch", Image.Resampling.LANCZOS)


def _unet_config(production: dict) -> dict:
    sizes = ("block_out_channels", "layers_per_block", "attention_head_dim", "cross_attention_dim", "norm_num_groups")
    return {size: production[size] for size in sizes}


def _denoising_network(production: dict) -> torch.nn.Module:
    settings = PublishedSettings(
        positions=production["motion_max_seq_length"],
        motion_heads=production["motion_num_attention_heads"],
        mid_block=production["motion_mid_block"],
    )
    return build_denoising_network(_unet_config(production), settings)


def published_file(file: str, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The part of a denoising network that a file holds, under the names that the table of spec section 2.2 gives."""
    tensors = network.state_dict()
    if file == "denoising_unet.pth":
        return {key: tensor for key, tensor in tensors.items() if "motion_modules" not in key}
    published = {}
    for key, tensor in tensors.items():
        if "motion_modules" not in key:
            continue
        head, number, tail = re.fullmatch(r"(.*\.motion_modules)\.(\d+)\.(.*)", key).groups()
        for pattern, replacement in PUBLISHED_MOTION_NAMES:
            tail = re.sub(pattern, replacement, tail)
        name = f"{head}.{number}.temporal_transformer.{tail}"
        published[name] = tensor
        if name.endswith("attention_blocks.0.pos_encoder.pe"):
            published[name.replace("attention_blocks.0.", "attention_blocks.1.")] = tensor
    return published


def _clip(params: dict) -> Clip:
    assert params["eta"] == 0, "the published pipeline runs with eta 0"
    return Clip(
        id="recording",
        animator="animate_anyone",
        height=params["height"],
        width=params["width"],
        fit="stretch",
        seed=params["seed"] or 0,
        steps=params["num_inference_steps"],
        guidance=params["guidance_scale"],
        mode="parity",
        window=params["context_frames"],
        overlap=params["context_overlap"],
        options={
            "context_stride": params["context_stride"],
            "interpolation_factor": params["interpolation_factor"],
            "interpolation_method": params["interpolation_method"] or "linear",
        },
    )
