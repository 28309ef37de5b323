"""Kinds of call of DreamPose's recordings, each run through the product's own code."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from manifests.clip import Clip
from stages.diffusion.animator import Denoised, Segment
from stages.diffusion.dreampose.animator import ClipModel, DreamPose
from stages.diffusion.dreampose.checkpoint import read_wrapped
from stages.diffusion.dreampose.clip_tokens import ClipTokens
from stages.diffusion.dreampose.dual_guidance import FULL, IMAGE_ONLY, UNCONDITIONAL
from stages.diffusion.dreampose.embedding_adapter import EmbeddingAdapter, build_embedding_adapter
from stages.diffusion.dreampose.key_image import VAE_SCALE, Draws, KeyImages
from stages.diffusion.dreampose.pose_packing import PackedPoses, pose_picture, published_neighbours
from stages.diffusion.dreampose.scheduler import PublishedScheduler
from stages.diffusion.dreampose.unet import Conditioning
from stages.diffusion.networks.clip_vision import normalised
from stages.diffusion.networks.latent_images import LatentImages
from stages.diffusion.sampling.denoise import Step
from stages.diffusion.sampling.windows import Window
from stages.video.image import fit
from tests.made.seam import frames_of
from tests.parity.recording import Recording

Results = dict[str, Any]

ALL_BRANCHES = UNCONDITIONAL, FULL, IMAGE_ONLY


@cache
def _animator(checkpoint: Path) -> DreamPose:
    return DreamPose.load(checkpoint, "cpu", torch.float32)


class InAnyOrder(list):
    """Records that may stand in another order."""

    def __eq__(self, other: object) -> bool:
        return sorted(self, key=str) == sorted(other, key=str)

    __hash__ = None


class DreamPoseRunners:
    """Runs calls against the animator loaded from the recording's own checkpoint, when a call needs it."""

    def __init__(self, recording: Recording) -> None:
        self._checkpoint = recording.checkpoint
        self._parts = {name: recording.folder / path for name, path in recording.config["parts"].items()}

    def _film(self, vae: str) -> DreamPose:
        """The animator, with the VAE that a run was made with."""
        animator = _animator(self._checkpoint)
        if vae == "custom_vae":
            return animator
        keys = KeyImages(self._images(vae), animator.keys.encoder, animator.keys.adapter)
        return DreamPose(animator.unet, keys, animator.scheduler, tuned_decoder=False)

    # parts that stand alone, so that a recording of them alone needs no other weights
    def _images(self, vae: str) -> LatentImages:
        tuned = read_wrapped(self._parts["custom_vae"]) if vae == "custom_vae" else None
        return LatentImages.load(self._parts["vae"], VAE_SCALE, "cpu", torch.float32, tuned)

    @cached_property
    def _adapter(self) -> EmbeddingAdapter:
        return build_embedding_adapter(read_wrapped(self._parts["adapter"]), self._parts["adapter"], "cpu")

    @cached_property
    def _encoder(self) -> ClipTokens:
        return ClipTokens.load(self._parts["image_encoder"], "cpu")

    def key_image_resize(self, params: dict, key_image: np.ndarray) -> Results:
        return {"image_u8": torch.from_numpy(_fitted(key_image, params).copy())}

    def image_encoding(self, params: dict, image_u8: torch.Tensor) -> Results:
        encoder, side = self._encoder, params["size"]
        pixels = encoder.pixels(image_u8.numpy())
        return {
            "pixel_values": pixels,
            "last_hidden_state_cond": encoder.tokens(pixels),
            "last_hidden_state_uncond": encoder.tokens(normalised(torch.zeros(side, side, 3))),
        }

    def vae_encode(self, params: dict, image_u8: torch.Tensor | None = None) -> Results:
        if params["input"] == "zeros":
            pixels = torch.zeros(1, 3, params["height"], params["width"])
        else:
            raw = image_u8.permute(2, 0, 1)[None].float()
            pixels = {"raw255": raw, "pm1": raw / 255 * 2 - 1}[params["input"]]
        mean, logvar = self._images(params["vae"]).posterior(pixels)
        return {"mean": mean, "logvar": logvar, "input_sum": pixels.sum().reshape(1)}

    def vae_decode(self, params: dict, latents: torch.Tensor) -> Results:
        return {"image": _decoded(self._images(params["vae"]), latents)}

    @torch.inference_mode()
    def adapter(self, params: dict, clip: torch.Tensor, vae_latents: torch.Tensor) -> Results:
        return {"tokens": self._adapter(clip, vae_latents)}

    @torch.inference_mode()
    def adapter_production(
        self,
        params: dict,
        clip: torch.Tensor,
        vae_latents: torch.Tensor,
        vae2clip_weight_int8: torch.Tensor,
        vae2clip_bias: torch.Tensor,
        linear1_weight: torch.Tensor,
        linear1_bias: torch.Tensor,
    ) -> Results:
        state = {
            "vae2clip.weight": vae2clip_weight_int8.float() / params["vae2clip_weight_divisor"],
            "vae2clip.bias": vae2clip_bias,
            "linear1.weight": linear1_weight,
            "linear1.bias": linear1_bias,
        }
        latents = vae_latents.reshape(1, 4, params["latent_height"], params["latent_width"])
        tokens = build_embedding_adapter(state, Path("adapter.pth"), "cpu")(clip, latents)
        return {"tokens": tokens[..., :: params["recorded_channel_stride"]]}

    @torch.inference_mode()
    def unet_plain(self, params: dict, sample: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Results:
        unet = _animator(self._checkpoint).unet
        conditioning = Conditioning(unet.project(encoder_hidden_states), torch.tensor(params["context_rows"]))
        return {"noise_pred": unet.predict(sample, params["timestep"], conditioning)}

    @torch.inference_mode()
    def debug_blocks(self, params: dict, sample: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Results:
        """Outputs of modules for one row."""
        unet, seen = _animator(self._checkpoint).unet, {}

        def listen(name: str) -> Any:
            def keep(module: torch.nn.Module, args: Any, output: Any) -> None:
                seen[name] = output[0] if isinstance(output, tuple) else output

            return keep

        handles = [module.register_forward_hook(listen(name)) for name, module in unet.network.named_modules()]
        row = params["row"]
        conditioning = Conditioning(unet.project(encoder_hidden_states), torch.tensor([row]))
        noise = unet.predict(sample[[row]], params["timestep"], conditioning)
        for handle in handles:
            handle.remove()
        return {"noise_pred": noise, "modules": seen}

    def pose_packing(self, params: dict, available_frames: list[int], pose_folder: str, cli: str) -> Results:
        options = argparse.ArgumentParser()
        options.add_argument("--max_j", type=int)
        made = sorted(available_frames)[: options.parse_args(cli.split()).max_j]
        packing = [
            {"output_frame": frame, "pose_frames": list(published_neighbours(frame, available_frames))}
            for frame in made
        ]
        return {"packing": InAnyOrder(packing)}

    def scheduler_table(self, params: dict) -> Results:
        published = PublishedScheduler.read(self._parts["scheduler"])
        pndm, ddim = (published.prepared(sampler, params["num_inference_steps"]) for sampler in ("pndm", "ddim"))
        first = pndm.timesteps[:1]
        one, zero = torch.ones(1), torch.zeros(1)
        return {
            "pndm_timesteps": pndm.timesteps.tolist(),
            "ddim_timesteps": ddim.timesteps.tolist(),
            "start_image_weight": float(pndm.add_noise(one, zero, first)),
            "start_noise_weight": float(pndm.add_noise(zero, one, first)),
        }

    def preprocess(self, params: dict, key_image: np.ndarray, pose_folder: Path) -> Results:
        fitted, (poses, numbers) = _fitted(key_image, params), _poses(pose_folder)
        pixels = self._encoder.pixels(fitted)
        neighbours = [published_neighbours(frame, numbers) for frame in params["output_frames"]]
        assert [list(five) for five in neighbours] == params["pose_frames"]
        places = [[numbers.index(number) for number in five] for five in neighbours]
        full = [_full_size(poses, five, params) for five in places]
        return {
            "image_rows_u8": torch.from_numpy(fitted[params["image_rows"]]),
            "image_sum": torch.tensor([int(fitted.sum(dtype=np.int64))]),
            "clip_pixel_rows": pixels[:, :, params["clip_pixel_rows"]],
            "clip_pixel_mean_std": torch.stack([pixels.mean(), pixels.std()]),
            "pose_full_row": full[0][:, params["pose_row"]],
            "pose_full_column": full[0][:, :, params["pose_column"]],
            "pose_full_sums": torch.stack([one.sum() for one in full]),
            "pose_latent": PackedPoses.pack(poses, places, params["width"], params["height"], "stretch")[[1]],
            "pose_full_shape": torch.tensor([1, *full[0].shape]),
        }

    @torch.inference_mode()
    def pipeline(
        self,
        params: dict,
        key_image: np.ndarray,
        pose_folder: Path,
        noise: torch.Tensor,
        decoded_frames: torch.Tensor,
        **eps: torch.Tensor,
    ) -> Results:
        draws = Draws(noise, *(eps[f"vae_eps_{name}"].flatten(0, 1) for name in ("embed_cond", "embed_uncond", "init")))
        run = _Run(self._film(params["vae"]), params, key_image, pose_folder, draws)
        keys, scheduler, contexts = run.animator.keys, run.scheduler, run.contexts
        empty, tokens, start = (run.seen[name] for name in ("empty", "tokens", "start"))
        latents = run.steps[-1].latents
        return {
            "frame_numbers": torch.tensor([run.numbers[five[2]] for five in run.neighbours]),
            "timesteps": torch.tensor([step.timestep for step in run.steps]),
            "alphas_cumprod": scheduler.alphas_cumprod,
            "clip_pixel_uncond_rgb": normalised(torch.zeros(1, 1, 3)).flatten(),
            "clip_hidden_cond": run.seen["hidden"][1:],
            "clip_hidden_uncond": run.seen["hidden"][:1],
            "adapter_out_cond": contexts[1][:, None],
            "adapter_out_uncond": contexts[0][:, None],
            "encoder_hidden_states": contexts[[branch.context for branch in ALL_BRANCHES]].transpose(0, 1),
            "pose_packed_every_4th_pixel": torch.stack(
                [_full_size(run.poses, five, params)[:, ::4, ::4] for five in run.neighbours]
            ),
            "pose_latent": run.pose_latents,
            "start_latents": keys.start_latents(run.seen, draws, scheduler),
            "guided_eps": torch.stack([step.noise for step in run.steps], dim=1),
            "latents_after_step": torch.stack([step.latents for step in run.steps], dim=1),
            "decoded": _decoded(run.animator.keys.images, latents[decoded_frames]),
            "vae_posterior": {
                f"{name}_{of}": value
                for of, posterior in (("embed_cond", tokens), ("embed_uncond", empty), ("init", start))
                for name, value in (("mean", posterior[:1]), ("logvar", 2 * posterior[1:].log()))
            },
            "unet_in": {"frame0_step0": run.shown(0)},
            "unet_out": {str(frame): run.branches([frame])[:, :, 0] for frame in params["unet_out_frames"]},
            "saved_u8": torch.from_numpy(np.concatenate(list(frames_of(run.animator, Denoised(latents), run.clip)))),
        }

    @torch.inference_mode()
    def pipeline_strength(
        self, params: dict, key_image: np.ndarray, pose_folder: Path, noise: torch.Tensor, **eps: torch.Tensor
    ) -> Results:
        draws = Draws(noise, *(eps[f"vae_eps_{name}"] for name in ("embed_cond", "embed_uncond", "init")))
        run = _Run(self._film(params["vae"]), params, key_image, pose_folder, draws)
        frames, scheduler = params["batch_frames"], run.scheduler
        return {
            "encoder_hidden_states": run.contexts[[branch.context for branch in ALL_BRANCHES]].flatten(0, 1),
            "pose_latent": run.pose_latents,
            "start_timesteps": scheduler.timesteps[:1].repeat(frames),
            "timesteps": torch.tensor([step.timestep for step in run.steps]),
            "start_latents": run.animator.keys.start_latents(run.seen, draws, scheduler),
            "unet_out": run.branches(list(range(frames))).flatten(1, 2),
            "latents_after_step": torch.stack([step.latents for step in run.steps]),
            "decoded": _decoded(run.animator.keys.images, run.steps[-1].latents[params["decoded_frames"]]),
        }


class _Run:
    """One film, with what the product computes on the way."""

    def __init__(
        self, animator: DreamPose, params: dict, key_image: np.ndarray, pose_folder: Path, draws: Draws
    ) -> None:
        self.animator, self.clip = animator, _clip(params)
        self.poses, self.numbers = _poses(pose_folder)
        packed = [published_neighbours(number, self.numbers) for number in params["frame_numbers"]]
        if not params["pose_frames_follow_clean_rule"]:
            packed = params["pose_frames"]
        assert [list(five) for five in packed] == params["pose_frames"]
        self.neighbours = [[self.numbers.index(number) for number in five] for five in packed]
        segment = Segment(0, len(packed))
        self.steps: list[Step] = list(animator.steps(self.clip, key_image, self.poses, segment, draws, self.neighbours))
        assert len(self.steps) == params["scheduler_calls"]
        options = self.clip.options
        self.scheduler = animator.scheduler.prepared(
            options["sampler"], self.clip.steps, options["strength"], parity=True
        )
        self.seen = animator.keys.seen(_fitted(key_image, params), "published")
        self.contexts = animator.keys.contexts(self.seen, draws)
        self._packed = PackedPoses.pack(self.poses, self.neighbours, self.clip.width, self.clip.height, self.clip.fit)
        self.pose_latents = self._packed[range(len(packed))]
        start = animator.keys.start_latents(self.seen, draws, self.scheduler).expand(len(segment), -1, -1, -1)
        self._before = [start, *(step.latents for step in self.steps)]

    def branches(self, frames: list[int]) -> torch.Tensor:
        """Raw predictions of some frames, by all branches, needed or not: (calls, branches, frames, 4, h, w)."""
        model = ClipModel(self.animator.unet, self.contexts, self._packed, ALL_BRANCHES)
        whole = Window(tuple(frames), (1.0,) * len(frames))
        predictions = [
            model.predict(before, step.timestep, whole) for before, step in zip(self._before, self.steps, strict=False)
        ]
        return torch.stack(predictions)

    def shown(self, frame: int) -> torch.Tensor:
        """What the network is shown of a frame at the first call: (branches, 14, h, w)."""
        seen: list[torch.Tensor] = []
        entrance = self.animator.unet.network.conv_in
        handle = entrance.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        self.branches([frame])
        handle.remove()
        return seen[0]


def _clip(params: dict) -> Clip:
    options = {"sampler": params.get("sampler", "PNDM").lower(), "strength": params.get("strength", 1.0)}
    return Clip(
        id="c",
        animator="dreampose",
        mode="parity",
        fit="stretch",
        width=params["width"],
        height=params["height"],
        steps=params.get("num_inference_steps"),
        guidance=(params.get("s1", 1.0), params.get("s2", 1.0)),
        window=4,  # so that some films take several calls for a step
        options=options,
    )


def _fitted(key_image: np.ndarray, params: dict) -> np.ndarray:
    assert params.get("filter", "bicubic") == "bicubic"
    return fit(key_image, params["width"], params["height"], "stretch", Image.Resampling.BICUBIC)


def _poses(folder: Path) -> tuple[list[np.ndarray], list[int]]:
    """U and V of every file in the order of their numbers, and the numbers."""
    files = {int(path.name.split("_")[1]): path for path in folder.glob("frame_*_densepose.npy")}
    return [np.load(files[number]) for number in sorted(files)], sorted(files)


def _full_size(poses: Sequence[np.ndarray], five: Sequence[int], params: dict) -> torch.Tensor:
    """(10, height, width)."""
    size = params["width"], params["height"]
    return torch.cat([pose_picture(poses[place], *size, "stretch") for place in five])


def _decoded(images: LatentImages, latents: torch.Tensor) -> torch.Tensor:
    return torch.cat(list(images.decode([latents]))).permute(0, 2, 3, 1)
