"""The baseline is the published algorithm: it reproduces what the original code was recorded with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.published.magicanimate import PublishedMagicAnimate, Run, Step, film, padded, tiled_noise
from tests.bench.published.networks import Networks, load
from tests.bench.published.norms import tell_frames
from tests.bench.published.windows import uniform
from tests.bench.side_by_side.widths import PRODUCTION
from tests.conftest import CHECKOUT
from tests.parity.published.comparison import comparison_frame
from tests.parity.recording import Case, Recording

Results = dict[str, Any]
CASES = {"schedule.json"} | {
    f"case_{name}.safetensors"
    for name in ("unet_reference", "pipeline_small_windows", "pipeline_guidance_one", "driver_end_to_end")
}


class PublishedRunners:
    """Those cases' kinds of call, through the baseline."""

    def __init__(self, checkpoint: Path) -> None:
        self.published = PublishedMagicAnimate(*load(checkpoint))

    def window_schedule(self, params: dict, **record: int) -> Results:
        names = ("num_frames", "context_size", "context_stride", "context_overlap", "step", "closed_loop")
        return {"windows": uniform(*(record[name] for name in names))}

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
        networks, text, frames = self.published.networks, torch.cat([text_uncond, text_cond]), params["frames"]
        networks.appearance(ref_latents.repeat(2, 1, 1, 1), int(timestep), text)
        for name, reader in networks.readers.items():
            reader.bank, reader.reads = networks.writers[name].bank, True
        tell_frames(networks.unet, frames)
        noise = networks.unet(
            sample.repeat(2, 1, 1, 1, 1),
            int(timestep),
            text.repeat_interleave(frames, dim=0),
            down_block_additional_residuals=tuple(layer.repeat(2, 1, 1, 1) for layer in down_residuals),
            mid_block_additional_residual=mid_residual.repeat(2, 1, 1, 1),
        )
        return {"noise_pred": noise.sample}

    def pipeline(
        self,
        params: dict,
        source_image_u8: torch.Tensor,
        control_u8: torch.Tensor,
        latents_init: torch.Tensor,
        video_frames_index: torch.Tensor | None = None,
    ) -> Results:
        predictions: list[torch.Tensor] = []
        hook = self.published.networks.unet.register_forward_hook(lambda *seen: predictions.append(seen[2][0]))
        run, source = run_of(params), source_image_u8.numpy()
        conditions = self.published.encode(source, run)
        steps = list(self.published.steps(conditions, control_u8.numpy(), latents_init, run))
        hook.remove()
        video = self.published.decode(steps[-1].latents)
        return {
            "timesteps": torch.tensor([step.timestep for step in steps]),
            "text_uncond": conditions.text[:1],
            "text_cond": conditions.text[1:],
            "ref_latents": conditions.reference,
            "window_predictions_step0": predictions[: params["windows"]],
            "guided_noise_step0": steps[0].noise,
            "latents_after_step": by_number(steps),
            "video_u8": (video * 255).to(torch.uint8),
            "video_f32": video[:, :, video_frames_index],
        }

    def driver_resize(self, params: dict, source_image_u8: torch.Tensor, driving_u8: torch.Tensor) -> Results:
        def resized(picture: torch.Tensor) -> np.ndarray:
            return np.asarray(Image.fromarray(picture.numpy()).resize((params["size"],) * 2))

        return {"source_image_u8": resized(source_image_u8), "driving_u8": np.stack([*map(resized, driving_u8)])}

    def driver_end_to_end(
        self, params: dict, source_image_u8: torch.Tensor, control_u8: torch.Tensor, noise: torch.Tensor
    ) -> Results:
        source, driving, run = source_image_u8.numpy(), control_u8.numpy(), run_of(params)
        control = padded(driving)
        drawn = tiled_noise(params["seed"], len(control), tuple(noise.shape[i] for i in (1, 3, 4)))
        assert torch.equal(drawn[:, :, :16], noise)
        steps = list(self.published.steps(self.published.encode(source, run), control, drawn, run))
        video, shown = self.published.decode(steps[-1].latents), params["grid_frame"]
        made = film(video, len(driving))
        return {
            "latents_after_step": by_number(steps),
            "video_f32": video[:, :, params["video_frames_index"]],
            "video_u8": made,
            "grid_frame_u8": comparison_frame([source, driving[shown], made[shown]], border=params["grid_border"]),
        }


def run_of(params: dict) -> Run:
    """The parameters that a recorded run states."""
    return Run(**{name: value for name, value in params.items() if name in Run._fields})


def by_number(steps: list[Step]) -> dict[str, torch.Tensor]:
    """Latents after each step."""
    return {str(number): step.latents for number, step in enumerate(steps)}


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording(CHECKOUT / "tests" / "golden" / "magicanimate")


def test_the_baseline_reproduces_the_recorded_cases(recording: Recording) -> None:
    cases: list[Case] = [case for case in recording.required_cases() if case.name in CASES]
    assert len(cases) == len(CASES)
    runners = PublishedRunners(recording.checkpoint)
    complaints = [found.complaint for case in cases for _, _, found in case.replayed(runners) if found.complaint]
    assert not complaints, "\n".join(complaints)
    assert not any(case.uncompared() for case in cases)


def test_the_baseline_is_as_slow_as_the_original_code() -> None:
    """TFLOP of the original at 512 × 512, as it was counted itself: a guided window, one frame of ControlNet."""
    networks = Networks(PRODUCTION)
    published = PublishedMagicAnimate(None, networks)
    latents, words = torch.empty(1, 4, 16, 64, 64, device="meta"), torch.empty(2, 77, 768, device="meta")
    pictures = torch.empty(16, 3, 512, 512, device="meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        networks.appearance(latents[:, :, 0].repeat(2, 1, 1, 1), 500, words)
        reference = counter.get_total_flops()
        for name, reader in networks.readers.items():
            reader.bank, reader.reads = networks.writers[name].bank, True
        residuals = published._residuals(latents, 500, words, pictures)
        control = counter.get_total_flops() - reference
        published._predict(latents, 500, words, [residuals[frame] for frame in range(16)])
        window = counter.get_total_flops() - reference - control
    # the last is the appearance encoder's two rows, which end at the last feature
    counted = [round(flops / 1e12, 2) for flops in (window, control / 16, reference)]
    assert counted == [39.87, 0.28, 1.53]
