"""Kinds of call of MagicAnimate's recordings, each run through the product's own code.

Recorded tensors are laid out (rows, channels, frames, height, width); the product's are (frames, channels, …).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler

from manifests.clip import Clip
from stages.diffusion.animator import Denoised, Segment
from stages.diffusion.magicanimate.animator import SCHEDULER, MagicAnimate, starting_noise
from stages.diffusion.magicanimate.unet import Conditioning
from stages.diffusion.sampling.windows import uniform_windows
from stages.video.image import fit
from tests.made.seam import frames_of, latents_of
from tests.parity.published.comparison import comparison_frame
from tests.parity.recording import Recording
from tests.parity.runners.motion_layers import MotionLayers, frames_first, rows_first

Results = dict[str, Any]


@cache
def _animator(checkpoint: Path) -> MagicAnimate:
    return MagicAnimate.load(checkpoint, "cpu", torch.float32)


class MagicAnimateRunners(MotionLayers):
    """Runs calls against the animator loaded from the recording's own checkpoint."""

    def __init__(self, recording: Recording) -> None:
        self.animator = _animator(recording.checkpoint)
        self.config = recording.config

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

    def text_encoding(self, params: dict) -> Results:
        text = self.animator.text
        prompts = [params["prompt"]]
        return {"input_ids": text.token_ids(prompts), "text_embeddings": text.encode(prompts)}

    @torch.inference_mode()
    def vae_encode(self, params: dict, image_u8: torch.Tensor) -> Results:
        latents = self.animator.images.encode(image_u8.numpy())
        pixels = image_u8.permute(2, 0, 1)[None].float() / 127.5 - 1
        posterior = self.animator.images.autoencoder.encode(pixels).latent_dist
        return {"posterior_mean": posterior.mean, "posterior_logvar": posterior.logvar, "ref_latents": latents}

    def vae_decode(self, params: dict, latents: torch.Tensor) -> Results:
        return {"video": self._video(frames_first(latents))}

    def scheduler_table(self, params: dict) -> Results:
        scheduler = DDIMScheduler(**SCHEDULER)
        return {
            "alphas_cumprod": scheduler.alphas_cumprod,
            # scalars, recorded as tables of one entry
            "final_alpha_cumprod": torch.as_tensor(scheduler.final_alpha_cumprod).reshape(1),
            "init_noise_sigma": torch.as_tensor(scheduler.init_noise_sigma).reshape(1),
        }

    def scheduler(self, params: dict, sample: torch.Tensor, noise_predictions: torch.Tensor) -> Results:
        scheduler = DDIMScheduler(**SCHEDULER)
        scheduler.set_timesteps(params["num_inference_steps"])
        samples = []
        for timestep, noise in zip(scheduler.timesteps, noise_predictions.float(), strict=True):
            sample = scheduler.step(noise, timestep, sample, eta=params["eta"]).prev_sample
            samples.append(sample)
        kept = torch.stack([samples[step] for step in params["recorded_after_steps"]])
        return {"timesteps": scheduler.timesteps, "samples_after_steps": kept}

    @torch.inference_mode()
    def transformer_block(
        self,
        params: dict,
        hidden_states: torch.Tensor,
        text_uncond: torch.Tensor,
        text_cond: torch.Tensor,
        bank: torch.Tensor | None = None,
    ) -> Results:
        text = torch.cat([text_uncond, text_cond]).repeat_interleave(params["frames"], dim=0)
        if params["mode"] == "write":
            block = self.animator.reference.network.get_submodule(params["module"])
            result = block(hidden_states, encoder_hidden_states=text)
            return {"hidden_states": result, "bank": self.animator.reference.writers[params["module"]].written}
        unet = self.animator.unet
        both = torch.cat([text_uncond, text_cond])
        reference = unet.project({params["module"]: bank[1:]})
        conditioning = Conditioning(both, reference=reference, words=unet.words(both))
        block = unet.network.get_submodule(params["module"])
        given = {"conditioning": conditioning}
        return {"hidden_states": block(hidden_states, encoder_hidden_states=text, cross_attention_kwargs=given)}

    @torch.inference_mode()
    def controlnet(
        self,
        params: dict,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        control_u8: torch.Tensor,
    ) -> Results:
        network = self.animator.control
        embedded = self.animator.pose_embedding(control_u8.float() / 255)
        down, mid = network(
            sample,
            int(timestep),
            encoder_hidden_states.expand(len(sample), -1, -1),
            controlnet_cond=embedded,
            conditioning_scale=params["conditioning_scale"],
            return_dict=False,
        )
        return {"cond_embedding": embedded, "down_residuals": list(down), "mid_residual": mid}

    @torch.inference_mode()
    def appearance_encoder(
        self, params: dict, ref_latents: torch.Tensor, text_uncond: torch.Tensor, text_cond: torch.Tensor
    ) -> Results:
        text = {"uncond": text_uncond, "cond": text_cond}
        rows = torch.cat([text[row] for row in params["rows"]])
        return {"bank": self.animator.reference.features(ref_latents, params["timestep"], rows)}

    @torch.inference_mode()
    def unet_plain(
        self, params: dict, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> Results:
        conditioning = Conditioning(encoder_hidden_states)
        noise = self.animator.unet.predict(frames_first(sample), int(timestep), conditioning)
        return {"noise_pred": noise.transpose(1, 2)}

    @torch.inference_mode()
    def unet_reference(
        self,
        params: dict,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        ref_latents: torch.Tensor,
        text_uncond: torch.Tensor,
        text_cond: torch.Tensor,
        down_residuals: list[torch.Tensor],
        mid_residual: torch.Tensor,
    ) -> Results:
        features = self.animator.reference.features(ref_latents, int(timestep), text_cond)
        unet = self.animator.unet
        texts = {"uncond": text_uncond, "cond": text_cond}
        text = torch.cat([texts[row] for row in params["rows"]])
        shared = bool((text == text[:1]).all())
        conditioning = Conditioning(text, shared, unet.project(features))
        noise = unet.predict(frames_first(sample), int(timestep), conditioning, (down_residuals, mid_residual))
        return {"noise_pred": noise.transpose(1, 2)}

    def pipeline(
        self,
        params: dict,
        source_image_u8: torch.Tensor,
        control_u8: torch.Tensor,
        latents_init: torch.Tensor,
        noise: torch.Tensor | None = None,
        video_frames_index: torch.Tensor | None = None,
    ) -> Results:
        assert params["reference_bank_rounding"] == "none", "rounded reference features are informational"
        clip = _clip(params, params["height"], params["width"])
        if noise is not None and params["seed"] is not None:
            shape = tuple(latents_init.shape[i] for i in (1, 3, 4))
            assert torch.equal(
                starting_noise(clip, Segment(0, params["frames"]), params["frames"], shape), frames_first(latents_init)
            )
        windows = _WindowRecorder(self.animator)
        steps, video = self._run(clip, source_image_u8, control_u8, frames_first(latents_init), windows)
        encode = self.animator.text.encode
        return {
            "timesteps": torch.tensor([step.timestep for step in steps]),
            "text_uncond": encode([params["negative_prompt"]]),
            "text_cond": encode([params["prompt"]]),
            "ref_latents": self.animator.images.encode(source_image_u8.numpy()),
            "window_predictions_step0": windows.of_first_step(params["windows"]),
            "guided_noise_step0": rows_first(steps[0].noise),
            "latents_after_step": {str(step.index): rows_first(step.latents) for step in steps},
            "video_u8": (video * 255).to(torch.uint8),
            "video_f32": video[:, :, params["video_frames_index"]],
        }

    def driver_resize(self, params: dict, source_image_u8: torch.Tensor, driving_u8: torch.Tensor) -> Results:
        size = params["size"]
        driving = [fit(frame, size, size, "stretch") for frame in driving_u8.numpy()]
        return {"source_image_u8": fit(source_image_u8.numpy(), size, size, "stretch"), "driving_u8": np.stack(driving)}

    def driver_end_to_end(
        self, params: dict, source_image_u8: torch.Tensor, control_u8: torch.Tensor, noise: torch.Tensor
    ) -> Results:
        clip = _clip(params, params["size"], params["size"])
        frames = params["driving_frames"]
        start = frames_first(noise)[torch.arange(params["padded_frames"]) % noise.shape[2]]
        own = starting_noise(clip, Segment(0, frames), frames, tuple(start.shape[1:]))
        assert params["seed"] is None or torch.equal(own, start), "the seed gives other noise than recorded"
        steps, video = self._run(clip, source_image_u8, control_u8, start)
        cropped = latents_of(self.animator, clip, source_image_u8.numpy(), control_u8.numpy(), Segment(0, frames))
        films = np.concatenate(list(frames_of(self.animator, Denoised(cropped), clip)))
        shown = params["grid_frame"]
        return {
            "latents_after_step": {str(step.index): rows_first(step.latents) for step in steps},
            "video_f32": video[:, :, params["video_frames_index"]],
            "video_u8": films,
            "grid_frame_u8": comparison_frame(
                [source_image_u8.numpy(), control_u8.numpy()[shown], films[shown]], border=params["grid_border"]
            ),
        }

    @torch.inference_mode()
    def _run(
        self,
        clip: Clip,
        source: torch.Tensor,
        control: torch.Tensor,
        start: torch.Tensor,
        windows: _WindowRecorder | None = None,
    ) -> tuple[list, torch.Tensor]:
        segment = Segment(0, len(control))
        steps = list(self.animator.steps(clip, source.numpy(), control.numpy(), segment, start))
        if windows is not None:
            windows.stop()
        return steps, self._video(steps[-1].latents)

    def _video(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.cat(list(self.animator.images.decode([latents]))).transpose(0, 1)[None]


class _WindowRecorder:
    """Listens to the raw window predictions that the denoising loop asks for."""

    def __init__(self, animator: MagicAnimate) -> None:
        self._unet, self._predict = animator.unet, animator.unet.predict
        self._predictions: list[torch.Tensor] = []
        animator.unet.predict = self._listen

    def _listen(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self._predictions.append(self._predict(*args, **kwargs))
        return self._predictions[-1]

    def stop(self) -> None:
        self._unet.predict = self._predict

    def of_first_step(self, windows: int) -> list[torch.Tensor]:
        return [prediction.transpose(1, 2) for prediction in self._predictions[:windows]]


def _clip(params: dict, height: int, width: int) -> Clip:
    assert params.get("eta", 0) == 0, "the published pipeline runs with eta 0"
    options = {
        "context_stride": params["context_stride"],
        "controlnet_conditioning_scale": params.get("controlnet_conditioning_scale", 1.0),
    }
    return Clip(
        id="recording",
        animator="magicanimate",
        prompt=params["prompt"],
        negative_prompt=params["negative_prompt"],
        height=height,
        width=width,
        seed=params["seed"] or 0,
        steps=params["num_inference_steps"],
        guidance=params["guidance_scale"],
        mode="parity",
        window=params["context_frames"],
        overlap=params["context_overlap"],
        options=options,
    )
