"""Counts what every animator computes and holds, and writes it where `catwalk plan` reads it.

    python -m tests.bench.operations [--check]

The product's networks on the meta device, from the published configurations (`tests/bench/model_sizes.py`): nothing is
computed. Multiplications and additions count as one operation each. Convolutions, linear layers and attention grow with
0, 1 or 2 powers of the pixels, so three sizes tell all others. `--check` writes nothing and says where the file is
another.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from transformers import CLIPTextModel, CLIPVisionModel, CLIPVisionModelWithProjection

from pipelines.planning.operations import TABLE
from stages.bundled import bundled
from stages.diffusion.animate_anyone.settings import PublishedSettings
from stages.diffusion.animate_anyone.unet import PosedUNet, Stem, build_denoising_network
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.drawn.codec import DrawnCodec
from stages.diffusion.drawn.finishing import Finishing
from stages.diffusion.drawn.networks import LATENT_CHANNELS, PARTS, WARP_CHANNELS, DrawnNetworks
from stages.diffusion.drawn.warp import MAPS
from stages.diffusion.dreampose.checkpoint import IN_CHANNELS
from stages.diffusion.dreampose.unet import Conditioning as ContextConditioning
from stages.diffusion.dreampose.unet import ContextUNet
from stages.diffusion.magicanimate.facts import LONGEST_WINDOW, NOISE_BLOCK
from stages.diffusion.magicanimate.pose_control import picture_layers
from stages.diffusion.magicanimate.unet import Conditioning, ControlledUNet
from stages.diffusion.networks.motion_unet import build_motion_unet, span_frames
from stages.diffusion.networks.reference_attention import reading_blocks, transformer_blocks
from stages.diffusion.networks.reference_network import ReferenceNetwork, build_reference_network, end_at_last_feature
from stages.diffusion.networks.shallow import first_residuals
from stages.diffusion.sampling.shortcuts import Deep
from stages.diffusion.text2video_zero.control import AnchoredControl
from stages.diffusion.text2video_zero.cross_frame_attention import Conditioning as AnchorConditioning
from stages.diffusion.text2video_zero.unet import AnchoredUNet
from stages.diffusion.weights.checkpoint import read_config
from tests.bench import wan_sizes
from tests.bench.held import Call, held
from tests.bench.model_sizes import (
    CLIP_B_VISION,
    CLIP_L_TEXT,
    CLIP_L_VISION,
    POSE_GUIDER,
    SD_UNET,
    SD_VAE,
    TIMESTEP,
    WIDTH,
    WORDS,
    clip,
    configured,
    empty,
    operations,
)

Counted = dict[str, Any]
SIZES = {"drawn": ((128, 128), (256, 256), (384, 384))}
USUAL_SIZES = ((256, 256), (512, 512), (768, 768))


class Counts:
    """TFLOP and elements of an animator's parts at one size, by what they are done for.

    `clip` once, `step` at every step, `frame` for every frame at every step, `window_N` for every frame of every window
    at every step, with N branches (`words`: of which each has its own); `picture` for every frame of the film. Parts
    `again_…` are those of steps in mode fast that reuse deep features, `frame_1` is of the conditional branch alone.
    """

    def __init__(self, window: int) -> None:
        self.tflop: dict[str, float] = {"clip": 0.0, "step": 0.0, "frame": 0.0, "again_frame": 0.0, "picture": 0.0}
        self.elements: dict[str, float] = {}
        self._frames = window

    def add(self, part: str, run: Call, times: float = 1) -> None:
        """Something that is done for that part, `times` over."""
        self.tflop[part] += times * operations(run)

    def window(self, branches: int | str, run: Callable[[Deep | None], Any], again: Callable[[Deep], Any]) -> None:
        """A whole window, and the same around its deep features; what is told is that of one of its frames."""
        deep = Deep()
        self.tflop[f"window_{branches}"] = operations(lambda: run(deep)) / self._frames
        self.tflop[f"again_window_{branches}"] = operations(lambda: again(deep)) / self._frames
        self.elements[f"window_{branches}"] = held(lambda: run(None)) / self._frames

    def decoded(self, run: Callable[[int], Any], pixels: int) -> None:
        """The decoder; elements are those of a megapixel that is decoded at once."""
        self.add("picture", lambda: run(1))
        self.elements["picture"] = held(lambda: run(1)) / (pixels / 1e6)


def sd_decoder(counts: Counts, height: int, width: int) -> None:
    """Stable Diffusion's autoencoder: the reference in, the frames out."""
    vae = configured(AutoencoderKL, **SD_VAE)
    counts.decoded(lambda frames: vae.decode(empty(frames, 4, height, width)), 64 * height * width)


def encoded(counts: Counts, height: int, width: int, times: float = 1) -> None:
    """The reference through Stable Diffusion's autoencoder."""
    vae = configured(AutoencoderKL, **SD_VAE)
    counts.add("clip", lambda: vae.encode(empty(1, 3, 8 * height, 8 * width)), times)


def text(counts: Counts) -> None:
    """Both prompts."""
    tower = clip(CLIPTextModel, CLIP_L_TEXT)
    counts.add("clip", lambda: tower(torch.zeros(2, WORDS, dtype=torch.long, device="meta")))


def magicanimate(height: int, width: int) -> Counts:
    """Sizes here and below are those of latents."""
    window = ANIMATORS["magicanimate"].window
    counts = Counts(window)
    unet = ControlledUNet(span_frames(build_motion_unet(SD_UNET, LONGEST_WINDOW, mid_block=False)))
    network = end_at_last_feature(build_reference_network(SD_UNET))
    writer, control = ReferenceNetwork(network, reading_blocks(network)), configured(ControlNetModel, **SD_UNET)
    embedding = picture_layers(control)
    latents, words = empty(window, 4, height, width), empty(2, WORDS, WIDTH)
    with torch.no_grad():
        features = writer.features(latents[:1], TIMESTEP, words[:1])
        reference = unet.project(features)
    for name, branches, shared in (("1", 1, True), ("2", 2, True), ("2_words", 2, False)):
        given = Conditioning(words[:branches], shared_text=shared, reference=reference)
        with torch.no_grad():
            unet.predict(latents, TIMESTEP, given)  # projects the words, once for the whole clip
        counts.window(
            name,
            lambda deep, given=given: unet.predict(latents, TIMESTEP, given, None, deep),
            lambda deep, given=given: unet.predict_again(latents, TIMESTEP, given, None, deep),
        )
    counts.add("step", lambda: unet.project(writer.features(latents[:1], TIMESTEP, words[:1])))
    embedded = empty(1, 320, height, width)
    counts.add("frame", lambda: control(latents[:1], TIMESTEP, words[:1], controlnet_cond=embedded))
    first = {"scale": 1.0, "encoder_hidden_states": words[:1]}
    counts.add("again_frame", lambda: first_residuals(control, latents[:1], TIMESTEP, embedded=embedded, **first))
    encoded(counts, height, width)
    text(counts)
    sd_decoder(counts, height, width)
    counts.add("picture", lambda: embedding(empty(1, 3, 8 * height, 8 * width)))
    return counts


def animate_anyone(height: int, width: int) -> Counts:
    """What needs no other frame is done once for each frame and step."""
    window = ANIMATORS["animate_anyone"].window
    counts = Counts(window)
    unet = PosedUNet(build_denoising_network(SD_UNET, PublishedSettings()))
    network = end_at_last_feature(build_reference_network(SD_UNET))
    writer, token = ReferenceNetwork(network, transformer_blocks(network)), empty(2, 1, WIDTH)
    latents, pose = empty(window, 4, height, width), empty(window, 320, height, width)
    with torch.no_grad():
        features = writer.features(latents[:1], TIMESTEP, token[:1])
    for branches in (1, 2):
        with torch.no_grad():
            given = unet.condition(features, token[:branches])
            stem = Stem.join(unet.stem(latents, TIMESTEP, given, pose).split())
        counts.window(
            branches,
            lambda deep, given=given, stem=stem: unet.finish(stem, TIMESTEP, given, deep),
            lambda deep, given=given: unet.predict_again(latents, TIMESTEP, given, pose, deep),
        )
        part = "frame_1" if branches == 1 else "frame"
        counts.tflop[part] = operations(lambda given=given: unet.stem(latents[:1], TIMESTEP, given, pose[:1]))
    counts.tflop["again_frame_1"] = 0.0
    counts.add("clip", lambda: unet.condition(writer.features(latents[:1], TIMESTEP, token[:1]), token))
    encoded(counts, height, width)
    tower = clip(CLIPVisionModelWithProjection, CLIP_L_VISION)
    counts.add("clip", lambda: tower(empty(1, 3, 224, 224)))
    with torch.device("meta"):
        guider = ControlNetConditioningEmbedding(POSE_GUIDER[0], block_out_channels=POSE_GUIDER[1])
    counts.add("picture", lambda: guider(empty(1, 3, 8 * height, 8 * width)))
    sd_decoder(counts, height, width)
    return counts


def dreampose(height: int, width: int) -> Counts:
    """One to three branches, as the two scales ask."""
    window = ANIMATORS["dreampose"].window
    counts = Counts(window)
    unet = ContextUNet(configured(UNet2DConditionModel, **SD_UNET, in_channels=IN_CHANNELS))
    with torch.no_grad():
        projected = unet.project(empty(2, 50, WIDTH))
    for branches in (1, 2, 3):
        read = torch.tensor([[1], [0, 1], [0, 1, 1]][branches - 1], device="meta").repeat_interleave(window)
        given = empty(branches * window, IN_CHANNELS, height, width), TIMESTEP, ContextConditioning(projected, read)
        counts.window(
            branches,
            lambda deep, given=given: unet.predict(*given, deep),
            lambda deep, given=given: unet.predict_again(*given, deep),
        )
    encoded(counts, height, width, 3)
    tower = clip(CLIPVisionModel, {**CLIP_B_VISION, "patch_size": 32})
    counts.add("clip", lambda: tower(empty(1, 3, 224, 224)))
    sd_decoder(counts, height, width)
    return counts


def text2video_zero(height: int, width: int) -> Counts:
    """With a driving file; without one nobody computes `frame`."""
    window = ANIMATORS["text2video_zero"].window
    counts = Counts(window)
    unet = AnchoredUNet(configured(UNet2DConditionModel, **SD_UNET))
    control = AnchoredControl(configured(ControlNetModel, **SD_UNET))
    embedded = empty(window, 320, height, width)
    for branches in (1, 2):
        words, sample = empty(branches, WORDS, WIDTH), empty(branches * window, 4, height, width)
        given = sample, TIMESTEP, words
        counts.window(
            branches,
            lambda deep, given=given: unet.predict(*given[:2], AnchorConditioning(given[2], {}, alike=True), deep),
            lambda deep, given=given: unet.predict_again(
                *given[:2], AnchorConditioning(given[2], {}, alike=True), None, deep
            ),
        )
        part = "frame_1" if branches == 1 else "frame"
        for name, residuals in ((part, control.residuals), (f"again_{part}", control.first_residuals)):
            posed = *given[:2], AnchorConditioning(words, {}, alike=True), embedded, 1.0
            counts.tflop[name] = operations(partial(residuals, *posed)) / window
    counts.add("picture", lambda: control.embedding(empty(1, 3, 8 * height, 8 * width)))
    text(counts)
    sd_decoder(counts, height, width)
    return counts


def drawn(height: int, width: int) -> Counts:
    """From the configurations that are bundled."""
    folder = Path(bundled("bundled:drawn"))
    window = ANIMATORS["drawn"].window
    counts = Counts(window)
    networks = DrawnNetworks({part: read_config(folder / part) for part in (*PARTS, "motion")})
    with torch.device("meta"):
        codec, finishing = (
            network.from_config(read_config(folder / part))
            for network, part in ((DrawnCodec, "codec"), (Finishing, "finishing"))
        )
    latents, picture = empty(window, LATENT_CHANNELS, height, width), empty(1, 3, 8 * height, 8 * width)
    with torch.no_grad():
        given, pose = networks.condition(latents[:1]), networks.pose_guider(picture.expand(window, -1, -1, -1))
    timestep = torch.tensor([TIMESTEP], device="meta")
    inputs = latents, timestep, given, pose, empty(window, WARP_CHANNELS, height, width), True
    counts.window(
        1,
        lambda deep: networks.denoiser.predict(*inputs, deep),
        lambda deep: networks.denoiser.predict_again(*inputs, deep),
    )
    counts.add("clip", lambda: networks.condition(codec.encode(picture)))
    # the reference is warped twice
    counts.add("picture", lambda: (networks.pose_guider(picture), codec.encode(picture), codec.encode(picture)))

    def finished(frames: int) -> torch.Tensor:
        pixels, halves = (8 * height, 8 * width), (4 * height, 4 * width)
        known = (empty(frames, channels, *size) for channels, size in ((9, pixels), (3, pixels), (MAPS, halves)))
        return finishing(empty(frames, LATENT_CHANNELS, height, width), *known)

    counts.decoded(finished, 64 * height * width)
    return counts


# What else a plan must know of a system: whether its windows overlap and are fused, the channels of its latents, and by
# how many frames its published code computes.
FACTS: dict[str, dict[str, Any]] = {
    "magicanimate": {"fused": True, "channels": 4, "parity_block": NOISE_BLOCK},
    "animate_anyone": {"fused": True, "channels": 4},
    "dreampose": {"fused": False, "channels": 4},
    "text2video_zero": {"fused": False, "channels": 4},
    "drawn": {"fused": True, "channels": LATENT_CHANNELS},
}
SYSTEMS = {made.__name__: made for made in (magicanimate, animate_anyone, dreampose, text2video_zero, drawn)}


def counted(name: str, width: int, height: int) -> Counts:
    """One animator at one size, in pixels."""
    return SYSTEMS[name](height // 8, width // 8)


def by_part(found: list[dict[str, float]]) -> dict[str, list[float]]:
    """Figures of several sizes, by part."""
    return {part: [float(f"{one[part]:.6g}") for one in found] for part in found[0]}


def table() -> Iterator[tuple[str, Counted]]:
    """Every animator with its sizes, and each figure at every one of them."""
    for name in wan_sizes.SYSTEMS:
        yield name, wan_sizes.counted(name)
    for name in SYSTEMS:
        sizes = SIZES.get(name, USUAL_SIZES)
        found = [counted(name, *size) for size in sizes]
        facts = {**FACTS[name], "pixels": [width * height for width, height in sizes]}
        yield (
            name,
            {**facts, **{kind: by_part([getattr(one, kind) for one in found]) for kind in ("tflop", "elements")}},
        )


def main() -> int:
    """Write the table, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    made: dict[str, Counted] = {}
    for name, counts in table():
        made[name] = counts
        print(name, json.dumps(counts), flush=True)
    if not check:
        lines = [f' "{name}": {json.dumps(counts)}' for name, counts in made.items()]
        TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        return 0
    same = json.loads(TABLE.read_text()) == made
    print("the same" if same else "the table is another: run without --check")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
