"""Record Wan-VACE: diffusers' own pipeline, one call for each segment, on tiny random networks.

`python -m tests.parity.published.wan_vace FOLDER TOKENIZER` writes networks, cases and index; TOKENIZER is a folder of
`tokenizer/`, such as that of the recorded Wan-Animate. Nothing of Catwalk's computes here.
"""

from __future__ import annotations

import copy
import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanVACEPipeline, WanVACETransformer3DModel
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

TRANSFORMER = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "text_dim": 32,
    "freq_dim": 32,
    "ffn_dim": 32,
    "num_layers": 3,
    "vace_layers": [0, 2],
    "rope_max_seq_len": 64,
}
VAE = {"base_dim": 4, "dim_mult": [1, 2, 2, 4], "num_res_blocks": 1, "temperal_downsample": [False, True, True]}
TEXT = {"vocab_size": 128, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
TEXT |= {"feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 8, "tie_word_embeddings": False}
SCHEDULER = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")


class Case(NamedTuple):
    """One film: 4n + 1 frames, or what is mirrored to that."""

    frames: int
    width: int
    height: int
    longest: int = 13
    carried: int = 1
    steps: int = 3
    guidance: float = 1.0
    prompt: str = "a woman with red coat, dancing"
    negative_prompt: str = ""
    reference: tuple[int, int] = (40, 56)


CASES = {
    "one_segment": Case(13, 48, 32),
    "one_segment_guided": Case(9, 32, 48, longest=9, guidance=5.0, negative_prompt="blurred static"),
    "two_segments": Case(25, 32, 32, prompt="the person in the video is moving"),
    "two_segments_guided": Case(25, 48, 32, guidance=3.0, negative_prompt="worst quality", reference=(64, 24)),
    "three_segments": Case(25, 32, 48, longest=9),
    "five_carried": Case(21, 48, 32, carried=5, guidance=2.0),
    "odd_length": Case(7, 32, 32, longest=9),
    "odd_length_two_segments": Case(19, 32, 32, guidance=5.0, reference=(33, 47)),
    "ten_steps": Case(5, 32, 32, longest=5, steps=10),
}


def networks(tokenizer: Path) -> WanVACEPipeline:
    """The pipeline on tiny random networks, scaled so that text, control and reference all matter."""
    torch.manual_seed(17)
    transformer = WanVACETransformer3DModel(**TRANSFORMER).eval()
    with torch.no_grad():
        for name, weight in transformer.named_parameters():
            if "proj_out" in name or "proj_in" in name or "scale_shift_table" in name:
                weight.normal_(std=0.3)
    text = UMT5EncoderModel(UMT5Config(**TEXT)).eval()
    with torch.no_grad():
        text.shared.weight.normal_()
    vae = AutoencoderKLWan(**VAE).eval()
    for network in (transformer, text, vae):  # weights are stored in half precision, every one exact
        for weight in network.parameters():
            weight.data = weight.data.half().float()
    return WanVACEPipeline(
        tokenizer=AutoTokenizer.from_pretrained(tokenizer),
        text_encoder=text,
        vae=vae,
        scheduler=UniPCMultistepScheduler(**SCHEDULER),
        transformer=transformer,
    )


def mirrored(frame: int, frames: int) -> int:
    place = frame % (2 * (frames - 1))
    return place if place < frames else 2 * (frames - 1) - place


def pictures(seed: int, frames: int, width: int, height: int) -> np.ndarray:
    """Blocks of colour that move: uint8 (frames, height, width, 3)."""
    drawn = np.random.default_rng(seed)
    cells = drawn.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    large = cells.repeat(8, 0).repeat(8, 1)
    return np.stack([np.roll(large, (frame, 2 * frame), (0, 1))[:height, :width] for frame in range(frames)])


@torch.no_grad()
def film(pipeline: WanVACEPipeline, case: Case, seed: int) -> dict[str, torch.Tensor]:
    """Call after call, each given the last frames of the one before as what is to be kept."""
    control = pictures(seed, case.frames, case.width, case.height)
    reference = pictures(seed + 1000, 1, *case.reference)[0]
    generator, step = torch.Generator("cpu").manual_seed(seed), case.longest - case.carried
    segments = max(1, -(-(case.frames - case.carried) // step))
    made, carry, shown = {}, None, []
    for number in range(segments):
        frames = [control[mirrored(number * step + frame, case.frames)] for frame in range(case.longest)]
        video = pipeline.video_processor.preprocess_video([Image.fromarray(one) for one in frames]).clone()
        mask = torch.ones_like(video)
        if carry is not None:
            video[:, :, : case.carried], mask[:, :, : case.carried] = carry, -1
        latents = pipeline(
            prompt=case.prompt,
            negative_prompt=case.negative_prompt,
            video=video.transpose(1, 2),
            mask=mask.transpose(1, 2),
            reference_images=Image.fromarray(reference),
            height=case.height,
            width=case.width,
            num_frames=case.longest,
            num_inference_steps=case.steps,
            guidance_scale=case.guidance,
            generator=generator,
            output_type="latent",
        ).frames
        made[f"out.latents_{number}"] = latents
        decoded = decode(pipeline, latents[:, :, 1:])
        carry = decoded[:, :, -case.carried :]
        shown.append(decoded if number == 0 else decoded[:, :, case.carried :])
    video = torch.cat(shown, dim=2)[0, :, : case.frames].transpose(0, 1)
    frames = pipeline.video_processor.postprocess_video(video.transpose(0, 1)[None], output_type="pil")[0]
    return {
        "in.reference_u8": torch.from_numpy(reference),
        "in.control_u8": torch.from_numpy(control),
        **made,
        "out.frames_u8": torch.from_numpy(np.stack([np.asarray(frame) for frame in frames])),
    }


def decode(pipeline: WanVACEPipeline, latents: torch.Tensor) -> torch.Tensor:
    """As the pipeline does, which gives no film and latents at once: (1, 3, frames, height, width) in [-1, 1]."""
    config = pipeline.vae.config
    mean = torch.tensor(config.latents_mean).view(1, -1, 1, 1, 1)
    reciprocal = 1.0 / torch.tensor(config.latents_std).view(1, -1, 1, 1, 1)
    return pipeline.vae.decode(latents / reciprocal + mean, return_dict=False)[0]


def entry(name: str, case: Case, seed: int, recorded: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What the index says of a case."""
    latents = sorted(key for key in recorded if key.startswith("out.latents_"))
    params = {**case._asdict(), "seed": seed, "segments": len(latents), "reference": list(case.reference)}
    close = {"metric": "max_abs_over_std", "limit": 2e-4, "stage": "intermediate"}
    return {
        "file": f"case_{name}.safetensors",
        "kind": "pipeline",
        "status": "required",
        "params": params,
        "inputs": {
            "in.reference_u8": "RGB reference picture, H W 3, any size",
            "in.control_u8": "RGB control video, frames H W 3",
        },
        "expected": {
            **{key: {**close, "meaning": "1 16 1+f h w, the reference's first"} for key in latents},
            "out.frames_u8": {
                "metric": "uint8_levels",
                "limit": 1,
                "max_fraction": 0.002,
                "stage": "result",
                "meaning": "frames H W 3",
            },
        },
        "calls": [
            {
                "name": "run",
                "kind": "pipeline",
                "status": "required",
                "params": params,
                "inputs": {"reference_u8": "in.reference_u8", "control_u8": "in.control_u8"},
                "expected": {
                    "latents": {key.removeprefix("out.latents_"): key for key in latents},
                    "frames_u8": "out.frames_u8",
                },
            }
        ],
        "note": "",
    }


def main(folder: Path, tokenizer: Path) -> None:
    """Write everything anew."""
    torch.set_num_threads(1)
    pipeline = networks(tokenizer)
    pipeline.set_progress_bar_config(disable=True)
    checkpoint = folder / "checkpoint"
    shutil.rmtree(checkpoint, ignore_errors=True)
    pipeline.scheduler.save_pretrained(checkpoint / "scheduler")
    for part in ("transformer", "vae", "text_encoder"):
        copy.deepcopy(getattr(pipeline, part)).to(torch.float16).save_pretrained(checkpoint / part)
    shutil.copytree(tokenizer, checkpoint / "tokenizer")
    cases = []
    for seed, (name, case) in enumerate(CASES.items(), 100):
        recorded = film(pipeline, case, seed)
        save_file({key: value.contiguous() for key, value in recorded.items()}, folder / f"case_{name}.safetensors")
        cases.append(entry(name, case, seed, recorded))
    index = {
        "system": "wan_vace",
        "format": 1,
        "checkpoint": "checkpoint",
        "checkpoint_packed": None,
        "config": {
            "parts": {part: f"checkpoint/{part}" for part in PARTS},
            "recorded_with": {name: version(name) for name in ("diffusers", "transformers", "torch", "numpy")},
        },
        "support": [{"path": "checkpoint/", "what": "weights and configurations, laid out as published"}],
        "cases": cases,
    }
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
