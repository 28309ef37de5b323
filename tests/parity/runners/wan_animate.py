"""Kinds of call of Wan-Animate's recordings, each run through the product's own code."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import UniPCMultistepScheduler

from manifests.clip import Clip
from stages.diffusion import chained_segments as chained
from stages.diffusion.networks.film_pixels import LANCZOS, to_pixels
from stages.diffusion.sampling.flow import starting_noise
from stages.diffusion.wan_animate.animator import WanAnimate
from stages.diffusion.wan_animate.conditioning import carried_latents, reference_latents
from stages.diffusion.wan_animate.facts import area_size, published_frames
from stages.diffusion.wan_animate.pictures import area_resized, letterboxed
from stages.diffusion.wan_animate.replacing import Background, Scene
from stages.poses.drawing import wan
from stages.poses.keypoints import People
from stages.poses.motion.faces import crop, face_box
from stages.poses.motion.person_masks import blocks
from stages.poses.motion.published_retarget import measure, retargeted
from stages.poses.wholebody import FACE, openpose_order
from stages.video.image import fit
from stages.video.letterbox import letterbox
from tests.parity.recording import Recording

Results = dict[str, Any]
INTERPOLATION = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


@cache
def _animator(checkpoint: Path) -> WanAnimate:
    return WanAnimate.load(checkpoint, "cpu", torch.float32)


class WanAnimateRunners:
    """Runs calls against the animator loaded from the recording's own checkpoint."""

    # recorded for information, and promised: all of the mode in which somebody is replaced
    also = frozenset({"replace_mask", "conditioning_latents", "pipeline"})

    def __init__(self, recording: Recording) -> None:
        self.animator = _animator(recording.checkpoint)
        assert self.animator.face_size == recording.config["face_size"]

    def keypoint_split(self, params: dict, keypoints133: torch.Tensor) -> Results:
        rows = keypoints133.numpy()
        people = _people(rows)
        figure = wan.figure_of(people)
        face = np.concatenate([rows[22:23, :2], people.points[0, FACE]]) / [params["width"], params["height"]]
        return {"body": figure.body, "left_hand": figure.left_hand, "right_hand": figure.right_hand, "face": face}

    def pose_drawing(
        self, params: dict, body: torch.Tensor, left_hand: torch.Tensor, right_hand: torch.Tensor
    ) -> Results:
        assert params["threshold"] == wan.SEEN
        figure = wan.Figure(*(one.double().numpy() for one in (body, left_hand, right_hand)))
        return {"canvas_u8": wan.draw(figure, params["height"], params["width"], params["hands"], params["head"])}

    def face_box(self, params: dict, faces: torch.Tensor, sizes: torch.Tensor) -> Results:
        found = []
        for face, (height, width) in zip(faces.double().numpy(), sizes.tolist(), strict=True):
            found.append(face_box(face[1:] * [width, height], width, height, params["scale"]))
        return {"boxes": torch.tensor(found)}

    def face_crop(self, params: dict, image_u8: torch.Tensor, box: torch.Tensor) -> Results:
        stride = params["recorded_stride"]
        return {"crop_strided_u8": crop(image_u8.numpy(), tuple(box.tolist()), params["size"])[::stride, ::stride]}

    def retarget(self, params: dict, frames133: torch.Tensor, reference133: torch.Tensor) -> Results:
        size = params["width"], params["height"]
        own = params["reference_width"], params["reference_height"]
        driving = [wan.figure_of(_people(one.numpy())) for one in frames133]
        measures = measure(driving[0], wan.figure_of(_people(reference133.numpy())), size, own)
        made = [retargeted(one, measures, size) for one in driving]
        return {
            "body": np.stack([one.body for one in made]),
            "left_hand": np.stack([one.left_hand for one in made]),
            "right_hand": np.stack([one.right_hand for one in made]),
            "canvases_u8": {str(frame): wan.draw(one, own[1], own[0]) for frame, one in enumerate(made)},
        }

    def area_size(self, params: dict, width: int, height: int, area: int, divisor: int) -> Results:
        found = area_size(width, height, area, divisor)
        return {"width": found[0], "height": found[1]}

    def frame_indices(self, params: dict, frame_num: int, video_fps: float, fps: float) -> Results:
        return {"indices": published_frames(frame_num, video_fps, None if fps == -1 else fps)}

    def letterbox(self, params: dict, image_u8: torch.Tensor) -> Results:
        how = INTERPOLATION[params["interpolation"]]
        return {"canvas_u8": letterbox(image_u8.numpy(), params["width"], params["height"], how)}

    def area_resize(self, params: dict, image_u8: torch.Tensor) -> Results:
        return {"canvas_u8": area_resized(image_u8.numpy(), params["area"], params["divisor"])}

    def text_encoding(self, params: dict) -> Results:
        ids, words = self.animator.text.token_ids(params["prompt"])
        assert ids.shape == (1, params["max_sequence_length"])
        return {
            "input_ids": ids,
            "tokens": torch.tensor([words]),
            "prompt_embeds": self.animator.text.encode(params["prompt"]),
        }

    def image_encoding(self, params: dict, image_u8: torch.Tensor) -> Results:
        tokens, image = self.animator.tokens, image_u8.numpy()
        return {"pixel_values": tokens.pixels(image), "image_embeds": tokens.encode(image)}

    def reference_latents(self, params: dict, image_u8: torch.Tensor) -> Results:
        pixels = to_pixels([letterboxed(image_u8.numpy(), params["width"], params["height"])])
        return {"pixels": pixels[:, :, 0], "reference_latents": reference_latents(self.animator.images, pixels)}

    def pose_latents(self, params: dict, pose_u8: torch.Tensor) -> Results:
        size = params["width"], params["height"]
        pixels = to_pixels(fit(one, *size, "stretch", LANCZOS) for one in pose_u8.numpy())
        return {"pixels": pixels, "pose_latents": self.animator.images.encode(pixels)}

    def conditioning_latents(
        self,
        params: dict,
        previous: torch.Tensor | None = None,
        background_u8: torch.Tensor | None = None,
        mask_u8: torch.Tensor | None = None,
    ) -> Results:
        size = params["height"], params["width"]
        assert (previous is None) == (params["start"] == 0)
        carry = None if previous is None else previous[:, :, -params["conditioning_frames"] :]
        frames, images, scene = params["segment_frame_length"], self.animator.images, ()
        if background_u8 is not None:
            there, shown = Scene(background_u8.numpy(), mask_u8.numpy()), range(frames)
            scene = (
                there.pixels(shown, *size[::-1], "stretch"),
                there.kept(shown, *size[::-1], "stretch", images.scale),
            )
        return {"conditioning_latents": carried_latents(images, carry, frames, size, *scene)}

    def replace_mask(self, params: dict, mask: torch.Tensor, frame_u8: torch.Tensor) -> Results:
        made = blocks(mask.numpy(), params["k"], params["iterations"], params["w_len"], params["h_len"])
        return {"augmented": made, "background_u8": Background([frame_u8.numpy()], [255 * made])[0]}

    def vae_decode(self, params: dict, latents: torch.Tensor) -> Results:
        return {"video": self.animator.images.decode(latents)}

    @torch.inference_mode()
    def face_tokens(self, params: dict, face_u8: torch.Tensor | None = None) -> Results:
        faces = [None] * params["frames"] if face_u8 is None else list(face_u8.numpy())
        pixels = self.animator.face_pixels(faces)
        network = self.animator.transformer
        motion = network.motion_encoder(pixels[0].transpose(0, 1))[None]
        return {"pixels": pixels, "motion": motion, "face_tokens": network.face_encoder(motion)}

    @torch.inference_mode()
    def transformer(
        self,
        params: dict,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        prompt_embeds: torch.Tensor,
        image_embeds: torch.Tensor,
        pose_latents: torch.Tensor,
        face_pixels: torch.Tensor,
    ) -> Results:
        noise = self.animator.transformer(
            hidden_states=hidden_states,
            timestep=timestep,
            encoder_hidden_states=prompt_embeds,
            encoder_hidden_states_image=image_embeds,
            pose_hidden_states=pose_latents,
            face_pixel_values=face_pixels,
            return_dict=False,
        )[0]
        return {"noise_pred": noise}

    def scheduler_table(self, params: dict, **record: int) -> Results:
        return {"timesteps": self._scheduler({**params, **record}["num_inference_steps"]).timesteps.tolist()}

    def scheduler(self, params: dict, sample: torch.Tensor, noise_predictions: torch.Tensor) -> Results:
        scheduler, samples = self._scheduler(params["num_inference_steps"]), []
        for timestep, noise in zip(scheduler.timesteps, noise_predictions, strict=True):
            sample = scheduler.step(noise, timestep, sample, return_dict=False)[0]
            samples.append(sample)
        return {
            "timesteps": scheduler.timesteps,
            "sigmas": scheduler.sigmas,
            "samples_after_steps": torch.stack(samples),
        }

    def segments(self, params: dict, frames: int, segment_frame_length: int, conditioning_frames: int) -> Results:
        made = chained.chained(frames, segment_frame_length, conditioning_frames)
        step = segment_frame_length - conditioning_frames
        padded = len(made) * step + conditioning_frames
        spans = [[one.number * step, one.number * step + segment_frame_length] for one in made]
        return {
            "padded_frames": padded,
            "segments": spans,
            "shown": [chained.reflected(frame, frames) for frame in range(padded)],
            "new_frames": [[one.start + one.taken_over, one.stop] for one in made],
        }

    def pipeline(
        self,
        params: dict,
        reference_u8: torch.Tensor,
        pose_u8: torch.Tensor,
        face_u8: torch.Tensor,
        noise: torch.Tensor,
        video_frames_index: torch.Tensor,
        background_u8: torch.Tensor | None = None,
        mask_u8: torch.Tensor | None = None,
    ) -> Results:
        scene = None if background_u8 is None else Scene(background_u8.numpy(), mask_u8.numpy())
        assert params["mode"] == ("animate" if scene is None else "replace")
        animator, clip = self.animator, _clip(params)
        steps: dict[str, dict[str, Any]] = {"latents_after_step": {}, "guided_noise": {}}
        given: dict[str, dict[str, torch.Tensor]] = {"pose_latents": {}, "conditioning_latents": {}}
        carry, parts, films = None, [], []
        for segment in chained.chained(params["frames"], clip.window, clip.overlap):
            key, segment = str(segment.number), replace(segment, carry=carry)
            assert torch.equal(
                starting_noise(clip, segment.number, segment.start, noise.shape[1:])[0], noise[segment.number]
            ), "other noise"
            poses, faces = pose_u8.numpy(), list(face_u8.numpy())
            with _Listening(animator) as heard:
                made = list(animator.steps(clip, reference_u8.numpy(), poses, faces, segment, scene))
            given["pose_latents"][key], known = heard.pose_latents, heard.known
            given["conditioning_latents"][key] = known[:, :, 1:]
            steps["latents_after_step"][key] = {str(step.index): step.latents for step in made}
            steps["guided_noise"][key] = {str(step.index): step.noise for step in made}
            film = animator.decode(made[-1].latents)
            carry = film[:, :, -clip.overlap :]
            films.append(film[:, :, segment.taken_over : len(segment)])
            parts.append((segment, made[-1].latents))
        video = torch.cat(films, dim=2) / 2 + 0.5
        negative = (
            {} if clip.guidance[0] <= 1 else {"negative_prompt_embeds": animator.text.encode(clip.negative_prompt)}
        )
        return {
            **steps,
            **given,
            **negative,
            "timesteps": torch.tensor([step.timestep for step in made]),
            "prompt_embeds": animator.text.encode(clip.prompt),
            "image_embeds": animator.tokens.encode(reference_u8.numpy()),
            "reference_latents": known[:, :, :1],
            "video": video.clamp(0, 1)[:, :, video_frames_index],
            "frames_u8": np.concatenate(list(animator.frames(parts, clip))),
        }

    def _scheduler(self, steps: int) -> UniPCMultistepScheduler:
        scheduler = UniPCMultistepScheduler.from_config(self.animator._scheduler)
        scheduler.set_timesteps(steps)
        return scheduler


class _Listening:
    """Hears what the transformer is given at a segment's first step."""

    def __init__(self, animator: WanAnimate) -> None:
        self._network = animator.transformer
        self._handle: Any = None

    def __enter__(self) -> _Listening:
        self._handle = self._network.register_forward_pre_hook(self._hear, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _hear(self, network: torch.nn.Module, args: tuple, given: dict) -> None:
        self.pose_latents = given["pose_hidden_states"]
        self.known = given["hidden_states"][:, 16:]


def _people(rows: np.ndarray) -> People:
    points, scores = openpose_order(rows[None, :, :2], rows[None, :, 2])
    return People(points, scores, np.full((1, 4), np.nan))


def _clip(params: dict) -> Clip:
    return Clip(
        id="recording",
        animator="wan_animate",
        prompt=params["prompt"],
        negative_prompt=params["negative_prompt"] or "",
        width=params["width"],
        height=params["height"],
        seed=params["seed"],
        steps=params["num_inference_steps"],
        guidance=params["guidance_scale"],
        mode="parity",
        window=params["segment_frame_length"],
        overlap=params["conditioning_frames"],
        fit="stretch",
    )
