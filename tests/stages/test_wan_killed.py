"""Wan's systems in the stage that stores segments: killed at every border, a film is what diffusers' pipeline makes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanAnimatePipeline, WanVACEPipeline
from PIL import Image

from manifests.clip import Clip
from manifests.layout import OutputLayout
from manifests.work import Source, Work
from stages.animate import Animate
from stages.diffusion.model_cache import ModelCache
from stages.diffusion.wan_animate.pictures import area_resized
from stages.latents_cache import segments
from stages.latents_file import read_latents
from stages.poses.files.sequence import write_poses
from stages.video.encode import EncodeRecipe
from tests.conftest import CHECKOUT
from tests.parity.published import wan_vace as published_vace

GOLDEN = CHECKOUT / "tests" / "golden"
FILM = published_vace.Case(25, 32, 48, longest=9, steps=2, guidance=2.0, negative_prompt="blurred static")
SEED, RATES = 5, {"wan_animate": 30, "wan_vace": 16}
KEY, OTHERS = "f" * 32, ("1" * 32, "2" * 32)  # as content keys are: a film is marked by its own
BLANK = np.zeros((32, 32, 3), np.uint8)  # no face is seen in skeletons


def clip(system: str, **fields: Any) -> Clip:
    given = {"prompt": FILM.prompt, "negative_prompt": FILM.negative_prompt, "steps": FILM.steps, "mode": "parity"}
    given |= {"guidance": FILM.guidance, "window": FILM.longest, "overlap": FILM.carried, "fps": RATES[system]}
    given |= {"width": FILM.width, "height": FILM.height, "fit": "stretch", "driving_kind": "skeleton", "seed": SEED}
    return Clip(id="clip", animator=system, **{**given, **fields})


def work(layout: OutputLayout, asked: Clip, key: str, frames: int = FILM.frames) -> Work:
    """The clip with everything in storage that the stages before would have put there."""
    reference, poses = Path(layout.reference(key)), Path(layout.poses(key))
    for stored in (reference, poses):
        stored.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture()).save(reference)
    rate = Fraction(RATES[asked.animator])
    write_poses(poses, [(frame / rate, pose) for frame, pose in enumerate(control()[:frames])], rate)
    size = {"width": FILM.width, "height": FILM.height}
    keys = dict.fromkeys(("reference_key", "pose_key", "latents_key", "film_key"), key)
    return Work(
        row=0,
        clip=asked,
        reference=Source(uri="r.png", digest="r", **size),
        driving=Source(uri="d.mp4", digest="d", frames=frames, fps=RATES[asked.animator], **size),
        frames=frames,
        checkpoint=str(GOLDEN / asked.animator / "checkpoint"),
        checkpoint_digest=asked.animator,
        **keys,
    )


def picture() -> np.ndarray:
    return published_vace.pictures(SEED + 1000, 1, *FILM.reference)[0]


def control() -> np.ndarray:
    return published_vace.pictures(SEED, FILM.frames, FILM.width, FILM.height)


class Killed(Exception):
    """The worker dies here."""


def dies() -> None:
    """Asked before every segment of a run but its first."""
    raise Killed


def worker(layout: OutputLayout, **options: Any) -> tuple[Animate, ModelCache]:
    """A new one, that loads its models itself."""
    models = ModelCache("cpu", "float32", max_bytes=2**30)
    return Animate(layout, models, EncodeRecipe(crf=20, preset="ultrafast"), "run", "code", **options), models


@pytest.mark.parametrize("system", ["wan_animate", "wan_vace"])
def test_a_film_killed_at_every_border_is_what_diffusers_pipeline_makes_in_one_go(system: str, tmp_path: Path) -> None:
    layout = OutputLayout(str(tmp_path))
    asked = work(layout, clip(system), KEY)
    laid = segments(asked)
    assert len(laid) == 3
    other = work(layout, clip(system, seed=6, prompt="a horse", mode="standard"), "0" * 32, frames=7)
    for died in range(2):
        stage, _ = worker(layout, going_on=dies)
        with pytest.raises(Killed):
            stage(asked)
        assert [Path(layout.latents(KEY, one.number)).exists() for one in laid] == [at <= died for at in range(3)]
        stage(other.model_copy(update={"film_key": OTHERS[died], "latents_key": OTHERS[died]}))
    stage, models = worker(layout)
    stage(other)
    result = stage(asked)
    assert (result.status, result.frames) == ("done", FILM.frames)

    animator: Any = models.get(system, Path(asked.checkpoint or ""), system)
    stored = [read_latents(Path(layout.latents(KEY, one.number)), one)[0].latents for one in laid]
    if system == "wan_vace":
        recorded = published_vace.film(pipeline_of(animator), FILM, SEED)
        whole = [recorded[f"out.latents_{number}"] for number in range(3)]
        assert all(torch.equal(one, other) for one, other in zip(stored, whole, strict=True))
        assert np.array_equal(np.concatenate(list(animator.frames(list(zip(laid, stored, strict=True)), asked.clip))),
                              recorded["out.frames_u8"].numpy())  # fmt: skip
        return
    shown = [
        animator.decode(one)[:, :, segment.taken_over : len(segment)] for segment, one in zip(laid, stored, strict=True)
    ]
    film = (torch.cat(shown, dim=2)[0] / 2 + 0.5).clamp(0, 1).transpose(0, 1)
    assert torch.equal(film, in_one_call(pipeline_of(animator)))


def pipeline_of(animator: Any) -> Any:
    """diffusers' own pipeline, on the networks of an animator."""
    parts = {
        "text_encoder": animator.text.model,
        "tokenizer": animator.text.tokenizer,
        "vae": animator.images.autoencoder,
        "transformer": animator.transformer,
        "scheduler": UniPCMultistepScheduler.from_config(animator._scheduler),
    }
    if animator.facts.name == "wan_vace":
        pipeline = WanVACEPipeline(**parts)
    else:
        pipeline = WanAnimatePipeline(
            **parts, image_encoder=animator.tokens.model, image_processor=animator.tokens.processor
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def in_one_call(pipeline: WanAnimatePipeline) -> torch.Tensor:
    """(frames, 3, height, width) in [0, 1]."""
    return pipeline(
        image=Image.fromarray(area_resized(picture(), FILM.width * FILM.height)),
        pose_video=[Image.fromarray(one) for one in control()],
        face_video=[Image.fromarray(BLANK)] * FILM.frames,
        prompt=FILM.prompt,
        negative_prompt=FILM.negative_prompt,
        width=FILM.width,
        height=FILM.height,
        segment_frame_length=FILM.longest,
        num_inference_steps=FILM.steps,
        guidance_scale=FILM.guidance,
        generator=torch.Generator("cpu").manual_seed(SEED),
        output_type="pt",
    ).frames[0]
