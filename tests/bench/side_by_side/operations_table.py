"""What a film costs as published, what it needs, and what the product computes, for every animator.

    python -m tests.bench.side_by_side.operations_table [ANIMATOR…]

TFLOP of a whole film of 64 frames with the system's default steps and guidance and the published windows, counted on
the meta device at production size; multiplications and additions count as one operation each. Published: the frozen
baseline for MagicAnimate, `tests/bench/model_sizes.py` for the others, all after the systems' SPEC.md. Needed: what is
left when all that its "Wasted work" lists as exact is left out, whether the product does so or not. Ours: the product's
networks (`tests/bench/operations.py`). `drawn` was published by nobody.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from transformers import CLIPVisionModel

from pipelines.planning.operations import windows_of
from stages.diffusion.animate_anyone.settings import PublishedSettings
from stages.diffusion.animate_anyone.unet import build_denoising_network
from stages.diffusion.animators import ANIMATORS
from stages.diffusion.dreampose.checkpoint import IN_CHANNELS
from stages.diffusion.networks.reference_attention import transformer_blocks
from stages.diffusion.networks.reference_network import ReferenceNetwork, build_reference_network, end_at_last_feature
from tests.bench.model_sizes import (
    CLIP_B_VISION,
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
    published_window,
    reference_features,
)
from tests.bench.operations import SYSTEMS, Counts, counted
from tests.bench.published.networks import Networks
from tests.bench.published.norms import tell_frames
from tests.bench.side_by_side.contenders import Task
from tests.bench.side_by_side.counting import denoising
from tests.bench.side_by_side.widths import PRODUCTION

FRAMES = 64
CALLS = {"dreampose": 101}  # of its scheduler in 100 steps
SIZES = {
    "magicanimate": ((256, 256), (512, 512), (768, 768)),
    "animate_anyone": ((448, 512), (512, 768), (768, 1024)),
    "dreampose": ((512, 640),),
    "text2video_zero": ((256, 256), (512, 512), (768, 768)),
    "drawn": ((192, 256), (384, 512)),
}


class Costs(NamedTuple):
    """TFLOP of a film."""

    published: float | None
    needed: float
    ours: float


def made(name: str, counts: Counts) -> float:
    """By the product."""
    facts, tflop = ANIMATORS[name], counts.tflop
    steps = CALLS.get(name, facts.steps)
    branches = {"dreampose": 3, "drawn": 1}.get(name, 2)
    film = type("Film", (), {"window": facts.window, "overlap": facts.overlap, "mode": "parity", "options": {}})
    _, window_frames = windows_of(film, FRAMES, steps, fused=facts.overlap > 0)
    denoised = steps * (tflop["step"] + FRAMES * tflop["frame"]) + window_frames * tflop[f"window_{branches}"]
    return tflop["clip"] + denoised + FRAMES * tflop["picture"]


def magicanimate(width: int, height: int, counts: Counts) -> Costs:
    """Published: the baseline's own code. Needed: from its networks, one row at a time."""
    task, steps = Task(FRAMES, width, height, 1), ANIMATORS["magicanimate"].steps
    outside = counts.tflop["clip"] + FRAMES * counts.tflop["picture"]
    published = steps * denoising(["published"], PRODUCTION, task)["published"] + outside
    networks, latents = Networks(PRODUCTION), (height // 8, width // 8)
    unet, window = networks.unet, ANIMATORS["magicanimate"].window
    words, sample = empty(1, WORDS, WIDTH), empty(1, 4, window, *latents)
    tell_frames(unet, window)

    def row() -> None:
        unet(sample, TIMESTEP, words.expand(window, -1, -1))

    below = operations(row, [unet.conv_in, *unet.down_blocks, unet.mid_block.resnets[0]])
    reading = [unet.get_submodule(name).attn1 for name in networks.readers]
    projected = attended = 0.0
    networks.appearance(empty(1, 4, *latents), TIMESTEP, words)
    for name, layer in zip(networks.readers, reading, strict=True):
        _, tokens, channels = networks.writers[name].bank.shape
        projected += 2 * operations(lambda layer=layer, of=(tokens, channels): layer.to_k(empty(1, *of)))
        attended += 4 * window * tokens**2 * channels / 1e12  # of the reference, by every frame
    reference = operations(lambda: networks.appearance(empty(1, 4, *latents), TIMESTEP, words))
    picture, embedding = empty(1, 3, height, width), networks.control.controlnet_cond_embedding
    frame = operations(lambda: networks.control(empty(1, 4, *latents), TIMESTEP, words, picture))
    embedded = operations(lambda: embedding(picture))

    def texts(network: torch.nn.Module) -> float:
        layers = [getattr(network.get_submodule(name), "attn2", None) for name in transformer_blocks_of(network)]
        return sum(2 * operations(lambda layer=layer: layer.to_k(words)) for layer in layers if hasattr(layer, "to_k"))

    of_unet, of_control, of_reference = texts(unet), texts(networks.control), texts(networks.appearance)
    lower = operations(row, [layer for block in unet.down_blocks for layer in keys_of_text(block)])
    upper = operations(
        row, [*keys_of_text(unet.mid_block), *(k for block in unet.up_blocks for k in keys_of_text(block))]
    )
    a_window = (below - lower) + 2 * (operations(row) - below - upper) + attended
    windows = math.ceil(FRAMES / (window - ANIMATORS["magicanimate"].overlap))
    step = reference - of_reference + projected + FRAMES * (frame - embedded - of_control) + windows * a_window
    once = of_unet + of_control + of_reference + FRAMES * embedded
    return Costs(published, steps * step + once + outside, made("magicanimate", counts))


def transformer_blocks_of(network: torch.nn.Module) -> list[str]:
    """All spatial ones."""
    return [
        name for name, _ in network.named_modules() if name.endswith(".transformer_blocks.0") and "attentions." in name
    ]


def keys_of_text(part: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers that make keys and values of the words."""
    found = []
    for name in transformer_blocks_of(part):
        attention = part.get_submodule(name).attn2
        found += [attention.to_k, attention.to_v]
    return found


def animate_anyone(width: int, height: int, counts: Counts) -> Costs:
    """All that is listed as exact, the product leaves out: needed is ours."""
    facts, latents = ANIMATORS["animate_anyone"], empty(24, 4, height // 8, width // 8)
    network = end_at_last_feature(build_reference_network(SD_UNET))
    features = reference_features(ReferenceNetwork(network, transformer_blocks(network)), width, height, 1)
    window = published_window(build_denoising_network(SD_UNET, PublishedSettings()), latents, 1, features)
    token, whole = empty(2, 1, WIDTH), configured(UNet2DConditionModel, **SD_UNET)
    rows = operations(lambda: whole(latents[:2], TIMESTEP, token))
    one = operations(lambda: whole(latents[:1], TIMESTEP, token[:1]))
    with torch.device("meta"):
        guider = ControlNetConditioningEmbedding(POSE_GUIDER[0], block_out_channels=POSE_GUIDER[1])
    guided = FRAMES * operations(lambda: guider(empty(1, 3, height, width)))
    decoded = FRAMES * operations(lambda: vae().decode(latents[:1]))
    windows = math.ceil(FRAMES / (facts.window - facts.overlap))
    ours = made("animate_anyone", counts)
    encoded = counts.tflop["clip"] - one  # picture, CLIP; the product's reference network is about one row of it
    return Costs(facts.steps * windows * window + rows + encoded + guided + decoded, ours, ours)


def dreampose(width: int, height: int, counts: Counts) -> Costs:
    """Frame by frame: three rows, three pictures encoded and two passes of CLIP. Both scales ask for every row."""
    network = configured(UNet2DConditionModel, **SD_UNET, in_channels=IN_CHANNELS)
    shape = height // 8, width // 8
    rows = operations(lambda: network(empty(3, IN_CHANNELS, *shape), TIMESTEP, empty(3, 50, WIDTH)))
    encoded = 3 * operations(lambda: vae().encode(empty(1, 3, height, width)))
    decoded = operations(lambda: vae().decode(empty(1, 4, *shape)))
    tower = clip(CLIPVisionModel, {**CLIP_B_VISION, "patch_size": 32})
    seen = 2 * operations(lambda: tower(empty(1, 3, 224, 224)))
    ours = made("dreampose", counts)
    return Costs(FRAMES * (CALLS["dreampose"] * rows + encoded + seen + decoded), ours, ours)


def text2video_zero(width: int, height: int, counts: Counts) -> Costs:
    """Chunks of 8, each with the first frame again. All that is listed as exact, the product leaves out."""
    facts, shape = ANIMATORS["text2video_zero"], (height // 8, width // 8)
    network, control = configured(UNet2DConditionModel, **SD_UNET), configured(ControlNetModel, **SD_UNET)
    sample, words, pictures = empty(2, 4, *shape), empty(2, WORDS, WIDTH), empty(2, 3, height, width)
    unet = operations(lambda: network(sample, TIMESTEP, words))
    drawn = operations(lambda: control(sample, TIMESTEP, words, pictures))
    slots = FRAMES + math.ceil((FRAMES - 1) / (facts.window - 1)) - 1
    decoded = operations(lambda: vae().decode(sample[:1]))
    encoded = counts.tflop["clip"]
    published = slots * (facts.steps * (unet + drawn) + decoded) + encoded
    ours = made("text2video_zero", counts)
    return Costs(published, ours, ours)


def drawn(width: int, height: int, counts: Counts) -> Costs:
    """One branch, its reference once for each clip."""
    ours = made("drawn", counts)
    return Costs(None, ours, ours)


def vae() -> AutoencoderKL:
    """Stable Diffusion's."""
    return configured(AutoencoderKL, **SD_VAE)


COSTS: dict[str, Callable[[int, int, Counts], Costs]] = {
    one.__name__: one for one in (magicanimate, animate_anyone, dreampose, text2video_zero, drawn)
}


def main() -> None:
    """Print a line for each animator and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("animators", nargs="*", default=list(SYSTEMS), metavar="ANIMATOR")
    print(f"| TFLOP of a film of {FRAMES} frames | published | needed | ours | published/ours | ours/needed |")
    print("|---|---|---|---|---|---|")
    for name in parser.parse_args().animators:
        for width, height in SIZES[name]:
            with torch.no_grad():
                found = COSTS[name](width, height, counted(name, width, height))
            published = "–" if found.published is None else f"{found.published:,.0f}"
            ratio = "–" if found.published is None else f"{found.published / found.ours:.3f}"
            told = f"{published} | {found.needed:,.4g} | {found.ours:,.4g} | {ratio} | {found.ours / found.needed:.3f}"
            print(f"| {name}, {width}×{height}, {ANIMATORS[name].steps} steps | {told} |", flush=True)


if __name__ == "__main__":
    main()
