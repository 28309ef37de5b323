"""Kinds of call of Text2Video-Zero's recordings, each run through the product's own code.

Recorded runs are chunk by chunk, each with the anchor; the product keeps every frame once. Recorded tensors hold
pictures as (frames, channels, height, width), drawn noise as (1, channels, frames, height, width).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel
from diffusers.models.attention_processor import Attention

from manifests.clip import Clip
from stages.diffusion.animator import Denoised, Segment
from stages.diffusion.sampling.denoise import Step
from stages.diffusion.sampling.noise import tiled_noise
from stages.diffusion.text2video_zero.animator import CONTROL, Text2VideoZero, prompts
from stages.diffusion.text2video_zero.control import AnchoredControl
from stages.diffusion.text2video_zero.control_picture import control_picture, resized
from stages.diffusion.text2video_zero.cross_frame_attention import AnchorAttention, Conditioning, TextAttention
from stages.diffusion.text2video_zero.facts import size_of_long_side
from stages.diffusion.text2video_zero.motion_field import MotionField
from stages.diffusion.text2video_zero.text_path import frame_chunks, starting_noise
from stages.diffusion.weights.checkpoint import load_network
from stages.poses.drawing.controlnet10 import draw_controlnet10
from stages.video.timing import select_evenly
from tests.made.seam import frames_of, latents_of
from tests.parity.published.text2video_zero_background import Smoothing
from tests.parity.published.text2video_zero_watermark import watermark
from tests.parity.recording import Recording

Results = dict[str, Any]


@cache
def _animator(checkpoint: Path) -> Text2VideoZero:
    return Text2VideoZero.load(checkpoint, "cpu", torch.float32)


@cache
def _control(checkpoint: Path) -> AnchoredControl:
    return AnchoredControl(load_network(ControlNetModel, checkpoint / CONTROL, "cpu", torch.float32))


class Text2VideoZeroRunners:
    """Runs calls against the animator, or the network that they need, loaded from the recording's own checkpoint."""

    def __init__(self, recording: Recording) -> None:
        self._checkpoint = recording.checkpoint

    @property
    def animator(self) -> Text2VideoZero:
        return _animator(self._checkpoint)

    @torch.inference_mode()
    def controlnet(
        self,
        params: dict,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        control: torch.Tensor,
    ) -> Results:
        _crossframe(params, encoder_hidden_states)
        network = _control(self._checkpoint)
        embedded = network.embed([control])
        scale = params["conditioning_scale"]
        down, mid = network.residuals(sample, int(timestep), Conditioning(encoder_hidden_states, {}), embedded, scale)
        return {"cond_embedding": embedded, "down_residuals": list(down), "mid_residual": mid}

    @torch.inference_mode()
    def unet_forward(
        self,
        params: dict,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        down_residuals: list[torch.Tensor] | None = None,
        mid_residual: torch.Tensor | None = None,
    ) -> Results:
        _crossframe(params, encoder_hidden_states)
        residuals = None
        if params["control"]:
            scale = params["conditioning_scale"]
            residuals = [one * scale for one in down_residuals], mid_residual * scale
        conditioning = Conditioning(encoder_hidden_states, {}, residuals, params["midblock_wiring"] or "modern")
        return {"noise_pred": self.animator.unet.predict(sample, int(timestep), conditioning)}

    @torch.inference_mode()
    def crossframe_attention(
        self,
        params: dict,
        hidden_states: torch.Tensor,
        to_q_weight: torch.Tensor,
        to_k_weight: torch.Tensor,
        to_v_weight: torch.Tensor,
        to_out_weight: torch.Tensor,
        to_out_bias: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
    ) -> Results:
        assert params["attention"] == "crossframe", "ordinary attention is a contrast"
        heads, dim, copies = params["heads"], params["dim"], params["unet_chunk_size"]
        text_width = None if encoder_hidden_states is None else encoder_hidden_states.shape[-1]
        layer = Attention(query_dim=dim, cross_attention_dim=text_width, heads=heads, dim_head=dim // heads)
        weights = {"to_q.weight": to_q_weight, "to_k.weight": to_k_weight, "to_v.weight": to_v_weight}
        layer.load_state_dict({**weights, "to_out.0.weight": to_out_weight, "to_out.0.bias": to_out_bias})
        layer.set_processor(AnchorAttention(wordless=False) if params["layer"] == "self" else TextAttention())
        text = torch.empty(copies, 0, dim) if encoder_hidden_states is None else encoder_hidden_states
        return {"hidden_states": layer(hidden_states, conditioning=Conditioning(text, {}))}

    def motion_warp(self, params: dict, latent: torch.Tensor) -> Results:
        field = MotionField(params["motion_field_strength_x"], params["motion_field_strength_y"])
        frames, height, width = params["frame_ids"], params["latent_height"], params["latent_width"]
        sources = [field.source(frame, height, width) for frame in frames]
        return {
            "flow_xy": torch.tensor([field.flow(frame) for frame in frames], dtype=torch.float32),
            "source_index": torch.stack([rows[:, None] * width + columns for rows, columns in sources]),
            "warped": torch.stack([field.warp(latent[:, :, 0], frame) for frame in frames], dim=2),
        }

    def draw_controlnet10(self, params: dict, candidate: torch.Tensor, subset: torch.Tensor) -> Results:
        size = params["height"], params["width"]
        drawn = [draw_controlnet10(*one, *size) for one in zip(candidate.numpy(), subset.numpy(), strict=True)]
        return {"canvas_u8": np.stack(drawn)}

    def watermark(self, params: dict, image_u8: torch.Tensor, watermark_rgba: torch.Tensor) -> Results:
        how = params["relative_size"], params["boundary"]
        return {"image_u8": watermark(image_u8.numpy(), watermark_rgba.numpy(), *how).copy()}

    def prepare_video(self, params: dict, raw_video_u8: torch.Tensor | None = None) -> Results:
        requested = params["requested_fps"]
        fps = int(params["src_fps"]) if requested == -1 else requested
        chosen = select_evenly(params["src_frames"], params["src_fps"], fps)
        height, width = size_of_long_side(params["src_height"], params["src_width"], params["resolution"])
        made = {"height": height, "width": width, "out_frames": len(chosen), "output_fps": fps}
        assert made == {name: params[name] for name in made}, f"another film: {made}"
        results: Results = {"sample_index": np.array(chosen)}
        if raw_video_u8 is not None:
            clip = _clip(params, guidance=1.0)
            pictures = [raw_video_u8[number].numpy() for number in chosen]
            control = torch.stack([control_picture(picture, clip) for picture in pictures])
            results["control_u8"] = (control * 255).round().to(torch.uint8)
            results["resized_first_frames"] = torch.stack([resized(one, height, width) for one in pictures[:2]])
        return results

    def text_encoding(self, params: dict) -> Results:
        text, words = self.animator.text, [params["negative_prompt"], params["prompt"]]
        negative, positive = text.token_ids(words).split(1)
        return {"prompt_ids": positive, "negative_ids": negative, "text_embeddings": text.encode(words)}

    def vae_decode(self, params: dict, latents: torch.Tensor) -> Results:
        return {"image_nhwc": self._pictures(latents)}

    def chunk_schedule(self, params: dict, num_frames: int, chunk_size: int) -> Results:
        chunks = frame_chunks(num_frames, chunk_size)
        return {
            "chunks": chunks,
            "output_frame_order": [frame for chunk in chunks for frame in chunk[1:]],
            "denoised_frames_total": sum(map(len, chunks)),
        }

    @torch.inference_mode()
    def pose_run(
        self, params: dict, control_u8: torch.Tensor, text_embeddings: torch.Tensor, initial_latent: torch.Tensor
    ) -> Results:
        options = {
            "controlnet_conditioning_scale": params["controlnet_conditioning_scale"],
            "midblock_wiring": params["midblock_wiring"],
        }
        clip = _clip(params, options=options)
        self._check_words(clip, params, text_embeddings, driven=True)
        assert torch.equal(initial_latent, tiled_noise(clip.seed, 1, tuple(initial_latent.shape[1:]), block=1))
        chunks = frame_chunks(params["frames"], params["chunk_size"])
        assert [len(chunk) for chunk in chunks] == params["chunk_sizes"]
        poses = control_u8.permute(0, 2, 3, 1).numpy()
        steps = list(self.animator.pose_steps(clip, poses, Segment(0, params["frames"])))
        latents, shown = torch.stack([step.latents for step in steps]), params["recorded_steps_of_guided_noise"]
        noise = torch.stack([steps[step].noise for step in shown])
        finished = latents_of(self.animator, clip, None, poses, Segment(0, params["frames"]))
        return {
            "timesteps": {str(n): torch.tensor([step.timestep for step in steps]) for n in range(len(chunks))},
            "latents_after_step": {str(n): latents[:, chunk] for n, chunk in enumerate(chunks)},
            "guided_noise_first_last": {str(n): noise[:, chunk] for n, chunk in enumerate(chunks)},
            **self._film(clip, finished),
        }

    @torch.inference_mode()
    def text_run(
        self,
        params: dict,
        text_embeddings: torch.Tensor,
        noise_first: dict[str, torch.Tensor],
        noise_rest: dict[str, torch.Tensor],
        masks: torch.Tensor | None = None,
        kept_steps: dict[str, torch.Tensor] | None = None,
    ) -> Results:
        names = ("t0", "t1", "motion_field_strength_x", "motion_field_strength_y", "use_motion_field")
        options = {name: params[name] for name in names}
        if not params["add_prompt_suffix"]:
            options["prompt_suffix"] = ""
        clip, segment = _clip(params, options=options), Segment(0, params["frames"])
        self._check_words(clip, params, text_embeddings, driven=False)
        first, rest = starting_noise(clip, segment, (4, params["height"] // 8, params["width"] // 8))
        assert all(torch.equal(first, drawn[:, :, 0]) for drawn in noise_first.values())
        assert torch.equal(rest, torch.cat([drawn[0].transpose(0, 1) for drawn in noise_rest.values()]))
        made = self.animator.text_path(clip, segment).steps()
        if params["smooth_bg"]:  # recorded masks of every slot, whatever they are detected in
            smoothing = Smoothing(lambda _: masks.numpy(), params["smooth_bg_strength"])
            made = smoothing.steps(self.animator, clip, segment)
        steps: dict[str, list[Step]] = {}
        for name, step in made:
            steps.setdefault(name, []).append(step)
        finished = step.latents[1:] if params["smooth_bg"] else latents_of(self.animator, clip, None, None, segment)
        return {**_passes(params, steps), **self._film(clip, finished)}

    def _check_words(self, clip: Clip, params: dict, text_embeddings: torch.Tensor, driven: bool) -> None:
        """The product makes the recorded texts and their embeddings out of the row."""
        words = prompts(clip, driven)
        assert words == [params["negative_prompt"], params["full_prompt"]][-len(words) :]
        error = (self.animator.text.encode(words) - text_embeddings[-len(words) :]).abs().max()
        assert error <= 1e-4 * text_embeddings.std(), f"the texts are encoded otherwise: {error}"

    def _film(self, clip: Clip, latents: torch.Tensor) -> Results:
        return {
            "frames": self._pictures(latents),
            "frames_u8": np.concatenate(list(frames_of(self.animator, Denoised(latents), clip))),
        }

    def _pictures(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.cat(list(self.animator.images.decode([latents]))).permute(0, 2, 3, 1)


def _passes(params: dict, steps: dict[str, list[Step]]) -> Results:
    """Timesteps and latents of the recorded passes, in which each chunk goes to the end by itself.

    The product ends the single frame where nothing more of it is needed. What the recording computes of it beyond is
    what the anchor computes again in the batch, where the product has it.
    """
    chunks = frame_chunks(params["frames"], params["chunk_size"])
    timesteps, latents = {}, {}
    for number, one in enumerate(params["passes"]):
        # the batch holds the anchor, then the film's frames
        slots = [0, *(frame + 1 for frame in chunks[one["chunk"]][1:])]
        made = [
            (step.timestep, step.latents[slots])
            for step in steps["batch" if one["pass"] == "single_frame" else one["pass"]]
        ]
        if one["pass"] == "single_frame":
            alone = [(step.timestep, step.latents) for step in steps["single_frame"]]
            again = {timestep: anchor[:1] for timestep, anchor in made}
            assert all(torch.allclose(anchor, again.get(timestep, anchor), atol=1e-4) for timestep, anchor in alone)
            made = [*alone, *((timestep, anchor) for timestep, anchor in again.items() if timestep < alone[-1][0])]
        assert (len(made), len(made[0][1])) == (one["steps"], one["slots"])
        kept = params["kept_steps"].get(str(number), range(len(made)))
        timesteps[str(number)] = torch.tensor([timestep for timestep, _ in made])
        latents[str(number)] = torch.stack([made[step][1] for step in kept])
    return {"timesteps": timesteps, "latents_after_step": latents}


def _crossframe(params: dict, text: torch.Tensor) -> None:
    assert (params["attention"], params["unet_chunk_size"]) == ("crossframe", len(text)), (
        "other attention is a contrast"
    )


def _clip(params: dict, guidance: float | None = None, options: dict | None = None) -> Clip:
    assert params.get("eta", 0) == 0, "the product runs with eta 0"
    return Clip(
        id="recording",
        animator="text2video_zero",
        prompt=params.get("prompt", ""),
        negative_prompt=params.get("negative_prompt", ""),
        height=params["height"],
        width=params["width"],
        fit="stretch",
        seed=params.get("seed", 0),
        steps=params.get("num_inference_steps"),
        guidance=guidance or params["guidance_scale"],
        mode="parity",
        window=params.get("chunk_size"),
        options=options or {},
    )
